"""What doctor says of a Jetson's software, power mode and clocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgedet.doctor.board import check_board
from edgedet.doctor.check import MISSING, OK, Check
from edgedet.trt.machine import Clock, Machine, PowerMode

PINNED, RANGE = Clock(1_020_000_000, 1_020_000_000), Clock(306_000_000, 612_000_000)
ORIN = Machine(
    board="NVIDIA Jetson Orin Nano Developer Kit Super",
    l4t="36.4.3",
    jetpack="6.2",
    mode=PowerMode(2, "MAXN_SUPER"),
    fastest_mode=PowerMode(2, "MAXN_SUPER"),
    gpu_clocks=(PINNED,),
    cpu_clocks=(Clock(1_728_000_000, 1_728_000_000),),
)


def of(name: str, machine: Machine) -> Check:
    return {check.name: check for check in check_board(machine)}[name]


@pytest.mark.parametrize("machine", [Machine(), Machine(board="Raspberry Pi 5"), replace(ORIN, l4t=None)])
def test_nothing_is_said_of_what_is_no_jetson(machine: Machine) -> None:
    assert list(check_board(machine)) == []


def test_a_board_at_its_fastest_has_nothing_to_fix() -> None:
    board, mode, clocks = check_board(ORIN)
    assert board == Check("board", OK, "NVIDIA Jetson Orin Nano Developer Kit Super; JetPack 6.2, L4T 36.4.3")
    assert mode == Check("power mode", OK, "MAXN_SUPER (2)")
    assert clocks == Check("clocks", OK, "pinned: GPU 1020 MHz, CPU 1728 MHz")


def test_a_faster_mode_is_named_with_its_command() -> None:
    found = of("power mode", replace(ORIN, mode=PowerMode(0, "15W")))
    assert (found.state, found.fix) == (OK, "sudo nvpmodel -m 2")
    assert "15W (0)" in found.detail and "MAXN_SUPER (2)" in found.detail


def test_a_board_without_a_fastest_mode_is_left_alone() -> None:
    found = of("power mode", replace(ORIN, mode=PowerMode(8, "MODE_20W_6CORE"), fastest_mode=None))
    assert found == Check("power mode", OK, "MODE_20W_6CORE (8)")


@pytest.mark.parametrize("free", ["gpu_clocks", "cpu_clocks"])
def test_clocks_that_are_not_pinned_are_named_with_their_command(free: str) -> None:
    found = of("clocks", replace(ORIN, **{free: (PINNED, RANGE)}))
    assert (found.state, found.fix) == (OK, "sudo jetson_clocks")
    assert found.detail.startswith("not pinned") and "306 to 612 MHz" in found.detail


def test_a_board_that_says_little() -> None:
    board, mode, clocks = check_board(Machine(l4t="40.1.0"))
    assert board.detail == "of unknown name; an unknown JetPack, L4T 40.1.0"
    assert (mode.state, clocks.state) == (MISSING, MISSING)
