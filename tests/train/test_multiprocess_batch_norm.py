"""BatchNorm over several processes: what one BatchNorm over their images together gives."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, distributed, nn

from edgedet.models.checkpoint import load_checkpoint, save_checkpoint
from edgedet.models.zoo import build_detector
from edgedet.spec import Preprocess, Spec
from edgedet.train.batch_norm import SynchronizedBatchNorm2d, synchronize_batch_norms

T = TypeVar("T")
CHANNELS = 3


def in_ranks(count: int, work: Callable[[int, distributed.ProcessGroup], T]) -> list[T]:
    """What `work` gives in each rank of a gloo group; the ranks are threads."""
    store = distributed.HashStore()

    def one(rank: int) -> T:
        return work(rank, distributed.ProcessGroupGloo(store, rank, count))

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@dataclass(frozen=True)
class Found:
    """What a norm makes of images, and the gradients of the sum of outputs times random numbers."""

    outputs: Tensor
    images_gradient: Tensor
    weight_gradient: Tensor
    bias_gradient: Tensor
    norm: nn.BatchNorm2d


def run(norm: nn.BatchNorm2d, images: Tensor, factors: Tensor) -> Found:
    images = images.clone().requires_grad_()
    outputs = norm(images)
    (outputs * factors).sum().backward()
    assert images.grad is not None and norm.weight.grad is not None and norm.bias.grad is not None
    return Found(outputs.detach(), images.grad, norm.weight.grad, norm.bias.grad, norm)


def run_in_ranks(norm: nn.BatchNorm2d, images: Sequence[Tensor], factors: Sequence[Tensor]) -> list[Found]:
    def work(rank: int, group: distributed.ProcessGroup) -> Found:
        return run(SynchronizedBatchNorm2d(copy.deepcopy(norm), group), images[rank], factors[rank])

    return in_ranks(len(images), work)


def random_norm(dtype: torch.dtype = torch.float64, momentum: float | None = 0.1) -> nn.BatchNorm2d:
    generator = torch.Generator().manual_seed(0)
    norm = nn.BatchNorm2d(CHANNELS, momentum=momentum, dtype=dtype)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.copy_(torch.rand(CHANNELS, generator=generator) + 0.5)
    return norm


def random_maps(batch: int, height: int, width: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, CHANNELS, height, width, generator=generator, dtype=torch.float64) * 2 + 1


@given(st.lists(st.integers(1, 3), min_size=2, max_size=3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=8)
def test_ranks_compute_what_one_batch_norm_makes_of_all_their_images(
    shares: list[int], height: int, width: int, seed: int
) -> None:
    images, factors = (random_maps(sum(shares), height, width, seed + more) for more in (0, 100))
    whole = run(random_norm(), images, factors)
    parts = run_in_ranks(random_norm(), images.split(shares), factors.split(shares))
    torch.testing.assert_close(torch.cat([part.outputs for part in parts]), whole.outputs)
    torch.testing.assert_close(torch.cat([part.images_gradient for part in parts]), whole.images_gradient)
    torch.testing.assert_close(sum(part.weight_gradient for part in parts), whole.weight_gradient)
    torch.testing.assert_close(sum(part.bias_gradient for part in parts), whole.bias_gradient)
    for part in parts:
        torch.testing.assert_close(part.norm.state_dict(), whole.norm.state_dict())


def test_one_value_a_rank_is_enough() -> None:
    images = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1).expand(2, CHANNELS, 1, 1)
    parts = run_in_ranks(nn.BatchNorm2d(CHANNELS, eps=0.0), images.split(1), torch.ones(2, CHANNELS, 1, 1).split(1))
    assert [part.outputs.flatten().tolist() for part in parts] == [[-1.0] * CHANNELS, [1.0] * CHANNELS]


def test_a_mean_far_from_0_costs_no_digits() -> None:
    images = random_maps(4, 8, 8, seed=0) + 1000
    whole = run(random_norm(), images, torch.zeros_like(images))
    parts = run_in_ranks(random_norm(torch.float32), images.float().split(2), torch.zeros(4, CHANNELS, 8, 8).split(2))
    outputs = torch.cat([part.outputs for part in parts])
    torch.testing.assert_close(outputs.double(), whole.outputs, atol=5e-4, rtol=0)


def test_half_precision_maps_have_statistics_of_single_precision() -> None:
    images = random_maps(4, 4, 4, seed=0).bfloat16()
    ones = torch.ones(4, CHANNELS, 4, 4)
    whole = run(random_norm(torch.float32), images.float(), ones)
    for part, outputs in zip(
        run_in_ranks(random_norm(torch.float32), images.split(2), ones.split(2)), whole.outputs.split(2), strict=True
    ):
        assert part.outputs.dtype == torch.bfloat16
        torch.testing.assert_close(part.outputs, outputs.bfloat16(), atol=0.02, rtol=0.01)
        torch.testing.assert_close(part.norm.state_dict(), whole.norm.state_dict())


def test_without_a_momentum_the_statistics_are_a_plain_mean_over_batches() -> None:
    batches = [random_maps(4, 2, 2, seed) for seed in range(3)]
    expected = random_norm(momentum=None)
    for images in batches:
        expected(images)

    def work(rank: int, group: distributed.ProcessGroup) -> nn.BatchNorm2d:
        norm = SynchronizedBatchNorm2d(random_norm(momentum=None), group)
        for images in batches:
            norm(images.chunk(2)[rank])
        return norm

    for norm in in_ranks(2, work):
        torch.testing.assert_close(norm.state_dict(), expected.state_dict())


def test_memory_stays_channels_last() -> None:
    images = random_maps(4, 5, 6, seed=0).contiguous(memory_format=torch.channels_last)
    for part in run_in_ranks(random_norm(), images.split(2), images.split(2)):
        assert part.outputs.is_contiguous(memory_format=torch.channels_last)


def test_in_eval_mode_it_is_a_plain_batch_norm_of_no_group() -> None:
    norm = random_norm().eval()
    images = random_maps(2, 3, 3, seed=0)
    synchronized = SynchronizedBatchNorm2d(norm)
    assert not synchronized.training
    assert torch.equal(synchronized(images), norm(images))


def test_a_checkpoint_does_not_tell_how_many_processes_wrote_it(tmp_path: Path) -> None:
    spec = Spec(
        model="shufflenetv2_0.5x",
        class_names=("a", "b"),
        strides=(8, 16, 32, 64),
        preprocess=Preprocess(height=64, width=64),
    )
    detector = build_detector("shufflenetv2_0.5x", 2)
    before = copy.deepcopy(detector.state_dict())
    parameters = list(detector.parameters())
    synchronize_batch_norms(detector)
    norms = [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and all(isinstance(norm, SynchronizedBatchNorm2d) for norm in norms)
    assert all(old is new for old, new in zip(parameters, detector.parameters(), strict=True)), "an optimizer has them"
    save_checkpoint(tmp_path / "last.pt", detector, spec)
    loaded = load_checkpoint(tmp_path / "last.pt").float_detector
    assert {type(norm) for norm in loaded.modules() if isinstance(norm, nn.BatchNorm2d)} == {nn.BatchNorm2d}
    torch.testing.assert_close(loaded.state_dict(), before, rtol=0, atol=0)


def test_a_training_step_without_other_processes_is_an_error_not_a_wrong_result() -> None:
    with pytest.raises(ValueError, match="process group"):
        SynchronizedBatchNorm2d(random_norm())(random_maps(2, 2, 2, seed=0))
