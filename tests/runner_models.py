"""Models that the C++ runner is tried with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from onnx import ModelProto
from small_detector import small_detector
from tiny_detector import TinyDetector, tiny_spec

from edgedet.graph.master import master_graph
from edgedet.graph.nms import with_nms
from edgedet.graph.targets import lower
from edgedet.ops.diou_nms import DIoUNMS
from edgedet.quant.calibrate import fit_to_noise
from edgedet.spec import Preprocess, Spec

GAIN = 12.0


def exported(batch: int = 1, *, free: bool = False) -> ModelProto:
    """In float."""
    return master_graph(TinyDetector(), tiny_spec(), batch=batch, dynamic_batch=free)


def suppressing() -> ModelProto:
    """With NMS inside."""
    return with_nms(exported(), DIoUNMS(**tiny_spec().postprocess.model_dump()))


def quantized() -> ModelProto:
    """Integer kernels, with weights that are large enough to tell boxes apart."""
    spec = Spec(model="small", class_names=("a", "b"), strides=(8, 16, 32), preprocess=Preprocess(height=96, width=128))
    detector = small_detector("gfl", 2)
    for name, parameter in detector.named_parameters():
        if parameter.ndim == 4 and not name.startswith("backbone"):
            parameter.data *= GAIN
    return lower(master_graph(fit_to_noise(detector, spec.preprocess), spec, batch=1, dynamic_batch=False), "ort-cpu")


RUNNER_MODELS: dict[str, Callable[[], ModelProto]] = {
    "float": exported,
    "free": partial(exported, free=True),
    "nms": suppressing,
    "two": partial(exported, 2),
    "int8": quantized,
}
"""Float, of a free batch size, with NMS inside, of a fixed batch of two, and quantized."""
