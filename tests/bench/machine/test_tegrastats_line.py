"""Lines of tegrastats, as boards of JetPack 4 to 7 write them (see test_power.py for their power)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedet.bench.machine.board_summary import BoardSummary, summarise
from edgedet.bench.machine.tegrastats_line import CpuLoad, TegrastatsSample, read_line
from edgedet.config import parse

NANO_JETPACK_4 = (
    "RAM 1923/3964MB (lfb 2x2MB) SWAP 191/1982MB (cached 6MB) IRAM 0/252kB(lfb 252kB) "
    "CPU [5%@1224,4%@1224,3%@1224,6%@1224] EMC_FREQ 0%@1600 GR3D_FREQ 0%@76 APE 25 PLL@37C CPU@40C PMIC@50C GPU@40C "
    "AO@45C thermal@40C POM_5V_IN 1750/1628 POM_5V_GPU 0/0 POM_5V_CPU 366/406"
)
XAVIER_NX_JETPACK_5 = (
    "11-24-2022 18:41:07 RAM 3347/6854MB (lfb 2x4MB) SWAP 12/3427MB (cached 0MB) CPU [21%@1190,19%@1190,off,off] "
    "EMC_FREQ 13%@1600 GR3D_FREQ 61%@1109 VIC_FREQ 115 APE 150 AUX@40.5C CPU@42C thermal@41.1C AO@40C GPU@41.5C "
    "PMIC@50C VDD_IN 5336mW/4970mW VDD_CPU_GPU_CV 2617mW/2336mW VDD_SOC 1478mW/1318mW"
)
ORIN_NANO_JETPACK_6 = (
    "10-08-2026 04:35:02 RAM 6712/7620MB (lfb 12x4MB) SWAP 369/3810MB (cached 8MB) CPU [38%@1497,2%@729,1%@729,off] "
    "EMC_FREQ 61%@2133 GR3D_FREQ 99%@[612] NVDEC off NVJPG off VIC off OFA off APE 200 cpu@57.125C soc2@55.093C "
    "cv0@-256C gpu@58.625C tj@58.312C VDD_IN 5081mW/5181mW VDD_CPU_GPU_CV 1104mW/944mW VDD_SOC 1520mW/1659mW"
)
THOR_JETPACK_7 = (
    "08-08-2026 20:58:23 RAM 3429/125749MB (lfb 120x4MB) CPU [0%,5%,off]@2601 EMC_FREQ @4266 "
    "GR3D_FREQ @[1574,1574,1574] cpu@49.75C/49.75C tj@51.218C/51.218C gpu@51.218C/51.218C "
    "VDD_GPU 6330mW/6330mW/6330mW VDD_CPU_SOC_MSS 9120mW/8000mW/9500mW VIN_SYS_5V0 7100mW/7100mW/7200mW "
    "VIN 28906mW/14453mW/28906mW"
)


def read(line: str) -> TegrastatsSample:
    sample = read_line(line)
    assert sample is not None
    return sample


def test_a_nano_of_jetpack_4() -> None:
    sample = read(NANO_JETPACK_4)
    assert sample.moment is None
    assert (sample.ram_used_mib, sample.ram_total_mib) == (1923, 3964)
    assert (sample.swap_used_mib, sample.swap_total_mib) == (191, 1982)
    assert sample.cpus == tuple(CpuLoad(percent=percent, megahertz=1224) for percent in (5, 4, 3, 6))
    assert (sample.gpu_percent, sample.gpu_megahertz) == (0, (76,))
    assert (sample.memory_controller_percent, sample.memory_controller_megahertz) == (0, 1600)
    assert sample.celsius == {"PLL": 37, "CPU": 40, "PMIC": 50, "GPU": 40, "AO": 45, "thermal": 40}
    assert sample.watts == {"POM_5V_IN": 1.75, "POM_5V_GPU": 0, "POM_5V_CPU": 0.366}
    assert sample.total_watts == 1.75


def test_a_xavier_of_jetpack_5() -> None:
    sample = read(XAVIER_NX_JETPACK_5)
    assert sample.moment == "11-24-2022 18:41:07"
    assert sample.cpus[2:] == (None, None)
    assert sample.cpu_percent == 20
    assert (sample.gpu_percent, sample.gpu_megahertz) == (61, (1109,))
    assert sample.total_watts == 5.336


def test_an_orin_of_jetpack_6() -> None:
    sample = read(ORIN_NANO_JETPACK_6)
    assert sample.cpus == (
        CpuLoad(percent=38, megahertz=1497),
        CpuLoad(percent=2, megahertz=729),
        CpuLoad(percent=1, megahertz=729),
        None,
    )
    assert (sample.gpu_percent, sample.gpu_megahertz) == (99, (612,))
    assert sample.memory_controller_percent == 61
    assert sample.celsius == {"cpu": 57.125, "soc2": 55.093, "gpu": 58.625, "tj": 58.312}, "-256 is no temperature"
    assert sample.total_watts == 5.081


def test_a_thor_of_jetpack_7() -> None:
    sample = read(THOR_JETPACK_7)
    assert sample.swap_total_mib is None
    assert sample.cpus == (CpuLoad(percent=0, megahertz=2601), CpuLoad(percent=5, megahertz=2601), None)
    assert (sample.gpu_percent, sample.gpu_megahertz) == (None, (1574, 1574, 1574))
    assert (sample.memory_controller_percent, sample.memory_controller_megahertz) == (None, 4266)
    assert sample.celsius["tj"] == 51.218
    assert sample.total_watts == 28.906


@pytest.mark.parametrize(
    "line", ["", "tegrastats: not found", "08-08-2026 20:58:23 ", "Usage: tegrastats [--interval]"]
)
def test_other_lines_say_nothing(line: str) -> None:
    assert read_line(line) is None


@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_any_text_is_survived(text: str) -> None:
    read_line(text)
    read_line(f"RAM 1/2MB CPU [{text}] GR3D_FREQ {text} {text}@1C VDD_IN {text}")


def test_parts_may_come_in_any_order_and_alone() -> None:
    words = THOR_JETPACK_7.split(" RAM ")[1]
    turned = " ".join(["VIN 28906mW/14453mW/28906mW", "GR3D_FREQ @[1574]", f"RAM {words}"])
    assert read(turned).gpu_megahertz == (1574,)
    assert read("GR3D_FREQ 7%").gpu_percent == 7


def test_a_summary_is_of_all_samples() -> None:
    other = ORIN_NANO_JETPACK_6.replace("99%@[612]", "41%@[306]").replace("6712/", "7000/").replace("58.312C", "61C")
    other = other.replace("VDD_IN 5081mW", "VDD_IN 7081mW")
    summary = summarise([read(ORIN_NANO_JETPACK_6), read(other)])
    assert summary is not None
    assert summary.samples == 2
    assert (summary.ram_used_mib, summary.ram_total_mib) == (7000, 7620)
    assert (summary.gpu_percent, summary.gpu_megahertz) == (70, (306, 612))
    assert summary.celsius["tj"] == 61
    assert summary.watts["VDD_IN"] == pytest.approx(6.081)
    assert "GPU 70 % busy" in summary.text() and "tj at most 61.0 °C" in summary.text()
    assert parse(BoardSummary, json.loads(summary.model_dump_json())) == summary


def test_a_summary_of_little() -> None:
    assert summarise([]) is None
    summary = summarise([read("RAM 1/2MB")])
    assert summary is not None
    assert (summary.gpu_percent, summary.cpu_percent, summary.gpu_megahertz) == (None, None, None)
    assert summary.text() == "RAM at most 1 of 2 MiB (1 samples of tegrastats)"
