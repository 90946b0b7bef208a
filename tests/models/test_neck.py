from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgedet.models.blocks import ConvNormAct, SeparableConv
from edgedet.models.necks.pan import PAN

CHANNELS = (4, 6, 10)


def maps(height: int, width: int, channels: tuple[int, ...] = CHANNELS, batch: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.rand(batch, c, height // stride, width // stride, generator=generator)
        for c, stride in zip(channels, (8, 16, 32), strict=True)
    ]


def pass_through(module: nn.Module) -> None:
    """Makes every convolution hand on the value at its centre, channel by channel (values above 0 stay as they are)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
            centre = layer.kernel_size[0] // 2
            for channel in range(layer.out_channels):
                layer.weight.data[channel, 0 if layer.groups > 1 else channel, centre, centre] = 1
        elif isinstance(layer, nn.BatchNorm2d):
            layer.eps = 0.0
    module.eval()


def twice_as_large(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


class TestBlocks:
    @pytest.mark.parametrize("kernel", [1, 3, 5])
    @pytest.mark.parametrize("stride", [1, 2])
    def test_convolution_keeps_or_halves_the_side_rounding_up(self, kernel: int, stride: int) -> None:
        block = ConvNormAct(3, 8, kernel, "relu", stride=stride)
        assert block(torch.rand(2, 3, 7, 10)).shape == (2, 8, *((7, 10) if stride == 1 else (4, 5)))
        assert block[0].bias is None

    def test_the_activation_comes_last(self) -> None:
        block = ConvNormAct(3, 4, 1, "relu6").eval()
        block[1].bias.data = torch.tensor([-100.0, 0.5, 3.0, 100.0])
        block[0].weight.data.zero_()
        assert block(torch.rand(1, 3, 2, 2))[0, :, 0, 0].tolist() == [0.0, 0.5, 3.0, 6.0]

    def test_separable_convolution_is_a_depthwise_and_a_pointwise_one(self) -> None:
        convolutions = [layer for layer in SeparableConv(6, 10, "relu").modules() if isinstance(layer, nn.Conv2d)]
        assert [tuple(layer.weight.shape) for layer in convolutions] == [(6, 1, 3, 3), (10, 6, 1, 1)]
        assert [layer.groups for layer in convolutions] == [6, 1]


class TestPAN:
    @pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96), (320, 320), (352, 416)])
    def test_adds_a_level_at_stride_64_rounded_up(self, height: int, width: int) -> None:
        outputs = PAN(CHANNELS, 8, "relu")(maps(height, width))
        expected = [(2, 8, -(-height // stride), -(-width // stride)) for stride in (8, 16, 32, 64)]
        assert [tuple(output.shape) for output in outputs] == expected

    def test_sums_down_then_up(self) -> None:
        neck = PAN((5, 5, 5), 5, "relu")
        pass_through(neck)
        fine, middle, coarse = maps(64, 96, (5, 5, 5))
        middle_down = middle + twice_as_large(coarse)
        first = fine + twice_as_large(middle_down)
        second = middle_down + first[..., ::2, ::2]
        third = coarse + second[..., ::2, ::2]
        outputs = neck([fine, middle, coarse])
        for output, expected in zip(outputs, (first, second, third, third[..., ::2, ::2]), strict=True):
            torch.testing.assert_close(output, expected)

    def test_every_output_depends_on_every_input(self) -> None:
        torch.manual_seed(0)
        neck = PAN(CHANNELS, 8, "swish")
        inputs = [feature.requires_grad_() for feature in maps(64, 64)]
        for output in neck(inputs):
            gradients = torch.autograd.grad(output.square().sum(), inputs, retain_graph=True)
            assert all(gradient.abs().sum() > 0 for gradient in gradients)

    def test_takes_one_map_for_each_lateral(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            PAN(CHANNELS, 8, "relu")(maps(64, 64)[:2])

    def test_its_inputs_stay_as_they_were(self) -> None:
        inputs = maps(64, 64)
        before = [feature.clone() for feature in inputs]
        PAN(CHANNELS, 8, "relu")(inputs)
        assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True))

    def test_is_made_of_pointwise_and_depthwise_3x3_convolutions(self) -> None:
        for layer in PAN(CHANNELS, 8, "relu").modules():
            if isinstance(layer, nn.Conv2d):
                depthwise = layer.kernel_size == (3, 3) and layer.groups == layer.in_channels
                assert depthwise or (layer.kernel_size == (1, 1) and layer.groups == 1)
