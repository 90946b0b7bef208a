from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import fx, nn

from edgedet.errors import EdgedetError
from edgedet.models.dropblock import DropBlock, seed_probability


def dropped_by(layer: DropBlock, *shape: int) -> np.ndarray:
    """Which cells a layer in training sets to 0, bool of this shape."""
    torch.manual_seed(0)
    return (layer.train()(torch.ones(shape)) == 0).numpy()


class TestSeedProbability:
    @pytest.mark.parametrize(
        ("side", "block", "gamma"),
        [(40, 7, 0.00282466), (20, 7, 0.00416493), (14, 7, 0.00625), (10, 7, 0.0127551), (5, 5, 0.1)],
    )
    def test_known_values(self, side: int, block: int, gamma: float) -> None:
        assert seed_probability(side, side, block, 0.1) == pytest.approx(gamma, rel=2e-6)

    def test_blocks_of_one_cell_are_dropout(self) -> None:
        assert seed_probability(13, 5, 1, 0.3) == pytest.approx(0.3)

    def test_the_expected_area_of_all_blocks_is_the_share_of_the_map(self) -> None:
        for height, width, block in ((9, 30, 4), (7, 8, 7), (12, 12, 5)):
            places = (height - block + 1) * (width - block + 1)
            area = places * seed_probability(height, width, block, 0.2) * block**2
            assert area == pytest.approx(0.2 * height * width)


class TestMask:
    @pytest.mark.parametrize(("height", "width", "block"), [(6, 9, 3), (7, 7, 4), (9, 5, 2), (4, 6, 5), (3, 3, 7)])
    def test_each_cell_is_dropped_as_often_as_a_block_covers_it(self, height: int, width: int, block: int) -> None:
        drop, maps = 0.2, 20_000
        rates = dropped_by(DropBlock(block, drop), maps // 4, 4, height, width).mean(axis=(0, 1))
        side = min(block, height, width)
        covering = np.zeros((height, width))
        for y in range(height - side + 1):
            for x in range(width - side + 1):
                covering[y : y + side, x : x + side] += 1
        gamma = drop * height * width / side**2 / ((height - side + 1) * (width - side + 1))
        expected = 1 - (1 - gamma) ** covering
        deviations = np.sqrt(expected * (1 - expected) / maps)
        assert (np.abs(rates - expected) < 5 * deviations).all()

    @pytest.mark.parametrize("block", [1, 2, 3, 4, 7])
    def test_what_is_dropped_is_made_of_whole_blocks_within_the_map(self, block: int) -> None:
        masks = dropped_by(DropBlock(block, 0.3), 4, 5, 11, 9).reshape(-1, 11, 9)
        assert masks.any() and not masks.all()
        for mask in masks:
            covered = np.zeros_like(mask)
            for y in range(11 - block + 1):
                for x in range(9 - block + 1):
                    if mask[y : y + block, x : x + block].all():
                        covered[y : y + block, x : x + block] = True
            np.testing.assert_array_equal(covered, mask)

    def test_each_channel_of_each_image_has_its_own(self) -> None:
        masks = dropped_by(DropBlock(3, 0.3), 3, 4, 20, 20).reshape(12, -1)
        assert len({mask.tobytes() for mask in masks}) == 12

    def test_it_is_drawn_from_pytorchs_global_generator(self) -> None:
        layer, ones = DropBlock(3, 0.3), torch.ones(2, 3, 20, 20)
        torch.manual_seed(5)
        first, second = layer(ones), layer(ones)
        torch.manual_seed(5)
        assert torch.equal(layer(ones), first)
        assert not torch.equal(first, second)


class TestValues:
    def test_the_rest_is_scaled_up_by_what_is_missing(self) -> None:
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(1)
        x = torch.rand(2, 3, 16, 16, generator=generator, dtype=torch.float64) + 1
        result = DropBlock(5, 0.2)(x)
        kept = result != 0
        assert not kept.all()
        torch.testing.assert_close(result[kept], x[kept] * kept.numel() / kept.sum())

    def test_the_mean_of_a_flat_map_stays(self) -> None:
        torch.manual_seed(0)
        assert DropBlock(5, 0.2)(torch.full((2, 3, 16, 16), 0.7)).mean().item() == pytest.approx(0.7)

    def test_half_precision_counts_more_cells_than_it_can_hold(self) -> None:
        torch.manual_seed(0)
        result = DropBlock(7, 0.1)(torch.ones(1, 8, 100, 100, dtype=torch.float16))
        assert result.dtype == torch.float16
        assert result.float().mean().item() == pytest.approx(1, abs=1e-3)

    def test_gradients_flow_through_the_kept_cells_alone(self) -> None:
        torch.manual_seed(0)
        x = torch.ones(1, 2, 12, 12, requires_grad=True)
        result = DropBlock(3, 0.3)(x)
        result.sum().backward()
        assert x.grad is not None
        torch.testing.assert_close(x.grad, result.detach())

    def test_a_map_that_is_dropped_whole_gives_zeros(self) -> None:
        assert dropped_by(DropBlock(7, 0.999), 1, 1, 3, 3).all()


class TestSchedule:
    def rate(self, layer: DropBlock) -> float:
        # A block covers the whole map: channels are dropped with the layer's probability.
        return float(dropped_by(layer, 100, 100, 3, 3).mean())

    def test_the_probability_grows_linearly(self) -> None:
        layer = DropBlock(7, 0.4)
        assert self.rate(layer) == pytest.approx(0.4, abs=0.025)
        for share in (0.25, 0.5, 1.0):
            layer.set_progress(share)
            assert self.rate(layer) == pytest.approx(0.4 * share, abs=0.025)

    def test_at_the_start_nothing_is_dropped(self) -> None:
        layer, x = DropBlock(3, 0.4), torch.ones(1, 1, 8, 8)
        layer.set_progress(0.0)
        assert layer(x) is x


class TestInference:
    def test_in_eval_mode_the_input_comes_back(self) -> None:
        x = torch.ones(1, 2, 8, 8)
        assert DropBlock(3, 0.4).eval()(x) is x
        assert DropBlock(3, 0.0)(x) is x

    def test_nothing_of_it_is_in_a_traced_graph(self) -> None:
        network = nn.Sequential(nn.Conv2d(3, 4, 1), DropBlock(), nn.ReLU()).eval()
        assert [str(node.target) for node in fx.symbolic_trace(network).graph.nodes] == ["input", "0", "2", "output"]

    def test_it_adds_nothing_to_a_checkpoint(self) -> None:
        assert DropBlock().state_dict() == {}


@pytest.mark.parametrize(
    ("block", "drop", "what"),
    [
        (0, 0.1, "block of 0 cells"),
        (-3, 0.1, "block of -3 cells"),
        (7, 1.0, "drop probability of 1.0"),
        (7, -0.1, "-0.1"),
    ],
)
def test_numbers_out_of_range_are_refused(block: int, drop: float, what: str) -> None:
    with pytest.raises(EdgedetError, match=what):
        DropBlock(block, drop)
