"""A network whose answers are known: the mean red, green and blue of each 8x8 cell are the scores of its box.

Input 64x64 without normalisation and with black padding, so that a red cell on black gives one `red` detection of
score 1 whose box is that cell.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgedet.spec import Postprocess, Preprocess, Spec

SIDE = 64
CELL = 8
CELLS = SIDE // CELL

SPEC = Spec(
    model="tiny",
    class_names=("red", "green", "blue"),
    strides=(CELL,),
    preprocess=Preprocess(height=SIDE, width=SIDE, pad_value=0, mean=(0, 0, 0), std=(1, 1, 1)),
    postprocess=Postprocess(score_threshold=0.5),
)


def cell_boxes() -> np.ndarray:
    """The boxes of the cells, row by row: `[64, 4]` float32 xyxy."""
    y, x = (np.mgrid[:CELLS, :CELLS] * CELL).astype(np.float32)
    return np.stack([x, y, x + CELL, y + CELL], axis=-1).reshape(-1, 4)


def tiny_model(
    *, batch: int | str = 1, metadata: str | None = SPEC.to_json(), output: str = "boxes", side: int = SIDE
) -> onnx.ModelProto:
    """The network; `batch` may be a name, which makes it free."""
    count = CELLS * CELLS
    constants = {
        "cells": cell_boxes()[None],
        "zero": np.zeros((1, 1, 1), np.float32),
        "flat": np.array([0, 3, count], np.int64),
        "axes": np.array([1, 2, 3], np.int64),
        "one_box": np.array([-1, 1, 1], np.int64),
    }
    nodes = [
        helper.make_node("AveragePool", ["images"], ["means"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("Reshape", ["means", "flat"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["scores"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "one_box"], ["mean_of_each"]),
        helper.make_node("Mul", ["mean_of_each", "zero"], ["nothing"]),
        helper.make_node("Add", ["cells", "nothing"], [output]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, side, side])],
        [
            helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, count, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, count, 3]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if metadata is not None:
        helper.set_model_props(model, {"edgedet": metadata})
    return model


def write_tiny_model(path: Path, **options: object) -> Path:
    """Writes `tiny_model(**options)` to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tiny_model(**options).SerializeToString())
    return path


def picture(height: int, width: int, *rectangles: tuple[tuple[int, int, int, int], str]) -> np.ndarray:
    """A black BGR image with filled rectangles: `((x1, y1, x2, y2), "red")`."""
    image = np.zeros((height, width, 3), np.uint8)
    for (x1, y1, x2, y2), color in rectangles:
        image[y1:y2, x1:x2, {"blue": 0, "green": 1, "red": 2}[color]] = 255
    return image
