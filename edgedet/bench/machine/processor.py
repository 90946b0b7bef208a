"""The CPU by its own description, `/proc/cpuinfo`."""

from __future__ import annotations

from dataclasses import dataclass

KERNEL_FLAGS = frozenset(
    {
        *("sse4_1", "ssse3", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx_vnni_int8"),
        *("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
        *("amx_tile", "amx_int8", "amx_bf16"),
        *("neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "svei8mm", "sme"),
    }
)
"""By which runtimes choose their kernels. Source: arch/x86/include/asm/cpufeatures.h and
Documentation/arch/arm64/elf_hwcaps.rst, whose names `/proc/cpuinfo` shows."""

HYPERVISOR = "hypervisor"
"""The x86 flag that hypervisors set for their guests."""


@dataclass(frozen=True)
class Processor:
    """What `/proc/cpuinfo` says.

    Attributes:
        name: e.g. `AMD EPYC`; of ARM's no more than `ARMv8 Processor rev 1 (v8l)`, if anything.
        board: what the CPU is on, of a Raspberry Pi; None elsewhere.
        parts: ARM's numbers, implementer and part, of each kind of core, e.g. `0x41/0xd42`.
        flags: those of `KERNEL_FLAGS` that it has, sorted.
        is_virtual: whether there is a hypervisor below; None on ARM, which does not say.
    """

    name: str | None
    board: str | None
    parts: tuple[str, ...]
    flags: tuple[str, ...]
    is_virtual: bool | None


def read_processor(cpuinfo: str) -> Processor:
    """Of the text of `/proc/cpuinfo`; flags are those of the first CPU."""
    lines = [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in cpuinfo.splitlines())]
    first = dict(reversed(lines))
    flags = first.get("flags", first.get("Features", "")).split()
    implementers = [value for key, value in lines if key == "CPU implementer"]
    parts = [value for key, value in lines if key == "CPU part"]
    return Processor(
        name=first.get("model name"),
        board=first.get("Model"),
        parts=tuple(sorted({"/".join(pair) for pair in zip(implementers, parts, strict=False)})),
        flags=tuple(sorted(KERNEL_FLAGS.intersection(flags))),
        is_virtual=HYPERVISOR in flags if "flags" in first else None,
    )
