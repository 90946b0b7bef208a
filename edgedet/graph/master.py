"""The master ONNX graph of a detector."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import torch
from onnx import ModelProto

from edgedet.graph.metadata import with_metadata
from edgedet.graph.naming import readable_names, without_traces
from edgedet.graph.opset import to_opset_17
from edgedet.graph.translations import TRANSLATIONS
from edgedet.models.detector import DecodedDetector, DetectionNetwork
from edgedet.models.folding.batch_norm import fold_batch_norm
from edgedet.models.folding.channel_shuffle import fold_channel_shuffles
from edgedet.models.quantized.collapsing import collapsed
from edgedet.models.quantized.detector import QuantizedDetector, with_rounded_carriers
from edgedet.models.quantized.detector import folded as fold_quantized
from edgedet.models.threads import one_thread
from edgedet.models.zoo import require_input_size
from edgedet.spec import Spec

TRACED_OPSET = 18
"""The oldest that PyTorch's exporter writes itself."""

DYNAMIC_EXAMPLE_BATCH = 2
"""`torch.export` takes a size of 1 for a fixed one."""


def master_graph(detector: DetectionNetwork, spec: Spec, *, batch: int, dynamic_batch: bool) -> ModelProto:
    """The master ONNX graph of a detector: folded, traced by `torch.export`, then tidied.

    Gated convolutions have their whole input in it: no runtime has them without edgedet's operator.
    """
    program = traced(detector, spec, batch=batch, dynamic_batch=dynamic_batch)
    return tidied(program.model_proto, spec, batch=1 if dynamic_batch else batch)


def traced(
    detector: DetectionNetwork, spec: Spec, *, batch: int, dynamic_batch: bool = False
) -> torch.onnx.ONNXProgram:
    """The folded detector as PyTorch's exporter leaves it: the traced program and the graph that was made of it."""
    network = _folded(detector, spec)
    size = spec.preprocess
    example = torch.zeros(DYNAMIC_EXAMPLE_BATCH if dynamic_batch else batch, 3, size.height, size.width)
    with _quiet(), one_thread(), torch.no_grad():
        program = torch.onnx.export(
            network,
            (example,),
            input_names=["images"],
            output_names=["boxes", "scores"],
            opset_version=TRACED_OPSET,
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}} if dynamic_batch else None,
            dynamo=True,
            external_data=False,
            verbose=False,
            custom_translation_table=dict(TRANSLATIONS),
        )
    assert program is not None
    return program


def named(exported: ModelProto) -> ModelProto:
    """The exporter's graph in the master's operators, under the master's names, with the exporter's notes."""
    return readable_names(to_opset_17(exported))


def tidied(exported: ModelProto, spec: Spec, *, batch: int) -> ModelProto:
    """The master of the exporter's graph."""
    model = with_metadata(without_traces(named(exported)), spec, batch=batch)
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def decoded(detector: DetectionNetwork, spec: Spec) -> DecodedDetector:
    """A copy for inference on the CPU in float32."""
    size = spec.preprocess
    require_input_size(size.height, size.width)
    return DecodedDetector(copy.deepcopy(detector).cpu().float().eval(), size.height, size.width).eval()


def _folded(detector: DetectionNetwork, spec: Spec) -> torch.nn.Module:
    if isinstance(detector, QuantizedDetector):
        return decoded(with_rounded_carriers(fold_quantized(collapsed(detector))), spec)
    return fold_batch_norm(decoded(fold_channel_shuffles(detector), spec))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's remarks on its own workings (deprecations, packages it can do without) to itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
