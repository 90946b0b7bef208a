"""DeepStream's `nvinfer`: its configuration, the network that it feeds, and the parser of what that gives.

`nvinfer` computes `net-scale-factor * (pixel - offsets[c])`: one factor for all channels, while a specification has a
standard deviation for each. So the factor is 1, there are no offsets, and the network in the folder takes pixels as
they are and normalises them itself (`edgedet.graph.pixels`).

What is the specification's exactly: channel order, normalisation, the place of the image (top left, its sides in
proportion), DIoU-NMS (the parser is the CPU kernel of edgedet's own runtime). What is not: the padding, which `nvinfer`
fills with black, and the resampling, which its scaler does; both move scores and boxes a little, near the padding most.
"""

from __future__ import annotations

from edgedet.deploy.contents import INSTALLED, Entry
from edgedet.deploy.labels import labels
from edgedet.deploy.model import Network
from edgedet.deploy.sources import source_folder
from edgedet.deploy.targets import Target
from edgedet.errors import EdgedetError
from edgedet.graph.pixels import pixels_file

FOLDER = "deepstream"
LIBRARY = "libnvdsinfer_edgedet.so"
PARSER = "NvDsInferParseEdgedet"
MODES = {"fp32": 0, "int8": 1, "fp16": 2}
"""`network-mode`."""

COPIED = ("nvdsinfer_edgedet.cpp", "Makefile", "README.md")


def deepstream_files(network: Network, target: Target) -> dict[str, Entry]:
    """The folder `deepstream` of a bundle.

    Raises:
        EdgedetError: the network is typed in float16: its first layer would have to be, too.
    """
    if target.tensorrt is None:
        raise EdgedetError("DeepStream runs networks by TensorRT alone", where="--with")
    scripts = source_folder() / "export/integrations/deepstream"
    files = {f"{FOLDER}/{name}": Entry((scripts / name).read_bytes()) for name in COPIED}
    files[f"{FOLDER}/model.onnx"] = Entry(pixels_file(network.data, network.spec.preprocess))
    files[f"{FOLDER}/labels.txt"] = Entry(labels(network.spec.class_names))
    files[f"{FOLDER}/config_infer.txt"] = Entry(infer_config(network).encode())
    files[f"{FOLDER}/edgedet_spec.h"] = Entry(header(network).encode())
    return files


def infer_config(network: Network) -> str:
    """`nvinfer`'s configuration; paths are below the file's own folder."""
    spec = network.spec
    size = spec.preprocess
    mode = MODES["int8" if network.quantized else "fp16"]
    custom_plugins = (
        [] if not network.has_nms else [f"# start with LD_PRELOAD=../{INSTALLED}/lib/libedgedet_tensorrt.so"]
    )
    lines = [
        f"# {spec.model}: made of its specification, do not edit. README.md says how exact it is.",
        *custom_plugins,
        "[property]",
        "gpu-id=0",
        "onnx-file=model.onnx",
        f"model-engine-file=model.onnx_b{network.batch or 1}_gpu0_{'int8' if network.quantized else 'fp16'}.engine",
        "labelfile-path=labels.txt",
        f"batch-size={network.batch or 1}",
        f"network-mode={mode}",
        "process-mode=1",
        "network-type=0",
        f"num-detected-classes={len(spec.class_names)}",
        "interval=0",
        "gie-unique-id=1",
        "# RGB; the network normalises by itself",
        "model-color-format=0",
        "net-scale-factor=1",
        "network-input-order=0",
        f"infer-dims=3;{size.height};{size.width}",
        "# the image lies at the top left, in proportion",
        "maintain-aspect-ratio=1",
        "symmetric-padding=0",
        "# bilinear",
        "scaling-filter=1",
        "# none: the parser does DIoU-NMS",
        "cluster-mode=4",
        f"parse-bbox-func-name={PARSER}",
        f"custom-lib-path={LIBRARY}",
        "",
        "[class-attrs-all]",
        f"pre-cluster-threshold={spec.postprocess.score_threshold:.9g}",
        f"topk={spec.postprocess.max_detections}",
    ]
    return "\n".join(lines) + "\n"


def header(network: Network) -> str:
    """What the parser must know of the specification, as constants of C++."""
    post = network.spec.postprocess
    lines = [
        "// Made of the model's specification by edgedet deploy.",
        "#pragma once",
        "",
        '#include "kernels/diou_nms.h"',
        "",
        "namespace edgedet {",
        "",
        f"constexpr int64_t CLASSES = {len(network.spec.class_names)};",
        f"constexpr bool HAS_NMS = {'true' if network.has_nms else 'false'};",
        "constexpr DIoUNMS NMS{",
        f"    {_float(post.score_threshold)}f, {_float(post.iou_threshold)}, {_float(post.beta)},"
        f" {post.pre_nms_top_k}, {post.max_detections}, {'true' if post.class_agnostic else 'false'}}};",
        "",
        "}  // namespace edgedet",
    ]
    return "\n".join(lines) + "\n"


def _float(value: float) -> str:
    """A literal of C++ of the same value, a point or an exponent in it."""
    return repr(float(value))
