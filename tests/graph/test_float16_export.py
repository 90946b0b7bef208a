"""Files in float16: what they say of themselves, and what becomes of float checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch
from small_float import checkpoint_in, float_detector
from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.errors import EdgedetError
from edgedet.graph.export import export_model, export_onnx
from edgedet.graph.metadata import read_metadata
from edgedet.graph.verify import FLOAT16_TOLERANCE, FLOAT_TOLERANCE, INT8_TOLERANCE
from edgedet.models.checkpoint import save_checkpoint
from edgedet.models.zoo import list_models
from edgedet.quant.calibrate import fit_to_noise
from edgedet.runtime.load import load_detector


def export(*args: object) -> str:
    result = CliRunner().invoke(app, ["export", *map(str, args)])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("target", ["fp16", pytest.param("fp32", marks=pytest.mark.slow)])
def test_a_float_checkpoint_needs_no_quantizers(tmp_path: Path, target: str) -> None:
    exported = export_model(str(checkpoint_in(tmp_path)), target=target)
    assert exported.path == tmp_path / f"best.{target}.onnx"
    assert (exported.quantized, exported.opset, exported.ir_version) == (False, 17, 8)
    assert exported.kept_float32 == (() if target == "fp16" else None)
    assert exported.agreement.tolerance == (FLOAT16_TOLERANCE if target == "fp16" else FLOAT_TOLERANCE)
    assert exported.agreement.images == 8
    types = {tensor.data_type for tensor in onnx.load(exported.path).graph.initializer if tensor.name.endswith(".bias")}
    assert types == {onnx.TensorProto.FLOAT16 if target == "fp16" else onnx.TensorProto.FLOAT}


@pytest.mark.parametrize("target", ["ort-cpu", "trt8", "trt10", "trt11"])
def test_int8_of_a_float_checkpoint_is_refused_with_what_there_is(tmp_path: Path, target: str) -> None:
    with pytest.raises(EdgedetError, match="nothing to lower") as caught:
        export_model(str(checkpoint_in(tmp_path)), target=target)
    assert "edgedet quantize" in str(caught.value.fix)
    assert "master, fp16, fp32" in str(caught.value.fix)
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]


@pytest.mark.parametrize("target", [pytest.param("fp16", marks=pytest.mark.slow), "trt11"])
def test_a_quantized_detector_with_a_free_batch(tmp_path: Path, target: str) -> None:
    detector, spec = float_detector()
    quantized = fit_to_noise(detector, spec.preprocess)
    exported = export_onnx(quantized, spec, tmp_path / "free.onnx", target=target, dynamic_batch=True)
    opset = 19 if target == "trt11" else 17
    model = onnx.load(exported.path)
    assert exported.to_dict()["opset"] == exported.opset == model.opset_import[0].version == opset
    assert exported.to_dict()["ir_version"] == model.ir_version
    assert exported.quantized == (target == "trt11")
    assert exported.agreement.tolerance == (INT8_TOLERANCE if target == "trt11" else FLOAT16_TOLERANCE)
    assert read_metadata(model)["batch"] == "1"
    loaded = load_detector(exported.path)
    assert loaded.spec == spec
    assert loaded.backend.inputs[0].shape == (None, 3, 64, 64)
    # ONNX Runtime's integer concatenation takes no float16 scales.
    assert loaded.backend.settings["keep_quantizers"] == ("1" if target == "trt11" else "0")


def test_nodes_that_float16_would_spoil_are_named(tmp_path: Path) -> None:
    """The values between two convolutions are a million times larger, which the second takes back."""
    detector, spec = float_detector()
    fire = detector.backbone.get_submodule("features.3")
    with torch.no_grad():
        for convolution, gain in (("squeeze", 1e6), ("expand1x1", 1e-6), ("expand3x3", 1e-6)):
            fire.get_submodule(convolution).weight *= gain
        fire.get_submodule("squeeze").bias *= 1e6
    save_checkpoint(tmp_path / "large.pt", detector, spec)
    printed = export(tmp_path / "large.pt", "--target", "fp16")
    assert "float16 for fp16" in printed
    path = "backbone.features.3"
    (kept,) = (line.split(": ")[1].split(", ") for line in printed.splitlines() if "near the ends of float16" in line)
    assert kept[:2] == [f"{path}.squeeze/Conv", f"{path}.squeeze_activation/Relu"]
    assert {f"{path}.expand1x1/Conv", f"{path}.expand3x3/Conv"} <= set(kept)


@pytest.mark.slow
def test_where_every_value_fits_that_is_said(tmp_path: Path) -> None:
    checkpoint = checkpoint_in(tmp_path)
    assert "no value or step is near the ends of float16" in export(checkpoint, "--target", "fp16")
    assert json.loads(export(checkpoint, "--target", "fp16", "--json"))["kept_float32"] == []
    assert json.loads(export(checkpoint, "--json"))["kept_float32"] is None


@pytest.mark.slow
@pytest.mark.parametrize("target", ["fp16", "trt11"])
@pytest.mark.parametrize("name", list_models())
def test_every_model(tmp_path: Path, name: str, target: str) -> None:
    exported = export_model(name, tmp_path / "model.onnx", target=target, classes=3, size=(64, 96), dynamic_batch=True)
    assert exported.kept_float32 == ()
    assert exported.agreement.box_error < 2
    assert exported.agreement.score_error < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu6", "leaky_relu", "hardswish", "swish", "mish"])
def test_every_activation(tmp_path: Path, activation: str) -> None:
    """Their sigmoids, in the middle of the network, are float16 as what they are part of."""
    exported = export_model(
        "squeezenet_1.1", tmp_path / "m.onnx", target="fp16", size=(64, 64), classes=2, activation=activation
    )
    assert exported.kept_float32 == ()
