"""What a verb prints: its result on stdout, everything else on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

T = TypeVar("T")

LOG_SHARE = 0.1
LOG_SECONDS = 2.0
LOG_SECONDS_WITHOUT_LENGTH = 10.0

_bars: list[Progress] = []


def emit(result: dict[str, Any], as_json: bool, render: Callable[[dict[str, Any]], None]) -> None:
    """Prints a verb's result on stdout: one line of JSON, or what `render` prints of it (with `table` or `print`).

    In JSON, a number that is not finite becomes null; NumPy numbers and arrays and paths become plain values.
    """
    if not as_json:
        render(result)
        return
    import json

    print(json.dumps(_plain(result), allow_nan=False), flush=True)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Prints a table on stdout; columns of numbers are set flush right, None is a dash. Format the numbers before."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    lines = [["-" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    drawn = Table(box=box.SIMPLE_HEAD, title=None if title is None else Text(title), title_justify="left")
    for index, header in enumerate(headers):
        numbers = bool(lines) and all(_reads_as_number(line[index]) for line in lines)
        drawn.add_column(Text(header), justify="right" if numbers else "left")
    for line in lines:
        drawn.add_row(*(Text(cell) for cell in line))
    # A pipe or a file has no width: a table cut at 80 columns would lose what the reader wants to grep.
    Console(highlight=False, width=None if _stdout_is_terminal() else 1000).print(drawn)


@lru_cache(maxsize=1)
def console() -> Console:
    """The one console on stderr, for everything that is not the result. Text is printed as it is: no markup."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def track(items: Iterable[T], description: str, *, unit: str = "items", per_item: int = 1) -> Iterator[T]:
    """The items, with a bar on a terminal, or in a log a plain line for about every tenth of the way.

    An item may stand for several units of work: `partial(track, unit="images", per_item=batch_size)`.
    """
    total = len(items) if isinstance(items, Sized) else None
    if console().is_terminal:
        yield from _bar(items, description, total, unit, per_item)
    else:
        yield from _lines(items, description, total, unit, per_item)


def stop_bars() -> None:
    """Ends the bars of loops that an exception has left, so that a message can follow them."""
    while _bars:
        _bars.pop().stop()


def printable(text: str) -> str:
    """The text with control characters escaped: names in files from strangers must not drive the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


def _stdout_is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _bar(items: Iterable[T], description: str, total: int | None, unit: str, per_item: int) -> Iterator[T]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(TextColumn):
        def render(self, task: Any) -> Text:
            return Text(_rate(task.completed / max(task.elapsed or 0.0, 1e-9), unit, per_item))

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(""),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    # Rich would turn what is printed on stdout to stderr, where the bar is: right only when both are the terminal.
    progress = Progress(*columns, console=console(), redirect_stdout=_stdout_is_terminal())
    _bars.append(progress)
    try:
        with progress:
            yield from progress.track(items, total=total, description=printable(description))
    finally:
        if progress in _bars:
            _bars.remove(progress)


def _lines(items: Iterable[T], description: str, total: int | None, unit: str, per_item: int) -> Iterator[T]:
    started = last_time = time.monotonic()
    done = last_done = 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if total is None:
            due = now - last_time >= LOG_SECONDS_WITHOUT_LENGTH
        else:
            due = done - last_done >= LOG_SHARE * total and now - last_time >= LOG_SECONDS
        if due and done != total:
            console().print(_line(description, done, total, now - started, unit, per_item))
            last_time, last_done = now, done
    console().print(_line(description, done, total, time.monotonic() - started, unit, per_item))


def _line(description: str, done: int, total: int | None, seconds: float, unit: str, per_item: int) -> str:
    rate = _rate(done / max(seconds, 1e-9), unit, per_item)
    if total is None:
        return printable(f"{description}: {done}, {rate}, {_clock(seconds)}")
    left = "" if done == total else f", {_clock(seconds / max(done, 1) * (total - done))} left"
    share = 100 * done // max(total, 1)
    return printable(f"{description}: {done}/{total} ({share} %), {rate}, {_clock(seconds)}{left}")


def _rate(items_per_second: float, unit: str, per_item: int) -> str:
    return f"{items_per_second * per_item:.3g} {unit}/s"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _reads_as_number(cell: str) -> bool:
    try:
        float(cell.split(" ")[0])
    except ValueError:
        return cell in ("", "-")
    return True


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return str(value)
