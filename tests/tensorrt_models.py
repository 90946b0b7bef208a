"""The detectors that engines are built of in tests, written as ONNX masters.

`python tests/tensorrt_models.py FOLDER` writes them, for a board without PyTorch.
"""

from __future__ import annotations

import sys
from pathlib import Path

from onnx import ModelProto

from edgedet.graph.master import master_graph
from edgedet.graph.metadata import Provenance, with_provenance
from edgedet.graph.nms import with_nms
from edgedet.graph.source import find_model
from edgedet.graph.targets import lower
from edgedet.models.detector import Detector
from edgedet.ops.diou_nms import DIoUNMS
from edgedet.quant.calibrate import fit_to_noise

MODEL, SIDE = "shufflenetv2_0.5x", 64
CLASSES = ("disc", "triangle", "square")
"""Of the generated datasets."""

OF_CHECKPOINT, OF_IMAGES = {"checkpoint_sha256": "a" * 64}, {"calibration_sha256": "c" * 64}
LOWEST_SCORE = 0.001
"""So that random weights find something."""


def write_models(folder: Path) -> Path:
    """Writes `float.onnx`, `free.onnx` (of a free batch), `int8.onnx` and `int8-nms.onnx`, with random weights.

    All of one export, which takes longer than what is made of it.
    """
    detector, spec = find_model(MODEL, classes=len(CLASSES), size=(SIDE, SIDE))
    assert isinstance(detector, Detector)
    spec = spec.with_postprocess(score_threshold=LOWEST_SCORE, max_detections=20)
    spec = spec.model_copy(update={"class_names": CLASSES})
    quantized = master_graph(fit_to_noise(detector, spec.preprocess), spec, batch=1, dynamic_batch=True)
    of_float, of_int8 = (Provenance(target="master", **digests) for digests in (OF_CHECKPOINT, OF_IMAGES))
    free = with_provenance(lower(quantized, "fp32"), of_float)
    master = with_provenance(_of_one_image(quantized), of_int8)
    graphs = {
        "free": free,
        "float": _of_one_image(free),
        "int8": master,
        "int8-nms": with_nms(master, DIoUNMS(**spec.postprocess.model_dump())),
    }
    for name, graph in graphs.items():
        (folder / f"{name}.onnx").write_bytes(graph.SerializeToString())
    return folder


def _of_one_image(model: ModelProto) -> ModelProto:
    """With a fixed batch of 1."""
    result = ModelProto()
    result.CopyFrom(model)
    del result.graph.value_info[:]
    for value in (*result.graph.input, *result.graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_value = 1
    return result


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    print(write_models(folder))
