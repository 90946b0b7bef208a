"""Names that a person can find in the network's code, the same in every export, and no trace of this machine."""

from __future__ import annotations

import ast
from collections.abc import Collection

import onnx
from onnx import ModelProto, NodeProto

from edgedet.models.quantized.detector import QUANTIZERS

SCOPES_KEY = "pkg.torch.onnx.name_scopes"
"""Where PyTorch's exporter notes the modules that a node was traced in, outermost first, then its own name."""

PREFIX = "detector"
"""The network's attribute in `edgedet.models.detector.DecodedDetector`: names in the file are those in a checkpoint."""

QUANTIZED_PREFIX = f"{PREFIX}.network"
"""The same of a quantized detector: the network as it was traced."""

DECODE = "decode"
"""The path of nodes outside the network itself."""


def readable_names(model: ModelProto) -> ModelProto:
    """A copy of an exported model, named by the network's modules. Inputs and outputs keep their names.

    A node is called `backbone.stage2.0/Concat` (`..._1` for the second), its output `backbone.stage2.0/Concat_output`,
    a weight `backbone.conv1.0.weight` as in the checkpoint (folding scales it and sorts channels), another
    constant `backbone.stage2.0/Reshape/shape`.
    """
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    fixed = {value.name for value in [*graph.input, *graph.output]}
    constants = {tensor.name for tensor in graph.initializer}
    taken = set(fixed)
    renamed: dict[str, str] = {"": ""}
    paths: dict[str, str] = {}
    for node in graph.node:
        path = _module_path(node, constants) or paths.get(node.input[0], DECODE)
        paths.update(dict.fromkeys(node.output, path))
        node.name = _unused(f"{path}/{node.op_type}", taken)
        for position, name in enumerate(node.input):
            if name in constants and name not in renamed:
                renamed[name] = _unused(_constant_name(node, position, path), taken)
        for position, name in enumerate(node.output):
            if name not in fixed and name:
                number = f"_{position}" if len(node.output) > 1 else ""
                renamed[name] = _unused(f"{node.name}_output{number}", taken)
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for named in [*graph.initializer, *graph.value_info]:
        named.name = renamed.get(named.name, named.name)
    return result


def traced_from(model: ModelProto) -> dict[str, str]:
    """What each tensor was traced from, by the exporter's notes: its name in the graph to that in the traced program.

    Of an operation that became several nodes it is the last one's tensor that has its value.
    """
    last = {scopes[-1]: node.output[0] for node in model.graph.node if (scopes := _scopes(node))}
    return {tensor: name for name, tensor in last.items()}


def without_traces(model: ModelProto) -> ModelProto:
    """A copy without documentation strings and the exporter's notes, which hold source lines and local paths.

    Types of constants are left out too: a constant states its own.
    """
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = {tensor.name for tensor in graph.initializer}
    of_nodes = [value for value in graph.value_info if value.name not in constants]
    del graph.value_info[:]
    graph.value_info.extend(of_nodes)
    parts = [result, graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output]
    for part in parts:
        part.doc_string = ""
        del part.metadata_props[:]
    return result


def _module_path(node: NodeProto, constants: Collection[str]) -> str | None:
    """The module a node belongs to: its weight's owner where it has one, else the module it was traced in.

    None where the exporter did not note it, as for nodes that its optimizer made.
    """
    for name in node.input:
        if name in constants and name.endswith(".weight"):
            return _within_network(name.removesuffix(".weight"))
    scopes = _scopes(node)
    if len(scopes) < 2 or scopes[-2] == PREFIX or scopes[-2].startswith(f"{QUANTIZED_PREFIX}.{QUANTIZERS}."):
        return None  # what joins the layers of a traced network, or rounds what they give
    return _within_network(scopes[-2])


def _scopes(node: NodeProto) -> list[str]:
    notes = {note.key: note.value for note in node.metadata_props}
    scopes: list[str] = ast.literal_eval(notes.get(SCOPES_KEY, "[]"))
    return scopes


def _within_network(path: str) -> str:
    inner = path.removeprefix(QUANTIZED_PREFIX).removeprefix(PREFIX).removeprefix(".")
    return inner.removesuffix(".weight_quantizer") or DECODE


def _constant_name(node: NodeProto, position: int, path: str) -> str:
    inputs = onnx.defs.get_schema(node.op_type, node.domain).inputs
    formal = inputs[min(position, len(inputs) - 1)].name
    if node.op_type == "Conv":
        return f"{path}.{'weight' if formal == 'W' else 'bias'}"
    if node.op_type == "QuantizeLinear" and position == 0:
        return f"{path}.weight"
    return f"{node.name}/{formal}"


def _unused(name: str, taken: set[str]) -> str:
    """`name`, or `name_1`, `name_2`, ... where it is taken; it is taken then."""
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate
