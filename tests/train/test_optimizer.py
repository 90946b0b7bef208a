from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgedet.models.zoo import build_detector
from edgedet.train.config import OptimizerConfig
from edgedet.train.optimizer import learning_rate, make_optimizer, set_learning_rate

CONFIG = OptimizerConfig(lr=0.01, final_lr=0.05, warmup_epochs=2)


class TestLearningRate:
    def rates(self, epochs: int, steps_per_epoch: int, config: OptimizerConfig = CONFIG) -> list[float]:
        total = epochs * steps_per_epoch
        return [learning_rate(step, total, steps_per_epoch, config) for step in range(total)]

    def test_ends_of_warm_up_and_run(self) -> None:
        rates = self.rates(epochs=20, steps_per_epoch=50)
        assert rates[0] == pytest.approx(0.01 / 101)
        assert rates[99] == pytest.approx(0.01 * 100 / 101)
        assert rates[100] == max(rates) == pytest.approx(0.01)
        assert rates[-1] == min(rates[100:]) == pytest.approx(0.01 * 0.05)

    def test_warm_up_is_a_line_and_the_rest_half_a_cosine(self) -> None:
        rates = self.rates(epochs=20, steps_per_epoch=50)
        rises = [after - before for before, after in itertools.pairwise(rates[:101])]
        assert rises == pytest.approx([0.01 / 101] * 100)
        for step in range(100, 1000):
            angle = math.pi * (step - 100) / 899
            assert rates[step] == pytest.approx(0.0005 + 0.0095 * (1 + math.cos(angle)) / 2)

    def test_a_short_run_warms_up_for_a_quarter_of_it(self) -> None:
        rates = self.rates(epochs=4, steps_per_epoch=10)
        assert rates.index(max(rates)) == 10

    def test_without_warm_up_it_starts_at_the_peak(self) -> None:
        rates = self.rates(5, 10, CONFIG.model_copy(update={"warmup_epochs": 0.0}))
        assert rates[0] == pytest.approx(0.01)
        assert rates == sorted(rates, reverse=True)

    def test_a_final_rate_of_zero_or_one(self) -> None:
        assert self.rates(20, 5, CONFIG.model_copy(update={"final_lr": 0.0}))[-1] == pytest.approx(0, abs=1e-12)
        constant = self.rates(20, 5, CONFIG.model_copy(update={"final_lr": 1.0, "warmup_epochs": 0.0}))
        assert constant == pytest.approx([0.01] * 100)

    @given(st.integers(1, 30), st.integers(1, 30), st.floats(0, 10), st.floats(0, 1))
    @settings(max_examples=50)
    def test_any_run_rises_once_then_falls_between_its_bounds(
        self, epochs: int, steps: int, warmup: float, final: float
    ) -> None:
        config = CONFIG.model_copy(update={"warmup_epochs": warmup, "final_lr": final})
        rates = self.rates(epochs, steps, config)
        assert all(0 <= rate <= 0.01 * (1 + 1e-9) for rate in rates)
        top = rates.index(max(rates))
        assert rates[:top] == sorted(rates[:top])
        assert rates[top:] == pytest.approx(sorted(rates[top:], reverse=True))
        if len(rates) > 2:
            assert rates[-1] == pytest.approx(0.01 * final, abs=1e-9)


class TestMakeOptimizer:
    def test_only_convolution_weights_are_decayed(self) -> None:
        detector = build_detector("shufflenetv2_0.5x", 2)
        optimizer = make_optimizer(detector, OptimizerConfig(weight_decay=0.1))
        decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        assert len(decay) == len(list(detector.parameters()))
        for name, layer in detector.named_modules():
            for part, parameter in layer.named_parameters(recurse=False):
                decayed = isinstance(layer, nn.Conv2d) and part == "weight"
                assert decay[id(parameter)] == (0.1 if decayed else 0.0), f"{name}.{part}"

    def test_frozen_parameters_are_left_out(self) -> None:
        layer = nn.Conv2d(2, 2, 1)
        layer.bias.requires_grad_(False)  # type: ignore[union-attr]
        optimizer = make_optimizer(layer, OptimizerConfig())
        assert [p for group in optimizer.param_groups for p in group["params"]] == [layer.weight]

    @pytest.mark.parametrize(
        ("config", "kind", "settings"),
        [
            (OptimizerConfig(name="adamw", lr=0.5), torch.optim.AdamW, {"lr": 0.5}),
            (
                OptimizerConfig(name="sgd", lr=0.5, momentum=0.8),
                torch.optim.SGD,
                {"lr": 0.5, "momentum": 0.8, "nesterov": True},
            ),
            (OptimizerConfig(name="sgd", momentum=0.0), torch.optim.SGD, {"momentum": 0.0, "nesterov": False}),
        ],
    )
    def test_is_the_one_that_is_named(self, config: OptimizerConfig, kind: type, settings: dict[str, object]) -> None:
        optimizer = make_optimizer(nn.Conv2d(2, 2, 1), config)
        assert type(optimizer) is kind
        for group in optimizer.param_groups:
            assert settings.items() <= group.items()

    def test_the_rate_is_set_for_every_group(self) -> None:
        optimizer = make_optimizer(nn.Conv2d(2, 2, 1), OptimizerConfig())
        set_learning_rate(optimizer, 0.123)
        assert [group["lr"] for group in optimizer.param_groups] == [0.123, 0.123]

    @pytest.mark.parametrize("name", ["adamw", "sgd"])
    def test_decay_alone_shrinks_weights_and_spares_biases(self, name: str) -> None:
        layer = nn.Conv2d(1, 1, 1)
        nn.init.ones_(layer.weight)
        nn.init.ones_(layer.bias)  # type: ignore[arg-type]
        optimizer = make_optimizer(layer, OptimizerConfig(name=name, lr=0.1, weight_decay=0.5))  # type: ignore[arg-type]
        layer.weight.grad, layer.bias.grad = torch.zeros(1, 1, 1, 1), torch.zeros(1)  # type: ignore[union-attr]
        optimizer.step()
        assert layer.weight.item() < 1
        assert layer.bias.item() == 1  # type: ignore[union-attr]
