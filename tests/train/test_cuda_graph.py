from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from edgedet.errors import EdgedetError
from edgedet.models.zoo import build_detector
from edgedet.train.config import TrainConfig
from edgedet.train.cuda_graph import record, require_recordable

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"multi_scale": 0.25}, "multi_scale"),
        ({"network": {"dropblock": 0.1}}, "network.dropblock"),
        ({"qat": {}}, "qat"),
        ({"devices": 2}, "devices"),
    ],
)
def test_what_changes_between_steps_is_refused(settings: dict[str, object], name: str) -> None:
    require_recordable(TrainConfig(data="x", **settings))  # type: ignore[arg-type]
    with pytest.raises(EdgedetError, match=rf"{name} would change"):
        require_recordable(TrainConfig(data="x", cuda_graph=True, **settings))  # type: ignore[arg-type]


def test_a_cpu_is_refused() -> None:
    with pytest.raises(EdgedetError, match="cpu has no CUDA graphs"):
        record(build_detector("shufflenetv2_0.5x", 2), TrainConfig(data="x", cuda_graph=True), torch.device("cpu"))


@NEEDS_GPU
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_steps_are_what_they_are_without_a_graph(precision: str) -> None:
    """Three steps: losses and BatchNorm's statistics, with the same order of the same kernels."""
    torch.manual_seed(0)
    device = torch.device("cuda")
    plain = build_detector("shufflenetv2_0.5x", 2).to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    recorded = copy.deepcopy(plain)
    config = TrainConfig.model_validate(
        {"data": "x", "cuda_graph": True, "batch": 4, "imgsz": 64, "precision": precision}
    )
    record(recorded, config, device)
    batches = torch.randn(3, 4, 3, 64, 64, device=device)
    losses, statistics = zip(*(steps(model, batches, precision) for model in (plain, recorded)), strict=True)
    tolerance = 1e-4 if precision == "32-true" else 2e-2
    torch.testing.assert_close(losses[1], losses[0], rtol=tolerance, atol=tolerance)
    assert losses[0][0] != losses[0][2]
    for name, value in statistics[0].items():
        torch.testing.assert_close(statistics[1][name], value, rtol=10 * tolerance, atol=10 * tolerance)


def steps(model: torch.nn.Module, batches: Tensor, precision: str) -> tuple[list[float], dict[str, Tensor]]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    dtype = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}[precision]
    losses = []
    for images in batches:
        with torch.autocast("cuda", dtype=dtype, enabled=dtype is not None):
            loss = model(images.contiguous(memory_format=torch.channels_last)).float().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {name: value.float() for name, value in model.state_dict().items() if "running" in name}
