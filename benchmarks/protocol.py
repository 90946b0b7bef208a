"""What the figures of a benchmark depend on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


def cpu_model() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def print_protocol(*packages: str, **settings: object) -> None:
    """Prints machine, versions and settings on one line."""
    parts = [f"{cpu_model()}, {len(os.sched_getaffinity(0))} cores", f"Python {platform.python_version()}"]
    parts += [f"{package} {version(package)}" for package in packages]
    parts += [f"{name} {value}" for name, value in settings.items()]
    load = os.getloadavg()[0]
    print(f"protocol: {', '.join(parts)}, load average at the end {load:.1f}")
