from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgedet.data.sample import Sample
from edgedet.errors import EdgedetError
from edgedet.train.config import OptimizerConfig
from edgedet.train.optimizer import make_optimizer
from edgedet.train.state import Progress, capture, data_fingerprint, restore

Parts = tuple[nn.Module, torch.optim.Optimizer]


def parts(seed: int, name: str = "adamw", channels: int = 4) -> Parts:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels), nn.Conv2d(channels, 1, 1))
    return model, make_optimizer(model, OptimizerConfig(name=name, lr=0.01))  # type: ignore[arg-type]


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, seeds: range) -> None:
    model.train()
    for seed in seeds:
        images = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        model(images).square().sum().backward()
        optimizer.step()


def through_a_file(state: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


class TestRestore:
    @pytest.mark.parametrize("name", ["adamw", "sgd"])
    def test_going_on_is_bit_for_bit_like_never_having_stopped(self, name: str) -> None:
        model, optimizer = parts(0, name)
        steps(model, optimizer, range(3))
        progress = Progress(step=3, best_map=0.25, loss_sums={"loss": 1.5}, seconds=2.0)
        state = through_a_file(capture(progress, model, optimizer, {"scale": 2.0}, "data"))
        steps(model, optimizer, range(3, 6))

        again, again_optimizer = parts(1, name)
        assert restore(state, again, again_optimizer, "data", where="x") == (progress, {"scale": 2.0})
        steps(again, again_optimizer, range(3, 6))
        for key, tensor in model.state_dict().items():
            assert torch.equal(again.state_dict()[key], tensor), key

    def test_what_is_captured_does_not_follow_the_progress(self) -> None:
        progress = Progress(step=3)
        state = capture(progress, *parts(0), {}, "data")
        progress.step = 4
        assert state["progress"]["step"] == 3

    def test_other_data_is_refused_before_anything_is_changed(self) -> None:
        state = capture(Progress(), *parts(0), {}, "data")
        model, optimizer = parts(1)
        before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        with pytest.raises(EdgedetError, match="have changed") as caught:
            restore(state, model, optimizer, "other data", where="last.pt")
        assert caught.value.where == "last.pt"
        assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())

    @pytest.mark.parametrize("state", [None, {}, [], "state", {"progress": {}}, torch.zeros(3)])
    def test_a_checkpoint_without_training_state(self, state: Any) -> None:
        with pytest.raises(EdgedetError, match="no training state") as caught:
            restore(state, *parts(0), "data", where="best.pt")
        assert "last.pt" in str(caught.value.fix)

    @pytest.mark.parametrize(
        "change",
        [
            lambda state: state["model"].pop("0.weight"),
            lambda state: state["model"].update({"0.weight": torch.zeros(1)}),
            lambda state: state.update(model=capture(Progress(), *parts(0, channels=8), {}, "")["model"]),
            lambda state: state.update(model=None),
            lambda state: state["optimizer"].pop("param_groups"),
            lambda state: state["optimizer"].update(param_groups=[]),
            lambda state: state.update(optimizer=7),
            lambda state: state.update(optimizer=None),
            lambda state: state.update(progress=None),
            lambda state: state["progress"].update(step="three"),
            lambda state: state["progress"].update(step=-1),
            lambda state: state["progress"].update(extra=1),
            lambda state: state.update(data=torch.zeros(3)),
        ],
    )
    def test_a_state_that_does_not_fit(self, change: Callable[[dict[str, Any]], Any]) -> None:
        state = through_a_file(capture(Progress(step=2), *parts(0), {}, "data"))
        change(state)
        with pytest.raises(EdgedetError) as caught:
            restore(state, *parts(0), "data", where="last.pt")
        assert caught.value.where == "last.pt"


class TestFingerprint:
    SAMPLES = (
        Sample(
            Path("train/a.jpg"),
            1,
            np.array([[1, 2, 30, 40], [5, 6, 7, 8]], dtype=np.float32),
            np.array([0, 1]),
            np.array([False, False]),
        ),
        Sample(Path("train/b.jpg"), 2, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.bool_)),
    )
    NAMES = ("cat", "dog")

    def changed(self, **changes: Any) -> str:
        return data_fingerprint((replace(self.SAMPLES[0], **changes), self.SAMPLES[1]), self.NAMES)

    def test_is_the_same_for_the_same_data_elsewhere(self) -> None:
        moved = tuple(replace(sample, image=Path("/elsewhere") / sample.image.name) for sample in self.SAMPLES)
        assert data_fingerprint(moved, self.NAMES) == data_fingerprint(self.SAMPLES, self.NAMES)

    def test_everything_that_training_depends_on_changes_it(self) -> None:
        boxes = self.SAMPLES[0].boxes
        fingerprints = [
            data_fingerprint(self.SAMPLES, self.NAMES),
            data_fingerprint(self.SAMPLES[::-1], self.NAMES),
            data_fingerprint(self.SAMPLES[:1], self.NAMES),
            data_fingerprint((), self.NAMES),
            data_fingerprint(self.SAMPLES, self.NAMES[::-1]),
            data_fingerprint(self.SAMPLES, ("cat",)),
            data_fingerprint(self.SAMPLES, ("catdog",)),
            self.changed(image=Path("train/c.jpg")),
            self.changed(boxes=np.nextafter(boxes, np.float32(1000))),
            self.changed(boxes=boxes[::-1].copy()),
            self.changed(labels=np.array([1, 0])),
            self.changed(ignore=np.array([False, True])),
        ]
        assert len(set(fingerprints)) == len(fingerprints)
