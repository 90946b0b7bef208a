"""Whether a bundle is for the machine that it is on."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from edgedet.deploy.targets import Target
from edgedet.trt.machine import Machine


def machine_differences(target: Target, here: Machine, architecture: str | None = None) -> Iterator[str]:
    """What keeps a target's bundle from running here, each in words; nothing where it is for this machine.

    Args:
        target: what the bundle was made for.
        here: this machine, see `edgedet.trt.machine.read_machine`.
        architecture: as `uname -m` says; None asks.
    """
    board, software = target.board, target.software
    architecture = architecture or platform.machine()
    if architecture != board.machine:
        yield f"it is for {board.machine}, and this is {architecture}"
        return
    if not board.boards:
        return
    if here.l4t is None:
        yield f"it is for {board.title}, and this is no Jetson"
        return
    if not any(name in (here.board or "") for name in board.boards):
        yield f"it is for {board.title}, and this is {here.board or 'a board of unknown name'}"
    if here.l4t not in software.l4t:
        found = "an unknown JetPack" if here.jetpack is None else f"JetPack {here.jetpack}"
        wanted = f"JetPack {software.releases[0]} to {software.releases[-1]}"
        yield f"it is for {wanted} (L4T {software.l4t[0]} to {software.l4t[-1]}), and this has {found} (L4T {here.l4t})"
