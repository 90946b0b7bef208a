"""What goes to stdout, what to stderr, and how progress looks on a terminal and in a log."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgedet.cli import output


class TestEmit:
    def test_json_is_one_object_on_one_line_of_stdout(self, capsys: pytest.CaptureFixture[str]) -> None:
        result = {
            "name": "grün\n",
            "map": float("nan"),
            "least": float("-inf"),
            "share": np.float32(0.5),
            "count": np.int64(3),
            "counts": np.array([[1, 2]]),
            "bad": np.array([np.nan]),
            "path": Path("a/b"),
            "per_class": ({"ok": True, 3: None},),
        }
        output.emit(result, True, lambda _: pytest.fail("rendered"))
        out, err = capsys.readouterr()
        assert err == ""
        assert out.count("\n") == 1
        assert json.loads(out, parse_constant=pytest.fail) == {
            "name": "grün\n",
            "map": None,
            "least": None,
            "share": 0.5,
            "count": 3,
            "counts": [[1, 2]],
            "bad": [None],
            "path": "a/b",
            "per_class": [{"ok": True, "3": None}],
        }

    def test_people_get_what_render_prints(self, capsys: pytest.CaptureFixture[str]) -> None:
        output.emit({"a": 1}, False, lambda result: print(f"a is {result['a']}"))
        assert capsys.readouterr() == ("a is 1\n", "")


class TestTable:
    def test_columns_line_up_and_numbers_are_flush_right(self, capsys: pytest.CaptureFixture[str]) -> None:
        output.table(["model", "ms"], [["a", 5], ["longer", "12.5 ms"], ["none", None]], title="Latency")
        lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if line.strip()]
        assert lines[0] == "Latency"
        assert lines[1].split() == ["model", "ms"]
        assert lines[3:] == ["  a              5", "  longer   12.5 ms", "  none           -"]

    def test_is_not_cut_in_a_pipe(self, capsys: pytest.CaptureFixture[str]) -> None:
        output.table(["path"], [["x" * 300]])
        assert "x" * 300 in capsys.readouterr().out

    def test_prints_markup_and_control_characters_as_they_are_written(self, capsys: pytest.CaptureFixture[str]) -> None:
        output.table(["class"], [["[red]cell[/]"], [":smile:"], ["\x1b[31mred"]])
        out = capsys.readouterr().out
        assert "[red]cell[/]" in out
        assert ":smile:" in out
        assert "\\x1b[31mred" in out
        assert "\x1b" not in out

    def test_without_rows_still_names_the_columns(self, capsys: pytest.CaptureFixture[str]) -> None:
        output.table(["model", "ms"], [])
        assert "model" in capsys.readouterr().out


class TestConsole:
    def test_prints_on_stderr_and_neither_wraps_nor_reads_markup(self, capsys: pytest.CaptureFixture[str]) -> None:
        text = "wrote [bold]" + "x" * 300 + "/a[0].png :smile:"
        output.console().print(text)
        assert capsys.readouterr() == ("", text + "\n")


class TestTrackInALog:
    def test_yields_the_items_and_ends_with_a_line_on_stderr(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert list(output.track(["a", "b", "c"], "reading")) == ["a", "b", "c"]
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("reading: 3/3 (100 %), ")
        assert err.count("\n") == 1

    def test_writes_about_ten_lines_with_rate_and_time_left(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = iter(range(100_000))
        monkeypatch.setattr(output.time, "monotonic", lambda: float(next(clock)))
        track = partial(output.track, unit="images", per_item=8)
        assert list(track(range(1000), "training")) == list(range(1000))
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 10
        assert lines[0] == "training: 100/1000 (10 %), 8 images/s, 1:40, 15:00 left"
        assert lines[-1] == "training: 1000/1000 (100 %), 7.99 images/s, 16:41"

    def test_a_fast_loop_does_not_fill_the_log(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert sum(output.track(range(1000), "fast")) == 499500
        assert capsys.readouterr().err.count("\n") == 1

    def test_without_a_length_a_line_now_and_then(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = iter(range(1000))
        monkeypatch.setattr(output.time, "monotonic", lambda: float(next(clock)))
        assert len(list(output.track(iter(range(25)), "frames"))) == 25
        lines = capsys.readouterr().err.splitlines()
        assert [line.split(",")[0] for line in lines] == ["frames: 10", "frames: 20", "frames: 25"]

    @pytest.mark.parametrize("items", [[], iter([])])
    def test_no_items(self, items: object, capsys: pytest.CaptureFixture[str]) -> None:
        assert list(output.track(items, "nothing")) == []  # type: ignore[arg-type]
        assert capsys.readouterr().err.startswith("nothing: 0")

    def test_the_loop_may_be_left_early(self, capsys: pytest.CaptureFixture[str]) -> None:
        for item in output.track(range(10), "reading"):
            if item == 3:
                break
        assert capsys.readouterr().err == ""


def on_terminal(program: str) -> tuple[str, str]:
    """Runs a program with stderr on a terminal and stdout in a pipe; what each received."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=child,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(child)
    shown = b""
    while True:
        try:
            block = os.read(parent, 65536)
        except OSError:
            break
        if not block:
            break
        shown += block
    os.close(parent)
    out, _ = process.communicate(timeout=30)
    return out.decode(), shown.decode()


class TestTrackOnATerminal:
    def test_shows_a_bar_with_rate_and_leaves_stdout_alone(self) -> None:
        out, shown = on_terminal(
            "from functools import partial\n"
            "from edgedet.cli import output\n"
            "for item in partial(output.track, unit='images', per_item=8)(range(5), 'frames [x]'):\n"
            "    output.emit({'item': item}, True, print)\n"
        )
        assert [json.loads(line) for line in out.splitlines()] == [{"item": item} for item in range(5)]
        assert "frames [x]" in shown
        assert "5/5" in shown
        assert "images/s" in shown

    def test_loops_may_be_nested(self) -> None:
        out, shown = on_terminal(
            "from edgedet.cli.output import track\n"
            "print(sum(x * y for x in track(range(3), 'epochs') for y in track(range(4), 'steps')))\n"
        )
        assert out == "18\n"
        assert "epochs" in shown
        assert "steps" in shown

    def test_an_error_inside_the_loop_ends_the_bar_before_the_message(self) -> None:
        _, shown = on_terminal(
            "import sys; sys.argv = ['edgedet', 'verb']\n"
            "from edgedet.cli import app, output\n"
            "@app.app.command()\n"
            "def verb() -> None:\n"
            "    for item in output.track(range(5), 'frames'):\n"
            "        raise KeyboardInterrupt\n"
            "app.main()\n"
        )
        hide_cursor, show_cursor = "\x1b[?25l", "\x1b[?25h"
        assert hide_cursor in shown
        assert shown.rindex(show_cursor) < shown.index("interrupted")
        assert shown.rstrip().endswith("interrupted")
