from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.patches import Rectangle
from scored_images import found, sample

from edgedet.data.draw import MUTED, class_colour
from edgedet.data.images import Image
from edgedet.data.sample import Sample
from edgedet.errors import EdgedetError
from edgedet.evaluate.confusion import ConfusionMatrix, confusion_matrix
from edgedet.evaluate.f1 import f1_curves
from edgedet.evaluate.matching import match
from edgedet.evaluate.plots import confusion_figure, errors_figure, f1_figure, save_figure
from edgedet.evaluate.predictions import Predictions
from edgedet.evaluate.tide import CAUSES, ErrorAnalysis, error_analysis
from edgedet.evaluate.worst import worst_errors

NAMES = ("_$cell$", "platelet")
BOX, PART, OTHER, NOWHERE = [0, 0, 100, 100], [0, 0, 100, 30], [200, 0, 260, 60], [400, 400, 430, 430]
GREEN: Image = np.full((500, 500, 3), (0, 128, 0), np.uint8)


def mistakes() -> tuple[list[Sample], list[Predictions]]:
    """One localisation error, one background error and one missed object."""
    return [sample([BOX, OTHER], [0, 1])], [found([PART, NOWHERE], [0.9, 0.8], [0, 0])]


def analysed(samples: list[Sample], detections: list[Predictions]) -> ErrorAnalysis:
    return error_analysis(match(samples, detections, 0.5), len(NAMES))


def has_colour(picture: Image, colour: tuple[int, int, int]) -> bool:
    return bool((picture == np.array(colour, np.uint8)).all(axis=-1).any())


def test_the_f1_curve_names_the_best_threshold_of_each_class_with_objects() -> None:
    matches = match([sample([BOX], [0])], [found([BOX, NOWHERE], [0.9, 0.305], [0, 0])], 0.5)
    axes = f1_figure(f1_curves(matches, NAMES)).axes[0]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [r"1.000 above 0.31 _\$cell\$", "1.000 above 0.31 all"]
    assert len(axes.lines) == 2


def test_the_confusion_matrix_shows_its_counts_by_detected_and_labelled_class() -> None:
    matrix = confusion_matrix([sample([BOX, OTHER], [0, 1])], [found([BOX, NOWHERE], [0.9, 0.8], [1, 0])], NAMES)
    axes = confusion_figure(matrix).axes[0]
    shown = {(text.get_position(), text.get_text()) for text in axes.texts}
    assert shown == {((0, 1), "1"), ((1, 2), "1"), ((2, 0), "1")}
    assert [label.get_text() for label in axes.get_xticklabels()] == [r"_\$cell\$", "platelet", "background"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("labelled", "detected")


def test_a_confusion_matrix_of_many_classes_is_drawn_without_names() -> None:
    matrix = ConfusionMatrix(tuple(map(str, range(80))), np.ones((81, 81), dtype=np.int64), 0.25, 0.5)
    assert not confusion_figure(matrix).axes[0].texts


def test_the_bars_of_the_causes_are_their_gains() -> None:
    analysis = replace(analysed(*mistakes()), gains=(0.0, 0.25, 0.0, 0.0, 0.125, 0.5), counts=(0, 1, 2, 3, 4, 5))
    axes = errors_figure(analysis).axes[0]
    assert [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)] == list(analysis.gains)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(CAUSES)
    assert [text.get_text().strip() for text in axes.texts] == [str(count) for count in analysis.counts]


def test_pictures_without_objects_are_written(tmp_path: Path) -> None:
    samples, detections = [sample()], [found([BOX], [0.5], [0])]
    curves = f1_curves(match(samples, detections, 0.5), NAMES)
    for figure in (f1_figure(curves), errors_figure(analysed(samples, detections))):
        save_figure(figure, tmp_path / "figure.png")
        picture = cv2.imread(str(tmp_path / "figure.png"))
        assert picture is not None and picture.std() > 0


def test_the_worst_errors_have_a_row_for_each_cause_that_occurs() -> None:
    samples, detections = mistakes()
    one_row = worst_errors(
        samples,
        NAMES,
        analysed(samples[:1], [found([BOX, OTHER, NOWHERE], [0.9, 0.8, 0.7], [0, 1, 0])]),
        read=lambda path: GREEN,
    )
    three_rows = worst_errors(samples, NAMES, analysed(samples, detections), read=lambda path: GREEN)
    assert len(three_rows) == 3 * len(one_row)
    assert three_rows.shape[1] == one_row.shape[1]


def test_an_error_is_drawn_in_the_colour_of_its_class_among_grey_objects() -> None:
    samples, detections = mistakes()
    rows = np.split(worst_errors(samples, NAMES, analysed(samples, detections), read=lambda path: GREEN), 3)
    localisation, background, missed = rows
    assert has_colour(localisation, class_colour(0)) and has_colour(localisation, MUTED)
    assert has_colour(background, class_colour(0)) and not has_colour(background, MUTED)
    assert has_colour(missed, class_colour(1))
    assert not has_colour(missed, class_colour(0)) and not has_colour(missed, MUTED)


@pytest.mark.parametrize("box", [[-50, -50, -40, -40], [480, 480, 900, 900], [100, 100, 100, 100], [0, 0, 1e6, 1e6]])
def test_an_error_at_or_beyond_the_edge_of_its_image_is_shown(box: list[float]) -> None:
    analysis = analysed([sample([OTHER], [1])], [found([box], [0.9], [0])])
    picture = worst_errors([sample([OTHER], [1])], NAMES, analysis, read=lambda path: GREEN)
    assert has_colour(picture, (0, 128, 0))


def test_images_that_cannot_be_read_leave_cells_that_say_so() -> None:
    samples, detections = mistakes()

    def broken(path: Path) -> Image:
        raise EdgedetError("cannot be decoded", where=path)

    picture = worst_errors(samples, NAMES, analysed(samples, detections), read=broken)
    assert not has_colour(picture, class_colour(0))
    assert picture.shape == worst_errors(samples, NAMES, analysed(samples, detections), read=lambda path: GREEN).shape


def test_without_errors_the_sheet_is_a_line() -> None:
    samples = [sample([BOX], [0])]
    picture = worst_errors(samples, NAMES, analysed(samples, [found([BOX], [0.9], [0])]))
    assert len(picture) < 100
