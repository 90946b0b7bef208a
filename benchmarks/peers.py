"""Other projects' detectors beside ours: float and INT8 on ONNX Runtime's CPU provider.

    python benchmarks/peers.py yolox-nano.onnx yolov8n.onnx ... [--models ...] [--rounds 15]

A peer is a float ONNX file with one image input of fixed size and without NMS, see README.md. It is quantized here by
ONNX Runtime's own static quantization: QDQ, unsigned activations, signed weights for each channel, calibrated on noise.
Ours are exported with random weights in float and for `ort-cpu`. Batch 1, one thread, all files in turn; the figure is
the median over rounds of each round's median.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from protocol import print_protocol

from edgedet.bench.pinning import pinned
from edgedet.graph.export import export_model
from edgedet.models.zoo import list_models
from edgedet.runtime.backends.onnxruntime import session_options

WARMUP = 5
CALIBRATION_IMAGES = 8
YARDSTICK_PARAMETERS = 0.9e6
"""Peers with fewer are no yardstick for speed."""

Feeds = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Contender:
    """A detector in both precisions.

    Attributes:
        name: as the table shows it.
        peer: whether it is another project's.
        parameters: weights and biases of its convolutions, batch normalisation folded.
        files: the ONNX file of each of `PRECISIONS`.
    """

    name: str
    peer: bool
    parameters: int
    files: dict[str, Path]


PRECISIONS = ("float", "INT8")


class Noise(CalibrationDataReader):
    """Images of noise in 0..1, for weights that are random too."""

    def __init__(self, path: Path) -> None:
        self._batches: Iterator[Feeds] = iter([noise(path, seed) for seed in range(CALIBRATION_IMAGES)])

    def get_next(self) -> Feeds | None:
        return next(self._batches, None)


def noise(path: Path, seed: int) -> Feeds:
    """An input of the file's own size."""
    (image,) = onnx.load(path).graph.input
    sizes = [side.dim_value for side in image.type.tensor_type.shape.dim]
    if not all(sizes):
        raise SystemExit(f"{path}: the input must have a fixed size, not {sizes}")
    return {image.name: np.random.default_rng(seed).random(sizes, np.float32)}


def convolution_parameters(path: Path) -> int:
    """How many numbers the convolutions of a file read, each its own: equal biases may be stored once."""
    graph = onnx.load(path).graph
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer}
    return sum(sizes[name] for node in graph.node if node.op_type == "Conv" for name in node.input[1:])


def peer(path: Path, folder: Path) -> Contender:
    """A foreign file and what ONNX Runtime's quantization makes of it."""
    prepared, quantized = folder / f"{path.stem}.prepared.onnx", folder / f"{path.stem}.int8.onnx"
    quant_pre_process(path, prepared)
    quantize_static(
        prepared,
        quantized,
        Noise(path),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )
    return Contender(path.stem, True, convolution_parameters(prepared), {"float": path, "INT8": quantized})


def ours(name: str, folder: Path, classes: int) -> Contender:
    """One of `list_models()`."""
    files = {}
    for precision, target in zip(PRECISIONS, ("master", "ort-cpu"), strict=True):
        files[precision] = folder / f"{name}.{target}.onnx"
        export_model(name, files[precision], target=target, classes=classes, size=(320, 320))
    return Contender(name, False, convolution_parameters(files["float"]), files)


def medians(files: list[Path], *, rounds: int, iterations: int) -> list[float]:
    """Of each file in milliseconds, with the session options of edgedet's own runtime."""
    found: list[list[float]] = [[] for _ in files]
    with pinned(1):
        sessions = [
            onnxruntime.InferenceSession(path, session_options(1), providers=["CPUExecutionProvider"]) for path in files
        ]
        feeds = [noise(path, 0) for path in files]
        for _ in range(rounds):
            for times, session, feed in zip(found, sessions, feeds, strict=True):
                times.append(statistics.median(run_times(session, feed, iterations)))
    return [statistics.median(times) for times in found]


def run_times(session: onnxruntime.InferenceSession, feed: Feeds, iterations: int) -> list[float]:
    """Milliseconds of each run after the warm-up."""
    times = []
    for _ in range(WARMUP + iterations):
        start = perf_counter()
        session.run(None, feed)
        times.append((perf_counter() - start) * 1e3)
    return times[WARMUP:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", type=Path, nargs="+")
    parser.add_argument("--models", nargs="*", default=list_models())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--classes", type=int, default=80)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        contenders = [peer(path, folder) for path in arguments.peers]
        contenders += [ours(name, folder, arguments.classes) for name in arguments.models]
        files = [contender.files[precision] for contender in contenders for precision in PRECISIONS]
        found = iter(medians(files, rounds=arguments.rounds, iterations=arguments.iterations))
    rows = [(contender, next(found), next(found)) for contender in contenders]
    yardsticks = [row for row in rows if row[0].peer and row[0].parameters >= YARDSTICK_PARAMETERS]
    fastest, _, yardstick = min(yardsticks or rows, key=lambda row: row[2])
    print(f"| model | parameters, M | float, ms | INT8, ms | gain | INT8 speed, {fastest.name} = 1 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for contender, before, after in rows:
        columns = f"{before:.2f} | {after:.2f} | {before / after:.2f} | {yardstick / after:.2f}"
        print(f"| {contender.name} | {contender.parameters / 1e6:.2f} | {columns} |")
    settings = {"rounds": arguments.rounds, "iterations": arguments.iterations, "classes of ours": arguments.classes}
    print_protocol("edgedet", "onnxruntime", "onnx", threads=1, batch=1, **settings)


if __name__ == "__main__":
    main()
