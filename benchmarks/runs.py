"""Training runs of a benchmark: each in its own folder, kept, and read again."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

Scores = Mapping[int, Mapping[str, float]]
"""What the runs of a variant reached on the test split, by seed or by place in a list."""


def train_once(out: Path, data: Path, *options: object, checkpoint: str = "best.pt") -> None:
    """A run of `edgedet train` into a folder, and the test split's figures of its checkpoint; if not done yet."""
    if (out / "test.json").exists():
        return
    log = out.with_name(f"{out.name}.log")
    edgedet("train", data, "--out", out, "--overwrite", *options, log=log)
    found = edgedet("eval", out / checkpoint, data, "--split", "test", "--json", log=log)
    (out / "test.json").write_text(found, encoding="utf-8")


def edgedet(*arguments: object, log: Path) -> str:
    """What a command prints; what it says meanwhile goes into the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as errors:
        command = [sys.executable, "-m", "edgedet", *map(str, arguments)]
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=errors).stdout


def scores(folders: Mapping[int, Path]) -> dict[int, dict[str, float]]:
    """Of those runs that are done."""
    found = {seed: folder / "test.json" for seed, folder in folders.items()}
    return {seed: json.loads(path.read_text(encoding="utf-8")) for seed, path in found.items() if path.exists()}


def mean(found: Scores, name: str = "map") -> float:
    return statistics.mean(one[name] for one in found.values())


def spread(found: Scores) -> str:
    values = [one["map"] for one in found.values()]
    return f"{min(values):.4f} to {max(values):.4f}"


def difference(found: Scores, base: Scores) -> str:
    """The mean of mAP50-95's difference to the base's run of the same seed, with its standard error."""
    differences = [one["map"] - base[seed]["map"] for seed, one in found.items() if seed in base]
    if not differences:
        return ""
    more = f"{statistics.mean(differences):+.4f}"
    if len(differences) > 1:
        more += f" ± {statistics.stdev(differences) / math.sqrt(len(differences)):.4f}"
    return more
