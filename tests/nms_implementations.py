"""DIoU-NMS by every implementation: each must give the reference's detections, bit for bit and in its order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cuda_on_host
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import ModelProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edgedet.ops.diou_nms import DIoUNMS, native, pytorch, reference
from edgedet.ops.diou_nms.body import function_body
from edgedet.ops.diou_nms.definition import DOMAIN, OP_TYPE

Found = tuple[np.ndarray, np.ndarray, np.ndarray]
Outputs = list[np.ndarray]

OPERATORS = Path(__file__).resolve().parents[1] / "build" / "native" / "libedgedet_onnxruntime.so"
"""The library of operators for ONNX Runtime, where `make operators` built it."""

FEW = 60
"""So many boxes at most are given to the ONNX package's reference, which is slow."""


FLOAT_TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE}

MOST_BY_CUDA = 16384
"""Candidates that the CUDA kernels take at most."""


def detections(boxes: np.ndarray, scores: np.ndarray, attributes: DIoUNMS) -> Found:
    """Of one image, by the reference; every other implementation must give the same."""
    expected = reference.diou_nms(boxes, scores, attributes)
    implementations: dict[str, Callable[[np.ndarray, np.ndarray, DIoUNMS], Found]] = {"CPU kernel": native.diou_nms}
    implementations["PyTorch"] = lambda *inputs: _of_one(in_pytorch, *inputs)
    implementations["function body, ONNX Runtime"] = lambda *inputs: _of_one(in_onnx_runtime, *inputs)
    if OPERATORS.exists():
        implementations["operator, ONNX Runtime"] = lambda *inputs: _of_one(by_operator, *inputs)
    if cuda_on_host.LIBRARY.exists() and min(attributes.pre_nms_top_k, scores.size) <= MOST_BY_CUDA:
        implementations["CUDA kernels, on the host"] = lambda *inputs: _of_one(cuda_on_host.diou_nms, *inputs)
    if len(boxes) <= FEW:
        implementations["function body, onnx.reference"] = lambda *inputs: _of_one(in_onnx_reference, *inputs)
    for name, implementation in implementations.items():
        for found, wanted in zip(implementation(boxes, scores, attributes), expected, strict=True):
            assert found.dtype == wanted.dtype, name
            np.testing.assert_array_equal(found, wanted, err_msg=name)
    return expected


def in_pytorch(boxes: np.ndarray, scores: np.ndarray, attributes: DIoUNMS) -> Outputs:
    """The operator's outputs by tensors."""
    outputs = pytorch.diou_nms(torch.from_numpy(boxes), torch.from_numpy(scores), attributes)
    return [output.numpy() for output in outputs]


def in_onnx_runtime(boxes: np.ndarray, scores: np.ndarray, attributes: DIoUNMS) -> Outputs:
    """`[B, N, 4]` and `[B, N, C]` to the operator's four outputs."""
    outputs = _session(attributes, boxes.dtype.name, False).run(None, {"boxes": boxes, "scores": scores})
    return [np.asarray(output) for output in outputs]


def by_operator(boxes: np.ndarray, scores: np.ndarray, attributes: DIoUNMS) -> Outputs:
    """The same with the library of operators, which takes the place of the function body."""
    outputs = _session(attributes, boxes.dtype.name, True).run(None, {"boxes": boxes, "scores": scores})
    return [np.asarray(output) for output in outputs]


def in_onnx_reference(boxes: np.ndarray, scores: np.ndarray, attributes: DIoUNMS) -> Outputs:
    """The same by the ONNX package's own evaluator."""
    evaluator = _evaluator(attributes, boxes.dtype.name)
    with np.errstate(all="ignore"):
        return [np.asarray(output) for output in evaluator.run(None, {"boxes": boxes, "scores": scores})]


def model(attributes: DIoUNMS, dtype: str = "float32", opset: int = 17) -> ModelProto:
    """A model of the operator alone, with its function body, for any number of images, boxes and classes."""
    float_type = FLOAT_TYPES[dtype]
    node = helper.make_node(
        OP_TYPE,
        ["boxes", "scores"],
        ["num_dets", "det_boxes", "det_scores", "det_classes"],
        domain=DOMAIN,
        score_threshold=float(attributes.score_threshold),
        iou_threshold=float(attributes.iou_threshold),
        beta=float(attributes.beta),
        pre_nms_top_k=attributes.pre_nms_top_k,
        max_detections=attributes.max_detections,
        class_agnostic=int(attributes.class_agnostic),
    )
    rows = ["B", attributes.max_detections]
    graph = helper.make_graph(
        [node],
        "nms",
        [
            helper.make_tensor_value_info("boxes", float_type, ["B", "N", 4]),
            helper.make_tensor_value_info("scores", float_type, ["B", "N", "C"]),
        ],
        [
            helper.make_tensor_value_info("num_dets", TensorProto.INT32, ["B", 1]),
            helper.make_tensor_value_info("det_boxes", float_type, [*rows, 4]),
            helper.make_tensor_value_info("det_scores", float_type, rows),
            helper.make_tensor_value_info("det_classes", TensorProto.INT32, rows),
        ],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)]
    made = helper.make_model(graph, functions=[function_body(opset)], opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


@lru_cache(maxsize=256)
def _session(attributes: DIoUNMS, dtype: str, operators: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if operators:
        options.register_custom_ops_library(str(OPERATORS))
    content = model(attributes, dtype).SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@lru_cache(maxsize=256)
def _evaluator(attributes: DIoUNMS, dtype: str) -> ReferenceEvaluator:
    return ReferenceEvaluator(model(attributes, dtype))


def _of_one(
    run: Callable[[np.ndarray, np.ndarray, DIoUNMS], Outputs],
    boxes: np.ndarray,
    scores: np.ndarray,
    attributes: DIoUNMS,
) -> Found:
    """The detections of one image out of rows of a fixed length, after a look at what stands behind them."""
    rows = max(min(attributes.max_detections, scores.size), 1)
    outputs = run(boxes[None], scores[None], replace(attributes, max_detections=rows))
    num_dets, det_boxes, det_scores, det_classes = outputs
    assert [output.shape for output in outputs] == [(1, 1), (1, rows, 4), (1, rows), (1, rows)]
    count = int(num_dets[0, 0])
    assert not det_boxes[0, count:].any() and not det_scores[0, count:].any() and (det_classes[0, count:] == -1).all()
    return det_boxes[0, :count], det_scores[0, :count], det_classes[0, :count].astype(np.int64)
