"""trtexec's report: held line by line against a program that computes it as trtexec does, and against its readers."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from measurements import computed, protocol, result_of

from edgedet.bench.loop import Trace
from edgedet.bench.query import Query
from edgedet.bench.result import Result
from edgedet.bench.settings import Settings
from edgedet.bench.trtexec import export_times, summary_lines

COMPILER = shutil.which("g++") or shutil.which("c++")
NOW = datetime(2026, 3, 1, 9, 5, 7)
PREFIX = "[03/01/2026-09:05:07] "

MODELOPT = re.compile(r"\[I\]\s+Latency:.*?median\s*=\s*([\d.]+)\s*ms")
"""NVIDIA's Model Optimizer reads a latency so (`TrtExecBenchmark`)."""

SIX_DIGITS = 1.1e-5
"""Both round to six digits, perhaps to different sides."""


def engine_queries(count: int, *, seed: int = 0, copy: tuple[int, int] = (40, 400)) -> list[Query]:
    """Queries of an engine; all times are multiples of 1/1024 ms, which float32 holds as they are."""
    random = np.random.default_rng(seed)
    gaps, enqueues, computes = (random.integers(*range_, count) for range_ in ((1, 9), (100, 900), (1000, 3000)))
    copies = random.integers(*copy, (2, count))
    found, moment = [], 200 * 1024
    for gap, enqueue, h2d, compute, d2h in zip(gaps, enqueues, copies[0], computes, copies[1], strict=True):
        ends = np.cumsum([moment + gap, h2d, compute, d2h]) / 1024
        start, copied, done, end = map(float, ends)
        found.append(Query(0, copied, copied + float(enqueue) / 1024, start, copied, copied, done, done, end))
        moment += int(gap + h2d + compute + d2h)
    return found


def report(queries: Sequence[Query], *, warm_up: int = 0, backend: str = "tensorrt 10.3.0", **settings: object) -> str:
    """All lines, without their prefixes."""
    result = result_of(queries, of=protocol(settings=Settings(**settings), backend=backend), warm_up=warm_up)
    lines = summary_lines(result, Trace(tuple(queries), warm_up), now=NOW)
    return "\n".join(re.sub(r"^\[[^]]*\] \[[IW]\] ", "", line) for line in lines)


@pytest.fixture(scope="module")
def trtexec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None:
        pytest.skip("there is no C++ compiler")
    program = tmp_path_factory.mktemp("trtexec") / "report"
    source = Path(__file__).with_name("trtexec_report.cpp")
    subprocess.run([COMPILER, "-std=c++17", "-O1", "-o", program, source], check=True)
    return program


def computed_as_trtexec_does(
    program: Path, queries: Sequence[Query], *, warm_up: int, runs: int, streams: int, percentiles: Sequence[float]
) -> str:
    rows = [
        (
            *(query.enqueue_start, query.enqueue_end, query.h2d_start, query.h2d_end),
            *(query.compute_start, query.compute_end, query.d2h_start, query.d2h_end),
        )
        for query in queries
    ]
    head = [len(queries), warm_up, 200, runs, streams, len(percentiles), *percentiles]
    written = "\n".join(" ".join(f"{value!r}" for value in row) for row in (head, *rows))
    return subprocess.run([program], input=written, capture_output=True, text=True, check=True).stdout.rstrip("\n")


def require_same_lines(found: Sequence[str], expected: Sequence[str]) -> None:
    """The same words, and figures that are the same to six digits."""
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        number = r"\d+(?:\.\d+)?(?:e[-+]\d+)?"
        assert re.sub(number, "#", ours) == re.sub(number, "#", theirs)
        for one, other in zip(re.findall(number, ours), re.findall(number, theirs), strict=True):
            assert math.isclose(float(one), float(other), rel_tol=SIX_DIGITS), (ours, theirs)


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101, 1000, 4001, 4109])
@pytest.mark.parametrize("runs", [1, 10])
def test_every_line_and_figure_is_trtexecs(trtexec: Path, count: int, runs: int) -> None:
    queries = engine_queries(count, seed=count)
    percentiles = (0.0, 50.0, 90.0, 95.0, 99.0, 99.9, 100.0)
    found = report(queries, warm_up=7, percentiles=percentiles, average_runs=runs)
    expected = computed_as_trtexec_does(
        trtexec, queries, warm_up=7, runs=runs, streams=1, percentiles=percentiles
    ).splitlines()
    # Warnings are in words of their own in the program: they have a test of their own.
    end = next(place for place, line in enumerate(expected) if line.startswith("Total GPU Compute Time")) + 1
    require_same_lines(found.splitlines()[:end], expected[:end])


@pytest.mark.parametrize(
    ("copy", "enqueue", "streams"), [((40, 400), 1.0, 1), ((5000, 6000), 1.0, 1), ((40, 400), 9.0, 2)]
)
def test_warnings_come_when_trtexecs_do(trtexec: Path, copy: tuple[int, int], enqueue: float, streams: int) -> None:
    queries = [
        Query(0, query.enqueue_start, query.enqueue_start + query.enqueue * enqueue, *query_times(query))
        for query in engine_queries(101, copy=copy)
    ]
    found = report(queries, streams=streams)
    expected = computed_as_trtexec_does(trtexec, queries, warm_up=0, runs=10, streams=streams, percentiles=[90, 95, 99])
    for words in (
        "bound by Enqueue Time",
        "bound by host-to-device transfers",
        "bound by device-to-host transfers",
        "Multiple inference streams are used",
        "coefficient of variance",
    ):
        assert (words in found) == (words in expected), words
    variation = r"coefficient of variance = ([\d.]+)%\."
    (ours,), (theirs,) = re.findall(variation, found), re.findall(variation, expected)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-4)


def query_times(query: Query) -> tuple[float, ...]:
    return (query.h2d_start, query.h2d_end, query.compute_start, query.compute_end, query.d2h_start, query.d2h_end)


def test_readers_of_trtexec_find_what_they_look_for() -> None:
    queries = [computed(float(start), start + length) for start, length in ((0, 2.5), (3, 1.25), (6, 4.0))]
    lines = list(summary_lines(result_of(queries), Trace(tuple(queries), 0), now=NOW))
    text = "\n".join(lines)
    assert all(line.startswith((f"{PREFIX}[I] ", f"{PREFIX}[W] ")) for line in lines)
    assert MODELOPT.findall(text) == ["2.5"]
    assert re.findall(r"Throughput: ([\d.]+) qps", text) == ["300"]
    assert re.findall(r"\[I\] GPU Compute Time: min = ([\d.]+) ms, max = ([\d.]+) ms", text) == [("1.25", "4")]
    assert re.findall(r"\[I\] H2D Latency: .* percentile\(99%\) = ([\d.]+) ms", text) == ["0"]
    assert re.findall(r"Total Host Walltime: ([\d.]+) s", text) == ["0.01"]
    assert f"{PREFIX}[I] === Performance summary ===" in lines


def test_on_a_cpu_nobody_is_told_that_the_enqueue_takes_long() -> None:
    queries = [computed(float(start), start + 0.5) for start in range(20)]
    cpu = report(queries, backend="onnxruntime 1.20.0 (cpu)")
    assert "bound by" not in cpu
    assert "bound by Enqueue Time" in report(queries)
    assert "bound by Enqueue Time" not in report(queries, end_to_end=True)


def test_a_steady_computation_is_not_called_unstable() -> None:
    steady = [computed(float(start), start + 0.5) for start in range(20)]
    assert "unstable" not in report(steady)
    assert "unstable" in report([*steady, computed(21.0, 22.0)])


def test_exported_times_are_trtexecs_keys_and_values(tmp_path: Path) -> None:
    query = Query(1, 10.0, 10.5, 9.0, 10.0, 10.0, 13.0, 13.25, 14.0)
    export_times(tmp_path / "times.json", [query, computed(20.0, 21.0)])
    records = json.loads((tmp_path / "times.json").read_text())
    assert list(records[0].items()) == [
        ("startEnqMs", 10.0),
        ("endEnqMs", 10.5),
        ("startH2dMs", 9.0),
        ("endH2dMs", 10.0),
        ("startComputeMs", 10.0),
        ("endComputeMs", 13.0),
        ("startD2hMs", 13.25),
        ("endD2hMs", 14.0),
        ("h2dMs", 1.0),
        ("computeMs", 3.0),
        ("d2hMs", 0.75),
        ("latencyMs", 4.75),
    ]
    assert [record["latencyMs"] for record in records] == [4.75, 1.0]


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    from edgedet.bench.result import read_result, write_result

    result: Result = result_of([computed(0.0, 1.0), computed(1.0, 3.0)])
    write_result(tmp_path / "r.json", result)
    assert read_result(tmp_path / "r.json") == result
