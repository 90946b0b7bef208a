"""Without quantizers: the float detector that the master was quantized from, with its weights as they were."""

from __future__ import annotations

import onnx_ir as ir
from onnx import ModelProto

from edgedet.graph.lowerings.editing import drop, drop_unused_initializers, quantizers


def lower_to_fp32(master: ModelProto) -> ModelProto:
    """The float32 graph; the master is left as it is."""
    model = ir.from_proto(master)
    for quantizer in quantizers(model.graph):
        drop(model.graph, quantizer)
    drop_unused_initializers(model.graph)
    return ir.to_proto(model)
