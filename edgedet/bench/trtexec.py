"""What trtexec prints and writes of a measurement, for scripts that read it.

Source: NVIDIA/TensorRT, samples/common/sampleReporting.cpp; the same text and keys from 8.6 to 11.1. Scripts know the
report by its words: they are trtexec's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from edgedet.bench.loop import Trace
from edgedet.bench.query import Query
from edgedet.bench.result import Result
from edgedet.bench.statistics import Statistics
from edgedet.files import write_text

MOST_LINES = 200
"""Averages of so many runs are printed at both ends; what lies between is left out."""

ENQUEUE_BOUND = 0.8
UNSTABLE = 2.5


def summary_lines(result: Result, trace: Trace, *, now: datetime) -> Iterator[str]:
    """trtexec's report, line by line, with its prefix.

    "GPU" stands for what computes, as scripts look for the words: on a CPU it is the CPU, and copies take no time. The
    line that points to trtexec's verbose log is left out: there is no such log.

    Args:
        result: of the measurement.
        trace: its queries.
        now: for the prefix, local time.
    """
    stamp = now.strftime("[%m/%d/%Y-%H:%M:%S]")
    for text in _prolog(result):
        yield f"{stamp} [I] {text}"
    for text in _averages(trace.queries, result.protocol.settings.average_runs):
        yield f"{stamp} [I] {text}"
    for text in _epilog(result):
        yield f"{stamp} [I] {text}"
    for text in _warnings(result):
        yield f"{stamp} [W] {text}"


def export_times(path: Path, queries: Sequence[Query]) -> None:
    """Writes what `trtexec --exportTimes` writes: the times of every counted query, all or nothing."""
    write_text(path, "[\n" + ",\n".join(json.dumps(_times(query)) for query in queries) + "\n]\n")


def said(statistics: Statistics) -> str:
    """Statistics as trtexec prints them; C++ prints six significant digits."""
    percentiles = "".join(
        f", percentile({percentage:g}%) = {value:g} ms" for percentage, value in statistics.percentiles.items()
    )
    return (
        f"min = {statistics.min:g} ms, max = {statistics.max:g} ms, mean = {statistics.mean:g} ms, "
        f"median = {statistics.median:g} ms{percentiles}"
    )


def _prolog(result: Result) -> Iterator[str]:
    yield f"Warmup completed {result.warm_up_queries} queries over {result.protocol.settings.warm_up:g} ms"
    yield f"Timing trace has {result.queries} queries over {result.wall_seconds:g} s"


def _averages(queries: Sequence[Query], runs: int) -> Iterator[str]:
    yield ""
    yield "=== Trace details ==="
    yield f"Trace averages of {runs} runs:"
    end = MOST_LINES * runs
    if len(queries) <= 2 * end:
        yield from _average_lines(queries, runs)
        return
    yield from _average_lines(queries[:end], runs)
    yield f"... Omitting {len(queries) - 2 * end} lines"
    yield from _average_lines(queries[-end - 1 :], runs)  # trtexec begins one query before it says to


def _average_lines(queries: Sequence[Query], runs: int) -> Iterator[str]:
    for start in range(0, len(queries) - runs + 1, runs):
        group = queries[start : start + runs]
        compute = sum(query.compute for query in group) / runs
        latency = sum(query.latency for query in group) / runs
        enqueue = sum(query.enqueue for query in group) / runs
        yield (
            f"Average on {runs} runs - GPU latency: {compute:g} ms - Host latency: {latency:g} ms "
            f"(enqueue {enqueue:g} ms)"
        )


def _epilog(result: Result) -> Iterator[str]:
    yield ""
    yield "=== Performance summary ==="
    yield f"Throughput: {result.queries_per_second:g} qps"
    yield f"Latency: {said(result.latency)}"
    yield f"Enqueue Time: {said(result.enqueue)}"
    yield f"H2D Latency: {said(result.h2d)}"
    yield f"GPU Compute Time: {said(result.compute)}"
    yield f"D2H Latency: {said(result.d2h)}"
    yield f"Total Host Walltime: {result.wall_seconds:g} s"
    yield f"Total GPU Compute Time: {result.compute.mean * result.queries / 1e3:g} s"


def _warnings(result: Result) -> Iterator[str]:
    protocol, compute = result.protocol, result.compute
    # Elsewhere the call that starts a computation is the computation: it always takes as long.
    is_enqueued = protocol.backend.startswith("tensorrt") and not protocol.settings.end_to_end
    if is_enqueued and result.enqueue.median > ENQUEUE_BOUND * compute.median:
        yield "* Throughput may be bound by Enqueue Time rather than GPU Compute and the GPU may be under-utilized."
        yield (
            "  If not already in use, --useCudaGraph (utilize CUDA graphs where possible) may increase the throughput."
        )
    for copies, copy in (
        ("host-to-device transfers for the inputs", result.h2d),
        ("device-to-host transfers for the outputs", result.d2h),
    ):
        if copy.median >= compute.median:
            yield f"* Throughput may be bound by {copies} rather than GPU Compute and the GPU may be under-utilized."
            yield "  Add --noDataTransfers flag to disable data transfers."
    if compute.variation > UNSTABLE:
        yield f"* GPU compute time is unstable, with coefficient of variance = {compute.variation:g}%."
        yield "  If not already in use, locking GPU clock frequency or adding --useSpinWait may improve the stability."
    if protocol.settings.streams > 1:
        yield (
            "* Multiple inference streams are used. Latencies may not be accurate since inferences may run in   "
            'parallel. Please use "Throughput" as the performance metric instead.'
        )


def _times(query: Query) -> dict[str, Any]:
    return {
        "startEnqMs": query.enqueue_start,
        "endEnqMs": query.enqueue_end,
        "startH2dMs": query.h2d_start,
        "endH2dMs": query.h2d_end,
        "startComputeMs": query.compute_start,
        "endComputeMs": query.compute_end,
        "startD2hMs": query.d2h_start,
        "endD2hMs": query.d2h_end,
        "h2dMs": query.h2d,
        "computeMs": query.compute,
        "d2hMs": query.d2h,
        "latencyMs": query.latency,
    }
