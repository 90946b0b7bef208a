"""Detectors and TensorRTs that the tests of engines share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from onnx import ModelProto
from tensorrt_double.environment import VERSIONS, TensorRT, tensorrt

from edgedet.graph.master import master_graph
from edgedet.graph.metadata import Provenance, with_provenance
from edgedet.graph.nms import with_nms
from edgedet.graph.source import find_model
from edgedet.graph.targets import lower
from edgedet.models.detector import Detector
from edgedet.ops.diou_nms import DIoUNMS
from edgedet.quant.calibrate import fit_to_noise

MODEL, CLASSES, SIDE = "shufflenetv2_0.5x", 3, 64
OF_CHECKPOINT, OF_IMAGES = {"checkpoint_sha256": "a" * 64}, {"calibration_sha256": "c" * 64}
LOWEST_SCORE = 0.001
"""So that random weights find something."""


@pytest.fixture(scope="session", params=VERSIONS)
def trt(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TensorRT]:
    """Each version in turn."""
    with tensorrt(request.param, tmp_path_factory.mktemp("tensorrt")) as found:
        yield found


@pytest.fixture(scope="session")
def trt10(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TensorRT]:
    """JetPack 6's."""
    with tensorrt("10.3.0", tmp_path_factory.mktemp("tensorrt")) as found:
        yield found


@pytest.fixture(autouse=True)
def _fresh_records(request: pytest.FixtureRequest) -> None:
    for name in ("trt", "trt10"):
        if name in request.fixturenames:
            request.getfixturevalue(name).record.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`float.onnx`, `free.onnx` (of a free batch), `int8.onnx` and `int8-nms.onnx`: masters with random weights.

    All of one export, which takes longer than what is made of it.
    """
    folder = tmp_path_factory.mktemp("models")
    detector, spec = find_model(MODEL, classes=CLASSES, size=(SIDE, SIDE))
    assert isinstance(detector, Detector)
    spec = spec.with_postprocess(score_threshold=LOWEST_SCORE, max_detections=20)
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
