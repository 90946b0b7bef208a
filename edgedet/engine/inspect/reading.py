"""Reads what TensorRT's engine inspector says of an engine."""

from __future__ import annotations

import re
from typing import Any

from edgedet.engine.inspect.formats import UNKNOWN, datatype_of, layout_of
from edgedet.engine.inspect.json_text import objects_in, parse_json, sizes_in, text_in
from edgedet.engine.inspect.layers import Engine, Layer, Port, Tensor
from edgedet.engine.inspect.nodes import nodes_of
from edgedet.errors import EdgedetError

LAYERS, BINDINGS, IO_TENSORS = "Layers", "Bindings", "I/O Tensors"
FURTHER_PROFILE = re.compile(r" ?\[profile [0-9]+\]$")
"""Ends the names of what runs in an optimization profile other than the first."""


def read_engine_information(text: str, *, where: object = None) -> Engine:
    """The engine that a text describes.

    Args:
        text: JSON that `IEngineInspector.getEngineInformation` gave, or that `trtexec --exportLayerInfo` wrote. Up to
            TensorRT 10.16, `Bindings` are names and each tensor has a `Format/Datatype`; from 11 on there are
            `I/O Tensors`, and the two are fields of their own (NVIDIA, "Migrating IEngineInspector Usage from TensorRT
            10.x to 11.x").
        where: named in errors.

    Raises:
        EdgedetError: the text is something else.
    """
    values = parse_json(text, where=where)
    if not isinstance(values, dict) or not isinstance(values.get(LAYERS), list):
        raise EdgedetError(_something_else(values), where=where, fix="give what trtexec --exportLayerInfo=FILE wrote")
    entries = values[LAYERS]
    every = [_read_layer(place, entry, where) for place, entry in enumerate(entries)]
    layers = tuple(layer for layer in every if not FURTHER_PROFILE.search(layer.name))
    detailed = bool(entries) and all(isinstance(entry, dict) and "LayerType" in entry for entry in entries)
    ports = _read_ports(values) if IO_TENSORS in values else _read_bindings(values.get(BINDINGS), layers, detailed)
    return Engine(layers, ports, detailed)


def _something_else(values: Any) -> str:
    if isinstance(values, list) and any(isinstance(entry, dict) and "timeMs" in entry for entry in values):
        return "this is a profile, which goes with --profile, not a list of layers"
    if isinstance(values, dict) and "built_on" in values:
        return "this is the manifest beside an engine, not a list of its layers"
    return f"no list of layers: there is no {LAYERS!r} in it"


def _read_layer(place: int, entry: Any, where: object) -> Layer:
    if isinstance(entry, str):
        return Layer(entry, nodes=nodes_of(entry, ""))
    name = text_in(entry, "Name") if isinstance(entry, dict) else ""
    if not name:
        raise EdgedetError(f"layer {place} has no name", where=where, fix="write the file again")
    groups = entry.get("Groups")
    kind = text_in(entry, "ParameterType", "LayerType") or UNKNOWN
    return Layer(
        name,
        kind,
        tuple(map(_read_tensor, objects_in(entry, "Inputs"))),
        tuple(map(_read_tensor, objects_in(entry, "Outputs"))),
        tactic=text_in(entry, "TacticName") or None,
        nodes=nodes_of(name, text_in(entry, "Metadata")),
        origin=text_in(entry, "Origin") or None,
        groups=groups if type(groups) is int else None,
        plugin=(text_in(entry, "PluginType") or name) if "plugin" in kind.lower() else None,
    )


def _read_tensor(values: dict[str, Any]) -> Tensor:
    both = text_in(values, "Format/Datatype")
    datatype = text_in(values, "Datatype", "DataType") or both
    return Tensor(
        text_in(values, "Name"),
        sizes_in(values, "Dimensions"),
        datatype_of(datatype),
        layout_of(text_in(values, "Format") or both),
    )


def _read_ports(values: dict[str, Any]) -> tuple[Port, ...]:
    ports = []
    for entry in objects_in(values, IO_TENSORS):
        mode = text_in(entry, "IOMode").lower()
        first_profile = next(iter(objects_in(entry, "ProfileInfo")), {})
        tensor = _read_tensor({**entry, "Format": text_in(first_profile, "Format")})
        ports.append(Port(tensor, {"input": True, "output": False}.get(mode)))
    return tuple(ports)


def _read_bindings(names: Any, layers: tuple[Layer, ...], detailed: bool) -> tuple[Port, ...]:
    """Names alone: the rest is told by the layers that read or write a tensor of that name."""
    written = {tensor.name: tensor for layer in layers for tensor in layer.outputs}
    read = {tensor.name: tensor for layer in layers for tensor in layer.inputs}
    listed = names if isinstance(names, list) else []
    return tuple(
        Port(written.get(name) or read.get(name) or Tensor(name), name not in written if detailed else None)
        for name in listed
        if isinstance(name, str) and not FURTHER_PROFILE.search(name)
    )
