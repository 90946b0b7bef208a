"""The gate's result for people and for continuous integration: sentences, Markdown and JUnit."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.bench.comparison.verdict import FIRST_LOOK, Verdict
from edgedet.files import write_bytes, write_text

if TYPE_CHECKING:
    from edgedet.bench.comparison.compare import Comparison
    from edgedet.bench.gate import GateResult

SHOWN_LAYERS = 8


def sentences(found: GateResult) -> Iterator[str]:
    """What was found, the outcome first."""
    verdict = found.comparison.verdict
    outcome = "" if found.outcome == verdict.word else f"{found.outcome}: "
    yield f"{outcome}{verdict_sentence(verdict)}"
    yield _ground(found.comparison)
    for arm, builds in (found.builds or {}).items():
        yield (
            f"{len(builds.milliseconds)} builds of {arm}: {builds.build_share:.2%} apart, sittings of one "
            f"{builds.run_share:.2%}"
        )
    accuracy = found.accuracy
    if accuracy is not None:
        held = "within" if accuracy.holds else "beyond"
        yield (
            f"mAP50-95 {accuracy.base:.4f} to {accuracy.head:.4f} on {accuracy.images} images of {accuracy.split}: "
            f"{-accuracy.drop:+.2f} points, {held} the {accuracy.max_drop:g} that may be lost"
        )
    yield from found.notes
    if found.comparison.interrupted:
        yield "interrupted: this is what was known until then"


def verdict_sentence(verdict: Verdict) -> str:
    """The verdict on speed in one sentence."""
    slowdown = verdict.slowdown
    took = "longer" if slowdown.estimate >= 0 else "less"
    return (
        f"{verdict.word}: the head takes {abs(slowdown.estimate):.2%} {took} ({slowdown.low:+.2%} to "
        f"{slowdown.high:+.2%}), {verdict.tolerated:.2%} are tolerated"
    )


def _ground(comparison: Comparison) -> str:
    """What the verdict rests on."""
    verdict = comparison.verdict
    noise = verdict.noise
    if not comparison.in_turn:
        return (
            f"the base was measured earlier, not in turn: {noise.low:+.2%} to {noise.high:+.2%} are allowed for what "
            f"changes between two runs; rank-sum probability {verdict.probability:.2g}; {verdict.sittings} blocks of "
            "queries each"
        )
    few = f"; fewer than {FIRST_LOOK} say nothing: give a longer time limit" if verdict.sittings < FIRST_LOOK else ""
    return (
        f"the base beside itself: {noise.estimate:+.2%} ({noise.low:+.2%} to {noise.high:+.2%}); signed-rank "
        f"probability {verdict.probability:.2g}; {verdict.sittings} sittings in {comparison.seconds:.0f} s{few}"
    )


def disturbance_lines(found: GateResult) -> list[str]:
    """Why the figures may be doubted, once each."""
    return list(
        dict.fromkeys(
            f"disturbed: {disturbance.what}"
            for result in (found.base, found.head)
            for disturbance in result.disturbances
        )
    )


def markdown(found: GateResult) -> str:
    """A summary for a pull request, or GitHub's `$GITHUB_STEP_SUMMARY`."""
    mark = {"pass": "✅", "fail": "❌", "inconclusive": "❔"}[found.outcome]
    percentages = next(iter(found.comparison.arms.values())).latency.percentiles
    lines = [
        f"### {mark} edgedet gate: {found.outcome}",
        "",
        *(f"- {_escaped(sentence)}" for sentence in (*sentences(found), *disturbance_lines(found))),
        "",
        *_table(
            ["ms", "model", "median", *(f"p{value:g}" for value in percentages), "outliers"],
            [
                [
                    arm,
                    Path((found.head if arm == "head" else found.base).model.path).name,
                    f"{times.latency.median:.3f}",
                    *(f"{value:.3f}" for value in times.latency.percentiles.values()),
                    str(times.outliers),
                ]
                for arm, times in found.comparison.arms.items()
            ],
        ),
    ]
    moves = found.moves[:SHOWN_LAYERS]
    if moves:
        rows = [[move.label, move.kind, f"{move.difference_ms:+.4f}"] for move in moves]
        lines += ["", *_table(["layer that moved", "kind", "ms"], rows)]
    protocol = found.head.protocol
    lines += ["", f"{_escaped(protocol.computer.cpu)}, {_escaped(protocol.backend)}, batch {protocol.batch}", ""]
    return "\n".join(lines)


def write_markdown(path: Path, found: GateResult) -> None:
    """Writes the summary, all or nothing."""
    write_text(path, markdown(found))


def write_junit(path: Path, found: GateResult) -> None:
    """Writes the result as JUnit's XML: a test case for latency, and one for accuracy where there is one.

    Inconclusive is `skipped` with its reason: neither a failure nor a proof.
    """
    text = _storable("\n".join((*sentences(found), *disturbance_lines(found))))
    latency = _case("latency", found.comparison.seconds)
    verdict = found.comparison.verdict
    if verdict.word == "slower":
        _add_failure(latency, verdict_sentence(verdict), text)
    elif verdict.word == "inconclusive":
        ElementTree.SubElement(latency, "skipped", message=verdict_sentence(verdict))
    cases = [latency]
    if found.accuracy is not None:
        accuracy = _case("accuracy", 0.0)
        if not found.accuracy.holds:
            message = f"mAP50-95 lost {found.accuracy.drop:.2f} points, {found.accuracy.max_drop:g} may be lost"
            _add_failure(accuracy, message, text)
        cases.append(accuracy)
    suite = ElementTree.Element(
        "testsuite",
        name="edgedet gate",
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        skipped=str(sum(case.find("skipped") is not None for case in cases)),
        errors="0",
        time=f"{found.comparison.seconds:.3f}",
        timestamp=found.measured_at.isoformat(),
    )
    suite.extend(cases)
    ElementTree.SubElement(suite, "system-out").text = text
    root = ElementTree.Element("testsuites")
    root.append(suite)
    write_bytes(path, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _case(name: str, seconds: float) -> ElementTree.Element:
    return ElementTree.Element("testcase", classname="edgedet.gate", name=name, time=f"{seconds:.3f}")


def _add_failure(case: ElementTree.Element, message: str, text: str) -> None:
    """Jenkins and GitHub's actions show the message, GitLab the text."""
    ElementTree.SubElement(case, "failure", message=message, type="AssertionError").text = text


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [headers, ["---"] * len(headers), *rows]
    return [f"| {' | '.join(map(_escaped, line))} |" for line in lines]


def _escaped(text: str) -> str:
    """Names of layers and files come from strangers: they must not end a cell, or be read as Markdown or HTML."""
    flat = " ".join(text.split())
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#!~&$" else char for char in flat if char.isprintable())


def _storable(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(char for char in text if char.isprintable() or char == "\n")
