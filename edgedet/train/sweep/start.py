"""Whether a trial can start: all that a run looks at before its first step, and that a combination may have wrong."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from edgedet.errors import EdgedetError
from edgedet.models.checkpoint import Checkpoint, load_checkpoint
from edgedet.models.detector import Detector
from edgedet.models.weights import load_backbone_weights
from edgedet.train.config import NetworkConfig, TrainConfig
from edgedet.train.qat import check_qat_settings
from edgedet.train.run import build, check_settings, check_settings_for, open_fabric, specification
from edgedet.train.sweep.space import Scalar, Space, resolve
from edgedet.train.teacher import require_teaches

T = TypeVar("T")

Refusal = Callable[[Mapping[str, Scalar]], EdgedetError | None]
"""Why a run with these settings, by `a.b.c`, would be refused; None where it can start."""

TRIES = 256
"""How many combinations a value is looked at in before it is taken to go with none."""

KEPT = 16
"""Detectors and teachers that are kept for the next combination, each."""


class Start:
    """Looks at one combination after the other; detectors and teachers are not built and read for each.

    Args:
        base: the settings that no trial changes.
        class_names: of the dataset.
    """

    def __init__(self, base: Mapping[str, Any], class_names: Sequence[str]) -> None:
        self._base = base
        self._class_names = tuple(class_names)
        self._detector = lru_cache(maxsize=KEPT)(_detector)
        self._checkpoint = lru_cache(maxsize=KEPT)(_checkpoint)
        self._machine = lru_cache(maxsize=KEPT)(_machine)

    def refusal(self, chosen: Mapping[str, Scalar]) -> EdgedetError | None:
        """Why a run with these settings would be refused; None where it can start."""
        try:
            self._require(resolve(self._base, chosen))
        except EdgedetError as error:
            return error
        return None

    def _require(self, config: TrainConfig) -> None:
        check_settings(config)
        check_qat_settings(config, None)
        check_settings_for(config, self._class_names)
        unable = self._machine(config.accelerator, config.precision, config.cuda_graph)
        if unable is not None:
            raise unable
        detector = _found(
            self._detector(config.model, config.activation, config.network, config.weights, self._class_names)
        )
        if config.teacher is not None:
            path = Path(config.teacher.checkpoint)
            spec = specification(config, self._class_names)
            require_teaches(_found(self._checkpoint(path)), detector, spec, where=path)


def require_startable(space: Space, refusal: Refusal, seed: int, where: Path) -> None:
    """Refuses a space of which no combination can start, and a value with which none can.

    Values of ranges are looked at by `Range.samples`. Where there are more than `TRIES` combinations, so many are
    drawn. A value that goes with some of the others only is no error.

    Args:
        space: what is chosen.
        refusal: of one combination.
        seed: of what is drawn.
        where: the space's file, for messages.
    """
    samples = {setting: domain.samples() for setting, domain in space.items()}
    found = _refusal_of_all(samples, refusal, seed)
    if found is not None:
        chosen, error = found
        of_the_base = refusal({})
        if of_the_base is not None and of_the_base.what == error.what:
            raise of_the_base
        what = f"no combination can start; {told(chosen)}: {error.what}"
        raise EdgedetError(what, where=where, fix=error.fix) from error
    for setting, values in samples.items():
        for value in values:
            found = _refusal_of_all({**samples, setting: (value,)}, refusal, seed)
            if found is not None:
                error = found[1]
                raise EdgedetError(error.what, where=f"{where}: {setting}, {value}", fix=error.fix) from error


def told(chosen: Mapping[str, Scalar]) -> str:
    """A combination in words."""
    return ", ".join(f"{name}={value}" for name, value in chosen.items())


def _refusal_of_all(
    samples: Mapping[str, tuple[Scalar, ...]], refusal: Refusal, seed: int
) -> tuple[dict[str, Scalar], EdgedetError] | None:
    """The first combination, and why it is refused, where all are; None where one can start."""
    first = None
    for values in _combinations(tuple(samples.values()), seed):
        chosen = dict(zip(samples, values, strict=True))
        error = refusal(chosen)
        if error is None:
            return None
        first = first or (chosen, error)
    return first


def _combinations(samples: tuple[tuple[Scalar, ...], ...], seed: int) -> Iterator[tuple[Scalar, ...]]:
    if math.prod(map(len, samples)) <= TRIES:
        yield from product(*samples)
        return
    drawing = random.Random(seed)
    for _ in range(TRIES):
        yield tuple(drawing.choice(values) for values in samples)


def _found(result: T | EdgedetError) -> T:
    if isinstance(result, EdgedetError):
        raise result
    return result


# What cannot be had is returned and not raised, for the cache: a download is not tried for each combination.


def _detector(
    model: str, activation: str | None, network: NetworkConfig, weights: str | None, class_names: tuple[str, ...]
) -> Detector | EdgedetError:
    try:
        detector = build(TrainConfig(data="", model=model, activation=activation, network=network), class_names)
        if weights is not None:
            load_backbone_weights(detector.backbone, weights if weights == "imagenet" else Path(weights))
    except EdgedetError as error:
        return error
    return detector


def _checkpoint(path: Path) -> Checkpoint | EdgedetError:
    try:
        return load_checkpoint(path)
    except EdgedetError as error:
        return error


def _machine(accelerator: Any, precision: Any, cuda_graph: bool) -> EdgedetError | None:
    try:
        open_fabric(TrainConfig(data="", accelerator=accelerator, precision=precision, cuda_graph=cuda_graph))
    except EdgedetError as error:
        return error
    return None
