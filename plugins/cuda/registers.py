"""Compiles the CUDA kernels for each architecture that nvcc knows, and prints what they take; no GPU is needed.

    python plugins/cuda/registers.py [NVCC]

Fails where a kernel spills registers into memory.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
ARCHITECTURES = (75, 80, 86, 87, 89, 90, 100, 110, 120)
KERNEL = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers(?:[^\n]*?(?P<shared>\d+) bytes smem)?",
    re.DOTALL,
)
NAMES = re.compile(r"find_candidates|select_best|compare_pairs|keep|float_mish|table_mish|convolve")
PASSES = ("fused", "predict", "update", "element", "dense")


def main(nvcc: str) -> int:
    listed = subprocess.run([nvcc, "--list-gpu-arch"], check=True, stdout=subprocess.PIPE, text=True).stdout
    known = [number for number in ARCHITECTURES if f"compute_{number}\n" in listed]
    print(f"| kernel | {' | '.join(f'sm_{number}' for number in known)} | shared bytes |")
    print(f"| {'--- | ' * (len(known) + 2)}")
    spills = 0
    for source in sorted(SOURCES.glob("*.cu")):
        with ThreadPoolExecutor(2) as pool:
            reports = list(pool.map(lambda number, source=source: report(nvcc, source, number), known))
        for name in reports[0]:
            registers = [kernels[name]["registers"] for kernels in reports]
            print(f"| {name} | {' | '.join(registers)} | {reports[0][name]['shared'] or 0} |", flush=True)
            spills += sum(int(kernels[name][kind]) for kernels in reports for kind in ("stack", "stores", "loads"))
    print(f"registers a thread; {spills} bytes spilled")
    return int(spills > 0)


def report(nvcc: str, source: Path, architecture: int) -> dict[str, dict[str, str]]:
    """What each kernel of a file takes, by its name and types."""
    exact = ["--fmad=false"] if source.stem in ("diou_nms", "gated_conv") else []
    with tempfile.TemporaryDirectory() as folder:
        command = [nvcc, "-std=c++14", "-O3", *exact, "-I", str(SOURCES.parent), f"-arch=sm_{architecture}"]
        command += ["-Xptxas", "-v", "-cubin", "-o", str(Path(folder) / "kernels.cubin"), str(source)]
        log = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr
    return {short(match["name"]): match.groupdict() for match in KERNEL.finditer(log)}


def short(mangled: str) -> str:
    """`keep<float, __half>` for the mangled name of it."""
    found = NAMES.search(mangled)
    if found is None:
        return mangled
    if passes := re.match(r"I\w*?PassE(\d)ELb(\d)E(f|6__half)E", mangled[found.end() :]):
        shape = "1x1" if passes[2] == "1" else "any"
        return f"{found[0]}<{PASSES[int(passes[1])]}, {shape}, {'float' if passes[3] == 'f' else 'half'}>"
    arguments = re.match(r"I((?:f|6__half|S\w*?_)+)E", mangled[found.end() :])
    types = re.findall(r"f|6__half|S\w*?_", arguments[1]) if arguments else []
    return f"{found[0]}<{', '.join('float' if kind == 'f' else 'half' for kind in types)}>" if types else found[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "nvcc"))
