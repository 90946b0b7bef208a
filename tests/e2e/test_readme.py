"""The README's commands do what it says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"
PAGES = [README, *sorted((REPOSITORY / "docs").glob("*.md"))]


def commands(heading: str) -> list[list[str]]:
    """The `edgedet` commands in the shell blocks below a heading."""
    section = README.read_text().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("edgedet ")]


@pytest.mark.slow
def test_first_steps_run_in_order(tmp_path: Path) -> None:
    steps = commands("First steps")
    assert len(steps) >= 7
    for arguments in steps:
        command = [sys.executable, "-m", "edgedet", *arguments]
        finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
        assert finished.returncode == 0, (arguments, finished.stderr)
    assert (tmp_path / "runs/shapes/best.onnx").is_file()
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    finished = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "drawn.jpg").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_names_a_verb_and_options_that_exist(page: Path) -> None:
    everything = re.findall(r"^ *edgedet (\S+)(.*)$", page.read_text().replace("\\\n", " "), flags=re.MULTILINE)
    assert len(everything) >= (8 if page == README else 1)
    help_of: dict[str, str] = {}
    for verb, rest in everything:
        words = shlex.split(rest, comments=True)
        name = f"{verb} {words[0]}" if verb in ("data", "jetson", "pg") else verb
        if name not in help_of:
            command = [sys.executable, "-m", "edgedet", *name.split(), "--help"]
            help_of[name] = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for word in words:
            if word.startswith("--"):
                assert re.search(rf"{word}\b", help_of[name]), f"edgedet {name} has no option {word}"
