"""Weights that jump to and fro between two codes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from edgedet.models.quantized.fake_quantize import QuantizedConv2d
from edgedet.quant.oscillation import MOMENTUM, OSCILLATING, Oscillation


@pytest.fixture
def conv() -> QuantizedConv2d:
    """Four weights on a grid of step 1."""
    layer = QuantizedConv2d(nn.Conv2d(1, 4, 1))
    layer.weight_quantizer.scale.data.fill_(1.0)
    return layer


def put(conv: QuantizedConv2d, codes: list[float]) -> None:
    with torch.no_grad():
        conv.weight.copy_(torch.tensor(codes).view(4, 1, 1, 1))


def frequencies_by_the_paper(history: np.ndarray) -> np.ndarray:
    """Equations 9 and 10, one weight after the other."""
    result = []
    for codes in history.T:
        frequency, last = 0.0, 0
        for before, after in itertools.pairwise(codes):
            change = int(np.sign(after - before))
            oscillates = change != 0 and change == -last
            frequency = MOMENTUM * oscillates + (1 - MOMENTUM) * frequency
            last = change or last
        result.append(frequency)
    return np.array(result)


def test_frequencies_are_those_of_the_paper(conv: QuantizedConv2d) -> None:
    history = np.random.default_rng(0).integers(-2, 3, (60, 4))
    history[:, 0] = 7
    history[:, 1] = np.arange(60)
    put(conv, history[0].tolist())
    oscillation = Oscillation(conv)
    for codes in history[1:]:
        put(conv, codes.tolist())
        oscillation.update()
    expected = frequencies_by_the_paper(history)
    assert oscillation.state_dict()["frequencies"].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    assert expected[0] == expected[1] == 0 and (expected[2:] > 0.1).all(), "still or drifting weights do not oscillate"
    assert oscillation.share() == float((expected > OSCILLATING).mean()) == 0.5


def test_a_weight_that_moves_within_its_step_does_not_oscillate(conv: QuantizedConv2d) -> None:
    oscillation = Oscillation(conv)
    for step in range(20):
        put(conv, [0.4 * (-1) ** step] * 4)
        oscillation.update()
    assert oscillation.share() == 0


def test_it_goes_on_exactly(conv: QuantizedConv2d) -> None:
    rng = np.random.default_rng(1)
    history = rng.integers(-2, 3, (40, 4)).astype(float)
    put(conv, history[0].tolist())
    whole = Oscillation(conv)
    for codes in history[1:20]:
        put(conv, codes.tolist())
        whole.update()
    state = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    resumed = Oscillation(conv)
    resumed.load_state_dict(state)
    for codes in history[20:]:
        put(conv, codes.tolist())
        whole.update()
        resumed.update()
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in whole.state_dict().items())


def test_the_state_of_another_detector_is_refused(conv: QuantizedConv2d) -> None:
    other = Oscillation(QuantizedConv2d(nn.Conv2d(3, 5, 1)))
    with pytest.raises(ValueError, match="another detector"):
        Oscillation(conv).load_state_dict(other.state_dict())


def test_a_float_network_has_no_codes() -> None:
    oscillation = Oscillation(nn.Conv2d(2, 2, 1))
    oscillation.update()
    assert oscillation.share() == 0
