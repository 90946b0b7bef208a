"""The frame around the verbs: exit codes, messages, and what starting costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from edgedet import __version__
from edgedet.cli.app import VerbGroup, app
from edgedet.cli.report import BUG_EXIT_CODE, EXTRA_OF_PACKAGE
from edgedet.errors import CheckFailedError, EdgedetError

VERBS = [
    "data",
    "models",
    "recipes",
    "train",
    "sweep",
    "eval",
    "predict",
    "quantize",
    "export",
    "build",
    "compare",
    "inspect",
    "lint",
    "bench",
    "gate",
    "report",
    "deploy",
    "doctor",
    "demo",
    "pg",
    "bundle",
    "jetson",
]
HEAVY = {"torch", "onnx", "onnxruntime", "cv2", "numpy", "scipy", "matplotlib", "lightning_fabric", "faster_coco_eval"}


def python(program: str, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-c", program, *args],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


def edgedet(*args: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `edgedet` in a fresh interpreter, after the statements `before`."""
    program = f"import sys; sys.argv[0] = 'edgedet'\n{before}\nfrom edgedet.cli.app import main; main()"
    return python(program, *args, **environment)


def failing_app(error: BaseException) -> typer.Typer:
    """A command line with one verb, which raises `error`."""
    failing = typer.Typer(cls=VerbGroup, rich_markup_mode=None)

    @failing.callback()
    def options(debug: bool = False) -> None: ...

    @failing.command()
    def verb(imgsz: int = 320) -> None:
        raise error

    return failing


class TestHelp:
    def test_every_verb_is_listed_in_the_order_of_the_work(self) -> None:
        result = edgedet("--help")
        assert result.returncode == 0
        commands = result.stdout.partition("Commands:\n")[2].splitlines()
        assert [line.split()[0] for line in commands if line.startswith("  ") and line[2] != " "] == VERBS

    @pytest.mark.parametrize("verb", VERBS)
    def test_every_verb_and_option_has_a_help_text(self, verb: str) -> None:
        command = typer.main.get_command(app).commands[verb]
        for each in command.commands.values() if hasattr(command, "commands") else [command]:
            assert each.help, each.name
            # `-h/--help` itself is not among the parameters.
            assert [option.name for option in each.params if not getattr(option, "help", None)] == []

    def test_version(self) -> None:
        result = edgedet("--version")
        assert (result.returncode, result.stdout) == (0, f"edgedet {__version__}\n")

    def test_module_is_the_command(self) -> None:
        result = subprocess.run([sys.executable, "-m", "edgedet", "--version"], capture_output=True, text=True)
        assert result.stdout == f"edgedet {__version__}\n"


class TestStarting:
    def test_importing_the_package_imports_nothing_but_the_standard_library(self) -> None:
        program = "import sys; before = set(sys.modules); import edgedet; print(*sorted(set(sys.modules) - before))"
        modules = python(program).stdout.split()
        assert [name for name in modules if name.partition(".")[0] not in sys.stdlib_module_names] == ["edgedet"]
        assert len(modules) < 30

    @pytest.mark.parametrize("args", [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)])
    def test_help_imports_nothing_heavy(self, args: list[str]) -> None:
        """Typer itself imports pydantic as soon as a verb is named, but not for the list of verbs."""
        program = (
            "import atexit, json, sys; sys.argv[0] = 'edgedet'\n"
            "atexit.register(lambda: sys.stderr.write(json.dumps(sorted(sys.modules))))\n"
            "from edgedet.cli.app import main; main()"
        )
        result = python(program, *args)
        assert result.returncode == 0
        modules = json.loads(result.stderr)
        packages = {name.partition(".")[0] for name in modules}
        assert packages & HEAVY == set()
        if args[0] not in VERBS:
            assert packages & {"pydantic", "rich", "yaml"} == set()
            assert len(modules) < 250


class TestWrongUse:
    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (["trian"], "Did you mean 'train'?"),
            (["--debgu"], "--debug"),
            (["bench", "--imgsz", "many"], ""),
            (["eval"], "Missing argument"),
            (["data", "chekc"], "Did you mean 'check'?"),
        ],
    )
    def test_is_one_message_on_stderr_and_exit_code_2(self, args: list[str], said: str) -> None:
        result = CliRunner().invoke(app, args)
        assert result.exit_code == 2
        assert said in result.stderr
        assert result.stderr.count("Error:") == 1
        assert result.stdout == ""


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "exit_code", "message"),
        [
            (EdgedetError("no such thing", where="a.txt:3", fix="do"), 2, "a.txt:3: no such thing\n  fix: do"),
            (CheckFailedError("3 faults", where="data"), 1, "data: 3 faults"),
            (MemoryError(), 2, "out of memory\n  fix: use a smaller --batch or --imgsz, or free some memory"),
            (OSError(28, "No space left"), 2, "No space left\n  fix: free some space on that disk, or write elsewhere"),
            (PermissionError(13, "Permission denied", "/x/y"), 2, "/x/y: Permission denied"),
            (EdgedetError("odd name", where="\x1b[31mred\x07.jpg"), 2, "\\x1b[31mred\\x07.jpg: odd name"),
        ],
    )
    def test_what_a_person_can_act_on_is_one_message(self, error: Exception, exit_code: int, message: str) -> None:
        result = CliRunner().invoke(failing_app(error), ["verb"])
        assert result.exit_code == exit_code
        assert result.stderr == f"error: {message}\n"
        assert result.stdout == ""

    def test_a_bug_says_so_and_how_to_see_more(self) -> None:
        result = CliRunner().invoke(failing_app(KeyError("x")), ["verb"])
        assert result.exit_code == BUG_EXIT_CODE
        assert result.stderr == (
            "error: this is a bug in edgedet: KeyError: 'x'\n"
            "  fix: run it again with --debug and report the traceback\n"
        )

    @pytest.mark.parametrize("args", [["--debug", "verb"], ["verb", "--debug"], ["verb", "--imgsz", "3", "--debug"]])
    @pytest.mark.parametrize("error", [EdgedetError("no such thing"), ZeroDivisionError("by zero")])
    def test_debug_shows_the_traceback(self, error: Exception, args: list[str]) -> None:
        result = CliRunner().invoke(failing_app(error), args)
        assert "Traceback (most recent call last)" in result.stderr
        assert "raise error" in result.stderr
        assert result.stderr.splitlines()[-1 if error.args == ("no such thing",) else -2].startswith("error: ")

    def test_debug_after_two_dashes_is_an_argument(self) -> None:
        result = CliRunner().invoke(failing_app(EdgedetError("no")), ["verb", "--", "--debug"])
        assert "Traceback" not in result.stderr
        assert result.exit_code == 2

    @pytest.mark.parametrize(("package", "extra"), EXTRA_OF_PACKAGE.items())
    def test_a_missing_optional_package_names_the_extra(self, package: str, extra: str) -> None:
        error = ModuleNotFoundError(f"No module named '{package}.nn'", name=f"{package}.nn")
        result = CliRunner().invoke(failing_app(error), ["verb"])
        assert result.exit_code == 2
        assert f'fix: pip install "edgedet[{extra}]"' in result.stderr

    def test_the_extras_named_are_those_there_are(self) -> None:
        from importlib.metadata import metadata

        assert set(EXTRA_OF_PACKAGE.values()) <= set(metadata("edgedet").get_all("Provides-Extra") or [])

    def test_another_missing_module_is_a_bug(self) -> None:
        result = CliRunner().invoke(failing_app(ModuleNotFoundError("No module named 'x'", name="x")), ["verb"])
        assert result.exit_code == BUG_EXIT_CODE

    def test_an_interrupt_is_one_line(self) -> None:
        result = CliRunner().invoke(failing_app(KeyboardInterrupt()), ["verb"])
        assert result.exit_code == 128 + signal.SIGINT
        assert result.stderr == "interrupted\n"


class TestPipes:
    def test_a_full_disk_behind_stdout(self) -> None:
        program = "from edgedet.cli.app import main; main()"
        with Path("/dev/full").open("w") as full:
            result = subprocess.run(
                [sys.executable, "-c", program, "--version"], stdout=full, stderr=subprocess.PIPE, text=True
            )
        assert result.returncode == 2
        assert result.stderr.startswith("error: No space left on device")
        assert "Traceback" not in result.stderr

    def test_a_reader_that_leaves_early_is_no_error(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        program = (
            "from edgedet.cli import app\n"
            "@app.app.command()\n"
            "def verb() -> None:\n"
            "    from edgedet.cli.output import emit\n"
            "    emit({'a': 1}, True, print)\n"
            "app.main()"
        )
        result = subprocess.run(
            [sys.executable, "-c", program, "verb"], stdout=writing, stderr=subprocess.PIPE, text=True
        )
        os.close(writing)
        assert (result.returncode, result.stderr) == (128 + signal.SIGPIPE, "")
