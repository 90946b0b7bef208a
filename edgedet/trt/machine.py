"""What TensorRT runs on: the board, its software, its power mode and its clocks, read from files alone.

Sources: Jetson Linux Developer Guide, "Platform Power and Performance" (nvpmodel, jetson_clocks); jetson-stats
(`jtop/core/gpu.py`, how GPUs are called); jetson-containers (`l4t_version.py`) and NVIDIA's JetPack archive (versions);
the kernel's documentation of devfreq and cpufreq. Not every board and release has every file: without it, None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, read_bytes, read_text

TEXT_LIMIT, DPKG_LIMIT = MEBIBYTE, 64 * MEBIBYTE
LONGEST_NAME = 256

JETPACKS: Mapping[str, str] = {
    "32.6.1": "4.6",
    "32.7.1": "4.6.1",
    "32.7.2": "4.6.2",
    "32.7.3": "4.6.3",
    "32.7.4": "4.6.4",
    "32.7.5": "4.6.5",
    "32.7.6": "4.6.6",
    "35.1.0": "5.0.2",
    "35.2.1": "5.1",
    "35.3.1": "5.1.1",
    "35.4.1": "5.1.2",
    "35.5.0": "5.1.3",
    "35.6.0": "5.1.4",
    "35.6.1": "5.1.5",
    "35.6.2": "5.1.5",
    "36.3.0": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.4.7": "6.2.1",
    "36.5.0": "6.2.2",
    "36.5.2": "6.2.3",
    "38.2.0": "7.0",
    "38.2.1": "7.0",
    "38.2.2": "7.0",
    "38.4.0": "7.1",
    "39.2.0": "7.2",
    "39.2.1": "7.2.1",
    "39.2.2": "7.2.2",
}
"""JetPack's version by that of L4T, the Linux in it. One that is not here is not guessed."""

POWER_MODE = r"^ *< *POWER_MODEL +ID=(\d{1,4}) +NAME=([\w.+-]{1,64}) *>"
DRIVER = r"Kernel Module(?: for \w+)? +(\d{1,4}(?:\.\d{1,4}){1,3})\s"

GPU_CLOCKS = ("*.gpu", "*.ga10b", "*.gv11b", "*.gp10b", "gpu-gpc-*")
"""How `/sys/class/devfreq` calls the GPU: Nano and Orin, Orin (JetPack 5), Xavier, TX2, Thor."""

FASTEST = "MAXN"
"""What the names of modes begin with that limit no clock; on Orin with its Super firmware it is MAXN_SUPER."""


@dataclass(frozen=True)
class PowerMode:
    """One mode of `nvpmodel`; ids are those of the board, and the highest is not the fastest.

    Attributes:
        id: what `nvpmodel -m` takes.
        name: as `/etc/nvpmodel.conf` calls it.
    """

    id: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.id})"


@dataclass(frozen=True)
class Clock:
    """The range that the kernel chooses a clock from.

    Attributes:
        lowest_hertz, highest_hertz: its ends; `jetson_clocks` sets both to the highest of the power mode.
        governor: the rule that it chooses by; None where the kernel does not say.
    """

    lowest_hertz: int
    highest_hertz: int
    governor: str | None = None

    @property
    def is_pinned(self) -> bool:
        """Whether there is nothing to choose."""
        return self.lowest_hertz == self.highest_hertz


@dataclass(frozen=True)
class Machine:
    """A board, or another computer, and the state it is in.

    Attributes:
        board: as the device tree calls it, e.g. `NVIDIA Jetson Orin Nano Developer Kit`; PCs have none.
        l4t: version of Jetson's Linux, e.g. `36.4.3`; None says that this is no Jetson.
        jetpack: version of JetPack, e.g. `6.2`.
        mode: the power mode that is set.
        fastest_mode: the mode that limits no clock, where the board has one.
        gpu_clocks, cpu_clocks: each range once; empty where the kernel has none.
        driver: version of NVIDIA's kernel module, e.g. `580.65.06`; of Jetsons only newer ones say.
        memory_bytes: of the computer; on a Jetson the GPU's too.
    """

    board: str | None = None
    l4t: str | None = None
    jetpack: str | None = None
    mode: PowerMode | None = None
    fastest_mode: PowerMode | None = None
    gpu_clocks: tuple[Clock, ...] = ()
    cpu_clocks: tuple[Clock, ...] = ()
    driver: str | None = None
    memory_bytes: int | None = None

    @property
    def power_mode(self) -> str | None:
        """The power mode that is set, e.g. `MAXN_SUPER (2)`."""
        return None if self.mode is None else str(self.mode)

    @property
    def l4t_numbers(self) -> tuple[int, ...]:
        """L4T's version, to compare; empty where this is no Jetson."""
        return () if self.l4t is None else tuple(map(int, self.l4t.split(".")))


def read_machine(root: Path = Path("/")) -> Machine:
    """What this machine says of itself. Needs no rights; a file that cannot be read or understood counts as absent.

    Args:
        root: the folder that holds `proc`, `sys`, `etc` and `var`.
    """
    l4t = _l4t(root)
    modes = read_power_modes(root)
    return Machine(
        board=_board(root),
        l4t=l4t,
        jetpack=None if l4t is None else _installed_jetpack(root) or JETPACKS.get(l4t),
        mode=_current_mode(root, modes),
        fastest_mode=_fastest(modes),
        gpu_clocks=_gpu_clocks(root),
        cpu_clocks=_cpu_clocks(root),
        driver=_search(root / "proc/driver/nvidia/version", DRIVER),
        memory_bytes=_memory_bytes(root),
    )


def _board(root: Path) -> str | None:
    """Strings of a device tree end with a NUL (Devicetree Specification, 2.2.4)."""
    name = (_text(root / "proc/device-tree/model") or "").partition("\0")[0].strip()
    return name if 0 < len(name) <= LONGEST_NAME and name.isprintable() else None


def _l4t(root: Path) -> str | None:
    """Of `# R36 (release), REVISION: 4.3, GCID: ...`."""
    pattern = r"^# R(\d{1,3} \(release\), REVISION: \d{1,3}(?:\.\d{1,3})*),"
    found = _search(root / "etc/nv_tegra_release", pattern)
    return None if found is None else found.replace(" (release), REVISION: ", ".")


def _installed_jetpack(root: Path) -> str | None:
    """Of the package that stands for all of JetPack, which need not be installed; e.g. 6.2 of `6.2+b77`."""
    try:
        status = read_bytes(root / "var/lib/dpkg/status", limit=DPKG_LIMIT)
    except EdgedetError:
        return None
    paragraph = re.search(rb"^Package: nvidia-jetpack\n(?:.+\n)*", status, re.MULTILINE)
    if paragraph is None or b"\nStatus: install ok installed\n" not in paragraph[0]:
        return None
    version = re.search(rb"\nVersion: (\d{1,3}(?:\.\d{1,3}){1,3})\b", paragraph[0])
    return None if version is None else version[1].decode()


def read_power_modes(root: Path = Path("/")) -> list[PowerMode]:
    """The modes of the board's own table, in its order; empty where there is none."""
    text = _text(root / "etc/nvpmodel.conf") or ""
    found = re.findall(POWER_MODE, text, re.MULTILINE | re.ASCII)
    return [PowerMode(int(id), name) for id, name in found]


def _current_mode(root: Path, modes: list[PowerMode]) -> PowerMode | None:
    """Of `pmode:0002`, which nvpmodel writes whenever a mode is set."""
    found = _search(root / "var/lib/nvpmodel/status", r"\bpmode:(\d{1,4})\b")
    if found is None:
        return None
    return next((mode for mode in modes if mode.id == int(found)), PowerMode(int(found), "mode"))


def _fastest(modes: list[PowerMode]) -> PowerMode | None:
    named = [mode for mode in modes if mode.name.startswith(FASTEST)]
    return max(named, key=lambda mode: "SUPER" in mode.name, default=None)


def _gpu_clocks(root: Path) -> tuple[Clock, ...]:
    folder = root / "sys/class/devfreq"
    paths = [path for pattern in GPU_CLOCKS for path in sorted(folder.glob(pattern))]
    clocks = (_clock(path / "min_freq", path / "max_freq", path / "governor", hertz=1) for path in paths)
    return tuple(dict.fromkeys(clock for clock in clocks if clock is not None))


def _cpu_clocks(root: Path) -> tuple[Clock, ...]:
    """cpufreq's numbers are in kilohertz."""
    paths = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq"))
    clocks = (
        _clock(path / "scaling_min_freq", path / "scaling_max_freq", path / "scaling_governor", hertz=1000)
        for path in paths
    )
    return tuple(dict.fromkeys(clock for clock in clocks if clock is not None))


def _clock(lowest: Path, highest: Path, governor: Path, *, hertz: int) -> Clock | None:
    ends = [_search(path, r"^(\d{1,15})$") for path in (lowest, highest)]
    if ends[0] is None or ends[1] is None:
        return None
    return Clock(int(ends[0]) * hertz, int(ends[1]) * hertz, _search(governor, r"^([\w-]{1,64})$"))


def _memory_bytes(root: Path) -> int | None:
    found = _search(root / "proc/meminfo", r"^MemTotal: +(\d{1,15}) kB$")
    return None if found is None else int(found) * 1024


def _search(path: Path, pattern: str) -> str | None:
    """The first group of a pattern that a file holds."""
    found = re.search(pattern, _text(path) or "", re.MULTILINE | re.ASCII)
    return None if found is None else found[1]


def _text(path: Path) -> str | None:
    try:
        return read_text(path, limit=TEXT_LIMIT)
    except EdgedetError:
        return None
