"""`edgedet report`: it prints where the page is, and names the file that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from measurements import computed, result_of
from typer.testing import CliRunner, Result

from edgedet.bench.result import write_result
from edgedet.cli.app import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    write_result(tmp_path / "run.json", result_of([computed(0, 2), computed(2, 5)]))
    return tmp_path / "run.json"


def test_the_page_is_written_and_its_path_printed(stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "page.html"
    found = run(stored, stored, "--out", out)
    assert (found.exit_code, found.stdout) == (0, f"{out}\n")
    text = out.read_text()
    assert text.startswith("<!doctype html>") and "Latency of 2 runs" in text


def test_the_page_is_in_the_folder_where_one_is_unless_told(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert run(stored).stdout == "report.html\n"
    assert (tmp_path / "here" / "report.html").is_file()


def test_json_names_the_page_and_the_runs(stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    found = run(stored, stored, "--out", out, "--json")
    assert json.loads(found.stdout) == {"page": str(out), "runs": ["model.onnx", "model.onnx #2"]}


@pytest.mark.parametrize(
    "written", [None, b"", b"\x80", b"[]", b"{}", b'{"kind": "bench"}', b'{"kind": "gate"}', b"[" * 100_000]
)
def test_a_wrong_file_is_named_and_no_page_is_written(stored: Path, tmp_path: Path, written: bytes | None) -> None:
    wrong, out = tmp_path / "wrong.json", tmp_path / "page.html"
    if written is not None:
        wrong.write_bytes(written)
    found = run(stored, wrong, "--out", out)
    assert found.exit_code == 2
    assert found.stderr.startswith(f"error: {wrong}: ")
    assert not out.exists()


@pytest.mark.parametrize(("out", "said"), [("page.txt", "ends in .html"), (".html", "ends in .html")])
def test_only_an_html_file_is_written(stored: Path, tmp_path: Path, out: str, said: str) -> None:
    found = run(stored, "--out", tmp_path / out)
    assert found.exit_code == 2 and said in found.stderr


def test_what_is_shown_is_not_written_over(stored: Path) -> None:
    page = stored.rename(stored.with_suffix(".html"))
    before = page.read_bytes()
    found = run(page, "--out", page)
    assert found.exit_code == 2 and f"{page}: is what is to be shown" in found.stderr
    assert page.read_bytes() == before
