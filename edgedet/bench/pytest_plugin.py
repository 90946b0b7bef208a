"""A pytest plugin: the fixture `latency_gate` and the options `--latency-*`.

pytest loads it in every project of an environment that edgedet is installed in: until the fixture is used, nothing but
pytest is imported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from edgedet.bench.gate import GateResult

STORED = ".json"


@dataclass
class _Session:
    """What the options say, and a line of each comparison so far."""

    baseline: Path | None
    max_slowdown: float
    between_runs: float
    time_limit: float
    report: Path | None
    fails_where_inconclusive: bool
    is_parallel: bool
    lines: list[str] = field(default_factory=list)


_SESSION = pytest.StashKey[_Session]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options."""
    group = parser.getgroup("latency", "latency of detectors (edgedet)")
    group.addoption(
        "--latency-baseline",
        metavar="PATH",
        type=Path,
        help="what models are held to: a model file, a result of edgedet bench --save, or a folder of either, of the "
        "names of those that are tested",
    )
    group.addoption(
        "--latency-max-slowdown",
        metavar="PERCENT",
        type=percentage,
        default=3.0,
        help="how much slower they may be than that (default: 3%%)",
    )
    group.addoption(
        "--latency-between-runs",
        metavar="PERCENT",
        type=percentage,
        default=55.0,
        help="how far a stored result and a run of the same model may differ (default: 55%%)",
    )
    group.addoption(
        "--latency-time-limit",
        metavar="SECONDS",
        type=float,
        default=120.0,
        help="longest comparison, where nothing is decided (default: %(default)s)",
    )
    group.addoption(
        "--latency-report",
        metavar="DIR",
        type=Path,
        help="write what each test found there, as JSON, JUnit and Markdown",
    )
    group.addoption(
        "--latency-inconclusive",
        choices=("skip", "fail"),
        default="skip",
        help="what becomes of a test that could not be decided (default: %(default)s)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Reads the options."""
    config.stash[_SESSION] = _Session(
        baseline=config.getoption("--latency-baseline"),
        max_slowdown=config.getoption("--latency-max-slowdown"),
        between_runs=config.getoption("--latency-between-runs"),
        time_limit=config.getoption("--latency-time-limit"),
        report=config.getoption("--latency-report"),
        fails_where_inconclusive=config.getoption("--latency-inconclusive") == "fail",
        is_parallel=getattr(config, "workerinput", {}).get("workercount", 1) > 1,
    )


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """A line of each comparison."""
    lines = config.stash[_SESSION].lines
    if lines:
        terminalreporter.section("latency")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def latency_gate(request: pytest.FixtureRequest) -> LatencyGate:
    """Holds a model to its baseline: `latency_gate("model.onnx")`; see `LatencyGate.__call__`."""
    return LatencyGate(request.config.stash[_SESSION], request.node.nodeid)


class LatencyGate:
    """What the fixture `latency_gate` gives to a test."""

    def __init__(self, session: _Session, test: str) -> None:
        self._session, self._test = session, test
        self._calls = 0

    def __call__(
        self,
        model: str | Path,
        baseline: str | Path | None = None,
        *,
        max_slowdown: float | None = None,
        data: str | Path | None = None,
        split: str | None = None,
        max_drop: float = 0.3,
        threads: int = 1,
        device: str | None = None,
        end_to_end: bool = False,
        time_limit: float | None = None,
    ) -> GateResult:
        """Lets a test go on where the model is neither slower nor worse than its baseline.

        A baseline that is a stored result says itself how to measure: `threads`, `device`, `end_to_end` and the time
        limit play no part then.

        Args:
            model: `.onnx`, `.engine` or `.pt`.
            baseline: another model file, or a result of `edgedet bench --save`; None takes `--latency-baseline`.
            max_slowdown: in percent; None takes `--latency-max-slowdown`.
            data: labelled images to evaluate both on; None compares speed alone.
            split: which of them; None means `val`, or the only one.
            max_drop: mAP50-95, in points of 100, that may be lost.
            threads, device, end_to_end: as `edgedet gate` has them.
            time_limit: seconds for the comparison; None takes `--latency-time-limit`.

        Returns:
            what was found.

        Raises:
            pytest.fail.Exception: it is slower or worse, or cannot be compared.
            pytest.skip.Exception: nothing was decided, or it has no baseline.
        """
        __tracebackhide__ = True
        if self._session.is_parallel:
            pytest.fail("models are timed one at a time: run these tests without -n, or with -n 1", pytrace=False)
        base = self._base(Path(model), baseline)
        from edgedet.errors import EdgedetError

        try:
            found = _compared(
                base,
                Path(model),
                data=None if data is None else Path(data),
                split=split,
                max_slowdown=(self._session.max_slowdown if max_slowdown is None else max_slowdown) / 100,
                max_drop=max_drop,
                between_runs=self._session.between_runs / 100,
                threads=threads,
                device=device,
                end_to_end=end_to_end,
                time_limit=self._session.time_limit if time_limit is None else time_limit,
            )
            text = self._told(found)
        except EdgedetError as error:
            pytest.fail(str(error), pytrace=False)
        if found.comparison.interrupted:
            raise KeyboardInterrupt
        if found.outcome == "fail" or (found.outcome == "inconclusive" and self._session.fails_where_inconclusive):
            pytest.fail(text, pytrace=False)
        if found.outcome == "inconclusive":
            pytest.skip(text)
        return found

    def _base(self, model: Path, given: str | Path | None) -> Path:
        base = self._session.baseline if given is None else Path(given)
        if base is None:
            pytest.skip("there is no baseline: give --latency-baseline")
        if not base.is_dir():
            return base
        for path in (base / model.name, base / f"{model.stem}{STORED}"):
            if path.is_file():
                return path
        pytest.skip(f"{base} has no baseline of {model.name}")

    def _told(self, found: GateResult) -> str:
        """Writes what was found, keeps a line of it, and gives it in sentences."""
        from edgedet.bench.summary import disturbance_lines, sentences, write_junit, write_markdown
        from edgedet.files import write_json

        lines = [*sentences(found), *disturbance_lines(found)]
        self._session.lines.append(f"{self._test}: {lines[0]}")
        self._calls += 1
        if self._session.report is not None:
            name = re.sub(r"[^\w.-]+", "-", self._test) + (f"-{self._calls}" if self._calls > 1 else "")
            write_json(self._session.report / f"{name}.json", found.to_dict())
            write_junit(self._session.report / f"{name}.xml", found)
            write_markdown(self._session.report / f"{name}.md", found)
        return "\n".join(lines)


def _compared(
    base: Path,
    model: Path,
    *,
    data: Path | None,
    split: str | None,
    max_slowdown: float,
    max_drop: float,
    between_runs: float,
    threads: int,
    device: str | None,
    end_to_end: bool,
    time_limit: float,
) -> GateResult:
    from edgedet.bench.gate import run_gate
    from edgedet.bench.settings import Input, Settings
    from edgedet.bench.stored_gate import run_stored_gate
    from edgedet.config import parse

    if base.suffix.lower() == STORED:
        return run_stored_gate(
            base,
            model,
            data=data,
            split=split,
            max_slowdown=max_slowdown,
            max_drop=max_drop,
            between_runs=between_runs,
        )
    fed = Input() if data is None else Input(kind="dataset", path=data, split=split)
    values = {"duration": 1.0, "threads": threads, "device": device, "end_to_end": end_to_end, "input": fed}
    return run_gate(
        [base],
        [model],
        parse(Settings, values, where="latency_gate"),
        data=data,
        split=split,
        max_slowdown=max_slowdown,
        max_drop=max_drop,
        time_limit=time_limit,
    )


def percentage(text: str) -> float:
    """`3%` or `3` as 3.

    Raises:
        ValueError: it is something else.
    """
    value = float(text.rstrip(" %"))
    if not 0 < value <= 100:
        raise ValueError
    return value
