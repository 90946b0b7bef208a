"""A model repository for NVIDIA's Triton Inference Server, its configurations in protobuf's text format.

Source: `model_config.proto` of Triton (the tests parse what is written here with its compiled schema).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgedet.deploy.contents import Entry
from edgedet.deploy.labels import labels
from edgedet.deploy.model import MODEL, Network
from edgedet.deploy.sources import source_folder
from edgedet.deploy.targets import Target
from edgedet.errors import EdgedetError
from edgedet.runtime.backend import NMS_OUTPUTS, nms_shapes

FOLDER = "triton"
NAME = "edgedet"
PREPROCESS, POSTPROCESS, ENSEMBLE = f"{NAME}_preprocess", f"{NAME}_postprocess", f"{NAME}_ensemble"
MOST_AT_ONCE = 8
"""Images that Triton may put into one batch where the network's batch is free."""

ANY = -1


@dataclass(frozen=True)
class Tensor:
    """An input or output in a configuration.

    Attributes:
        name: of the tensor.
        type: as Triton calls it, e.g. `TYPE_FP32`.
        dims: sizes without the batch where Triton batches; -1 where a size is free.
    """

    name: str
    type: str
    dims: tuple[int, ...]


def triton_files(network: Network, target: Target) -> dict[str, Entry]:
    """The network alone: `triton/edgedet`, with boxes and scores, or detections, as they come out of it.

    Where TensorRT runs it, `install.sh` puts the engine there: a plan is for the device it was built on.
    """
    folder = f"{FOLDER}/{NAME}"
    files = {
        f"{folder}/config.pbtxt": Entry(network_config(network, target).encode()),
        f"{folder}/labels.txt": Entry(labels(network.spec.class_names)),
    }
    if target.tensorrt is None:
        files[f"{folder}/1/{MODEL}"] = Entry(network.data)
    else:
        files[f"{folder}/1/README"] = Entry(b"install.sh puts the engine here, as model.plan.\n")
    return files


def triton_ensemble_files(network: Network, target: Target) -> dict[str, Entry]:
    """The network with edgedet's own pre- and post-processing before and behind it, in one ensemble.

    Both are models of Triton's Python backend that call edgedet's runtime with the specification in their
    configuration; Triton's Python must have edgedet installed (without torch or a backend).
    """
    if network.batch != 1:
        fix = "export it with --batch 1 for the ensemble, or take --with triton"
        raise EdgedetError("the ensemble takes an image at a time, and the model another batch", fix=fix)
    scripts = source_folder() / "export/integrations/triton"
    files = triton_files(network, target)
    for name, script, config in (
        (PREPROCESS, "preprocess.py", preprocess_config(network)),
        (POSTPROCESS, "postprocess.py", postprocess_config(network)),
    ):
        files[f"{FOLDER}/{name}/config.pbtxt"] = Entry(config.encode())
        files[f"{FOLDER}/{name}/1/model.py"] = Entry((scripts / script).read_bytes())
    files[f"{FOLDER}/{ENSEMBLE}/config.pbtxt"] = Entry(ensemble_config(network).encode())
    # Git and some copies lose empty folders, and Triton wants a version's folder of an ensemble too.
    files[f"{FOLDER}/{ENSEMBLE}/1/README"] = Entry(b"An ensemble has no file of its own.\n")
    return files


def network_config(network: Network, target: Target) -> str:
    """`config.pbtxt` of the network alone."""
    platform = "onnxruntime_onnx" if target.tensorrt is None else "tensorrt_plan"
    most = MOST_AT_ONCE if network.batch is None else 0
    lines = [f'name: "{NAME}"', f'platform: "{platform}"', f"max_batch_size: {most}"]
    lines += _tensors("input", network_inputs(network)) + _tensors("output", network_outputs(network))
    if network.batch is None:
        lines.append("dynamic_batching { }")
    kind = "KIND_CPU" if target.tensorrt is None else "KIND_GPU"
    lines.append(f"instance_group [ {{ count: 1 kind: {kind} }} ]")
    lines += _specification(network)
    return "\n".join(lines) + "\n"


def network_inputs(network: Network) -> list[Tensor]:
    """The image tensor."""
    size = network.spec.preprocess
    return [Tensor("images", "TYPE_FP32", (*_batch(network), 3, size.height, size.width))]


def network_outputs(network: Network) -> list[Tensor]:
    """Boxes and scores, whose number the network decides; or detections, whose number is fixed."""
    batch, classes = _batch(network), len(network.spec.class_names)
    if not network.has_nms:
        return [Tensor("boxes", "TYPE_FP32", (*batch, ANY, 4)), Tensor("scores", "TYPE_FP32", (*batch, ANY, classes))]
    types = ("TYPE_INT32", "TYPE_FP32", "TYPE_FP32", "TYPE_INT32")
    shapes = (shape[1:] for shape in nms_shapes(1, network.spec.postprocess.max_detections))
    return [Tensor(name, kind, (*batch, *shape)) for name, kind, shape in zip(NMS_OUTPUTS, types, shapes, strict=True)]


def preprocess_config(network: Network) -> str:
    """`config.pbtxt` of the model that makes an image the network's input."""
    inputs = [Tensor("image", "TYPE_UINT8", (ANY, ANY, 3))]
    outputs = [*network_inputs(network), Tensor("source_size", "TYPE_INT32", (2,))]
    return _python_config(PREPROCESS, inputs, outputs, network)


def postprocess_config(network: Network) -> str:
    """`config.pbtxt` of the model that makes the network's outputs detections."""
    inputs = [*network_outputs(network), Tensor("source_size", "TYPE_INT32", (2,))]
    return _python_config(POSTPROCESS, inputs, detections(), network)


def detections() -> list[Tensor]:
    """What the ensemble gives of an image: boxes in its own pixels, best first."""
    return [
        Tensor("detection_boxes", "TYPE_FP32", (ANY, 4)),
        Tensor("detection_scores", "TYPE_FP32", (ANY,)),
        Tensor("detection_classes", "TYPE_INT32", (ANY,)),
    ]


def ensemble_config(network: Network) -> str:
    """`config.pbtxt` of the ensemble: an image in, detections out."""
    inputs = [Tensor("image", "TYPE_UINT8", (ANY, ANY, 3))]
    between = [tensor.name for tensor in network_outputs(network)]
    found = [tensor.name for tensor in detections()]
    lines = [f'name: "{ENSEMBLE}"', 'platform: "ensemble"', "max_batch_size: 0"]
    lines += _tensors("input", inputs) + _tensors("output", detections())
    lines += [
        "ensemble_scheduling {",
        *_step(PREPROCESS, ["image"], ["images", "source_size"]),
        *_step(NAME, ["images"], between),
        *_step(POSTPROCESS, [*between, "source_size"], found),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _python_config(name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], network: Network) -> str:
    lines = [f'name: "{name}"', 'backend: "python"', "max_batch_size: 0"]
    lines += _tensors("input", inputs) + _tensors("output", outputs)
    lines.append("instance_group [ { count: 1 kind: KIND_CPU } ]")
    return "\n".join([*lines, *_specification(network)]) + "\n"


def _step(model: str, inputs: Sequence[str], outputs: Sequence[str]) -> list[str]:
    maps = [f'    input_map {{ key: "{name}" value: "{name}" }}' for name in inputs]
    maps += [f'    output_map {{ key: "{name}" value: "{name}" }}' for name in outputs]
    return ["  step {", f'    model_name: "{model}"', "    model_version: -1", *maps, "  }"]


def _tensors(kind: str, tensors: Sequence[Tensor]) -> list[str]:
    return [
        f'{kind} {{ name: "{tensor.name}" data_type: {tensor.type} dims: [ {", ".join(map(str, tensor.dims))} ] }}'
        for tensor in tensors
    ]


def _batch(network: Network) -> tuple[int, ...]:
    """The batch as a size of its own where it is fixed: then Triton does not batch."""
    return () if network.batch is None else (network.batch,)


def _specification(network: Network) -> list[str]:
    """Under the key that ONNX files have it under."""
    return [f'parameters {{ key: "edgedet" value {{ string_value: {quoted(network.spec.to_json())} }} }}']


def quoted(text: str) -> str:
    """A string of protobuf's text format, in ASCII: bytes above it and quotes by their octal numbers."""
    safe = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in "\"\\'" else f"\\{byte:03o}" for byte in text.encode()
    )
    return f'"{safe}"'
