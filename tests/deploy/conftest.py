"""The models and TensorRTs of `tests/engine`, and small masters that bundles are made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from engine.conftest import _fresh_records, images, models, pictures, trt10  # noqa: F401
from small_detector import small_detector

from edgedet.deploy import bundle, golden
from edgedet.graph.master import master_graph
from edgedet.graph.metadata import Provenance, with_provenance
from edgedet.graph.nms import with_nms
from edgedet.models.detector import STRIDES
from edgedet.ops.diou_nms import DIoUNMS
from edgedet.quant.calibrate import fit_to_noise
from edgedet.spec import Postprocess, Preprocess, Spec

NAMES = ("it's", 'a "quote"', "Straße\\n")
SPEC = Spec(
    model="small",
    class_names=NAMES,
    strides=STRIDES,
    preprocess=Preprocess(height=64, width=96),
    postprocess=Postprocess(score_threshold=0.001, max_detections=20),
)


@dataclass(frozen=True)
class Masters:
    """Masters of one detector with random weights: float, INT8, and INT8 with NMS inside."""

    float: Path
    int8: Path
    nms: Path


@pytest.fixture(scope="session")
def masters(tmp_path_factory: pytest.TempPathFactory) -> Masters:
    folder = tmp_path_factory.mktemp("masters")
    detector = small_detector("gfl", len(NAMES)).eval()
    for layer in detector.head.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.data *= 7  # or all scores would be the bias's
    provenance = Provenance(target="master", checkpoint_sha256="a" * 64, calibration_sha256="c" * 64)
    plain = with_provenance(master_graph(detector, SPEC, batch=1, dynamic_batch=False), provenance)
    quantized = fit_to_noise(detector, SPEC.preprocess)
    int8 = with_provenance(master_graph(quantized, SPEC, batch=1, dynamic_batch=False), provenance)
    graphs = {"float": plain, "int8": int8, "nms": with_nms(int8, DIoUNMS(**SPEC.postprocess.model_dump()))}
    for name, graph in graphs.items():
        (folder / f"{name}.onnx").write_bytes(graph.SerializeToString(deterministic=True))
    return Masters(*(folder / f"{name}.onnx" for name in graphs))


@pytest.fixture
def one_golden_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles with one golden image instead of ten: those take longer than all the rest."""
    few = {"same": golden.scene(64, 96, seed=7)}
    monkeypatch.setattr(bundle, "default_images", lambda size: few)
