"""The processor and Python."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

from edgedet.doctor.check import GIBIBYTE, OK, Check
from edgedet.trt.machine import Machine

CPU_FEATURES: Mapping[str, str] = {
    "avx2": "vectors of 8",
    "avx512f": "vectors of 16",
    "avx512_vnni": "fast INT8",
    "avx_vnni": "fast INT8",
    "asimd": "vectors of 4",
    "asimddp": "fast INT8",
    "i8mm": "faster INT8",
}
"""Flags of /proc/cpuinfo that decide how fast detectors run."""


def check_device(machine: Machine) -> Check:
    """The processor, by its own description, and memory."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    flags = fields.get("flags", fields.get("Features", "")).split()
    features = ", ".join(f"{flag} ({meaning})" for flag, meaning in CPU_FEATURES.items() if flag in flags)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = fields.get("model name", platform.processor() or "CPU")
    memory = "" if machine.memory_bytes is None else f", {machine.memory_bytes / GIBIBYTE:.1f} GiB"
    detail = f"{model}, {platform.machine()}, {cores} cores{memory}"
    return Check("device", OK, f"{detail}; {features or 'no known vector instructions'}")


def check_python() -> Check:
    """The Python that runs this."""
    return Check("Python", OK, f"{platform.python_version()}, {sys.executable}")
