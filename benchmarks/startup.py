"""Time of `import edgedet` and of `edgedet --help`, beyond an interpreter that does nothing.

    python benchmarks/startup.py [--rounds 15]

The three commands take turns; medians are printed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from protocol import print_protocol

COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "import edgedet": [sys.executable, "-c", "import edgedet"],
    "edgedet --help": [sys.executable, "-m", "edgedet", "--help"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(arguments.rounds):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - started)
    base = statistics.median(seconds["python"])
    print("| command | median, ms | beyond the interpreter, ms |\n| --- | --- | --- |")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"| {name} | {median * 1e3:.0f} | {(median - base) * 1e3:.0f} |")
    print_protocol("edgedet", "typer", rounds=arguments.rounds)


if __name__ == "__main__":
    main()
