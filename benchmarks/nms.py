"""DIoU-NMS of edgedet beside other projects' NMS, which knows IoU alone, on one thread.

    python benchmarks/nms.py [SET.npz ...] [--rounds 9]

A set holds `boxes [N, 4]` (xyxy), `scores [N]` and `classes [N]`; without any, sets are generated. Everything is kept
but what is suppressed at 0.6: no score threshold, no limit. All implementations in turn, medians over the rounds.
torchvision takes part where it is installed, edgedet's operator in ONNX Runtime where `make operators` built it.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper
from protocol import print_protocol

from edgedet.bench.pinning import pinned
from edgedet.graph.nms import detections_graph
from edgedet.ops.diou_nms import DIoUNMS, native, reference

IOU_THRESHOLD = 0.6
COUNTS, CLASSES = (100, 1000, 5000, 20_000), (1, 20, 80)
TURN_MS = 5
BODY_LIMIT = 1000
"""Candidates that the function body is given at most: its table of pairs grows with their square."""

OPERATORS = Path(__file__).resolve().parents[1] / "build" / "native" / "libedgedet_onnxruntime.so"

Run = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="*")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    packages = ["edgedet", "onnxruntime", "opencv-python-headless", "numpy"]
    packages += ["torchvision"] if importlib.util.find_spec("torchvision") else []
    print("milliseconds; in brackets how many times edgedet's CPU kernel's")
    header = None
    with pinned(1):
        for boxes, scores, classes in _loaded(arguments.sets) if arguments.sets else _generated():
            runs = dict(implementations(boxes, scores, classes))
            medians = _medians(runs, arguments.rounds)
            if header is None:
                header = list(runs)
                print(f"| boxes | classes | {' | '.join(header)} |\n| {'--- | ' * (len(header) + 2)}")
            own = medians["edgedet"]
            cells = [f"{medians[name]:.3g} ({medians[name] / own:.1f})" if name in medians else "-" for name in header]
            print(f"| {len(boxes)} | {classes.max() + 1} | {' | '.join(cells)} |", flush=True)
    print_protocol(*packages, rounds=arguments.rounds)


def implementations(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> Iterator[tuple[str, Run]]:
    """By name; each does everything from boxes and scores, in its own form, to what is kept."""
    count = len(boxes)
    table = np.zeros((count, classes.max() + 1), np.float32)
    table[np.arange(count), classes] = scores
    everything = DIoUNMS(score_threshold=0.0, iou_threshold=IOU_THRESHOLD, pre_nms_top_k=count, max_detections=count)
    yield "edgedet", lambda: native.diou_nms(boxes, table, everything)
    corners_and_sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    yield (
        "OpenCV NMSBoxesBatched",
        lambda: cv2.dnn.NMSBoxesBatched(corners_and_sides, scores, classes.astype(np.int32), 0.0, IOU_THRESHOLD),
    )
    if importlib.util.find_spec("torchvision"):
        import torch
        from torchvision.ops import batched_nms

        torch.set_num_threads(1)
        tensors = torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(classes)
        yield "torchvision batched_nms", lambda: batched_nms(*tensors, IOU_THRESHOLD)
    suppression = _session(_onnx_nms(count))
    feeds = {"boxes": boxes[None], "scores": np.ascontiguousarray(table.T)[None]}
    yield "ONNX Runtime NonMaxSuppression", lambda: suppression.run(None, feeds)
    yield "edgedet in NumPy", lambda: reference.diou_nms(boxes, table, everything)
    graph, inputs = detections_graph(everything), {"boxes": boxes[None], "scores": table[None]}
    if OPERATORS.exists():
        operator = _session(graph, OPERATORS)
        yield "edgedet's operator, ONNX Runtime", lambda: operator.run(None, inputs)
    if count <= BODY_LIMIT:
        body = _session(graph)
        yield "edgedet's function body", lambda: body.run(None, inputs)


def _medians(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """Milliseconds; everything runs once before. What is short runs several times in its turn, its data at hand."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    calls = {name: max(1, round(TURN_MS / _milliseconds(run, 1))) for name, run in runs.items()}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(_milliseconds(run, calls[name]))
    return {name: statistics.median(found) for name, found in times.items()}


def _milliseconds(run: Run, calls: int) -> float:
    start = perf_counter()
    for _ in range(calls):
        run()
    return (perf_counter() - start) * 1e3 / calls


def _onnx_nms(count: int) -> ModelProto:
    """ONNX's own operator: classes apart, plain IoU."""
    constants = [
        helper.make_tensor("limit", TensorProto.INT64, [1], [count]),
        helper.make_tensor("iou", TensorProto.FLOAT, [1], [IOU_THRESHOLD]),
        helper.make_tensor("threshold", TensorProto.FLOAT, [1], [0.0]),
    ]
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", "limit", "iou", "threshold"], ["kept"])
    inputs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, None, 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, None, None]),
    ]
    outputs = [helper.make_tensor_value_info("kept", TensorProto.INT64, [None, 3])]
    graph = helper.make_graph([node], "nms", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _session(model: ModelProto, operators: Path | None = None) -> Any:
    options = onnxruntime.SessionOptions()
    if operators is not None:
        options.register_custom_ops_library(str(operators))
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _loaded(paths: list[Path]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    for path in paths:
        content = np.load(path)
        yield content["boxes"].astype(np.float32), content["scores"].astype(np.float32), content["classes"]


def _generated() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """As a detector gives them: clusters around objects of many sizes."""
    for count in COUNTS:
        for classes in CLASSES:
            rng = np.random.default_rng(count + classes)
            objects = rng.uniform(0, 640, (max(count // 10, 1), 2))
            centres = objects[rng.integers(len(objects), size=count)] + rng.normal(0, 6, (count, 2))
            sides = np.exp(rng.normal(3.5, 0.7, (count, 2)))
            boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1).astype(np.float32)
            yield boxes, rng.random(count, np.float32), rng.integers(classes, size=count)


if __name__ == "__main__":
    main()
