"""Which nodes ONNX Runtime really runs as integer kernels."""

from __future__ import annotations

import re

from onnx import ModelProto

from edgedet.graph.integer_kernels import INTEGER_KERNELS
from edgedet.runtime.backends.onnxruntime import profile_runs

MARK = "edgedet-node-"


def ran_in_integer(model: ModelProto) -> set[int]:
    """The places of the nodes that ran as integer kernels, by ONNX Runtime's profile of one run on zeros.

    ONNX Runtime lengthens the names of what it fuses, so each node is given a name that can be found in them.

    Raises:
        EdgedetError: ONNX Runtime cannot run the model.
    """
    marked = ModelProto()
    marked.CopyFrom(model)
    for place, node in enumerate(marked.graph.node):
        node.name = f"{MARK}{place}-"
    events = profile_runs(marked.SerializeToString())
    names = [event["name"] for event in events if event.get("args", {}).get("op_name") in INTEGER_KERNELS]
    return {int(found[1]) for name in names if (found := re.match(rf"{MARK}(\d+)-", name))}
