"""The precision that is fastest on this GPU and accurate enough, by building each and measuring."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgedet.bench.timing import each_ms
from edgedet.data.find import DEFAULT_SPLIT, read_dataset
from edgedet.data.images import read_image
from edgedet.data.sample import Sample
from edgedet.engine.build import SUFFIX, TIMING_CACHE_SUFFIX, Built, build_engine
from edgedet.engine.inspect.nodes import is_weight, nodes_of
from edgedet.engine.progress import BuildWatcher
from edgedet.errors import EdgedetError
from edgedet.evaluate.run import evaluate
from edgedet.files import require_output
from edgedet.graph.lowerings.mixed import block_of, quantized_blocks
from edgedet.graph.reading import read_onnx
from edgedet.progress import Track, no_progress
from edgedet.runtime.backends.tensorrt import TensorRTBackend, load
from edgedet.runtime.detector import Detector
from edgedet.trt.manifest import BuildOptions, write_engine
from edgedet.trt.versions import FP16, INT8

WARM_UP_RUNS, ROUNDS, RUNS = 20, 9, 50
PROFILE_RUNS = 30
WORTH = 0.02
"""A block is computed in float where that is faster by more than this share: less may be noise."""

MIXED = "mixed"


@dataclass(frozen=True)
class Candidate:
    """One engine of those that were tried.

    Attributes:
        name: `fp16`, `int8`, or `mixed`: INT8 but for some blocks.
        median_ms: of a run from host to host, batch as built.
        fastest_round_ms, slowest_round_ms: medians of the rounds; how far they lie apart is the noise.
        map: mAP50-95.
        float_blocks: of a mix, the blocks in float.
        holds: whether its mAP is within the budget.
        size_bytes: of the plan.
    """

    name: str
    median_ms: float
    fastest_round_ms: float
    slowest_round_ms: float
    map: float
    float_blocks: tuple[str, ...]
    holds: bool
    size_bytes: int


@dataclass(frozen=True)
class Decision:
    """What was measured, and what was chosen of it.

    Attributes:
        candidates: in the order in which they were built; float16 first, which the others are held to.
        chosen: the name of the one that was kept.
        max_drop: mAP that it may lose, in points of 100.
        images: how many the mAP is of.
        built: the engine.
    """

    candidates: tuple[Candidate, ...]
    chosen: str
    max_drop: float
    images: int
    built: Built

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        return {
            **self.built.to_dict(),
            "chosen": self.chosen,
            "max_drop": self.max_drop,
            "evaluated_images": self.images,
            "candidates": [asdict(candidate) for candidate in self.candidates],
        }


def choose_precision(
    model: Path,
    data: Path,
    out: Path | None,
    options: BuildOptions,
    *,
    max_drop: float,
    operators: Path | None = None,
    timing_cache: Path | None = None,
    keep_timing_cache: bool = True,
    watcher: BuildWatcher | None = None,
    track: Track = no_progress,
) -> Decision:
    """Builds float16, INT8 and, where a part of INT8 does not pay, a mix of them; keeps the fastest that holds.

    All are timed in turn in one process, and evaluated on the same images.

    Args:
        model: a quantized master.
        data: labelled images; those of `val`, or of the only split, are evaluated.
        out: the engine to write; None means beside the model.
        options: for all of them; their precision is not asked for.
        max_drop: mAP50-95, in points of 100, that may be lost against float16.
        operators: library of edgedet's operators, if the model needs it.
        timing_cache, keep_timing_cache: as of `build_engine`; None means beside the engine.
        watcher: hears of the builder's progress.
        track: watches the evaluations.

    Raises:
        EdgedetError: the model is not quantized, or an engine cannot be built; `build_engine` says more.
    """
    if options.precision is not None or options.keep_float:
        fix = "leave --precision and --keep-float out"
        raise EdgedetError("--auto-precision chooses the precision itself", fix=fix)
    blocks = quantized_blocks(read_onnx(model))
    if not blocks:
        fix = "export a quantized checkpoint (edgedet quantize)"
        raise EdgedetError("the model has no quantizers: there is nothing to choose", where=model, fix=fix)
    out = out or model.with_suffix(SUFFIX)
    require_output(out, SUFFIX)
    dataset = read_dataset(data)
    samples = dataset.splits.get(DEFAULT_SPLIT) or max(dataset.splits.values(), key=len, default=())
    if not samples:
        raise EdgedetError("holds no image to evaluate on", where=data)
    with tempfile.TemporaryDirectory(prefix=".precision-", dir=out.parent) as folder:

        def build(name: str, changes: Mapping[str, Any]) -> Built:
            return build_engine(
                model,
                Path(folder) / f"{name}{SUFFIX}",
                options.model_copy(update=dict(changes)),
                operators=operators,
                data=data,
                timing_cache=timing_cache or out.with_suffix(TIMING_CACHE_SUFFIX),
                keep_timing_cache=keep_timing_cache,
                watcher=watcher,
            )

        built = {name: build(name, {"precision": name}) for name in (FP16, INT8)}
        loaded = {name: _load(engine, operators) for name, engine in built.items()}
        float_blocks = _slow_blocks(loaded, blocks, samples)
        if float_blocks:
            built[MIXED] = build(MIXED, {"precision": INT8, "keep_float": float_blocks})
            loaded[MIXED] = _load(built[MIXED], operators)
        times = _interleaved_ms(loaded, samples)
        accuracy = {
            name: evaluate(detector, samples, dataset.class_names, track=track).metrics.map
            for name, detector in loaded.items()
        }
        candidates = tuple(
            _candidate(name, times[name], accuracy, built[name].size_bytes, float_blocks, max_drop) for name in built
        )
        chosen = fastest(candidates)
        return Decision(candidates, chosen, max_drop, len(samples), _kept(built[chosen], out))


def fastest(candidates: Sequence[Candidate]) -> str:
    """The name of the fastest that is accurate enough; float16 always is."""
    return min((one for one in candidates if one.holds), key=lambda one: one.median_ms).name


def _candidate(
    name: str,
    rounds: Sequence[float],
    accuracy: Mapping[str, float],
    size_bytes: int,
    float_blocks: tuple[str, ...],
    max_drop: float,
) -> Candidate:
    return Candidate(
        name,
        statistics.median(rounds),
        min(rounds),
        max(rounds),
        accuracy[name],
        float_blocks if name == MIXED else (),
        holds=name == FP16 or 100 * (accuracy[FP16] - accuracy[name]) <= max_drop,
        size_bytes=size_bytes,
    )


def _load(built: Built, operators: Path | None) -> Detector:
    allow_code = built.manifest.options.version_compatible
    return Detector(*load(built.path, operators=operators, allow_code=allow_code))


def _slow_blocks(loaded: Mapping[str, Detector], blocks: Sequence[str], samples: Sequence[Sample]) -> tuple[str, ...]:
    """Those of the quantized blocks that take longer in INT8 than in float16, by the profiles of both.

    None where there is nothing to mix: INT8 is faster in each, or in none.
    """
    float16, int8 = (_block_ms(loaded[name], samples) for name in (FP16, INT8))
    both = [block for block in blocks if block in float16 and block in int8]
    slow = tuple(block for block in both if int8[block] > float16[block] * (1 + WORTH))
    return slow if len(slow) < len(both) else ()


def _block_ms(detector: Detector, samples: Sequence[Sample]) -> dict[str, float]:
    """Milliseconds of each block's layers; a layer joined of several nodes counts for its first one's block."""
    backend = detector.backend
    assert isinstance(backend, TensorRTBackend)
    times = backend.layer_times({backend.inputs[0].name: _input(detector, samples)}, runs=PROFILE_RUNS)
    result: dict[str, float] = {}
    for layer, milliseconds in times.items():
        block = block_of_layer(layer)
        if block is not None:
            result[block] = result.get(block, 0.0) + milliseconds
    return result


def block_of_layer(layer: str) -> str | None:
    """The block of the first ONNX node that a layer of an engine was made of; None where its name names none.

    A reformat counts for what it is for, which its name tells behind `for Input Tensor 0 to `.
    """
    nodes = [node for node in nodes_of(layer.rpartition(" to ")[2], "") if not is_weight(node)]
    return block_of(nodes[0]) if nodes else None


def _interleaved_ms(loaded: Mapping[str, Detector], samples: Sequence[Sample]) -> dict[str, list[float]]:
    """The median of each round, in milliseconds. Engines take turns, so that a change of clocks hits all."""
    tensors = {name: _input(detector, samples) for name, detector in loaded.items()}
    runs = {name: partial(detector.run, tensors[name]) for name, detector in loaded.items()}
    for run in runs.values():
        each_ms(run, WARM_UP_RUNS)
    medians: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            medians[name].append(statistics.median(each_ms(run, RUNS)))
    return medians


def _input(detector: Detector, samples: Sequence[Sample]) -> Any:
    """One batch of real images."""
    count = detector.backend.inputs[0].shape[0] or 1
    images = [read_image(samples[place % len(samples)].image) for place in range(count)]
    return detector.preprocess(images)[0]


def _kept(built: Built, out: Path) -> Built:
    """Copies an engine and its manifest to where they belong."""
    named = built.manifest.engine.model_copy(update={"name": out.name})
    manifest = built.manifest.model_copy(update={"engine": named})
    write_engine(out, built.path.read_bytes(), manifest)
    return Built(out, built.size_bytes, manifest, built.comparison, built.unheld, built.on_gpu)
