"""The C++ runner beside the Python runtime and beside a loop of ONNX Runtime alone, on one model.

    python benchmarks/runner.py MODEL [--rounds 9] [--seconds 2]

The bare loop and the runner's own run in one process, run by run in turn: what the runner takes longer is the median of
such pairs. Then the whole runner and the Python runtime, in turn, as often as there are rounds; of each round's medians
the median is told. Build first: make operators.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import onnxruntime

from edgedet.deploy.golden import scene
from edgedet.runtime.load import load_detector

BUILD = Path(__file__).resolve().parents[1] / "build" / "native" / "export" / "runner"
WARM_UP_MS = 200


def in_turn(model: Path, library: Path, seconds: float, size: tuple[int, int]) -> tuple[float, float, float]:
    """Medians in milliseconds: of bare runs, of the runner's, and of what one of a pair takes longer than the other."""
    words = [model, library, 1, WARM_UP_MS, seconds, *size]
    command = [BUILD / "tests" / "runner_bare_loop", *map(str, words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    bare, ours = np.array(done.stdout.split(), np.float64).reshape(-1, 2).T
    return float(np.median(bare)), float(np.median(ours)), float(np.median(ours - bare))


def runner(model: Path, library: Path, seconds: float, image: Path) -> dict[str, float]:
    """Medians in milliseconds: of the network, and of the stages of a detection."""
    options = ["--benchmark", "--json", "--threads", "1", "--duration", str(seconds), "--warmup-ms", str(WARM_UP_MS)]
    command = [BUILD / "edgedet-run", model, image, *options, "--onnxruntime", library]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"network": found["latency"]["median"], **{name: stage["median"] for name, stage in found["stages"].items()}}


def python(model: Path, seconds: float, image: np.ndarray) -> dict[str, float]:
    """The same of the Python runtime."""
    detector = load_detector(model, threads=1)
    tensor, _ = detector.preprocess([image])
    network = detector.backend.bind({detector.backend.inputs[0].name: tensor})

    def measured(call, times: list) -> None:
        end = time.perf_counter() + WARM_UP_MS / 1e3
        while time.perf_counter() < end:
            call()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            call()
            times.append(((time.perf_counter() - start) * 1e3, detector.timings))

    alone: list = []
    whole: list = []
    measured(network, alone)
    measured(lambda: detector.detect([image]), whole)
    stages = {
        name: median(getattr(timings, name) for _, timings in whole)
        for name in ("preprocess", "inference", "postprocess", "total")
    }
    return {"network": median(spent for spent, _ in alone), **stages}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    (library,) = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.1*"))[:1]
    size = load_detector(options.model, threads=1).spec.preprocess
    image = scene(480, 640, seed=0)
    path = Path(tempfile.mkdtemp()) / "scene.ppm"
    cv2.imwrite(str(path), image)
    pairs, ours, theirs = [], [], []
    for _ in range(options.rounds):
        pairs.append(in_turn(options.model, library, options.seconds, (size.height, size.width)))
        ours.append(runner(options.model, library, options.seconds, path))
        theirs.append(python(options.model, options.seconds, image))
    path.unlink()
    print(
        f"{options.model.name}, ONNX Runtime {onnxruntime.__version__}, 1 thread, image 640x480, "
        f"{options.rounds} rounds of {options.seconds:g} s each in turn, medians in ms"
    )
    bare, _, extra = (median(column) for column in zip(*pairs, strict=True))
    shares = [longer / alone for alone, _, longer in pairs]
    print(
        f"run by run: bare loop {bare:.4f}, the runner {1e3 * extra:+.2f} us ({median(shares):+.2%}; "
        f"rounds {min(shares):+.2%} to {max(shares):+.2%})"
    )
    for stage in ("network", "preprocess", "inference", "postprocess", "total"):
        print(
            f"{stage}: runner {median(one[stage] for one in ours):.4f}, "
            f"Python {median(one[stage] for one in theirs):.4f}"
        )


if __name__ == "__main__":
    main()
