"""From a model file to what runs its queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from edgedet.bench.inputs import Feed, read_input
from edgedet.bench.query import Runner
from edgedet.bench.runners.call import CallRunner
from edgedet.bench.settings import Settings
from edgedet.bench.stages import detection
from edgedet.errors import EdgedetError
from edgedet.runtime.detector import Detector
from edgedet.runtime.load import load_detector

ENGINE = ".engine"


@dataclass(frozen=True)
class Trust:
    """What of a model file may be run, and what it needs: see `edgedet.runtime.load.load_detector`."""

    operators: Path | None = None
    force: bool = False
    allow_code: bool = False


NO_TRUST = Trust()


@dataclass(frozen=True)
class Opened:
    """A model that is ready to be measured.

    Attributes:
        detector: loaded.
        load: loads another one of the same file.
        feed: what was read for it.
        batch: images a query.
        tensor: the network's input.
    """

    detector: Detector
    load: Callable[[], Detector]
    feed: Feed
    batch: int
    tensor: NDArray[np.float32]

    @property
    def feeds(self) -> dict[str, NDArray[np.float32]]:
        """The network's input by name."""
        return {self.detector.backend.inputs[0].name: self.tensor}


def open_model(model: Path, settings: Settings, trust: Trust, *, feed: Feed | None = None) -> Opened:
    """Loads a model and reads what it is to be fed.

    Args:
        model: `.onnx`, `.engine` or `.pt`.
        settings: how it is measured.
        trust: what of the file may be run.
        feed: what was read for another instance of the same model with the same settings; None reads it.

    Raises:
        EdgedetError: it cannot be loaded, or the settings do not fit it.
        ModuleNotFoundError: a backend's package is not installed.
    """
    load = partial(
        load_detector,
        model,
        threads=settings.threads,
        device=settings.device,
        operators=trust.operators,
        force=trust.force,
        allow_code=trust.allow_code,
    )
    detector = load()
    batch = _batch(detector, settings.shape, model)
    size = detector.spec.preprocess
    feed = feed or read_input(settings.input, (batch, 3, size.height, size.width))
    if feed.tensor is not None and settings.end_to_end:
        fix = "give --image or --data, or leave --end-to-end out"
        raise EdgedetError("a tensor is no image: it has no way from a file to detections", fix=fix)
    return Opened(detector, load, feed, batch, feed.batch(detector, batch))


def open_runners(opened: Opened, settings: Settings) -> list[Runner]:
    """What runs the queries of each stream; the times of all count from the end of this.

    The streams of an engine are contexts of it. Elsewhere each has the model to itself: its threads would be shared.

    Raises:
        EdgedetError: the model does not run.
    """
    if not settings.end_to_end and opened.detector.backend.name.startswith("tensorrt"):
        return _engine_runners(opened, settings)
    detectors = [opened.detector, *(opened.load() for _ in range(settings.streams - 1))]
    calls = [
        detection(detector, opened.feed, opened.batch) if settings.end_to_end else detector.backend.bind(opened.feeds)
        for detector in detectors
    ]
    for call in calls:
        call()  # a model that does not run is said to before anything is measured
    zero = perf_counter()
    return [CallRunner(call, zero=zero, stream=stream) for stream, call in enumerate(calls)]


def _engine_runners(opened: Opened, settings: Settings) -> list[Runner]:
    from edgedet.bench.runners.tensorrt import TensorRTRunner, Zero
    from edgedet.runtime.backends.tensorrt import TensorRTBackend

    backend = opened.detector.backend
    assert isinstance(backend, TensorRTBackend)
    zero = Zero.now()
    return [
        TensorRTRunner(
            backend,
            opened.feeds,
            zero=zero,
            stream_index=stream,
            transfers=settings.data_transfers,
            cuda_graph=settings.cuda_graph,
            spin=settings.spin_wait,
        )
        for stream in range(settings.streams)
    ]


def _batch(detector: Detector, wanted: tuple[int, ...] | None, model: Path) -> int:
    """Images a query.

    Raises:
        EdgedetError: the model takes other shapes than the one wanted.
    """
    size, info = detector.spec.preprocess, detector.backend.inputs[0]
    own = info.shape[0]
    if wanted is None:
        return own or 1
    batch = own or wanted[0]
    taken = (batch, 3, size.height, size.width)
    if taken != wanted:
        free = "" if own else ", or another batch"
        what = f"takes {info.name}:{'x'.join(map(str, taken))}{free}, not {'x'.join(map(str, wanted))}"
        raise EdgedetError(what, where=model, fix="leave --shapes out, or export the model for that size (--imgsz)")
    return batch
