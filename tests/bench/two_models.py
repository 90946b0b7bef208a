"""Small detectors of known speed, and labelled images of what they find."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from handmade_datasets import write_yolo
from onnx import helper, numpy_helper
from tiny_onnx import SPEC, picture, tiny_model

CELLS = [(0, 0, 8, 8), (16, 24, 24, 32), (56, 56, 64, 64)]


def write_model(path: Path, *, convolutions: int = 8, kernel: int = 3, blind: bool = False) -> Path:
    """The tiny detector behind convolutions that change nothing; a blind one mistakes red for green."""
    model = tiny_model()
    model.graph.node[0].input[0] = model.graph.node[3].input[0] = f"x{convolutions}"
    chain = [
        helper.make_node("Conv", [f"x{place}", f"k{place}"], [f"x{place + 1}"], f"conv{place}", pads=[kernel // 2] * 4)
        for place in range(convolutions)
    ]
    chain[0].input[0] = "images"
    nodes = [*chain, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for place in range(convolutions):
        weights = np.zeros((3, 3, kernel, kernel), np.float32)
        weights[range(3), [1, 0, 2] if blind and place == 0 else range(3), kernel // 2, kernel // 2] = 1
        model.graph.initializer.append(numpy_helper.from_array(weights, f"k{place}"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def write_images(folder: Path) -> Path:
    """A dataset of red cells on black."""
    lines = [f"0 {(x1 + x2) / 128} {(y1 + y2) / 128} {(x2 - x1) / 64} {(y2 - y1) / 64}\n" for x1, y1, x2, y2 in CELLS]
    write_yolo(folder, {"val": dict(zip("abc", lines, strict=True))}, SPEC.class_names)
    for name, cell in zip("abc", CELLS, strict=True):
        cv2.imwrite(str(folder / f"images/val/{name}.png"), picture(64, 64, (cell, "red")))
        (folder / f"images/val/{name}.jpg").unlink()
    return folder


def write_models(folder: Path) -> Path:
    """`fast.onnx`, `slow.onnx` that takes several times as long, `blind.onnx`, and labelled `images`."""
    write_model(folder / "fast.onnx", convolutions=4)
    write_model(folder / "slow.onnx", convolutions=40)
    write_model(folder / "blind.onnx", convolutions=4, blind=True)
    write_images(folder / "images")
    return folder
