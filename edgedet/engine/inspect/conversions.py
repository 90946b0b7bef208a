"""Layers that change how a tensor is held, and compute nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgedet.engine.inspect.finding import REFORMAT, UNFUSED_QUANTIZER
from edgedet.engine.inspect.layers import Engine, Layer, Tensor
from edgedet.graph.lint.finding import Finding

UNTOLD = "what the inspector does not tell"
COPY = "Reformatted "
"""Begins the name of a tensor that only a reformat reads, or only it writes."""


def reformats(engine: Engine) -> Iterator[Finding]:
    """Reformats, by their tensors, with the layers on both sides."""
    sides = _sides(engine)
    for layer in engine.costliest_first():
        if layer.is_reformat and layer.inputs and layer.outputs:
            before, after = layer.inputs[0].name, layer.outputs[0].name
            yield Finding(REFORMAT, (after if before.startswith(COPY) else before,), _between(layer, engine, *sides))


def unfused_quantizers(engine: Engine) -> Iterator[Finding]:
    """Quantizers and dequantizers that are layers, but for those at the engine's own inputs and outputs.

    There something has to convert: the images are float, and so are the results.
    """
    sides = _sides(engine)
    at_the_ends = {port.tensor.name for port in engine.ports}
    for layer in engine.costliest_first():
        if layer.is_quantizer and at_the_ends.isdisjoint(tensor.name for tensor in (*layer.inputs, *layer.outputs)):
            yield Finding(UNFUSED_QUANTIZER, (layer.label,), _between(layer, engine, *sides))


def _time_of(layer: Layer, engine: Engine) -> str:
    """`, 0.0123 ms, 4.5 % of the time` where a profile tells."""
    share = engine.share(layer.milliseconds)
    return "" if share is None else f", {layer.milliseconds:.3g} ms, {share:.1%} of the time"


def _between(layer: Layer, engine: Engine, writers: Mapping[str, str], readers: Mapping[str, str]) -> str:
    """`FP16 CHW32 of A to INT8 CHW32 for B`, and its time where a profile tells."""
    return f"{_end(layer.inputs, 'of', writers)} to {_end(layer.outputs, 'for', readers)}{_time_of(layer, engine)}"


def _end(tensors: tuple[Tensor, ...], word: str, layers: Mapping[str, str]) -> str:
    if not tensors:
        return UNTOLD
    return f"{tensors[0].describe()} {word} {layers.get(tensors[0].name, UNTOLD)}"


def _sides(engine: Engine) -> tuple[dict[str, str], dict[str, str]]:
    """Who writes each tensor and who reads it, in words; the last that writes it, the first that reads it."""
    writers = {port.tensor.name: "the engine's input" for port in engine.ports if port.is_input}
    readers = {port.tensor.name: "the engine's output" for port in engine.ports if port.is_input is False}
    for layer in engine.layers:
        label = "a reformat" if layer.is_reformat else layer.label
        writers.update((tensor.name, label) for tensor in layer.outputs)
        for tensor in layer.inputs:
            readers.setdefault(tensor.name, label)
    return writers, readers
