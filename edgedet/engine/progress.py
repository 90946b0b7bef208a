"""The builder's own progress, for whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from edgedet.interrupt import StopRequest


class BuildWatcher(Protocol):
    """What hears of the builder's phases. Each has a name of its own while it runs, and may lie inside another."""

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins."""

    def step(self, phase: str, done: int) -> None:
        """So many of its steps are done."""

    def finish(self, phase: str) -> None:
        """A phase ends."""


class NobodyWatches:
    """Hears nothing."""

    def start(self, phase: str, parent: str | None, steps: int) -> None: ...

    def step(self, phase: str, done: int) -> None: ...

    def finish(self, phase: str) -> None: ...


def new_monitor(trt: Any, watcher: BuildWatcher, request: StopRequest) -> Any:
    """A `tensorrt.IProgressMonitor` that tells a watcher, and ends the build where a person asked to stop.

    No exception leaves its methods: TensorRT's bindings would print it and go on, or end the build without a word.
    """

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            _guarded(lambda: watcher.start(phase_name, parent_phase, num_steps), request)

        def step_complete(self, phase_name: str, step: int) -> bool:
            _guarded(lambda: watcher.step(phase_name, step + 1), request)
            return not request.wanted

        def phase_finish(self, phase_name: str) -> None:
            _guarded(lambda: watcher.finish(phase_name), request)

    return Monitor()


def _guarded(tell: Callable[[], None], request: StopRequest) -> None:
    try:
        tell()
    except KeyboardInterrupt:
        request.wanted = True
    except Exception:  # a watcher that fails must not end the build
        return
