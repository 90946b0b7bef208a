from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from scored_images import Scene, area, found, iou, ranked, sample, scenes, shared_area

from edgedet.data.find import read_dataset
from edgedet.evaluate.coco import coco_metrics
from edgedet.evaluate.matching import match
from edgedet.evaluate.predictions import category_ids, read_results
from edgedet.evaluate.tide import CAUSES, ErrorAnalysis, error_analysis

NAMES = ("cell", "platelet")
BOX, PART, OTHER, NOWHERE = [0, 0, 100, 100], [0, 0, 100, 30], [200, 0, 260, 60], [400, 400, 430, 430]


def analysed(scene: Scene) -> ErrorAnalysis:
    return error_analysis(match(*scene, 0.5), len(NAMES))


def slow_mean_ap(rows: list[tuple[float, int, bool]], objects: list[int]) -> float:
    """COCO's AP at one IoU of rows `(score, class, right)`, averaged over the classes with objects or detections."""
    aps = []
    for label, count in enumerate(objects):
        hits = [right for _, of, right in sorted(rows, key=lambda row: -row[0]) if of == label]
        if count:
            points = [(sum(hits[: n + 1]) / count, sum(hits[: n + 1]) / (n + 1)) for n in range(len(hits))]
            best = [max([p for r, p in points if r >= recall], default=0.0) for recall in np.linspace(0, 1, 101)]
            aps.append(sum(best) / 101)
        elif hits:
            aps.append(0.0)
    return sum(aps) / len(aps) if aps else 1.0


def slow_analysis(scene: Scene) -> tuple[dict[str, int], dict[str, float]]:
    """Counts and gains of AP by cause: the definitions as plain loops."""
    samples, detections = scene
    objects = [
        {"image": image, "box": box, "label": int(label), "ignored": bool(ignored), "found": False, "claims": []}
        for image, one in enumerate(samples)
        for box, label, ignored in zip(one.boxes.tolist(), one.labels, one.ignore, strict=True)
    ]
    to_find = [one for one in objects if not one["ignored"]]
    rows = []
    for score, image, box, label in ranked(detections):
        near = [one for one in to_find if one["image"] == image]
        free = [one for one in near if one["label"] == label and not one["found"] and iou(box, one["box"]) >= 0.5]
        ignored = [one for one in objects if one["ignored"] and (one["image"], one["label"]) == (image, label)]
        if free:
            # The COCO tools take the last of objects that are overlapped alike.
            max(reversed(free), key=lambda one: iou(box, one["box"]))["found"] = True
            rows.append({"score": score, "label": label, "cause": None})
        elif not any(shared_area(box, one["box"]) / area(box) >= 0.5 for one in ignored):
            rows.append({"score": score, "label": label, "box": box, "near": near})
    for row in rows:
        if "near" not in row:
            continue
        own = [one for one in row["near"] if one["label"] == row["label"]]
        others = [one for one in row["near"] if one["label"] != row["label"]]
        overlaps = {id(one): iou(row["box"], one["box"]) for one in row["near"]}
        own_most = max([overlaps[id(one)] for one in own], default=0.0)
        other_most = max([overlaps[id(one)] for one in others], default=0.0)
        if 0.1 <= own_most < 0.5:
            row["cause"] = "localisation"
            max(own, key=lambda one: overlaps[id(one)])["claims"].append(row)
        elif other_most >= 0.5:
            row["cause"] = "classification"
            max(others, key=lambda one: overlaps[id(one)])["claims"].append(row)
        elif own_most >= 0.5:
            row["cause"] = "duplicate"
        else:
            row["cause"] = "background" if max(own_most, other_most) <= 0.1 else "both"
    winners = {id(one["claims"][0]): one["label"] for one in to_find if one["claims"] and not one["found"]}
    missed = [one for one in to_find if not one["found"] and not one["claims"]]
    totals = [sum(one["label"] == label for one in to_find) for label in range(len(NAMES))]
    measured = [label for label in range(len(NAMES)) if totals[label]]

    def mean_ap(repaired: str | None, counts: list[int]) -> float:
        kept = []
        for row in rows:
            if row["cause"] is None or row["cause"] != repaired:
                kept.append((row["score"], row["label"], row["cause"] is None))
            elif id(row) in winners:
                kept.append((row["score"], winners[id(row)], True))
        return slow_mean_ap(
            [(score, measured.index(of), right) for score, of, right in kept if of in measured],
            [counts[label] for label in measured],
        )

    counts = {cause: sum(row["cause"] == cause for row in rows) for cause in CAUSES} | {"missed": len(missed)}
    left = [totals[label] - sum(one["label"] == label for one in missed) for label in range(len(NAMES))]
    gains = {
        cause: max(mean_ap(cause, left if cause == "missed" else totals) - mean_ap(None, totals), 0.0)
        if measured
        else math.nan
        for cause in CAUSES
    }
    return counts, gains


@settings(max_examples=60)
@given(scenes())
def test_counts_and_gains_are_those_of_the_definitions_followed_step_by_step(scene: Scene) -> None:
    analysis = analysed(scene)
    counts, gains = slow_analysis(scene)
    assert dict(zip(CAUSES, analysis.counts, strict=True)) == counts
    assert dict(zip(CAUSES, analysis.gains, strict=True)) == pytest.approx(gains, nan_ok=True)


@settings(max_examples=30)
@given(scenes())
def test_ap_is_that_of_the_coco_tools(scene: Scene) -> None:
    assert analysed(scene).ap50 == pytest.approx(coco_metrics(*scene, NAMES).map50, nan_ok=True)


@settings(max_examples=30)
@given(scenes())
def test_each_detection_is_right_or_wrong_for_one_cause(scene: Scene) -> None:
    analysis = analysed(scene)
    np.testing.assert_array_equal(analysis.cause < 0, analysis.matches.hit)
    assert sum(analysis.counts[:-1]) == int((~analysis.matches.hit).sum())
    assert not analysis.missed[analysis.matches.found[analysis.matches.hit]].any()
    assert not any(gain < 0 for gain in analysis.gains)


@pytest.mark.parametrize(
    ("cause", "labelled", "guesses"),
    [
        ("classification", ([BOX, OTHER], [0, 0]), ([BOX, OTHER], [0.9, 0.8], [1, 0])),
        ("localisation", ([BOX, OTHER], [0, 0]), ([PART, OTHER], [0.9, 0.8], [0, 0])),
        ("both", ([BOX, OTHER], [0, 1]), ([BOX, PART, OTHER], [0.9, 0.8, 0.7], [0, 1, 1])),
        ("duplicate", ([BOX, OTHER], [0, 0]), ([BOX, BOX, OTHER], [0.9, 0.8, 0.7], [0, 0, 0])),
        ("background", ([BOX], [0]), ([NOWHERE, BOX], [0.9, 0.8], [0, 0])),
        ("missed", ([BOX, OTHER], [0, 0]), ([BOX], [0.9], [0])),
        ("missed", ([BOX, OTHER], [0, 1]), ([BOX], [0.9], [0])),
        ("missed", ([BOX, OTHER], [0, 1]), ([], [], [])),
    ],
)
def test_the_only_error_has_its_cause_and_costs_what_ap_lacks(
    cause: str, labelled: tuple[list[list[int]], list[int]], guesses: tuple[list[list[int]], list[float], list[int]]
) -> None:
    analysis = analysed(([sample(*labelled)], [found(*guesses)]))
    assert {name for name, count in zip(CAUSES, analysis.counts, strict=True) if count} == {cause}
    assert analysis.ap50 < 0.99
    gains = dict(zip(CAUSES, analysis.gains, strict=True))
    assert gains.pop(cause) == pytest.approx(1 - analysis.ap50)
    assert set(gains.values()) == {0.0}


def test_a_perfect_detector_makes_no_errors() -> None:
    analysis = analysed(([sample([BOX, OTHER], [0, 1])], [found([BOX, OTHER], [0.9, 0.8], [0, 1])]))
    assert analysis.ap50 == 1
    assert set(analysis.counts) == {0}
    assert set(analysis.gains) == {0.0}


def test_of_several_errors_at_one_object_the_surest_alone_is_repaired() -> None:
    guesses = found([PART, PART, OTHER], [0.9, 0.8, 0.7], [0, 0, 0])
    analysis = analysed(([sample([BOX, OTHER], [0, 0])], [guesses]))
    assert analysis.counts[CAUSES.index("localisation")] == 2
    assert analysis.gains[CAUSES.index("localisation")] == pytest.approx(1 - analysis.ap50)


def test_an_error_at_an_object_that_is_found_is_removed() -> None:
    """Half of the objects are found, with precision 1/2, and 1 without the error."""
    guesses = found([PART, BOX], [0.9, 0.8], [0, 0])
    analysis = analysed(([sample([BOX, OTHER], [0, 0])], [guesses]))
    assert analysis.ap50 == pytest.approx(0.5 * 51 / 101)
    assert analysis.gains[CAUSES.index("localisation")] == pytest.approx(0.5 * 51 / 101)


def test_where_the_missed_objects_were_all_of_a_class_its_mistakes_remain() -> None:
    analysis = analysed(([sample([BOX, OTHER], [0, 1])], [found([BOX, NOWHERE], [0.9, 0.8], [0, 1])]))
    assert analysis.ap50 == pytest.approx(0.5)
    assert analysis.gains[CAUSES.index("missed")] == 0


def test_the_errors_that_the_tool_of_the_papers_authors_finds(oracles: Path) -> None:
    """tidecv 1.0.1 on the COCO tools' example; detections of classes that are not labelled, which it counts, left out.

    It reads precision at other roundings of the recalls .01, .02, ... and ranks equal scores otherwise.
    """
    dataset = read_dataset(oracles / "coco100" / "instances_val2014_100.json")
    (samples,) = dataset.splits.values()
    results = oracles / "coco100" / "instances_val2014_fakebbox100_results.json"
    labelled = np.unique(np.concatenate([one.labels[~one.ignore] for one in samples]))
    detections = []
    for one in read_results(results, samples, category_ids(dataset)):
        kept = np.isin(one.class_id, labelled)
        detections.append(found(one.xyxy[kept], one.score[kept], one.class_id[kept]))
    analysis = error_analysis(match(samples, detections, 0.5), len(dataset.class_names))
    assert analysis.counts == (74, 1, 0, 1, 0, 106)
    expected = (0.15568780, 0.00247425, 0, 0.00020599, 0, 0.10558773)
    assert analysis.gains == pytest.approx(expected, abs=2e-4)
    assert analysis.ap50 == pytest.approx(0.69708274, abs=2e-4)


def test_without_objects_nothing_is_measured() -> None:
    analysis = analysed(([sample()], [found([BOX], [0.5], [0])]))
    assert math.isnan(analysis.ap50)
    result = json.loads(json.dumps(analysis.to_dict(), allow_nan=False))
    assert result["causes"][CAUSES.index("background")] == {"name": "background", "count": 1, "ap50_gain": None}
