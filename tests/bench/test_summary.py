"""What the gate says to people and to continuous integration, of results made by hand."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from bench.two_models import write_model

from edgedet.bench.accuracy import Accuracy
from edgedet.bench.comparison.compare import Comparison, arm_of
from edgedet.bench.comparison.interval import Interval
from edgedet.bench.comparison.spread import BuildSpread
from edgedet.bench.comparison.verdict import Verdict, Word
from edgedet.bench.gate import GateResult
from edgedet.bench.layers.moved import Move
from edgedet.bench.machine.disturbance import Disturbance
from edgedet.bench.measure import measure
from edgedet.bench.result import Result
from edgedet.bench.settings import Settings
from edgedet.bench.summary import markdown, sentences, write_junit, write_markdown

HOSTILE = "a|b` <img src=x onerror=alert(1)> **[click](http://x)** \x1b[31m \u202e\ud83d ~~&lt;~~ $x$ # \r\n- !z"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    found = measure(write_model(tmp_path_factory.mktemp("m") / "m.onnx", convolutions=1), Settings(duration=0.05))
    return found.result.model_copy(update={"disturbances": ()})


def found_of(result: Result, word: Word = "same", *, sittings: int = 41, **changes: Any) -> GateResult:
    slowdown = {"same": 0.01, "inconclusive": 0.03, "slower": 0.1, "faster": -0.1}[word]
    verdict = Verdict(
        word,
        Interval(slowdown, slowdown - 0.005, slowdown + 0.006),
        Interval(0.001, -0.002, 0.004),
        3.2e-5,
        0.03,
        sittings,
        final=True,
    )
    arms = {arm: arm_of([2.0, 2.1, 2.1, 2.2, 2.2, 2.3, 9.0]) for arm in ("base", "base again", "head")}
    comparison = Comparison(verdict, (verdict,), arms, ((2.0, 2.0, 2.1),) * sittings, 12.3, interrupted=False)
    now = datetime(2025, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    return replace(GateResult(result, result, comparison, None, None, (), (), now), **changes)


def junit(found: GateResult, folder: Path) -> ElementTree.Element:
    write_junit(folder / "junit.xml", found)
    return ElementTree.parse(folder / "junit.xml").getroot()


class TestSentences:
    def test_the_outcome_comes_first_and_then_what_it_rests_on(self, result: Result) -> None:
        first, second = sentences(found_of(result, "slower"))
        assert first == ("fail: slower: the head takes 10.00% longer (+9.50% to +10.60%), 3.00% are tolerated")
        assert second == (
            "the base beside itself: +0.10% (-0.20% to +0.40%); signed-rank probability 3.2e-05; 41 sittings in 12 s"
        )

    def test_a_faster_head_takes_less(self, result: Result) -> None:
        assert next(iter(sentences(found_of(result, "faster")))).startswith("pass: faster: the head takes 10.00% less")

    def test_too_few_sittings_ask_for_more_time(self, result: Result) -> None:
        text = "\n".join(sentences(found_of(result, "inconclusive", sittings=5)))
        assert "5 sittings in 12 s; fewer than 12 say nothing: give a longer time limit" in text

    def test_builds_accuracy_notes_and_an_interrupt_are_told(self, result: Result) -> None:
        found = found_of(
            result,
            builds={"base": BuildSpread((2.0, 2.1), 0.05, 0.001)},
            accuracy=Accuracy(0.5, 0.49, 0.3, "val", 100),
            notes=("a note",),
        )
        found = replace(found, comparison=replace(found.comparison, interrupted=True))
        assert list(sentences(found))[2:] == [
            "2 builds of base: 5.00% apart, sittings of one 0.10%",
            "mAP50-95 0.5000 to 0.4900 on 100 images of val: -1.00 points, beyond the 0.3 that may be lost",
            "a note",
            "interrupted: this is what was known until then",
        ]


class TestOutcome:
    @pytest.mark.parametrize(
        ("word", "accuracy", "outcome"),
        [
            ("same", None, "pass"),
            ("faster", 0.5, "pass"),
            ("slower", 0.5, "fail"),
            ("same", 0.4, "fail"),
            ("inconclusive", None, "inconclusive"),
            ("inconclusive", 0.5, "inconclusive"),
            ("inconclusive", 0.4, "fail"),
        ],
    )
    def test_speed_and_accuracy_together(
        self, result: Result, word: Word, accuracy: float | None, outcome: str
    ) -> None:
        held = None if accuracy is None else Accuracy(0.5, accuracy, 0.3, "val", 10)
        assert found_of(result, word, accuracy=held).outcome == outcome

    def test_what_may_be_lost_may_be(self) -> None:
        assert Accuracy(0.503, 0.5005, 0.3, "val", 10).holds and not Accuracy(0.5, 0.496, 0.3, "val", 10).holds
        assert Accuracy(0.5, 0.6, 0.0, "val", 10).holds


class TestJunit:
    """What GitHub's actions, GitLab and Jenkins read: testsuites, testsuite, testcase, failure or skipped."""

    @pytest.mark.parametrize(
        ("word", "inside"), [("same", None), ("faster", None), ("slower", "failure"), ("inconclusive", "skipped")]
    )
    def test_each_verdict(self, result: Result, tmp_path: Path, word: Word, inside: str | None) -> None:
        root = junit(found_of(result, word), tmp_path)
        assert (root.tag, [suite.tag for suite in root]) == ("testsuites", ["testsuite"])
        suite = root[0]
        assert [child.tag for child in suite] == ["testcase", "system-out"]
        case = suite[0]
        assert (case.get("classname"), case.get("name"), case.get("time")) == ("edgedet.gate", "latency", "12.300")
        assert [child.tag for child in case] == ([] if inside is None else [inside])
        counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
        expected = {"tests": "1", "failures": "0", "errors": "0", "skipped": "0"}
        assert counts == expected | ({f"{inside}s" if inside == "failure" else inside: "1"} if inside else {})
        assert re.fullmatch(r"2025-01-02T03:04:05\S*", suite.get("timestamp") or "")
        if inside is not None:
            assert f"{word}: the head takes" in (case[0].get("message") or "")
        if inside == "failure":
            assert "the base beside itself" in (case[0].text or "") and case[0].get("type")

    def test_accuracy_is_a_case_of_its_own(self, result: Result, tmp_path: Path) -> None:
        found = found_of(result, "same", accuracy=Accuracy(0.5, 0.4, 0.3, "val", 10))
        suite = junit(found, tmp_path)[0]
        latency, accuracy, _ = suite
        assert (latency.find("failure"), suite.get("tests"), suite.get("failures")) == (None, "2", "1")
        failure = accuracy.find("failure")
        assert failure is not None and failure.get("message") == "mAP50-95 lost 10.00 points, 0.3 may be lost"

    def test_what_xml_cannot_hold_is_left_out(self, result: Result, tmp_path: Path) -> None:
        disturbed = result.model_copy(
            update={"disturbances": (Disturbance(kind="busy", what=f"{HOSTILE}\x00\uffff", value=1),)}
        )
        root = junit(found_of(result, "slower", head=disturbed, notes=(HOSTILE,)), tmp_path)
        text = root.findtext(".//system-out") or ""
        assert "<img src=x onerror=alert(1)>" in text, "escaped, it is text again"
        assert not set(text) & set("\x00\x1b\u202e\ud83d\uffff")


class TestMarkdown:
    def test_a_summary_has_the_outcome_the_figures_and_what_they_are_of(self, result: Result) -> None:
        lines = markdown(found_of(result, "slower")).splitlines()
        assert lines[0] == "### ❌ edgedet gate: fail"
        assert [line.count("|") for line in lines if line.startswith("|")] == [8] * 5
        assert "| base again | m.onnx | 2.200 | 9.000 | 9.000 | 9.000 | 1 |" in lines
        assert lines[-1].startswith(result.protocol.computer.cpu.split("(")[0][:5])
        assert markdown(found_of(result, "inconclusive")).startswith("### ❔")
        assert markdown(found_of(result, "same")).startswith("### ✅")

    def test_layers_that_moved_are_listed(self, result: Result) -> None:
        moves = tuple(Move(f"conv{place}", "Conv", 1.0, 1.0 + place / 10) for place in range(12, -1, -1))
        rows = [line for line in markdown(found_of(result, moves=moves)).splitlines() if "Conv" in line]
        assert len(rows) == 8 and rows[0] == "| conv12 | Conv | +1.2000 |"

    def test_hostile_names_are_read_as_names(self, result: Result, tmp_path: Path) -> None:
        model = result.model.model_copy(update={"path": f"/models/{HOSTILE.replace('/', '')}.onnx"})
        hostile = result.model_copy(update={"model": model})
        found = found_of(result, "same", head=hostile, moves=(Move(HOSTILE, HOSTILE, 1.0, 2.0),), notes=(HOSTILE,))
        plain = markdown(found_of(result, "same", moves=(Move("a", "b", 1.0, 2.0),), notes=("c",))).splitlines()
        lines = markdown(found).splitlines()
        assert len(lines) == len(plain)
        for line, other in zip(lines, plain, strict=True):
            unescaped = re.sub(r"\\.", "", line)
            assert unescaped.count("|") == other.count("|")
            assert not set(unescaped) & set("`<>[]*~$\\\x1b\u202e\ud83d")
            assert all(char.isprintable() for char in line)
        write_markdown(tmp_path / "summary.md", found)
        assert (tmp_path / "summary.md").read_text() == markdown(found)
