"""How long a gated detector takes on this CPU with its gates, without them, and in float."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from edgedet.bench.pinning import pinned
from edgedet.bench.timing import each_ms
from edgedet.data.find import read_dataset, split_of
from edgedet.data.images import read_image
from edgedet.progress import Track, no_progress
from edgedet.runtime.backends.onnxruntime import load
from edgedet.runtime.detector import Detector

WARM_UP_RUNS, ROUNDS, RUNS = 10, 40, 5


class _Variant(NamedTuple):
    target: str
    gates: Literal["full", "high", "gated"]
    with_operators: bool


VARIANTS: Mapping[str, _Variant] = {
    "full": _Variant("ort-cpu", "full", with_operators=False),
    "gated": _Variant("ort-cpu", "gated", with_operators=True),
    "gated_body": _Variant("ort-cpu", "gated", with_operators=False),
    "high": _Variant("ort-cpu", "high", with_operators=False),
    "float": _Variant("fp32", "full", with_operators=False),
}
"""Files of the same weights: without gates and with all bits (in float32, where these are more than 8), gates by the
library of operators and by the functions that stock ONNX Runtime computes, the high bits alone, and float32."""


@dataclass(frozen=True)
class GateLatency:
    """Milliseconds of one run of a file.

    Attributes:
        median_ms, p95_ms: over all runs.
        ratio: the median over rounds of its time to that of `full` in the same round; above 1 is slower.
    """

    median_ms: float
    p95_ms: float
    ratio: float


@dataclass(frozen=True)
class GateLatencies:
    """What was measured, and how.

    Attributes:
        files: by the names of `VARIANTS`; without `gated` where no library of operators was given.
        runtime: ONNX Runtime and its version.
        threads: of a run.
        runs: of each file.
    """

    files: Mapping[str, GateLatency]
    runtime: str
    threads: int
    runs: int

    def to_dict(self) -> dict[str, Any]:
        """A plain record, ready for JSON."""
        return asdict(self)


def time_gates(
    model: Path,
    data: Path,
    *,
    split: str = "val",
    operators: Path | None = None,
    threads: int = 1,
    track: Track = no_progress,
) -> GateLatencies:
    """Exports a gated checkpoint in all ways and times the files in turn, on the first image of a split.

    Args:
        model: a checkpoint trained with `--pg`.
        data: the dataset; which gates open depends on the image.
        split: of the dataset.
        operators: library of edgedet's operators for ONNX Runtime; None leaves out what needs it.
        threads: for inference, on as many cores.
        track: watches the rounds.

    Raises:
        EdgedetError: the checkpoint has no gates, or there are not so many cores.
    """
    from edgedet.graph.export import export_onnx  # these need torch; the rest of the floor does without
    from edgedet.graph.verify import verification_images
    from edgedet.quant.gate_report import load_gated

    detector, spec = load_gated(model)
    image = read_image(split_of(read_dataset(data), split)[0].image)
    images = verification_images(data)  # of generated ones a detector of few bits is too unsure
    chosen = {name: one for name, one in VARIANTS.items() if operators is not None or not one.with_operators}
    with tempfile.TemporaryDirectory() as folder:
        exported: dict[tuple[str, str], Path] = {}
        for target, gates in dict.fromkeys((one.target, one.gates) for one in chosen.values()):
            path = Path(folder) / f"{target}-{gates}.onnx"
            result = export_onnx(detector, spec, path, target=target, gates=gates, images=images)
            exported[target, gates] = result.path
        with pinned(threads):
            runs: dict[str, Callable[[], object]] = {}
            for name, one in chosen.items():
                library = operators if one.with_operators else None
                backend, _ = load(exported[one.target, one.gates], threads=threads, operators=library)
                tensor = np.array(Detector(backend, spec).preprocess([image])[0])
                runs[name] = backend.bind({backend.inputs[0].name: tensor})
            times = _in_turn(runs, track)
    return GateLatencies(_compared(times), backend.name, threads, ROUNDS * RUNS)


def _in_turn(runs: Mapping[str, Callable[[], object]], track: Track) -> dict[str, list[list[float]]]:
    """Milliseconds of each run of each round. Files take turns, so that whatever disturbs the machine hits all."""
    for run in runs.values():
        each_ms(run, WARM_UP_RUNS)
    times: dict[str, list[list[float]]] = {name: [] for name in runs}
    for _ in track(range(ROUNDS), "timing files in turn"):
        for name, run in runs.items():
            run()  # what the others pushed out of the caches
            times[name].append(each_ms(run, RUNS))
    return times


def _compared(times: Mapping[str, list[list[float]]]) -> dict[str, GateLatency]:
    medians = {name: [statistics.median(one) for one in rounds] for name, rounds in times.items()}
    return {
        name: GateLatency(
            median_ms=float(np.median(rounds)),
            p95_ms=float(np.percentile(rounds, 95)),
            ratio=float(np.median(np.divide(medians[name], medians["full"]))),
        )
        for name, rounds in times.items()
    }
