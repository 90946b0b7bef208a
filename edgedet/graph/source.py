"""What is exported: a checkpoint, or a model by name with random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from edgedet.errors import EdgedetError, unknown_value
from edgedet.models.checkpoint import load_checkpoint
from edgedet.models.detector import DetectionNetwork, Detector
from edgedet.models.quantized.detector import QuantizedDetector
from edgedet.models.quantized.provenance import require_fresh
from edgedet.models.zoo import build_detector, list_models, require_input_size
from edgedet.spec import Preprocess, Spec

DEFAULT_CLASSES = 80
DEFAULT_SIZE = (320, 320)
SEED = 0


def find_model(
    model: str,
    *,
    classes: int | None = None,
    size: tuple[int, int] | None = None,
    activation: str | None = None,
) -> tuple[DetectionNetwork, Spec]:
    """The detector called `model`, in eval mode, and its specification.

    Args:
        model: the path of a checkpoint, or one of `list_models()`: then its weights are random, the same every time,
            and its specification says so.
        classes: number of classes of a model by name; None means 80.
        size: input height and width; None means a checkpoint's own, 320 x 320 for a model by name.
        activation: of a model by name; None means its native one.

    Raises:
        EdgedetError: `model` is neither, or an option does not fit it.
    """
    if size is not None:
        require_input_size(*size)
    if model in list_models():
        return _random(model, classes or DEFAULT_CLASSES, size or DEFAULT_SIZE, activation)
    path = Path(model)
    if not (path.exists() or path.suffix == ".pt"):
        raise _neither(model)
    if path.suffix == ".onnx":
        raise EdgedetError("is an ONNX file already", where=path, fix="give the checkpoint (.pt) that it was made of")
    for option, value in (("--classes", classes), ("--activation", activation)):
        if value is not None:
            what = f"{option} is for a model by name: a checkpoint has its own"
            raise EdgedetError(what, where=path, fix=f"leave {option} out")
    checkpoint = load_checkpoint(path)
    spec = checkpoint.spec if size is None else _resized(checkpoint.spec, size)
    if isinstance(checkpoint.detector, QuantizedDetector):
        require_fresh(checkpoint.detector, spec.preprocess, where=path)
    return checkpoint.detector, spec


def _random(name: str, classes: int, size: tuple[int, int], activation: str | None) -> tuple[Detector, Spec]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        detector = build_detector(name, classes, activation=activation)
        _disturb(detector)
    spec = Spec(
        model=name,
        class_names=tuple(f"class {index}" for index in range(classes)),
        strides=detector.strides,
        preprocess=Preprocess(height=size[0], width=size[1]),
        random_weights=True,
    )
    return detector.eval(), spec


def _disturb(network: nn.Module) -> None:
    """Fresh biases and batch normalisation do nothing and fold to nothing: to a graph that no trained network has."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            with torch.no_grad():
                layer.bias += 0.01 * torch.randn_like(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.1)
            assert layer.running_mean is not None and layer.running_var is not None
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)


def _resized(spec: Spec, size: tuple[int, int]) -> Spec:
    preprocess = spec.preprocess.model_copy(update={"height": size[0], "width": size[1]})
    return spec.model_copy(update={"preprocess": preprocess})


def _neither(model: str) -> EdgedetError:
    error = unknown_value("model", model, list_models())
    return EdgedetError(f"{model!r} is no checkpoint (no such file) and no model's name", fix=error.fix)
