from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedet.evaluate.coco import RECALL_POINTS, ClassMetrics, Metrics
from edgedet.evaluate.plots import precision_recall_figure, save_precision_recall

UNMEASURED = ClassMetrics("platelet", 0, math.nan, math.nan)


def metrics(*classes: ClassMetrics) -> Metrics:
    curves = np.array([[one.ap50] * RECALL_POINTS for one in classes])
    return Metrics(*[0.25] * 12, classes=classes, precision50=curves)


def test_each_class_with_objects_has_a_line_and_a_label() -> None:
    axes = precision_recall_figure(metrics(ClassMetrics("_$cell$", 1, 0.25, 0.5), UNMEASURED)).axes[0]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [r"0.500 _\$cell\$", "0.250 all"]
    assert len(axes.lines) == 2
    np.testing.assert_allclose(np.asarray(axes.lines[0].get_ydata()), 0.5)


def test_many_classes_are_drawn_without_their_names() -> None:
    classes = [ClassMetrics(str(index), 1, 0.5, 0.5) for index in range(80)]
    axes = precision_recall_figure(metrics(*classes)).axes[0]
    legend = axes.get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == 1
    assert len(axes.lines) == 81


@pytest.mark.parametrize("classes", [[UNMEASURED], [ClassMetrics("$\\broken{", 1, 0.5, 0.5), UNMEASURED]])
def test_the_picture_is_written(tmp_path: Path, classes: list[ClassMetrics]) -> None:
    save_precision_recall(metrics(*classes), tmp_path / "plots" / "curve.png")
    picture = cv2.imread(str(tmp_path / "plots" / "curve.png"))
    assert picture is not None and picture.std() > 0
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["curve.png"]
