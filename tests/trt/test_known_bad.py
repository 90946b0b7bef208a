"""Each known fault is met where it is, and not next door."""

from __future__ import annotations

import pytest

from edgedet.trt.known_bad import FAULTS, known_faults
from edgedet.trt.machine import Machine
from edgedet.trt.versions import Version

PC = Machine(driver="580.65.06")
NANO = Machine(board="NVIDIA Jetson Nano Developer Kit", l4t="32.7.1")
XAVIER = Machine(board="NVIDIA Jetson Xavier NX Developer Kit", l4t="35.2.1")
ORIN_5 = Machine(board="NVIDIA Jetson AGX Orin Developer Kit", l4t="35.4.1")
ORIN_6 = Machine(board="NVIDIA Jetson AGX Orin Developer Kit", l4t="36.4.3")
ORIN_7 = Machine(board="NVIDIA Jetson AGX Orin Developer Kit", l4t="39.2.2")
ORIN_7_OLDER = Machine(board="NVIDIA Jetson AGX Orin Developer Kit", l4t="39.2.1")
ORIN_NANO_6 = Machine(board="NVIDIA Jetson Orin Nano Developer Kit Super", l4t="36.4.3")
ORIN_NANO_7 = Machine(board="NVIDIA Jetson Orin Nano Developer Kit Super", l4t="39.2.2")
THOR = Machine(board="NVIDIA Jetson AGX Thor Developer Kit", l4t="38.2.0")
THOR_7_2_2 = Machine(board="NVIDIA Jetson AGX Thor Developer Kit", l4t="39.2.2")

MET = {
    "no-pascal": [("10.0.0", PC, "6.1"), ("10.4.0", PC, "6.1")],
    "no-volta": [("10.5.0", PC, "7.0"), ("10.5.0", PC, "6.1"), ("11.4.0", PC, "7.0"), ("10.5.0", XAVIER, "7.2")],
    "server-build-on-orin": [
        ("10.8.0", ORIN_6, "8.7"),
        ("10.8.0", ORIN_5, None),
        ("11.4.1", ORIN_NANO_6, "8.7"),
        ("10.7.0 by pip", ORIN_6, "8.7"),
        ("10.5.0 by pip", ORIN_5, "8.7"),
    ],
    "wrong-library-10.2": [("10.2.0", PC, "8.6"), ("10.2.0", PC, None)],
    "int8-topk-10.3": [("10.3.0", ORIN_6, "8.7"), ("10.3.0", ORIN_NANO_6, None)],
    "no-dla": [("10.8.0", ORIN_7, "8.7"), ("10.16.1", ORIN_7, "8.7"), ("11.4.0", ORIN_7, "8.7")],
    "no-jetpack": [("11.0.0", THOR, "11.0"), ("11.4.0", ORIN_7, "8.7")],
    "other-jetpack": [("11.4.1", THOR, "11.0"), ("11.4.1", ORIN_7_OLDER, "8.7"), ("11.5.0", ORIN_NANO_7, "8.7")],
    "no-weak-typing": [("11.0.0", PC, "8.6"), ("11.4.1", THOR_7_2_2, "11.0")],
}

NOT_MET = {
    "no-pascal": [("8.6.1", PC, "6.1"), ("10.0.0", PC, "7.0"), ("10.0.0", PC, None), ("10.5.0", PC, "6.1")],
    "no-volta": [
        ("10.4.0", PC, "7.0"),
        ("10.5.0", PC, "7.5"),
        ("10.5.0", PC, "10.0"),
        ("10.5.0", PC, None),
        ("8.5.2", XAVIER, "7.2"),
        ("8.2.1", NANO, "5.3"),
    ],
    "server-build-on-orin": [
        ("10.7.0", ORIN_6, "8.7"),
        ("10.3.0", ORIN_6, "8.7"),
        ("10.4.0 by pip", ORIN_6, "8.7"),
        ("8.5.2", ORIN_5, "8.7"),
        ("10.16.1", ORIN_7, "8.7"),
        ("10.13.3 by pip", THOR, "11.0"),
        ("10.13.3 by pip", PC, "8.7"),
        ("10.8.0", XAVIER, "7.2"),
    ],
    "wrong-library-10.2": [("10.1.0", PC, "8.6"), ("10.3.0", PC, "8.6")],
    "int8-topk-10.3": [("10.3.0", PC, "8.6"), ("10.4.0", ORIN_6, "8.7"), ("8.6.2", ORIN_6, "8.7")],
    "no-dla": [
        ("10.7.0", ORIN_6, "8.7"),
        ("11.4.1", ORIN_7, "8.7"),
        ("10.16.1", ORIN_NANO_7, "8.7"),
        ("10.13.3", THOR, "11.0"),
        ("10.13.3", PC, "8.9"),
    ],
    "no-jetpack": [("10.16.1", THOR, "11.0"), ("11.4.1", ORIN_7, "8.7"), ("11.0.0", PC, "8.9")],
    "other-jetpack": [
        ("11.4.1", ORIN_7, "8.7"),
        ("11.4.1", THOR_7_2_2, "11.0"),
        ("11.4.0", THOR, "11.0"),
        ("11.4.1", PC, "8.9"),
    ],
    "no-weak-typing": [("10.16.1", PC, "8.6")],
}


def names(version: str, machine: Machine, compute_capability: str | None) -> set[str]:
    number, _, by_pip = version.partition(" ")
    found = known_faults(Version.parse(number), machine, compute_capability, from_wheel=bool(by_pip))
    return {fault.name for fault in found}


@pytest.mark.parametrize("name", [fault.name for fault in FAULTS])
def test_a_fault_is_met_where_it_is_and_not_next_door(name: str) -> None:
    assert [place for place in MET[name] if name not in names(*place)] == []
    assert [place for place in NOT_MET[name] if name in names(*place)] == []


@pytest.mark.parametrize(
    ("version", "machine", "compute_capability"),
    [
        ("8.2.1", NANO, "5.3"),
        ("8.5.2", XAVIER, "7.2"),
        ("8.5.2", ORIN_5, "8.7"),
        ("8.6.2", Machine(board="NVIDIA Jetson AGX Orin Developer Kit", l4t="36.3.0"), "8.7"),
        ("10.13.3", THOR, "11.0"),
        ("10.16.1", ORIN_NANO_7, "8.7"),
        ("8.6.1", PC, "6.1"),
        ("10.13.0", PC, "12.0"),
    ],
)
def test_what_boards_come_with_has_no_known_fault(version: str, machine: Machine, compute_capability: str) -> None:
    assert names(version, machine, compute_capability) == set()


def test_every_fault_names_its_source_and_a_way_out() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert all("#" in fault.source or fault.source.startswith("https://") for fault in FAULTS)
    assert all(fault.what and fault.fix for fault in FAULTS)
    assert all(fault.before is None or fault.first < fault.before for fault in FAULTS)
