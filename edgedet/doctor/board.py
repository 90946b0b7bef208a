"""A Jetson's software, power mode and clocks."""

from __future__ import annotations

from collections.abc import Iterator

from edgedet.doctor.check import MISSING, OK, Check
from edgedet.trt.machine import Clock, Machine

MEGAHERTZ = 1_000_000


def check_board(machine: Machine) -> Iterator[Check]:
    """Nothing where this is no Jetson."""
    if machine.l4t is None:
        return
    jetpack = "an unknown JetPack" if machine.jetpack is None else f"JetPack {machine.jetpack}"
    yield Check("board", OK, f"{machine.board or 'of unknown name'}; {jetpack}, L4T {machine.l4t}")
    yield _power_mode(machine)
    yield _clocks(machine)


def _power_mode(machine: Machine) -> Check:
    fastest = machine.fastest_mode
    if machine.mode is None:
        return Check("power mode", MISSING, "the board does not say", fix="see what sudo nvpmodel -q says")
    if fastest is None or fastest.id == machine.mode.id:
        return Check("power mode", OK, f"{machine.mode}")
    detail = f"{machine.mode}: latency measured now is this mode's, and the board has {fastest}"
    return Check("power mode", OK, detail, fix=f"sudo nvpmodel -m {fastest.id}")


def _clocks(machine: Machine) -> Check:
    clocks = (*machine.gpu_clocks, *machine.cpu_clocks)
    if not clocks:
        return Check("clocks", MISSING, "the board does not say", fix="see what sudo jetson_clocks --show says")
    ranges = [f"GPU {_range(clock)}" for clock in machine.gpu_clocks]
    ranges += [f"CPU {_range(clock)}" for clock in machine.cpu_clocks]
    if all(clock.is_pinned for clock in clocks):
        return Check("clocks", OK, f"pinned: {', '.join(ranges)}")
    return Check("clocks", OK, f"not pinned, so latencies vary: {', '.join(ranges)}", fix="sudo jetson_clocks")


def _range(clock: Clock) -> str:
    lowest, highest = (round(hertz / MEGAHERTZ) for hertz in (clock.lowest_hertz, clock.highest_hertz))
    return f"{highest} MHz" if clock.is_pinned else f"{lowest} to {highest} MHz"
