from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_onnx import CELL, CELLS, SIDE, SPEC, picture, write_tiny_model

from edgedet.boxes import letterbox
from edgedet.errors import EdgedetError
from edgedet.runtime.backend import TensorInfo
from edgedet.runtime.detector import Detector
from edgedet.runtime.load import load_detector


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return load_detector(write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx"), threads=1)


@settings(deadline=None)
@given(data=st.data())
def test_a_cell_comes_back_where_it_was_in_the_source(detector: Detector, data: st.DataObject) -> None:
    """The whole way: letterbox, colours, network, suppression, and back into the source's pixels."""
    scale = data.draw(st.sampled_from([1, 2, 3, 4]), "source pixels per canvas pixel")
    rows, columns = data.draw(st.sampled_from([(CELLS, CELLS), (CELLS, 3), (2, CELLS), (1, CELLS)]), "cells")
    row = data.draw(st.integers(0, rows - 1), "row")
    column = data.draw(st.integers(0, columns - 1), "column")
    color = data.draw(st.sampled_from(SPEC.class_names), "color")
    size = CELL * scale
    box = (column * size, row * size, (column + 1) * size, (row + 1) * size)
    [found] = detector.detect([picture(rows * size, columns * size, (box, color))])
    assert found.xyxy.tolist() == [list(map(float, box))]
    assert found.score.tolist() == [1.0]
    assert found.name == [color]


def test_boxes_end_at_the_source_images_edge(tmp_path: Path) -> None:
    """44 rows of 100 columns fill 28 rows of the canvas: the fourth row of cells is half padding, the others all."""
    spec = SPEC.model_copy(update={"preprocess": SPEC.preprocess.model_copy(update={"pad_value": 255})})
    detector = load_detector(write_tiny_model(tmp_path / "tiny.onnx", metadata=spec.to_json()))
    [found] = detector.detect([np.full((44, 100, 3), 255, np.uint8)])
    assert len(found) == 3 * 4 * CELLS
    assert found.xyxy[:, 3].max() == 44.0
    assert found.xyxy[:, 1].max() == pytest.approx(24 * 44 / 28)
    assert found.xyxy[:, 2].max() == 100.0


@pytest.mark.parametrize("batch", [1, 2, 4, "batch"])
def test_any_batch_size_gives_every_image_its_own_detections(tmp_path: Path, batch: int | str) -> None:
    detector = load_detector(write_tiny_model(tmp_path / "tiny.onnx", batch=batch))
    images = [
        picture(64, 64, ((0, 0, 8, 8), "red")),
        picture(128, 64, ((16, 32, 32, 48), "green")),
        picture(64, 64),
        picture(64, 192, ((24, 24, 48, 48), "blue"), ((168, 0, 192, 24), "red")),
        picture(32, 32, ((28, 28, 32, 32), "blue")),
    ]
    found = detector.detect(images)
    assert [sorted(one.name) for one in found] == [["red"], ["green"], [], ["blue", "red"], ["blue"]]
    assert found[1].xyxy.tolist() == [[16, 32, 32, 48]]
    assert found[4].xyxy.tolist() == [[28, 28, 32, 32]]
    assert detector.detect([]) == []


def test_threshold_changes_make_a_new_detector(detector: Detector) -> None:
    image = picture(64, 64, ((0, 0, 8, 8), "red"), ((16, 16, 24, 20), "green"))
    image[16:20, 16:24] //= 2
    strict, loose = detector.with_postprocess(score_threshold=0.6), detector.with_postprocess(score_threshold=0.1)
    assert [len(one.detect([image])[0]) for one in (strict, loose, detector)] == [1, 2, 1]
    assert loose.detect([image])[0].score.tolist() == [1.0, pytest.approx(127 / 255 / 2)]
    assert detector.with_postprocess(score_threshold=None).spec == detector.spec


def test_a_threshold_out_of_range_is_an_error(detector: Detector) -> None:
    with pytest.raises(EdgedetError, match="score_threshold"):
        detector.with_postprocess(score_threshold=1.5)


def test_times_of_the_last_call(detector: Detector) -> None:
    detector.detect([picture(64, 64)] * 3)
    timings = detector.timings
    assert min(timings.preprocess, timings.inference, timings.postprocess) > 0
    assert timings.total == pytest.approx(sum(timings.to_dict().values()))
    detector.detect([])
    assert detector.timings.total == 0


def test_boxes_beside_the_image_are_left_out(detector: Detector) -> None:
    boxes = np.array([[[0, 0, 30, 20], [0, 40, 30, 60], [0, 20, 64, 40]]], np.float32)
    scores = np.zeros((1, 3, 3), np.float32)
    scores[0, :, 0] = (0.9, 0.8, 0.7)
    (found,) = detector.postprocess({"boxes": boxes, "scores": scores}, [letterbox(32, 64, SIDE, SIDE)])
    assert found.xyxy.tolist() == [[0, 0, 30, 20], [0, 20, 64, 32]]
    np.testing.assert_array_equal(found.score, np.float32([0.9, 0.7]))
    assert found.class_id.tolist() == [0, 0]


def test_what_is_no_image_is_refused(detector: Detector) -> None:
    with pytest.raises(EdgedetError, match="must be an array, not NoneType"):
        detector.detect([cv2.imread("no such file")])  # type: ignore[list-item]
    with pytest.raises(EdgedetError, match="uint8"):
        detector.detect([np.zeros((64, 64, 3), np.float32)])


class Misbehaving:
    """A backend whose outputs are not what was promised."""

    name = "misbehaving"
    settings: Mapping[str, object] = {}
    inputs = (TensorInfo("images", (None, 3, SIDE, SIDE), np.dtype(np.float32)),)
    outputs = ()

    def __init__(self, boxes: tuple[int, ...], scores: tuple[int, ...], value: float = 1.0) -> None:
        self._results = {"boxes": np.full(boxes, value, np.float32), "scores": np.full(scores, value, np.float32)}

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._results


@pytest.mark.parametrize(
    ("boxes", "scores"),
    [
        ((1, 5, 4), (1, 6, 3)),
        ((1, 5, 4), (1, 5, 2)),
        ((1, 5, 5), (1, 5, 3)),
        ((2, 5, 4), (2, 5, 3)),
        ((5, 4), (5, 3)),
        ((), ()),
    ],
)
def test_outputs_of_unexpected_shapes_are_an_error(boxes: tuple[int, ...], scores: tuple[int, ...]) -> None:
    with pytest.raises(EdgedetError, match="the model gave boxes"):
        Detector(Misbehaving(boxes, scores), SPEC).detect([picture(64, 64)])


def test_a_network_of_nans_finds_nothing() -> None:
    detector = Detector(Misbehaving((1, 5, 4), (1, 5, 3), float("nan")), SPEC)
    assert len(detector.detect([picture(64, 64)])[0]) == 0


def test_the_torch_backend_obeys_the_same_specification() -> None:
    torch = pytest.importorskip("torch")
    from tiny_onnx import cell_boxes

    from edgedet.runtime.backends.torch import TorchBackend

    class Cells(torch.nn.Module):
        def forward(self, images):
            assert not self.training
            assert not torch.is_grad_enabled()
            means = torch.nn.functional.avg_pool2d(images, CELL).flatten(2).transpose(1, 2)
            return torch.from_numpy(cell_boxes()).expand(len(images), -1, -1), means

    detector = Detector(TorchBackend(Cells()), SPEC)
    images = [picture(128, 64, ((16, 32, 32, 48), "green")), picture(64, 64)]
    found = detector.detect(images)
    assert found[0].xyxy.tolist() == [[16, 32, 32, 48]]
    assert found[0].name == ["green"]
    assert len(found[1]) == 0


def test_a_checkpoint_loads_by_its_suffix(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from edgedet.models.checkpoint import save_checkpoint
    from edgedet.models.zoo import build_detector
    from edgedet.spec import Preprocess

    model = build_detector("shufflenetv2_0.5x", 3)
    spec = SPEC.model_copy(update={"strides": model.strides, "preprocess": Preprocess(height=64, width=96)})
    save_checkpoint(tmp_path / "model.pt", model, spec)
    detector = load_detector(tmp_path / "model.pt").with_postprocess(score_threshold=0.0)
    [found] = detector.detect([np.full((48, 80, 3), 90, np.uint8)])
    assert detector.spec.class_names == spec.class_names
    assert 0 < len(found) <= detector.spec.postprocess.max_detections
    assert (found.xyxy >= 0).all()
    assert (found.xyxy <= [80, 48, 80, 48]).all()
