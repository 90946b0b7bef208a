"""Computers and the settings of their clocks, made of the files that they say of themselves."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edgedet.bench.machine import nvml
from edgedet.bench.machine.clocks import (
    ClockSettings,
    current_megahertz,
    highest_megahertz,
    read_clock_settings,
)
from edgedet.bench.machine.cores import one_per_core, siblings
from edgedet.bench.machine.identity import Computer, gpu_of_engines, gpu_of_other_runtimes, read_computer
from edgedet.config import parse
from edgedet.errors import EdgedetError
from edgedet.trt import cuda

Grow = Callable[[Mapping[str, str]], Path]

PC = "".join(
    f"processor\t: {cpu}\nvendor_id\t: GenuineIntel\nmodel name\t: Some CPU @ {3 + cpu}.00GHz\n"
    f"cpu MHz\t\t: {2000 + cpu}.125\nflags\t\t: fpu sse2 avx2 avx512f avx512_vnni{' hypervisor' * virtual}\n\n"
    for cpu, virtual in ((0, True), (1, True))
)
RASPBERRY_PI = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid asimdhp asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b

Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""
TWO_KINDS = (
    "processor: 0\nCPU implementer: 0x41\nCPU part: 0xd08\n\nprocessor: 1\nCPU implementer: 0x41\nCPU part: 0xd03\n"
)
ORIN = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\nFeatures\t: fp asimd asimddp\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit Super\0",
    "proc/meminfo": "MemTotal:        7802900 kB\n",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n",
    "var/lib/nvpmodel/status": "pmode:0002\n",
    "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
}


def cpufreq(cpu: int, lowest: int, highest: int, governor: str) -> dict[str, str]:
    folder = f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
    return {
        f"{folder}/scaling_min_freq": f"{lowest}\n",
        f"{folder}/scaling_max_freq": f"{highest}\n",
        f"{folder}/scaling_cur_freq": f"{highest - 300000}\n",
        f"{folder}/scaling_governor": f"{governor}\n",
    }


class TestComputer:
    def test_a_virtual_pc(self, grow: Grow) -> None:
        found = read_computer(grow({"proc/cpuinfo": PC}))
        assert (found.cpu, found.cpu_flags) == ("Some CPU @ 3.00GHz", ("avx2", "avx512_vnni", "avx512f"))
        assert found.is_virtual is True and found.board is None

    def test_a_pc_of_metal(self, grow: Grow) -> None:
        assert read_computer(grow({"proc/cpuinfo": PC.replace(" hypervisor", "")})).is_virtual is False

    def test_a_jetson(self, grow: Grow) -> None:
        found = read_computer(grow(ORIN))
        assert found.cpu == found.board == "NVIDIA Jetson Orin Nano Developer Kit Super"
        assert (found.jetpack, found.l4t, found.memory_bytes) == ("6.2", "36.4.3", 7802900 * 1024)
        assert found.cpu_flags == ("asimd", "asimddp")
        assert found.is_virtual is None, "ARM does not say"

    def test_a_raspberry_pi(self, grow: Grow) -> None:
        found = read_computer(grow({"proc/cpuinfo": RASPBERRY_PI}))
        assert (found.cpu, found.cpu_flags) == ("Raspberry Pi 5 Model B Rev 1.0", ("asimd", "asimddp", "asimdhp"))

    def test_a_board_without_names_has_its_kinds_of_cores(self, grow: Grow) -> None:
        assert read_computer(grow({"proc/cpuinfo": TWO_KINDS})).cpu == "0x41/0xd03, 0x41/0xd08"

    @pytest.mark.parametrize("content", ["", ":", "flags", "\0" * 100, "model name:\nflags: :\nMHz: 1\n"])
    def test_a_file_that_cannot_be_understood_is_no_error(self, grow: Grow, content: str) -> None:
        found = read_computer(grow({"proc/cpuinfo": content}))
        assert found.cpu and found.cpu_flags == ()

    def test_this_computer_survives_json(self) -> None:
        found = read_computer()
        assert (found.kernel, found.cpu_count) == (platform.release(), os.cpu_count())
        assert parse(Computer, json.loads(found.model_dump_json())) == found

    def test_the_gpu_of_an_engine_is_asked_for_its_name(self, grow: Grow, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cuda, "gpu", lambda: cuda.Gpu("Orin", "8.7", 8, 1 << 33))
        root = grow({"proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun"})
        found = read_computer(root, gpu=gpu_of_engines())
        assert (found.gpu, found.gpu_driver) == ("Orin", "580.65.06")
        assert read_computer(root).gpu is None

    def test_a_gpu_that_an_engine_does_not_find_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def none() -> cuda.Gpu:
            raise EdgedetError("no GPU")

        monkeypatch.setattr(cuda, "gpu", none)
        with pytest.raises(EdgedetError, match="no GPU"):
            gpu_of_engines()

    def test_other_runtimes_may_compute_on_what_nvidia_does_not_know(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(nvml, "LIBRARY", "no-such-library.so")
        assert gpu_of_other_runtimes() is None


class TestClocks:
    def test_settings_are_those_of_the_measured_cpus(self, grow: Grow) -> None:
        root = grow(
            cpufreq(0, 400000, 1800000, "powersave")
            | cpufreq(4, 600000, 2400000, "schedutil")
            | cpufreq(5, 600000, 2400000, "schedutil")
        )
        found = read_clock_settings([4, 5], root)
        assert (found.governors, found.cpu_megahertz) == (("schedutil",), ((600, 2400),))
        assert found.is_pinned is False
        assert current_megahertz([4, 0], root) == {4: 2100, 0: 1500}
        assert highest_megahertz([4], root) == {4: 2400}

    def test_a_jetson_with_one_free_clock_is_not_pinned(self, grow: Grow) -> None:
        root = grow(ORIN | cpufreq(0, 1728000, 1728000, "schedutil"))
        found = read_clock_settings([0], root)
        assert (found.power_mode, found.gpu_megahertz) == ("MAXN_SUPER (2)", ((306, 1020),))
        assert found.is_pinned is False
        grow({"sys/class/devfreq/17000000.gpu/min_freq": "1020000000\n"})
        assert read_clock_settings([0], root).is_pinned is True

    @pytest.mark.parametrize(
        ("files", "boost"),
        [
            ({}, None),
            ({"cpufreq/boost": "1\n"}, True),
            ({"cpufreq/boost": "0\n"}, False),
            ({"intel_pstate/no_turbo": "1\n"}, False),
            ({"intel_pstate/no_turbo": "0\n"}, True),
            ({"cpufreq/boost": "perhaps\n"}, None),
        ],
    )
    def test_boost(self, grow: Grow, files: dict[str, str], boost: bool | None) -> None:
        root = grow({f"sys/devices/system/cpu/{name}": content for name, content in files.items()} | {"x": ""})
        assert read_clock_settings([0], root).boost is boost

    def test_without_cpufreq_cpuinfo_tells_the_clock_and_nobody_the_settings(self, grow: Grow) -> None:
        root = grow({"proc/cpuinfo": PC})
        assert current_megahertz([1], root) == {1: 2001.125}
        assert read_clock_settings([1], root) == ClockSettings()
        assert read_clock_settings([1], root).is_pinned is None
        assert highest_megahertz([1], root) == {}


class TestCores:
    FILES: Mapping[str, str] = {
        f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": siblings
        for cpu, siblings in enumerate(("0,4\n", "1,5\n", "2-3\n", "2-3\n", "0,4\n", "1,5\n"))
    }

    def test_each_core_comes_before_a_second_hyperthread(self, grow: Grow) -> None:
        assert one_per_core(range(6), grow(self.FILES)) == [0, 1, 2, 3, 4, 5]
        assert one_per_core([0, 4, 5, 2, 3], grow(self.FILES)) == [0, 2, 5, 3, 4]

    def test_siblings_are_the_others_of_the_same_cores(self, grow: Grow) -> None:
        root = grow(self.FILES)
        assert siblings([0, 2], root) == (3, 4)
        assert siblings([2, 3], root) == ()
        assert siblings([99], root) == ()
