from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgedet.models.blocks import ConvNormAct, SeparableConv, SqueezeExcitation
from edgedet.models.dropblock import DropBlock
from edgedet.models.necks.pan import PAN
from edgedet.models.necks.spp import SPP

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


class TestSqueezeExcitation:
    def test_a_channel_is_gated_by_the_means_of_all(self) -> None:
        block = SqueezeExcitation(8)
        squeeze, _, expand, _ = block.gates
        for layer in (squeeze, expand):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        squeeze.weight.data[0, 1] = 1.0  # the first squeezed channel is the mean of channel 1
        squeeze.weight.data[1, 1] = -1.0  # never above 0
        expand.weight.data[0, 0] = 1.5
        expand.weight.data[2, 0] = -6.0
        expand.weight.data[3, 1] = 6.0
        x = torch.rand(2, 8, 3, 5, generator=torch.Generator().manual_seed(0))
        means = x[:, 1].mean(dim=(1, 2))
        gates = torch.full((2, 8), 0.5)  # the hard sigmoid, clip(x / 6 + 1 / 2, 0, 1), at 0
        gates[:, 0] = 1.5 * means / 6 + 0.5
        gates[:, 2] = (-means + 0.5).clamp(0, 1)
        torch.testing.assert_close(block(x), x * gates[:, :, None, None])

    def test_gates_close_and_open_wholly(self) -> None:
        block = SqueezeExcitation(4)
        nn.init.zeros_(block.gates[2].weight)
        block.gates[2].bias.data = torch.tensor([-3.0, 3.0, -30.0, 30.0])
        x = torch.rand(1, 4, 2, 2)
        assert torch.equal(block(x), x * torch.tensor([0.0, 1.0, 0.0, 1.0])[:, None, None])

    def test_stands_between_the_depthwise_and_the_pointwise_convolution(self) -> None:
        depthwise, excitation, pointwise = SeparableConv(8, 16, "relu", se=True)
        assert isinstance(excitation, SqueezeExcitation)
        assert depthwise[0].groups == 8
        assert pointwise[0].kernel_size == (1, 1)


class TestSPP:
    @pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 7), (15, 16)])
    def test_merges_the_map_and_its_pools_of_5_9_and_13(self, height: int, width: int) -> None:
        x = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
        block = SPP(3, "relu").eval()
        seen: list[Tensor] = []
        block.merge.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        assert block(x).shape == x.shape
        pools = [functional.max_pool2d(x, side, stride=1, padding=side // 2) for side in (5, 9, 13)]
        assert torch.equal(seen[0], torch.cat([x, *pools], dim=1))

    def test_merges_by_one_pointwise_convolution(self) -> None:
        (conv,) = (layer for layer in SPP(8, "relu").modules() if isinstance(layer, nn.Conv2d))
        assert tuple(conv.weight.shape) == (8, 32, 1, 1)


class TestOptions:
    def test_pooling_belongs_to_the_coarsest_lateral_alone(self) -> None:
        plain, pooling = PAN(CHANNELS, 8, "relu"), PAN(CHANNELS, 8, "relu", spp=True)
        added = pooling.state_dict().keys() - plain.state_dict().keys()
        assert added and all(name.startswith("laterals.2.3.merge.") for name in added)
        assert [tuple(one.shape) for one in pooling(maps(64, 64))] == [tuple(one.shape) for one in plain(maps(64, 64))]

    def test_excitation_follows_each_sum(self) -> None:
        neck = PAN(CHANNELS, 8, "relu", se=True)
        found = [name for name, layer in neck.named_modules() if isinstance(layer, SqueezeExcitation)]
        assert found == ["top_down.0.1", "top_down.1.1", "bottom_up.0.1", "bottom_up.1.1"]

    def test_blocks_are_dropped_from_the_two_coarsest_maps_in_training_alone(self) -> None:
        torch.manual_seed(0)
        neck = PAN((5, 5, 5), 5, "relu", dropblock=0.5, dropblock_size=2)
        pass_through(neck)
        fine, middle, coarse = (one + 1 for one in maps(128, 128, (5, 5, 5)))
        laterals = [lateral(one) for lateral, one in zip(neck.laterals, (fine, middle, coarse), strict=True)]
        assert all(torch.equal(*pair) for pair in zip(laterals, (fine, middle, coarse), strict=True))
        dropping = [layer for layer in neck.modules() if isinstance(layer, DropBlock)]
        assert len(dropping) == 2
        for layer in dropping:
            layer.train()
        laterals = [lateral(one) for lateral, one in zip(neck.laterals, (fine, middle, coarse), strict=True)]
        assert torch.equal(laterals[0], fine)
        assert all((one == 0).any() and (one > 0).any() for one in laterals[1:])

    def test_dropping_blocks_leaves_every_weight_its_name(self) -> None:
        plain, dropping = PAN(CHANNELS, 8, "relu", spp=True), PAN(CHANNELS, 8, "relu", spp=True, dropblock=0.1)
        assert list(dropping.state_dict()) == list(plain.state_dict())


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
