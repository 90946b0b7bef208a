"""Boards and other computers, made of the files that they say of themselves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgedet.trt.machine import Clock, Machine, PowerMode, read_machine

ORIN_NANO_MODES = """\
# < POWER_MODEL ID=9 NAME=MAXN_COMMENTED >
< PARAM TYPE=FILE NAME=CPU_ONLINE >
CORE_0 /sys/devices/system/cpu/cpu0/online
< POWER_MODEL ID=0 NAME=15W >
GPU MAX_FREQ 612000000
< POWER_MODEL ID=1 NAME=25W >
GPU MAX_FREQ 918000000
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
GPU MAX_FREQ -1
< POWER_MODEL ID=3 NAME=7W >
< PM_CONFIG DEFAULT=1 >
"""
MEMORY = {"proc/meminfo": "MemTotal:        7802900 kB\nMemFree:         1000000 kB\n"}


def release(major: int, revision: str) -> dict[str, str]:
    line = (
        f"# R{major} (release), REVISION: {revision}, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8"
    )
    return {"etc/nv_tegra_release": f"{line}\n# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n"}


def model(name: str) -> dict[str, str]:
    return {"proc/device-tree/model": f"{name}\0"}


def devfreq(name: str, lowest: int, highest: int) -> dict[str, str]:
    folder = f"sys/class/devfreq/{name}"
    return {
        f"{folder}/min_freq": f"{lowest}\n",
        f"{folder}/max_freq": f"{highest}\n",
        f"{folder}/governor": "nvhost_podgov\n",
    }


def cpufreq(cpu: int, lowest: int, highest: int) -> dict[str, str]:
    folder = f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
    return {
        f"{folder}/scaling_min_freq": f"{lowest}\n",
        f"{folder}/scaling_max_freq": f"{highest}\n",
        f"{folder}/scaling_governor": "schedutil\n",
    }


def dpkg(version: str, status: str = "install ok installed") -> dict[str, str]:
    paragraphs = (
        "Package: nvidia-jetpack-runtime\nStatus: install ok installed\nVersion: 1.2.3+b1\n",
        f"Package: nvidia-jetpack\nStatus: {status}\nPriority: standard\nVersion: {version}\nDescription: all\n",
        "Package: zlib1g\nStatus: install ok installed\nVersion: 9.9.9\n",
    )
    return {"var/lib/dpkg/status": "\n".join(paragraphs)}


def read(root: Path, *parts: dict[str, str]) -> Machine:
    for part in parts:
        for name, content in part.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    return read_machine(root)


class TestBoards:
    def test_an_orin_nano_that_could_be_faster(self, tmp_path: Path) -> None:
        found = read(
            tmp_path,
            model("NVIDIA Jetson Orin Nano Developer Kit Super"),
            release(36, "4.3"),
            {"etc/nvpmodel.conf": ORIN_NANO_MODES, "var/lib/nvpmodel/status": "pmode:0000"},
            devfreq("17000000.gpu", 306000000, 612000000),
            devfreq("15340000.vic", 1, 1),
            cpufreq(0, 729600, 1497600),
            cpufreq(1, 729600, 1497600),
            MEMORY,
        )
        assert found == Machine(
            board="NVIDIA Jetson Orin Nano Developer Kit Super",
            l4t="36.4.3",
            jetpack="6.2",
            mode=PowerMode(0, "15W"),
            fastest_mode=PowerMode(2, "MAXN_SUPER"),
            gpu_clocks=(Clock(306_000_000, 612_000_000, "nvhost_podgov"),),
            cpu_clocks=(Clock(729_600_000, 1_497_600_000, "schedutil"),),
            driver=None,
            memory_bytes=7802900 * 1024,
        )
        assert found.power_mode == "15W (0)"
        assert found.l4t_numbers == (36, 4, 3)
        assert not found.gpu_clocks[0].is_pinned

    def test_an_orin_nano_after_jetson_clocks(self, tmp_path: Path) -> None:
        found = read(
            tmp_path,
            release(36, "4.3"),
            {"etc/nvpmodel.conf": ORIN_NANO_MODES, "var/lib/nvpmodel/status": "pmode:0002 fmode:quiet\n"},
            devfreq("17000000.gpu", 1020000000, 1020000000),
            cpufreq(0, 1728000, 1728000),
            cpufreq(4, 729600, 1728000),
        )
        assert found.power_mode == "MAXN_SUPER (2)"
        assert [clock.is_pinned for clock in (*found.gpu_clocks, *found.cpu_clocks)] == [True, True, False]

    def test_an_agx_orin_of_jetpack_6_0(self, tmp_path: Path) -> None:
        modes = "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=MODE_15W >\n"
        found = read(
            tmp_path,
            model("NVIDIA Jetson AGX Orin Developer Kit"),
            release(36, "3.0"),
            {"etc/nvpmodel.conf": modes, "var/lib/nvpmodel/status": "pmode:0000"},
            {"proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.3.0  x\n"},
        )
        assert (found.l4t, found.jetpack, found.driver) == ("36.3.0", "6.0", "540.3.0")
        assert found.mode == found.fastest_mode == PowerMode(0, "MAXN")

    def test_a_thor_of_jetpack_7_0(self, tmp_path: Path) -> None:
        found = read(
            tmp_path,
            model("NVIDIA Jetson AGX Thor Developer Kit"),
            release(38, "2.0"),
            devfreq("gpu-gpc-0", 315000000, 1575000000),
            devfreq("gpu-nvd-0", 1, 1),
        )
        assert (found.l4t, found.jetpack) == ("38.2.0", "7.0")
        assert found.gpu_clocks == (Clock(315_000_000, 1_575_000_000, "nvhost_podgov"),)

    def test_a_xavier_of_jetpack_5_1(self, tmp_path: Path) -> None:
        found = read(
            tmp_path,
            model("NVIDIA Jetson Xavier NX Developer Kit"),
            release(35, "2.1"),
            devfreq("17000000.gv11b", 114750000, 1109250000),
            {
                "etc/nvpmodel.conf": "< POWER_MODEL ID=8 NAME=MODE_20W_6CORE >\n",
                "var/lib/nvpmodel/status": "pmode:0008\n",
            },
        )
        assert (found.l4t, found.jetpack) == ("35.2.1", "5.1")
        assert (found.power_mode, found.fastest_mode) == ("MODE_20W_6CORE (8)", None)
        assert found.gpu_clocks[0].highest_hertz == 1_109_250_000

    def test_a_nano_of_jetpack_4_6(self, tmp_path: Path) -> None:
        found = read(
            tmp_path,
            model("NVIDIA Jetson Nano Developer Kit"),
            release(32, "7.1"),
            devfreq("57000000.gpu", 76800000, 921600000),
        )
        assert (found.l4t, found.jetpack) == ("32.7.1", "4.6.1")
        assert found.gpu_clocks[0].lowest_hertz == 76_800_000


class TestOtherComputers:
    @pytest.mark.parametrize(
        "line",
        [
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 06:54:38 UTC 2025",
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder@U22)",
        ],
    )
    def test_a_pc_with_a_driver(self, tmp_path: Path, line: str) -> None:
        found = read(tmp_path, {"proc/driver/nvidia/version": f"{line}\nGCC version:  gcc version 12.3.0\n"}, MEMORY)
        assert found == Machine(driver="580.65.06", memory_bytes=7802900 * 1024)
        assert (found.power_mode, found.l4t_numbers) == (None, ())

    def test_a_plain_pc(self, tmp_path: Path) -> None:
        assert read(tmp_path, dpkg("6.2+b77")) == Machine(), "JetPack's package says nothing where no Jetson is"

    def test_a_raspberry_pi(self, tmp_path: Path) -> None:
        assert read(tmp_path, model("Raspberry Pi 5 Model B Rev 1.0")) == Machine(
            board="Raspberry Pi 5 Model B Rev 1.0"
        )


class TestJetPack:
    @pytest.mark.parametrize(("version", "jetpack"), [("6.2.1+b38", "6.2.1"), ("4.6-b197", "4.6"), ("7.2", "7.2")])
    def test_the_installed_package_wins(self, tmp_path: Path, version: str, jetpack: str) -> None:
        assert read(tmp_path, release(36, "4.3"), dpkg(version)).jetpack == jetpack

    @pytest.mark.parametrize(
        "part", [dpkg("7.0+b1", "deinstall ok config-files"), dpkg("of no number"), {"var/lib/dpkg/status": ""}]
    )
    def test_else_l4t_says(self, tmp_path: Path, part: dict[str, str]) -> None:
        assert read(tmp_path, release(36, "4.3"), part).jetpack == "6.2"

    def test_an_l4t_that_nobody_knows_is_not_guessed(self, tmp_path: Path) -> None:
        found = read(tmp_path, release(36, "99.1"))
        assert (found.l4t, found.jetpack) == ("36.99.1", None)


class TestPowerModes:
    def test_a_mode_that_the_list_does_not_have_has_its_number(self, tmp_path: Path) -> None:
        assert read(tmp_path, {"var/lib/nvpmodel/status": "pmode:0007"}).power_mode == "mode (7)"

    def test_super_is_faster_than_maxn(self, tmp_path: Path) -> None:
        modes = "< POWER_MODEL ID=0 NAME=MAXN_SUPER >\n< POWER_MODEL ID=4 NAME=MAXN >\n"
        assert read(tmp_path, {"etc/nvpmodel.conf": modes}).fastest_mode == PowerMode(0, "MAXN_SUPER")


FILES = (
    "proc/device-tree/model",
    "etc/nv_tegra_release",
    "etc/nvpmodel.conf",
    "var/lib/nvpmodel/status",
    "var/lib/dpkg/status",
    "proc/driver/nvidia/version",
    "proc/meminfo",
    "sys/class/devfreq/17000000.gpu/min_freq",
    "sys/class/devfreq/17000000.gpu/max_freq",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq",
)


class TestBrokenFiles:
    @pytest.mark.parametrize(
        "content",
        [b"", b"\0", b"\x1b[31m", b"\xff\xfe\x00junk" * 100, b"\n" * 100_000, b"-1", b"9" * 5000],
        ids=["empty", "NUL", "escapes", "junk", "lines", "negative", "digits"],
    )
    def test_what_says_nothing_counts_as_absent(self, tmp_path: Path, content: bytes) -> None:
        for name in FILES:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        found = read_machine(tmp_path)
        assert found in (Machine(), Machine(board="-1"))

    def test_folders_in_the_place_of_files(self, tmp_path: Path) -> None:
        for name in FILES:
            (tmp_path / name).mkdir(parents=True)
        assert read_machine(tmp_path) == Machine()

    def test_files_in_the_place_of_folders(self, tmp_path: Path) -> None:
        for name in ("proc", "etc", "var", "sys"):
            (tmp_path / name).write_text("")
        assert read_machine(tmp_path) == Machine()

    def test_a_board_of_junk_keeps_its_other_files(self, tmp_path: Path) -> None:
        found = read(tmp_path, model("\x1b]0;title\x07"), release(36, "4.3"))
        assert (found.board, found.l4t) == (None, "36.4.3")

    @pytest.mark.parametrize("name", FILES)
    def test_a_file_of_a_terabyte_is_not_read_whole(self, tmp_path: Path, name: str) -> None:
        for part in (release(36, "4.3"), model("board")):
            read(tmp_path, part)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        with (tmp_path / name).open("ab") as file:
            os.truncate(file.fileno(), 1 << 40)
        found = read_machine(tmp_path)
        assert (found.board is None) == (name == "proc/device-tree/model")
        assert (found.l4t is None) == (name == "etc/nv_tegra_release")
