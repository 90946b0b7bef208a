from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper
from tiny_detector import TinyDetector, tiny_spec
from torch import Tensor, nn

from edgedet.errors import EdgedetError
from edgedet.graph.export import export_model, export_onnx
from edgedet.models.activations import SwishBeta, activation_names, make_activation
from edgedet.models.checkpoint import load_checkpoint, save_checkpoint
from edgedet.models.quantized.detector import QuantizedDetector
from edgedet.models.quantized.recipe import Recipe
from edgedet.models.zoo import build_detector
from edgedet.spec import Preprocess, Spec

# Away from the places where ReLU, ReLU6, leaky ReLU and hard swish have a kink.
X = torch.tensor([-50.0, -7.0, -2.9, -1.3, -0.2, 0.1, 0.8, 2.7, 3.1, 5.9, 6.2, 50.0], dtype=torch.float64)


def swish_slope(x: Tensor, beta: float = 1.0) -> Tensor:
    sigmoid = 1 / (1 + (-beta * x).exp())
    return sigmoid + beta * x * sigmoid * (1 - sigmoid)


def mish_slope(x: Tensor) -> Tensor:
    softplus = (1 + x.exp()).log()
    return softplus.tanh() + x / softplus.cosh() ** 2 / (1 + (-x).exp())


SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: (x > 0).double(),
    "relu6": lambda x: ((x > 0) & (x < 6)).double(),
    "leaky_relu": lambda x: 0.1 + 0.9 * (x > 0).double(),
    "hardswish": lambda x: torch.where(x.abs() < 3, (2 * x + 3) / 6, (x > 0).double()),
    "swish": swish_slope,
    "swish_beta": swish_slope,
    "mish": mish_slope,
}


@pytest.mark.parametrize("name", activation_names())
def test_slopes_are_those_of_the_formulas(name: str) -> None:
    x = X.clone().requires_grad_()
    # A copy, because some work in place.
    make_activation(name).double()(x.clone()).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, SLOPES[name](X), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", activation_names())
def test_slopes_are_those_of_finite_differences(name: str) -> None:
    activation = make_activation(name).double()
    assert torch.autograd.gradcheck(lambda x: activation(x.clone()), (X.clone().requires_grad_(),))


@pytest.mark.parametrize("name", activation_names())
def test_extreme_inputs_give_finite_values_and_slopes(name: str) -> None:
    x = torch.tensor([-1e30, -1e4, -200.0, 0.0, 200.0, 1e4, 1e30], requires_grad=True)
    values = make_activation(name)(x.clone())
    values.sum().backward()
    assert values.isfinite().all()
    assert x.grad is not None and x.grad.isfinite().all()


class TestSwishBeta:
    def test_it_starts_as_swish(self) -> None:
        torch.testing.assert_close(SwishBeta()(X), nn.SiLU()(X))

    def test_its_one_scalar_bends_it_from_a_line_to_relu(self) -> None:
        activation = SwishBeta().double()
        (beta,) = activation.parameters()
        assert beta.shape == ()
        for value, expected in ((0.0, X / 2), (1e4, X.relu())):
            nn.init.constant_(beta, value)
            torch.testing.assert_close(activation(X), expected)

    def test_gradients_of_input_and_beta_are_those_of_the_formulas(self) -> None:
        activation, x = SwishBeta().double(), X.clone().requires_grad_()
        nn.init.constant_(activation.beta, 1.7)
        activation(x).sum().backward()
        sigmoid = 1 / (1 + (-1.7 * X).exp())
        assert x.grad is not None and activation.beta.grad is not None
        torch.testing.assert_close(x.grad, swish_slope(X, 1.7), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(activation.beta.grad, (X**2 * sigmoid * (1 - sigmoid)).sum())

    def test_every_layer_learns_its_own(self) -> None:
        torch.manual_seed(0)
        detector = build_detector("squeezenet_1.1", 1, activation="swish_beta")
        betas = [layer.beta for layer in detector.modules() if isinstance(layer, SwishBeta)]
        assert len(betas) > 20
        assert len({id(beta) for beta in betas}) == len(betas)
        detector(torch.randn(2, 3, 64, 64)).square().mean().backward()
        assert all(beta.grad is not None and beta.grad.isfinite() and beta.grad != 0 for beta in betas)

    def test_a_checkpoint_keeps_it(self, tmp_path: Path) -> None:
        detector = build_detector("shufflenetv2_0.5x", 1, activation="swish_beta")
        spec = Spec(
            model="shufflenetv2_0.5x",
            class_names=("a",),
            strides=detector.strides,
            preprocess=Preprocess(height=64, width=64),
        )
        betas = [layer.beta for layer in detector.modules() if isinstance(layer, SwishBeta)]
        for number, beta in enumerate(betas):
            nn.init.constant_(beta, 0.5 + number)
        save_checkpoint(tmp_path / "best.pt", detector, spec)
        loaded = load_checkpoint(tmp_path / "best.pt").detector
        again = [layer.beta.item() for layer in loaded.modules() if isinstance(layer, SwishBeta)]
        assert again == [0.5 + number for number in range(len(betas))]

    def test_a_detector_with_it_is_not_quantized(self) -> None:
        detector = build_detector("squeezenet_1.1", 1, activation="swish_beta").eval()
        with pytest.raises(EdgedetError, match="swish_beta cannot be quantized") as caught:
            QuantizedDetector(detector, Recipe())
        assert "relu" in str(caught.value.fix)

    @pytest.mark.slow
    def test_an_exported_graph_computes_with_the_learned_value(self, tmp_path: Path) -> None:
        detector = TinyDetector("swish_beta").eval()
        activation = detector.backbone[2]
        assert isinstance(activation, SwishBeta)
        nn.init.constant_(activation.beta, 0.6)
        exported = export_onnx(detector, tiny_spec(), tmp_path / "a.onnx")
        assert exported.agreement.box_error < 1e-3
        graph = onnx.load(exported.path).graph
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        (product,) = [node for node in graph.node if node.name == "backbone.2/Mul"]
        assert [constants[name] for name in product.input if name in constants] == [pytest.approx(0.6)]

    @pytest.mark.slow
    def test_a_detector_of_the_zoo_is_exported(self, tmp_path: Path) -> None:
        exported = export_model(
            "shufflenetv2_0.5x", tmp_path / "a.onnx", target="fp16", classes=2, size=(64, 64), activation="swish_beta"
        )
        assert exported.master_agreement.score_error < 1e-4
        assert exported.agreement.score_error < 1e-3
        assert exported.kept_float32 == ()
