"""Measures a model: the latency of its queries, its stages, what it takes, and the machine meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edgedet.bench.loop import Paced, Trace, paced, saturated
from edgedet.bench.machine.clocks import read_clock_settings
from edgedet.bench.machine.condition import read_condition
from edgedet.bench.machine.disturbance import disturbances
from edgedet.bench.machine.identity import gpu_of_engines, gpu_of_other_runtimes, read_computer
from edgedet.bench.machine.limits import read_limits
from edgedet.bench.machine.memory import MemoryMeter
from edgedet.bench.machine.power import PowerMeter
from edgedet.bench.opening import ENGINE, NO_TRUST, Opened, Trust, open_model, open_runners
from edgedet.bench.pinning import pinned
from edgedet.bench.protocol import Model, Protocol, installed_software
from edgedet.bench.query import Query
from edgedet.bench.result import Box, CameraPace, Result, Sample
from edgedet.bench.settings import CPU, Settings
from edgedet.bench.stages import time_stages
from edgedet.bench.statistics import Statistics, statistics
from edgedet.files import sha256_file
from edgedet.interrupt import deferred_interrupt

STAGES_SECONDS, STAGES_RUNS = 1.0, 10
"""At most so long the table of stages beside the queries is measured, though at least for so many detections."""

SHOWN_IMAGES = 4


@dataclass(frozen=True)
class Measurement:
    """A result, and the queries that it is of.

    Attributes:
        result: what is written.
        trace: every query's times.
    """

    result: Result
    trace: Trace


def measure(model: Path, settings: Settings, trust: Trust = NO_TRUST) -> Measurement:
    """Measures a model file, its process pinned to as many cores as its streams have threads.

    The first Ctrl-C ends it early, with what was measured until then.

    Args:
        model: `.onnx`, `.engine` or `.pt`.
        settings: how.
        trust: what of the file may be run.

    Raises:
        EdgedetError: the model or its input cannot be read or does not run, the settings do not fit it, or there are
            fewer cores than threads.
        ModuleNotFoundError: a backend's package is not installed.
    """
    is_engine = model.suffix.lower() == ENGINE
    on_gpu = is_engine or settings.device not in (None, CPU)
    with pinned(settings.threads * settings.streams) as cores, deferred_interrupt() as stop:
        cpus = tuple(cores or ())
        with MemoryMeter(on_gpu=is_engine) as memory:
            opened = open_model(model, settings, trust)
            runners = open_runners(opened, settings)
            before = read_condition(cpus)
            with PowerMeter(measured_cpus=cpus, on_gpu=on_gpu) as power:
                pace = None
                if settings.fps is None:
                    trace = saturated(runners, settings, stop)
                else:
                    pace = paced(runners[0], settings.fps, settings, stop)
                    trace = Trace(tuple(frame.query for frame in pace.frames), pace.warm_up)
            after = read_condition(cpus)
        stages = None
        if opened.feed.tensor is None:
            shorter = {
                "iterations": min(settings.iterations, STAGES_RUNS),
                "duration": min(settings.duration, STAGES_SECONDS),
            }
            stages = time_stages(opened.detector, opened.feed, opened.batch, settings.model_copy(update=shorter), stop)
        samples = _samples(opened)
    protocol = Protocol(
        settings=settings.model_copy(update={"input": opened.feed.source}),
        computer=read_computer(gpu=gpu_of_engines() if is_engine else gpu_of_other_runtimes() if on_gpu else None),
        clocks=read_clock_settings(cpus),
        cpus=None if cores is None else cpus,
        software=installed_software(),
        backend=opened.detector.backend.name,
        backend_settings={**opened.detector.backend.settings, **runners[0].settings},
        operators_sha256=None if trust.operators is None else sha256_file(trust.operators),
        preprocess=opened.detector.spec.preprocess,
        batch=opened.batch,
    )
    queries = trace.queries
    images = len(queries) * opened.batch

    def said(time: Callable[[Query], float]) -> Statistics:
        return statistics([time(query) for query in queries], settings.percentiles)

    seconds = trace.wall_milliseconds / 1e3
    found = power.power
    result = Result(
        measured_at=datetime.now(timezone.utc),
        model=_model(model, opened),
        protocol=protocol,
        latency=said(lambda query: query.latency),
        enqueue=said(lambda query: query.enqueue),
        h2d=said(lambda query: query.h2d),
        compute=said(lambda query: query.compute),
        d2h=said(lambda query: query.d2h),
        latencies=tuple(round(query.latency, 5) for query in queries),
        queries=len(queries),
        warm_up_queries=trace.warm_up,
        wall_seconds=seconds,
        queries_per_second=len(queries) / seconds,
        images_per_second=images / seconds,
        stages=None if stages is None else {name: statistics(times) for name, times in stages.items()},
        pace=None if pace is None or settings.fps is None else _pace(pace, settings.fps, settings.percentiles),
        samples=samples,
        before=before,
        after=after,
        disturbances=disturbances(
            before, after, read_limits(cpus), gpu_throttle_reasons=() if found is None else found.throttle_reasons
        ),
        memory=memory.memory,
        power=found,
        joules_per_image=None if found is None else found.energy_per_frame(images),
        board=power.board,
        interrupted=stop.wanted,
    )
    return Measurement(result, trace)


def _model(path: Path, opened: Opened) -> Model:
    spec = opened.detector.spec
    return Model(
        path=str(path),
        sha256=sha256_file(path),
        architecture=spec.model,
        class_count=len(spec.class_names),
        random_weights=spec.random_weights,
        postprocess=spec.postprocess,
    )


def _pace(pace: Paced, fps: float, percentiles: tuple[float, ...]) -> CameraPace:
    return CameraPace(
        fps=fps,
        frames=len(pace.frames),
        missed=pace.missed,
        dropped=pace.dropped,
        latency=statistics([frame.latency for frame in pace.frames], percentiles),
    )


def _samples(opened: Opened) -> tuple[Sample, ...]:
    """What the model finds in the first images."""
    pictures = opened.feed.pictures[:SHOWN_IMAGES]
    found = opened.detector.detect([picture.decoded() for picture in pictures]) if pictures else []
    return tuple(
        Sample(
            image=picture.name,
            sha256=hashlib.sha256(picture.data).hexdigest(),
            detections=tuple(Box(xyxy=one.xyxy, score=one.score, name=one.name) for one in detections),
        )
        for picture, detections in zip(pictures, found, strict=True)
    )
