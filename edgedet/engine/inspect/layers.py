"""An engine's layers."""

from __future__ import annotations

from dataclasses import dataclass

from edgedet.engine.inspect import nodes
from edgedet.engine.inspect.formats import BELOW_FP32, COMPUTED_IN, FP32, INT8, UNKNOWN

SHOWN = 3
IDLE = frozenset({"noop", "constant", "signal", "wait"})
"""Kinds of layers that compute nothing, in lower case."""


@dataclass(frozen=True)
class Tensor:
    """What a layer reads or writes.

    Attributes:
        name: several layers may write one tensor, each a part of it: so TensorRT concatenates without copying.
        dimensions: -1 where the size is free; None where the inspector does not say.
        datatype: one of `edgedet.engine.inspect.formats.DATATYPES`' values, or `unknown`.
        layout: as TensorRT's `TensorFormat` names it; empty where the inspector does not say.
    """

    name: str
    dimensions: tuple[int, ...] | None = None
    datatype: str = UNKNOWN
    layout: str = ""

    def describe(self) -> str:
        """Its type and layout."""
        return f"{self.datatype} {self.layout}".rstrip()


@dataclass(frozen=True)
class Layer:
    """One kernel, or a few, that the engine runs.

    Attributes:
        name: in the engine.
        kind: what it computes, as `Convolution`; TensorRT's type of layer where the inspector does not say more.
        inputs, outputs: in TensorRT's order; empty where the inspector gives names alone.
        tactic: the kernel's name; None where the inspector does not say.
        nodes: of the ONNX file, that it stands for.
        origin: of a reformat: what it is there for, as `QDQ`.
        groups: of a convolution; None where the inspector does not say.
        plugin: the operator's name, of a plugin.
        milliseconds: of one run; None where no profile tells.
    """

    name: str
    kind: str = UNKNOWN
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    tactic: str | None = None
    nodes: tuple[str, ...] = ()
    origin: str | None = None
    groups: int | None = None
    plugin: str | None = None
    milliseconds: float | None = None

    @property
    def label(self) -> str:
        """The nodes that a person knows it by; its name where there are none."""
        known = [node for node in self.nodes if not nodes.is_quantizer(node) and not nodes.is_weight(node)]
        known = known or list(self.nodes) or [self.name]
        more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
        return " + ".join(known[:SHOWN]) + more

    @property
    def datatypes(self) -> tuple[str, ...]:
        """The types of the network's values that it reads and writes, in that order."""
        return tuple(tensor.datatype for tensor in (*self.inputs, *self.outputs) if tensor.datatype in COMPUTED_IN)

    @property
    def precision(self) -> str:
        """What it computes in: the type that it reads first, or writes where it reads no values."""
        others = [tensor.datatype for tensor in (*self.inputs, *self.outputs)]
        return next(iter((*self.datatypes, *others)), UNKNOWN)

    @property
    def is_quantizer(self) -> bool:
        """Whether it rounds to integers, or makes floats of them, and does nothing else.

        TensorRT runs such layers as `Quantize` and `Dequantize`, as reformats whose origin is `QDQ`, or as scales
        with integers on one side alone.
        """
        kind = self.kind.lower()
        one_sided = (INT8 in _types(self.inputs)) != (INT8 in _types(self.outputs))
        named = bool(self.nodes) and all(map(nodes.is_quantizer, self.nodes))
        return named or kind in ("quantize", "dequantize") or self.origin == "QDQ" or (kind == "scale" and one_sided)

    @property
    def is_reformat(self) -> bool:
        """Whether it changes the layout or the type of a tensor and does nothing else; quantizers are none."""
        return self.kind.lower() == "reformat" and not self.is_quantizer

    @property
    def computes(self) -> bool:
        """Whether it does more than move, round or hold values."""
        return not (self.is_quantizer or self.is_reformat or self.kind.lower() in IDLE)

    @property
    def is_convolution(self) -> bool:
        """Whether a convolution is in it."""
        return "conv" in self.kind.lower() or any(map(nodes.is_convolution, self.nodes))

    @property
    def is_depthwise(self) -> bool:
        """Whether it is a convolution of each channel by itself, where the inspector tells the groups."""
        shape = self.inputs[0].dimensions if self.inputs else None
        channels = shape[1] if shape is not None and len(shape) > 1 else None
        return self.is_convolution and self.groups is not None and self.groups > 1 and self.groups == channels

    @property
    def is_float32(self) -> bool:
        """Whether it computes, and all that it reads and writes is FP32."""
        return self.computes and set(self.datatypes) == {FP32}

    @property
    def is_lower(self) -> bool:
        """Whether it computes in less than FP32."""
        return self.computes and self.precision in BELOW_FP32


@dataclass(frozen=True)
class Port:
    """An input or output of the engine.

    Attributes:
        tensor: its name, sizes and type; the layout where the inspector says.
        is_input: None where the inspector gives names alone.
    """

    tensor: Tensor
    is_input: bool | None


@dataclass(frozen=True)
class Engine:
    """What an engine is made of.

    Attributes:
        layers: in the order in which they run. Of several optimization profiles, those of the first.
        ports: its inputs and outputs.
        detailed: whether the inspector says more than names. It does of engines that were built so.
        milliseconds: of one run, all layers together; None where no profile tells.
    """

    layers: tuple[Layer, ...]
    ports: tuple[Port, ...]
    detailed: bool
    milliseconds: float | None = None

    def costliest_first(self) -> list[Layer]:
        """The layers, what takes longest first; in the order in which they run where no profile tells."""
        return sorted(self.layers, key=lambda layer: -(layer.milliseconds or 0.0))

    def share(self, milliseconds: float | None) -> float | None:
        """Of the time of one run, from 0 to 1; None where no profile tells."""
        return None if milliseconds is None or not self.milliseconds else milliseconds / self.milliseconds


def _types(tensors: tuple[Tensor, ...]) -> set[str]:
    return {tensor.datatype for tensor in tensors}
