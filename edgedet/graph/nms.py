"""DIoU-NMS inside a graph: its boxes and scores become detections, a fixed number of rows an image."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from edgedet.errors import CheckFailedError
from edgedet.graph.opset import IR_VERSION, OPSET
from edgedet.graph.verify import Images
from edgedet.ops.diou_nms import DIoUNMS
from edgedet.ops.diou_nms.body import function_body
from edgedet.ops.diou_nms.definition import DOMAIN, OP_TYPE
from edgedet.runtime.backend import NMS_OUTPUTS, nms_shapes
from edgedet.runtime.detector import Detector

BOXES_AND_SCORES = ["boxes", "scores"]
PLUGIN_ATTRIBUTES = {"plugin_namespace": "", "plugin_version": "1"}
"""By these TensorRT 10.15 and later take a plugin for a node that has a function body."""


def with_nms(model: ModelProto, attributes: DIoUNMS) -> ModelProto:
    """A copy of a lowered graph that gives detections, by the operator and its function body.

    A runtime without a kernel for the operator computes its body, of ONNX's standard operators. Outputs:
    `num_dets [B, 1]` int32, `det_boxes [B, K, 4]`, `det_scores [B, K]`, `det_classes [B, K]` int32.

    Args:
        model: with outputs `boxes [B, N, 4]` and `scores [B, N, C]`, float32.
        attributes: `K` is `max_detections`.
    """
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    boxes_and_scores = {value.name: value for value in graph.output}
    first = boxes_and_scores["boxes"].type.tensor_type.shape.dim[0]
    batch = first.dim_param or first.dim_value
    graph.node.append(_node(attributes))
    graph.value_info.extend(boxes_and_scores[name] for name in BOXES_AND_SCORES)
    del graph.output[:]
    graph.output.extend(_outputs(batch, attributes.max_detections))
    (opset,) = (entry.version for entry in model.opset_import if entry.domain == "")
    if all(entry.domain != DOMAIN for entry in result.opset_import):  # other operators of edgedet may be there
        result.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    result.functions.append(function_body(opset))
    onnx.checker.check_model(result, full_check=True)
    return result


def without_nms(model: ModelProto) -> ModelProto:
    """A copy that gives the boxes and scores that its NMS reads; the graph itself where it has none."""
    result = ModelProto()
    result.CopyFrom(model)
    nodes = [node for node in result.graph.node if node.op_type == OP_TYPE]
    if not nodes:
        return result
    result.graph.node.remove(nodes[0])
    del result.graph.output[:]
    result.graph.output.extend(value for value in result.graph.value_info if value.name in BOXES_AND_SCORES)
    others = [function for function in result.functions if function.name != OP_TYPE]
    del result.functions[:]
    result.functions.extend(others)
    return result


def detections_graph(attributes: DIoUNMS) -> ModelProto:
    """NMS alone, for any number of images, boxes and classes."""
    inputs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["batch", "boxes", 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", "boxes", "classes"]),
    ]
    graph = helper.make_graph([_node(attributes)], "nms", inputs, _outputs("batch", attributes.max_detections))
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, functions=[function_body(OPSET)], opset_imports=opsets, ir_version=IR_VERSION)


def _node(attributes: DIoUNMS) -> NodeProto:
    numbers = {name: int(value) if isinstance(value, bool) else value for name, value in asdict(attributes).items()}
    node = helper.make_node(OP_TYPE, BOXES_AND_SCORES, NMS_OUTPUTS, name="nms", domain=DOMAIN)
    for name, value in (numbers | PLUGIN_ATTRIBUTES).items():
        node.attribute.append(helper.make_attribute(name, value))
    return node


def _outputs(batch: int | str, rows: int) -> list[ValueInfoProto]:
    types = (TensorProto.INT32, TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT32)
    return list(map(helper.make_tensor_value_info, NMS_OUTPUTS, types, nms_shapes(batch, rows)))


def require_same_detections(without: Detector, inside: Detector, images: Images, *, where: object = None) -> None:
    """Holds NMS inside a file to NMS behind the same file's boxes and scores: number by number, in the same order.

    Raises:
        CheckFailedError: a detection differs.
    """
    size = inside.backend.inputs[0].shape[0] or 1
    for start in range(0, len(images.images), size):
        chunk = images.images[start : start + size]
        for place, (expected, found) in enumerate(zip(without.detect(chunk), inside.detect(chunk), strict=True)):
            same = all(
                np.array_equal(getattr(expected, part), getattr(found, part)) for part in ("xyxy", "score", "class_id")
            )
            if not same:
                raise CheckFailedError(
                    f"NMS inside the graph finds other detections ({len(found.score)}) than behind it "
                    f"({len(expected.score)}) in image {start + place} of {images.source}",
                    where=where,
                    fix="export without --nms",
                )
