"""Real models, in this process and in others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from tiny_onnx import write_tiny_model

from edgedet.bench.comparison import timers
from edgedet.bench.comparison.timers import ModelTimer, ProcessTimer, model_opener
from edgedet.bench.opening import NO_TRUST
from edgedet.bench.settings import Settings
from edgedet.errors import EdgedetError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "m.onnx")


@pytest.fixture(autouse=True)
def _no_process_is_left() -> object:
    yield
    # Not `active_children`, which would itself bury the dead.
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    names = {child: Path(f"/proc/{child}/cmdline").read_text() for child in children}
    assert not [child for child, name in names.items() if "spawn_main" in name or not name]


def test_both_kinds_time_as_many_queries_as_are_asked_for(model: Path) -> None:
    for kind in (ModelTimer, ProcessTimer):
        timer = kind(model, Settings(), NO_TRUST)
        assert len(timer.times(3)) == 3
        assert all(0 < time < 1000 for time in timer.times(20))
        timer.close()


def test_a_process_waits_while_nobody_asks(model: Path) -> None:
    timer = ProcessTimer(model, Settings(), NO_TRUST)

    def processor_ticks() -> int:
        fields = Path(f"/proc/{timer._process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = processor_ticks()
    time.sleep(0.5)
    assert processor_ticks() - before <= 2
    timer.close()


@pytest.mark.parametrize("kind", [ModelTimer, ProcessTimer])
def test_a_model_that_does_not_load_is_said_to(kind: type[ModelTimer | ProcessTimer], tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(EdgedetError) as caught:
        kind(broken, Settings(), NO_TRUST)
    assert caught.value.where == str(broken)


@pytest.mark.parametrize("after", [0, 2])
def test_a_process_that_is_killed_is_said_to_have_ended(model: Path, after: int) -> None:
    timer = ProcessTimer(model, Settings(), NO_TRUST)
    for _ in range(after):
        timer.times(1)
    os.kill(timer._process.pid, signal.SIGKILL)
    with pytest.raises(EdgedetError, match=r"the process of the model ended \(-9\)"):
        for _ in range(2):
            timer.times(1)
    timer.close()


def test_a_process_that_does_not_answer_is_killed_on_closing(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timer = ProcessTimer(model, Settings(), NO_TRUST)
    monkeypatch.setattr(timers, "STARTING_SECONDS", 0.2)
    monkeypatch.setattr(timers, "ENDING_SECONDS", 0.2)
    os.kill(timer._process.pid, signal.SIGSTOP)
    with pytest.raises(EdgedetError, match="did not answer"):
        timer.times(1)
    timer.close()
    assert timer._process.exitcode == -signal.SIGKILL


def test_ctrl_c_in_a_terminal_is_not_heard_by_it_and_its_parent_listens_again(model: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    timer = ProcessTimer(model, Settings(), NO_TRUST)
    assert signal.getsignal(signal.SIGINT) is handler
    os.kill(timer._process.pid, signal.SIGINT)
    assert len(timer.times(2)) == 2
    timer.close()
    assert timer._process.exitcode == 0


def test_where_its_parent_is_gone_it_ends(model: Path) -> None:
    context = multiprocessing.get_context("spawn")
    pids = context.SimpleQueue()
    parent = context.Process(target=_parent, args=(model, pids))
    parent.start()
    pid = pids.get()
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    until = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def _parent(model: Path, pids: multiprocessing.SimpleQueue) -> None:
    timer = ProcessTimer(model, Settings(), NO_TRUST)
    pids.put(timer._process.pid)
    time.sleep(60)


@pytest.mark.parametrize("fresh_processes", [False, True])
def test_each_sitting_has_the_next_build(model: Path, tmp_path: Path, fresh_processes: bool) -> None:
    builds = [model, tmp_path / "missing-1.onnx", tmp_path / "missing-2.onnx"]
    load = model_opener(builds, Settings(), fresh_processes=fresh_processes)
    again = model_opener(builds, Settings(), fresh_processes=fresh_processes, first=1)
    for opener, places in ((load, {1: 1, 3: 0}), (again, {0: 1, 1: 2})):
        for number, place in places.items():
            if place == 0:
                opener(number).close()
            else:
                with pytest.raises(EdgedetError, match=f"missing-{place}"):
                    opener(number)


def test_in_one_process_the_input_is_read_once(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = model_opener([model], Settings())
    first = load(0)
    assert isinstance(first, ModelTimer)
    second = load(1)
    assert isinstance(second, ModelTimer) and second.feed is first.feed
