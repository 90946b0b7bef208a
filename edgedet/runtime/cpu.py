"""What the CPU can multiply."""

from __future__ import annotations

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
LIMIT = 1 << 16
"""Bytes: the first core is described within these."""


def overflows(cpuinfo: Path = CPUINFO) -> bool:
    """Whether sums of products of unsigned and signed bytes are cut off at 16 bits: on x86 without VNNI.

    False where the system does not tell.
    """
    try:
        with cpuinfo.open("rb") as file:
            lines = file.read(LIMIT).decode("ascii", "replace").splitlines()
    except OSError:
        return False
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags") and ":" in line), [])
    return bool(flags) and not any("vnni" in flag for flag in flags)
