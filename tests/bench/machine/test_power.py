"""Power from a program, a library and files that stand for those of a machine."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edgedet.bench.machine import nvml, power, tegrastats
from edgedet.bench.machine.identity import gpu_of_other_runtimes
from edgedet.bench.machine.power import NO_SOURCE, Power, PowerMeter
from edgedet.bench.machine.tegrastats_line import TOTALS, rails
from edgedet.config import parse

Grow = Callable[[Mapping[str, str]], Path]

NANO = (
    "RAM 1923/3964MB (lfb 2x2MB) SWAP 191/1982MB (cached 6MB) IRAM 0/252kB(lfb 252kB) "
    "CPU [5%@1224,4%@1224,3%@1224,6%@1224] EMC_FREQ 0%@1600 GR3D_FREQ 0%@76 APE 25 PLL@37C CPU@40C PMIC@50C GPU@40C "
    "AO@45C thermal@40C POM_5V_IN 1750/1628 POM_5V_GPU 0/0 POM_5V_CPU 366/406"
)
TX2 = (
    "RAM 1873/3830MB (lfb 144x4MB) CPU [8%@2016,off,off,7%@2026,7%@2034,6%@2034] EMC_FREQ 0%@1600 GR3D_FREQ 0%@114 "
    "APE 150 MTS fg 0% bg 1% PLL@39C MCPU@39C thermal@38.5C VDD_SYS_GPU 77/77 VDD_SYS_SOC 539/539 VDD_IN 2930/3405 "
    "VDD_SYS_CPU 539/937 VDD_SYS_DDR 727/758"
)
AGX_XAVIER = (
    "RAM 5059/31919MB (lfb 5843x4MB) SWAP 0/15959MB (cached 0MB) CPU [0%@1190,1%@1190] EMC_FREQ 0%@1331 "
    "GR3D_FREQ 0%@114 VIC_FREQ 115 APE 150 AUX@36C CPU@36.5C thermal@35.7C Tboard@37C GPU 467mW/467mW "
    "CPU 467mW/467mW SOC 1245mW/1245mW CV 0mW/0mW VDDRQ 311mW/311mW SYS5V 2768mW/2768mW"
)
ORIN_NANO = (
    "10-08-2026 04:35:02 RAM 6712/7620MB (lfb 12x4MB) SWAP 369/3810MB (cached 8MB) CPU [38%@1497,2%@729,1%@729,off] "
    "EMC_FREQ 61%@2133 GR3D_FREQ 99%@[612] NVDEC off NVJPG off VIC off OFA off APE 200 cpu@57.125C soc2@55.093C "
    "gpu@58.625C tj@58.312C VDD_IN 5081mW/5181mW VDD_CPU_GPU_CV 1104mW/944mW VDD_SOC 1520mW/1659mW"
)
AGX_ORIN = (
    "07-25-2026 09:08:28 RAM 20642/62817MB (lfb 1x2MB) CPU [23%@2201,10%@2201] EMC_FREQ 3%@3199 "
    "GR3D_FREQ 12%@[1300,1300] NVENC0 off APE 174 cpu@52.968C/52.968C gpu@47.625C/47.625C "
    "VDD_GPU_SOC 5139mW/5139mW/5139mW VDD_CPU_CV 3268mW/3268mW/3268mW VIN_SYS_5V0 5500mW/5500mW/5500mW"
)
THOR = (
    "RAM 4722/125771MB (lfb 1x512kB) EMC_FREQ 2%@1866 GR3D_FREQ @[1000,1000,1000] APE 150 tj@41.5C "
    "VDD_GPU -392mW/-390mW VDD_CPU_SOC_MSS 3924mW/3920mW VIN_SYS_5V0 6520mW/6500mW VIN 23010mW/22900mW"
)


class TestLines:
    @pytest.mark.parametrize(
        ("line", "count", "total", "watts"),
        [
            (NANO, 3, ("POM_5V_IN",), 1.750),
            (TX2, 5, ("VDD_IN",), 2.930),
            (AGX_XAVIER, 6, ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"), 5.258),
            (ORIN_NANO, 3, ("VDD_IN",), 5.081),
            (AGX_ORIN, 3, ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), 13.907),
            (THOR, 4, ("VIN",), 23.010),
        ],
        ids=["nano", "tx2", "agx-xavier", "orin-nano", "agx-orin", "thor"],
    )
    def test_rails_and_their_total(self, line: str, count: int, total: tuple[str, ...], watts: float) -> None:
        found = rails(line)
        assert len(found) == count, "memory, clocks and temperatures are no rails"
        assert next(names for names in TOTALS if set(names) <= set(found)) == total
        assert sum(found[name] for name in total) == pytest.approx(watts)

    def test_a_rail_that_shows_less_than_nothing(self) -> None:
        assert rails(THOR)["VDD_GPU"] == pytest.approx(-0.392)

    @pytest.mark.parametrize("line", ["", "RAM 1/2MB", "VDD_IN", "VDD_IN 5081mW", "VDD_IN x/y", "VDD_IN 1e9/1"])
    def test_other_lines_have_none(self, line: str) -> None:
        assert rails(line) == {}


def install_tegrastats(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / "tegrastats"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def measured(seconds: float, *, on_gpu: bool = False, bus_id: str | None = None, root: Path = Path("/")) -> PowerMeter:
    """Afterwards nothing is left of the meter."""
    before = threading.active_count()
    with PowerMeter(on_gpu=on_gpu, bus_id=bus_id, root=root) as meter:
        time.sleep(seconds)
    assert threading.active_count() == before
    assert (meter.power is None) != (meter.reason is None)
    return meter


def power_of(meter: PowerMeter) -> Power:
    assert meter.power is not None, meter.reason
    return meter.power


class TestTegrastats:
    @pytest.mark.parametrize("line", [NANO, ORIN_NANO], ids=["without units", "with units"])
    def test_what_a_board_takes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
        arguments = tmp_path / "arguments"
        install_tegrastats(
            tmp_path / "bin", monkeypatch, f'echo "$@" > {arguments}\nwhile true; do echo "{line}"; sleep 0.1; done'
        )
        found = power_of(measured(0.7))
        assert arguments.read_text().split() == ["--interval", "100"]
        assert found.source == "tegrastats" and found.samples >= 2 and len(found.rails) == 3
        assert found.watts == pytest.approx(rails(line)[found.total_rails[0]])
        assert found.seconds == pytest.approx(0.7, abs=0.3)
        assert found.energy_joules == pytest.approx(found.watts * found.seconds)
        assert found.energy_per_frame(10) == pytest.approx(found.energy_joules / 10)
        assert parse(Power, json.loads(found.model_dump_json())) == found

    def test_watts_that_change_are_weighed_by_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """2 W for a fifth of the time, then 6 W."""
        lines = tmp_path / "lines"
        os.mkfifo(lines)
        install_tegrastats(tmp_path / "bin", monkeypatch, f"exec cat {lines}")
        pipe = os.open(lines, os.O_RDWR)
        try:
            with PowerMeter(on_gpu=False) as meter:
                for seconds, line in ((0.2, b"VDD_IN 2000/1\n"), (0.8, b"VDD_IN 6000/1\n")):
                    time.sleep(seconds)
                    os.write(pipe, line)
                time.sleep(0.2)
        finally:
            os.close(pipe)
        found = power_of(meter)
        assert found.samples == 2
        assert found.watts == pytest.approx(5.2, abs=0.6)

    @pytest.mark.parametrize(
        ("script", "reason"),
        [
            (f'echo "{ORIN_NANO}"', "ended by itself"),
            ("exit 3", "ended by itself"),
            ("sleep 9", "said nothing"),
            ("while true; do echo RAM 1/2MB; sleep 0.05; done", "no power on this board"),
            ("while true; do echo VDD_NEW 5mW/5mW VDD_OTHER 6mW/6mW; sleep 0.05; done", "VDD_NEW, VDD_OTHER"),
            ("echo VDD_IN 5/5; sleep 0.2; while true; do echo VDD_IN 5/5 X_RAIL 6/6; sleep 0.05; done", "same rails"),
            ("tr '\\0' x < /dev/zero", "no lines"),
        ],
    )
    def test_a_program_that_fails_gives_a_reason(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
    ) -> None:
        install_tegrastats(tmp_path / "bin", monkeypatch, script)
        meter = measured(0.5)
        assert meter.reason is not None and reason in meter.reason

    def test_a_program_that_cannot_be_started(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        install_tegrastats(tmp_path / "bin", monkeypatch, "")
        (tmp_path / "bin" / "tegrastats").write_text("#!/nowhere/interpreter\n")
        assert "cannot be started" in str(measured(0).reason)

    def test_a_program_that_does_not_want_to_end_is_ended(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own_id = tmp_path / "id"
        script = f'trap "" TERM\necho $$ > {own_id}\nwhile true; do echo VDD_IN 5/5; sleep 0.05; done'
        install_tegrastats(tmp_path / "bin", monkeypatch, script)
        assert power_of(measured(0.5)).watts == pytest.approx(0.005)
        with pytest.raises(ProcessLookupError):
            os.kill(int(own_id.read_text()), 0)

    def test_an_error_in_the_block_ends_the_program_and_goes_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own_id = tmp_path / "id"
        install_tegrastats(tmp_path / "bin", monkeypatch, f"echo $$ > {own_id}\nexec sleep 9")
        with pytest.raises(ZeroDivisionError), PowerMeter(on_gpu=False):
            while not own_id.exists() or not own_id.read_text():
                time.sleep(0.01)
            raise ZeroDivisionError
        with pytest.raises(ProcessLookupError):
            os.kill(int(own_id.read_text()), 0)

    @pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one CPU")
    def test_it_keeps_away_from_the_measured_cpu(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        allowed = os.sched_getaffinity(0)
        cpu = min(allowed)
        where = tmp_path / "where"
        install_tegrastats(
            tmp_path / "bin", monkeypatch, f"grep Cpus_allowed_list /proc/self/status > {where}\nexec sleep 9"
        )
        try:
            os.sched_setaffinity(0, {cpu})
            with PowerMeter(on_gpu=False, measured_cpus=[cpu]):
                (thread,) = (thread for thread in threading.enumerate() if thread.name == "power meter")
                assert thread.native_id is not None and cpu not in os.sched_getaffinity(thread.native_id)
                assert os.sched_getaffinity(0) == {cpu}, "what is measured stays where it is"
                while not where.exists() or not where.read_text():
                    time.sleep(0.01)
        finally:
            os.sched_setaffinity(0, allowed)
        assert where.read_text().split()[1] != str(cpu)


@pytest.fixture
def no_tegrastats(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this were no Jetson."""
    monkeypatch.setattr(tegrastats, "PROGRAM", "no-such-program")


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ctypes.CDLL]:
    """Compiles NVML's stand-in and puts it in its place."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")

    def build(
        *, gpus: int = 1, energy: int = 1, lost: int = 1 << 30, reasons: int = 0, old: bool = False, slow: int = 0
    ) -> ctypes.CDLL:
        path = tmp_path / "libnvidia-ml.so.1"
        macros = [f"-DGPUS={gpus}", f"-DENERGY={energy}", f"-DLOST={lost}", f"-DREASONS={reasons}", f"-DSLOW={slow}"]
        macros += ["-DOLD"] * old
        source = Path(__file__).with_name("nvml.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-Werror", *macros, "-o", path, source], check=True)
        monkeypatch.setattr(nvml, "LIBRARY", str(path))
        return ctypes.CDLL(str(path))

    return build


@pytest.mark.usefixtures("no_tegrastats")
class TestNvml:
    @pytest.mark.parametrize("energy", [1, 0], ids=["with a counter of energy", "without"])
    def test_what_a_gpu_takes(self, library: Callable[..., ctypes.CDLL], energy: int) -> None:
        opened = library(energy=energy)
        found = power_of(measured(0.5, on_gpu=True))
        assert (found.source, found.rails, found.gpu_celsius) == ("NVML", {"GPU": found.watts}, 71)
        assert found.watts == pytest.approx(30, rel=0.05)
        assert found.energy_joules == pytest.approx(30 * found.seconds, rel=0.05)
        assert found.throttle_reasons == ()
        assert opened.times_open() == 0

    @pytest.mark.parametrize(("gpus", "name"), [(1, "NVIDIA T4"), (2, None)], ids=["one GPU", "several"])
    def test_its_name(self, library: Callable[..., ctypes.CDLL], gpus: int, name: str | None) -> None:
        opened = library(gpus=gpus)
        assert gpu_of_other_runtimes() == name
        assert opened.times_open() == 0

    @pytest.mark.parametrize("old", [False, True], ids=["newer driver", "older driver"])
    def test_why_it_is_slow(self, library: Callable[..., ctypes.CDLL], old: bool) -> None:
        library(reasons=0x1 | 0x4 | 0x40 | 0x100, old=old)
        found = power_of(measured(0.3, on_gpu=True))
        assert found.throttle_reasons == ("power limit", "temperature, by hardware"), "rest and settings are no reasons"

    def test_a_gpu_that_is_lost_gives_a_reason(self, library: Callable[..., ctypes.CDLL]) -> None:
        opened = library(lost=2)
        meter = measured(0.6, on_gpu=True)
        assert meter.reason is not None and "GPU is lost" in meter.reason
        assert opened.times_open() == 0

    def test_a_driver_that_hangs_does_not_hang_the_measurement(
        self, library: Callable[..., ctypes.CDLL], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        library(slow=1)
        monkeypatch.setattr(power, "SECONDS_TO_END", 0.1)
        begin = time.monotonic()
        with PowerMeter(on_gpu=True) as meter:
            time.sleep(0.3)
        assert time.monotonic() - begin < 0.9
        assert meter.power is None and meter.reason == "NVML does not answer"
        for thread in threading.enumerate():
            if thread.name == "power meter":
                thread.join(5)
                assert not thread.is_alive(), "it goes on no longer than the driver hangs"

    def test_of_several_gpus_the_bus_says_which(self, library: Callable[..., ctypes.CDLL]) -> None:
        opened = library(gpus=2)
        assert "there are 2 GPUs" in str(measured(0, on_gpu=True).reason)
        assert power_of(measured(0.3, on_gpu=True, bus_id="0000:01:00.0")).watts == pytest.approx(30, rel=0.05)
        assert "Not Found" in str(measured(0, on_gpu=True, bus_id="0000:09:00.0").reason)
        assert opened.times_open() == 0

    def test_a_gpu_that_computes_nothing_is_not_asked(self, library: Callable[..., ctypes.CDLL], grow: Grow) -> None:
        library()
        assert measured(0, root=grow({"x": ""})).reason == NO_SOURCE

    def test_a_library_of_something_else(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(nvml, "LIBRARY", "libc.so.6")
        assert "has no nvmlInit_v2" in str(measured(0, on_gpu=True).reason)


def rapl(**microjoules: int) -> dict[str, str]:
    names = {"0": "package-0", "0:0": "core", "0:1": "dram", "1": "psys"}
    folders = {place: f"sys/class/powercap/intel-rapl:{place}" for place in names}
    return (
        {f"{folder}/name": f"{names[place]}\n" for place, folder in folders.items()}
        | {f"{folder}/max_energy_range_uj": "262143328850\n" for folder in folders.values()}
        | {
            f"{folder}/energy_uj": f"{microjoules[names[place].replace('-', '_')]}\n"
            for place, folder in folders.items()
        }
    )


@pytest.mark.usefixtures("no_tegrastats")
class TestRapl:
    def test_counters_that_begin_anew(self, grow: Grow) -> None:
        """The package takes 3 J and begins anew, memory 1 J; the cores are in the package, and that in the platform."""
        root = grow(rapl(package_0=262143328850 - 1_000_000, core=5, dram=7_000_000, psys=0))
        with PowerMeter(on_gpu=False, root=root) as meter:
            time.sleep(0.25)
            grow(rapl(package_0=2_000_000, core=2_000_005, dram=8_000_000, psys=9_000_000))
            time.sleep(0.25)
        found = power_of(meter)
        assert found.source == "RAPL" and found.total_rails == ("package-0", "package-0 dram")
        assert set(found.rails) == {"package-0", "package-0 core", "package-0 dram", "psys"}
        assert found.energy_joules == pytest.approx(4, rel=0.02)
        assert found.rails["package-0 core"] * found.seconds == pytest.approx(2, rel=0.02)

    def test_counters_that_may_not_be_read(self, grow: Grow) -> None:
        root = grow(rapl(package_0=1, core=1, dram=1, psys=1))
        counter = root / "sys/class/powercap/intel-rapl:0/energy_uj"
        counter.unlink()
        counter.mkdir()
        reason = measured(0, root=root).reason
        assert reason is not None and "cannot be read" in reason and "run as root" in reason

    def test_counters_that_vanish_give_a_reason(self, grow: Grow) -> None:
        root = grow(rapl(package_0=1, core=1, dram=1, psys=1))
        with PowerMeter(on_gpu=False, root=root) as meter:
            (root / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("nonsense")
            time.sleep(0.2)
        assert meter.power is None and "cannot be read" in str(meter.reason)


@pytest.mark.usefixtures("no_tegrastats")
def test_a_machine_that_does_not_tell(grow: Grow) -> None:
    assert measured(0, root=grow({"x": ""})).reason == NO_SOURCE
