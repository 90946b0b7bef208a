"""Records of measurements that nobody made: queries with known times, and the result that is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from edgedet.bench.loop import Trace
from edgedet.bench.machine.clocks import ClockSettings
from edgedet.bench.machine.condition import Condition
from edgedet.bench.machine.identity import Computer
from edgedet.bench.protocol import Model, Protocol
from edgedet.bench.query import Query
from edgedet.bench.result import Result
from edgedet.bench.settings import Input, Settings
from edgedet.bench.statistics import statistics
from edgedet.spec import Postprocess, Preprocess

MOMENT = datetime(2026, 3, 1, 12, 30, tzinfo=timezone.utc)

COMPUTER = Computer(cpu="Cortex-A76", cpu_count=4, system="Linux", kernel="6.8.0", architecture="aarch64")

CONDITION = Condition(
    moment=0.0,
    megahertz={},
    celsius={},
    throttle_counts={},
    throttle_alerts=(),
    load_average=0.0,
    cpu_times={},
    sibling_times={},
    pressure_seconds=None,
    own_seconds=0.0,
    involuntary_switches=0,
    run_queue_seconds=None,
    quota=None,
)


def protocol(**changes: Any) -> Protocol:
    """A protocol of a small board, with changes."""
    recorded = Protocol(
        settings=Settings(input=Input(sha256="1" * 64)),
        computer=COMPUTER,
        clocks=ClockSettings(governors=("performance",)),
        cpus=(2,),
        software={"edgedet": "0.1.0", "onnxruntime": "1.20.0"},
        backend="onnxruntime 1.20.0 (cpu)",
        backend_settings={"intra_op_threads": 1, "allow_spinning": "0"},
        operators_sha256=None,
        preprocess=Preprocess(height=64, width=64),
        batch=1,
    )
    return recorded.model_copy(update=changes)


def computed(start: float, end: float, stream: int = 0) -> Query:
    """A query on a CPU: nothing is copied."""
    return Query(stream, start, end, start, start, start, end, end, end)


def result_of(queries: Sequence[Query], *, of: Protocol | None = None, warm_up: int = 0, **changes: Any) -> Result:
    """The result that these queries give."""
    recorded = of or protocol()
    percentiles, seconds = recorded.settings.percentiles, Trace(tuple(queries), warm_up).wall_milliseconds / 1e3
    times = {
        name: statistics([getattr(query, name) for query in queries], percentiles)
        for name in ("latency", "enqueue", "h2d", "compute", "d2h")
    }
    postprocess = Postprocess()
    model = Model(
        path="runs/model.onnx",
        sha256="2" * 64,
        architecture="tiny",
        class_count=3,
        random_weights=False,
        postprocess=postprocess,
    )
    found = Result(
        measured_at=MOMENT,
        model=model,
        protocol=recorded,
        **times,
        latencies=tuple(query.latency for query in queries),
        queries=len(queries),
        warm_up_queries=warm_up,
        wall_seconds=seconds,
        queries_per_second=len(queries) / seconds,
        images_per_second=len(queries) / seconds,
        stages=None,
        pace=None,
        samples=(),
        before=CONDITION,
        after=CONDITION,
        disturbances=(),
        memory=None,
        power=None,
        joules_per_image=None,
    )
    return found.model_copy(update=changes)
