"""Graphs of gated detectors: with their gates."""

from __future__ import annotations

import copy
from typing import TypeGuard

from onnx import ModelProto

from edgedet.graph.lowerings.gated import LayerGate, gate_convolutions
from edgedet.models.detector import DetectionNetwork
from edgedet.models.quantized.detector import QuantizedDetector, folded
from edgedet.models.quantized.gated import gated_layers


def is_gated(detector: DetectionNetwork) -> TypeGuard[QuantizedDetector]:
    """Whether a detector has gated convolutions."""
    return isinstance(detector, QuantizedDetector) and detector.recipe.gating is not None


def with_gates(master: ModelProto, detector: DetectionNetwork) -> ModelProto:
    """The master of a gated detector with its gates, which are edgedet's operator and the function that defines it.

    Args:
        master: in which gated convolutions have their whole inputs; left as it is.
        detector: that it is of.
    """
    assert is_gated(detector)
    exported = folded(copy.deepcopy(detector).cpu())
    grids = exported.gate_grids()
    gates = {
        name: LayerGate(
            conv.definition,
            float(grids[name].scale),
            conv.gate.bounds().detach().numpy(),
            conv.gate.sign.numpy(),
        )
        for name, conv in gated_layers(exported.network).items()
    }
    return gate_convolutions(master, gates)
