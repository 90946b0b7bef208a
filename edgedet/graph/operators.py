"""All of edgedet's operators in one graph, to try a library that computes them."""

from __future__ import annotations

from onnx import ModelProto, TensorProto, helper

from edgedet.graph.nms import detections_graph
from edgedet.graph.opset import OPSET
from edgedet.ops.diou_nms import DIoUNMS
from edgedet.ops.mish.body import function_body
from edgedet.ops.mish.definition import DOMAIN, OP_TYPE


def operators_graph(attributes: DIoUNMS) -> ModelProto:
    """DIoU-NMS of `boxes [B, N, 4]` and `scores [B, N, C]`, and besides its outputs `mish`, Mish of the scores."""
    model = detections_graph(attributes)
    model.graph.node.append(helper.make_node(OP_TYPE, ["scores"], ["mish"], name="mish", domain=DOMAIN))
    model.graph.output.append(helper.make_tensor_value_info("mish", TensorProto.FLOAT, ["batch", "boxes", "classes"]))
    model.functions.append(function_body(OPSET))
    return model
