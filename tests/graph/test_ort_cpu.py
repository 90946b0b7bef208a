"""The graph for ONNX Runtime: which quantizers it has, and that all of its convolutions run as integer kernels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from int8_masters import FAMILIES, SIDE, activation_quantizers, constants, master_of
from onnx import ModelProto, TensorProto

from edgedet.errors import CheckFailedError, EdgedetError
from edgedet.graph.checks import CHECKS
from edgedet.graph.export import export_model, export_onnx, master_graph
from edgedet.graph.integer_kernels import IntegerKernels, integer_kernels, require_integer_kernels
from edgedet.graph.lowerings.ort_cpu import lower_for_ort_cpu
from edgedet.graph.source import find_model
from edgedet.graph.targets import lower
from edgedet.graph.verify import FLOAT_TOLERANCE
from edgedet.models.checkpoint import save_checkpoint
from edgedet.models.detector import Detector
from edgedet.models.quantized.detector import QuantizedDetector
from edgedet.models.quantized.recipe import Recipe
from edgedet.quant.calibrate import fit_to_noise, observe, quantize
from edgedet.spec import Spec


@pytest.fixture(params=FAMILIES)
def master(request: pytest.FixtureRequest) -> ModelProto:
    return master_of(request.param)


def outputs(model: ModelProto, images: np.ndarray, optimized: Path | None = None) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["boxes", "scores"], {"images": images})


def test_the_master_is_sound_and_stays_as_it_is(master: ModelProto) -> None:
    _, spec = find_model(str(master.graph.name), classes=3, size=(SIDE, SIDE))
    assert [fault for check in CHECKS.values() for fault in check(master, spec, 1)] == []
    before = master.SerializeToString()
    lower_for_ort_cpu(master)
    assert master.SerializeToString() == before


def test_in_the_master_every_weight_and_edge_is_symmetric(master: ModelProto) -> None:
    known = constants(master)
    for node in master.graph.node:
        if node.op_type == "QuantizeLinear":
            zero_point = known[node.input[2]]
            assert zero_point.dtype == np.int8 and not zero_point.any()
    convolutions = [node for node in master.graph.node if node.op_type == "Conv"]
    dequantized = {node.output[0] for node in master.graph.node if node.op_type == "DequantizeLinear"}
    for conv in convolutions:
        assert conv.input[0] in dequantized, "every convolution reads rounded values, those of the logits too"
        assert conv.input[1] in dequantized, "and so are its weights"


def test_no_quantizer_is_added_and_none_is_coarser(master: ModelProto) -> None:
    lowered = lower_for_ort_cpu(master)
    before, after = activation_quantizers(master), activation_quantizers(lowered)
    assert set(after) <= set(before)
    old, new = constants(master), constants(lowered)
    for name, node in after.items():
        step, new_step = float(old[before[name].input[1]]), float(new[node.input[1]])
        zero_point = new[node.input[2]]
        assert zero_point.dtype == np.uint8
        assert new_step <= step
        # The ends of the range: the same above; below, zero where nothing is negative, else the same too.
        assert (255 - int(zero_point)) * new_step == pytest.approx(127 * step, rel=1e-6)
        assert -int(zero_point) * new_step == pytest.approx(0 if zero_point == 0 else -128 * step, rel=1e-6)


def test_weights_and_biases_are_integers(master: ModelProto) -> None:
    lowered = lower_for_ort_cpu(master)
    onnx.checker.check_model(lowered, full_check=True)
    known, made_by = constants(lowered), {node.output[0]: node for node in lowered.graph.node}
    for product in [node for node in lowered.graph.node if node.op_type in ("Conv", "Gemm")]:
        weight, bias = (known[made_by[name].input[0]] for name in product.input[1:])
        assert (weight.dtype, bias.dtype) == (np.int8, np.int32)
        dequantizers = [made_by[name] for name in product.input]
        while dequantizers[0].op_type != "DequantizeLinear":
            dequantizers[0] = made_by[dequantizers[0].input[0]]
        steps = [known[node.input[1]] for node in dequantizers]
        np.testing.assert_allclose(steps[2], steps[0] * steps[1], rtol=1e-6)


def test_activations_vanish_into_quantizers(master: ModelProto) -> None:
    lowered = lower_for_ort_cpu(master)
    kinds = Counter(node.op_type for node in lowered.graph.node)
    assert kinds["Relu"] == 0
    assert kinds["Clip"] == 0
    assert Counter(node.op_type for node in master.graph.node)[("Clip" if "mobile" in master.graph.name else "Relu")]


def test_every_family_is_rearranged(master: ModelProto) -> None:
    """The first convolution gives two pixels at once, and upsampling is tiling; see test_rearranging.py.

    The logits are products of matrices, boxes and scores of each level, which nothing turns or slices; see
    test_row_products.py.
    """
    lowered = lower_for_ort_cpu(master)
    kinds = Counter(node.op_type for node in lowered.graph.node)
    assert (kinds["Tile"], kinds["Resize"]) == (2, 0)
    assert (kinds["Gemm"], kinds["Slice"]) == (8, 0)
    stem = next(node for node in lowered.graph.node if node.op_type == "Conv")
    assert {one.name: list(one.ints) for one in stem.attribute}["strides"] == [2, 1]


def test_every_quantized_convolution_runs_as_an_integer_kernel(master: ModelProto, tmp_path: Path) -> None:
    lowered = lower_for_ort_cpu(master)
    images = np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    outputs(lowered, images, tmp_path / "optimized.onnx")
    optimized = onnx.load(tmp_path / "optimized.onnx")
    kinds = Counter(node.op_type for node in optimized.graph.node)
    convolutions = [node.name for node in master.graph.node if node.op_type == "Conv"]
    logits = [name for name in convolutions if name.startswith("head.outputs")]
    assert kinds["QLinearConv"] == len(convolutions) - len(logits)
    assert kinds["QGemm"] == 2 * len(logits) == 8
    assert not {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul"} & kinds.keys()
    assert kinds["QuantizeLinear"] == 1, "of the images; nothing else goes from float to integer"


def test_it_computes_what_the_master_does(master: ModelProto) -> None:
    images = np.random.default_rng(1).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    (boxes, scores), (expected_boxes, expected_scores) = (
        outputs(model, images) for model in (lower_for_ort_cpu(master), master)
    )
    assert expected_scores.std() > 0
    assert np.quantile(np.abs(boxes - expected_boxes), 0.999) < 2
    assert np.quantile(np.abs(scores - expected_scores), 0.999) < 0.02


def test_a_float_master_stays_float() -> None:
    detector, spec = find_model("squeezenet_1.1", classes=3, size=(SIDE, SIDE))
    master = master_graph(detector, spec, batch=1, dynamic_batch=False)
    kinds = [Counter(node.op_type for node in model.graph.node) for model in (master, lower_for_ort_cpu(master))]
    assert kinds[0] == kinds[1]


def test_convolutions_that_would_run_in_float_are_refused() -> None:
    """As TensorRT's placement does: without a quantizer of its own a convolution's result is float."""
    lowered = lower_for_ort_cpu(master_of("mobilenetv2_0.35"))
    whole = integer_kernels(lowered)
    assert whole.integer == whole.quantized
    conv = next(node for node in lowered.graph.node if node.name == "backbone.features.5.conv.2/Conv")
    (quantizer,) = (node for node in lowered.graph.node if conv.output[0] in node.input)
    (dequantizer,) = (node for node in lowered.graph.node if quantizer.output[0] in node.input)
    for node in lowered.graph.node:
        node.input[:] = [conv.output[0] if name == dequantizer.output[0] else name for name in node.input]
    lowered.graph.node.remove(quantizer)
    lowered.graph.node.remove(dequantizer)
    broken = integer_kernels(lowered)
    assert broken.quantized == whole.quantized
    assert broken.integer < whole.integer
    with pytest.raises(CheckFailedError, match=f"only {broken.integer} of {broken.quantized}"):
        require_integer_kernels(broken)


def test_a_convolution_whose_result_stays_float_keeps_its_weights(tmp_path: Path) -> None:
    detector, spec = find_model("squeezenet_1.1", classes=3, size=(SIDE, SIDE))
    assert isinstance(detector, Detector)
    images = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    recipe = Recipe(keep_float=("backbone.features.6.squeeze_activation",))
    quantized = quantize(detector, observe(detector, lambda: [(images, "noise")]), method="max", recipe=recipe)
    lowered = lower_for_ort_cpu(master_graph(quantized, spec, batch=1, dynamic_batch=False))
    expected = detector.state_dict()["backbone.features.6.squeeze.weight"].numpy()
    np.testing.assert_array_equal(constants(lowered)["backbone.features.6.squeeze.weight"], expected)
    export = export_onnx(quantized, spec, tmp_path / "q.onnx", target="ort-cpu")
    # Of 60 and 8 products for the logits, the one that gives the edge and the two that read it are float.
    assert export.kernels == IntegerKernels(quantized=65, integer=65, other=3)


def lowered_and_master(detector: Detector, spec: Spec) -> tuple[ModelProto, ModelProto]:
    quantized = fit_to_noise(detector, spec.preprocess)
    master = master_graph(quantized, spec, batch=1, dynamic_batch=False)
    return lower_for_ort_cpu(master), master


def test_biases_of_channels_without_weights_fit_their_grids() -> None:
    """Training switches channels off: what is left of them is the bias, on a grid that their weights made tiny."""
    detector, spec = find_model("mobilenetv2_0.35", classes=3, size=(SIDE, SIDE))
    assert isinstance(detector, Detector)
    with torch.no_grad():
        for module in detector.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight[::4] = 1e-6
                module.bias[::4] = 1.5
    lowered, master = lowered_and_master(detector, spec)
    codes = [array for name, array in constants(lowered).items() if name.endswith("/bias/integers")]
    assert codes and all(np.abs(array).max() <= 2**30 + 2**8 for array in codes)
    images = np.random.default_rng(1).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    for found, expected, tolerance in zip(outputs(lowered, images), outputs(master, images), (1.0, 0.01), strict=True):
        assert np.quantile(np.abs(found - expected), 0.999) < tolerance


def test_convolutions_with_equal_biases_keep_their_own_grids() -> None:
    detector, spec = find_model("squeezenet_1.1", classes=3, size=(SIDE, SIDE))
    assert isinstance(detector, Detector)
    with torch.no_grad():
        for module in detector.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.bias.fill_(0.1)
                assert module.running_mean is not None
                module.running_mean.zero_()
    lowered, _ = lowered_and_master(detector, spec)
    onnx.checker.check_model(lowered, full_check=True)
    assert integer_kernels(lowered) == IntegerKernels(quantized=68, integer=68, other=0)


def test_the_float_file_of_a_badly_quantized_detector_is_held_to_the_float_one(tmp_path: Path) -> None:
    detector, spec = find_model("squeezenet_1.1", classes=3, size=(SIDE, SIDE))
    assert isinstance(detector, Detector)
    quantized = fit_to_noise(detector, spec.preprocess)
    with torch.no_grad():
        for quantizer in quantized.quantizers().values():
            quantizer.scale *= 0.05
    export = export_onnx(quantized, spec, tmp_path / "float.onnx", target="fp32")
    assert not export.quantized
    assert export.agreement.tolerance == FLOAT_TOLERANCE


@pytest.mark.parametrize("activation", ["leaky_relu", "mish", "hardswish", "swish"])
def test_convolutions_before_any_activation_run_as_integers(tmp_path: Path, activation: str) -> None:
    path = tmp_path / "q.onnx"
    export = export_model("squeezenet_1.1", path, target="ort-cpu", size=(SIDE, SIDE), activation=activation)
    assert export.kernels is not None
    assert export.kernels.integer == export.kernels.quantized == 68


def test_a_file_without_any_integer_convolution_is_refused(tmp_path: Path) -> None:
    detector, spec = find_model("squeezenet_1.1", classes=3, size=(SIDE, SIDE))
    assert isinstance(detector, Detector)
    every = tuple(edge.name for edge in QuantizedDetector(detector, Recipe()).edges)
    quantized = QuantizedDetector(detector, Recipe(keep_float=every)).eval()
    with pytest.raises(CheckFailedError, match="no convolution of the graph"):
        export_onnx(quantized, spec, tmp_path / "q.onnx", target="ort-cpu")
    assert list(tmp_path.iterdir()) == []


class TestExport:
    def test_a_model_by_name_says_that_its_grids_fit_noise(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        export = export_model("squeezenet_1.1", target="ort-cpu", classes=3, size=(SIDE, SIDE))
        assert export.path == Path("squeezenet_1.1.ort-cpu.onnx")
        assert (export.target, export.quantized, export.spec.random_weights) == ("ort-cpu", True, True)
        assert export.kernels is not None
        assert export.kernels.integer == export.kernels.quantized == 68
        assert export.kernels.other == 0
        types = {tensor.data_type for tensor in onnx.load(export.path).graph.initializer}
        assert TensorProto.INT8 in types

    def test_a_float_checkpoint_is_refused_with_the_way(self, tmp_path: Path) -> None:
        detector, spec = find_model("squeezenet_1.1", classes=3, size=(SIDE, SIDE))
        save_checkpoint(tmp_path / "best.pt", detector, spec.model_copy(update={"random_weights": False}))
        with pytest.raises(EdgedetError, match="nothing to lower") as caught:
            export_model(str(tmp_path / "best.pt"), target="ort-cpu")
        assert "edgedet quantize" in str(caught.value.fix)

    def test_an_unknown_target(self) -> None:
        with pytest.raises(EdgedetError, match="unknown target 'ort_cpu'") as caught:
            lower(master_of("squeezenet_1.1"), "ort_cpu")
        assert "did you mean 'ort-cpu'" in str(caught.value.fix)

    def test_a_quantized_detector_with_a_free_batch(self, tmp_path: Path) -> None:
        detector, spec = find_model("squeezenet_1.1", classes=3, size=(SIDE, SIDE))
        assert isinstance(detector, Detector)
        quantized = fit_to_noise(detector, spec.preprocess)
        export = export_onnx(quantized, spec, tmp_path / "q.onnx", target="ort-cpu", dynamic_batch=True)
        assert export.batch is None
        assert export.agreement.score_error < 0.1
