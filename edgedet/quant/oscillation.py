"""How many weights of a detector in quantization-aware training jump to and fro between two steps of their grid.

Source: Nagel et al., "Overcoming Oscillations in Quantization-Aware Training", ICML 2022, section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from edgedet.models.quantized.fake_quantize import QuantizedConv2d

MOMENTUM = 0.01
OSCILLATING = 0.005
"""The frequency above which a weight counts (paper, table 1)."""


class Oscillation:
    """Watches the codes of every quantized weight from step to step.

    A weight oscillates at a step if its code changes, in the direction opposite to that of its last change. The
    frequency is a moving average of that.

    Args:
        quantized: the detector; looked at where it stands now.
    """

    def __init__(self, quantized: nn.Module) -> None:
        self._convs = [module for module in quantized.modules() if isinstance(module, QuantizedConv2d)]
        codes = self._codes()
        self._state = {
            "codes": codes,
            "directions": torch.zeros_like(codes),
            "frequencies": torch.zeros(len(codes), device=codes.device),
        }

    @torch.no_grad()
    def update(self) -> None:
        """To be called after each step."""
        codes = self._codes()
        change = (codes.short() - self._state["codes"]).sign_().to(torch.int8)
        moved = change != 0
        turned = moved & (change == -self._state["directions"])
        self._state["frequencies"].lerp_(turned.float(), MOMENTUM)
        self._state["directions"] = torch.where(moved, change, self._state["directions"])
        self._state["codes"] = codes

    def share(self) -> float:
        """Of the weights that oscillate, 0 to 1."""
        frequencies = self._state["frequencies"]
        return float((frequencies > OSCILLATING).float().mean()) if len(frequencies) else 0.0

    def state_dict(self) -> dict[str, Tensor]:
        """What going on exactly needs."""
        return dict(self._state)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Puts `state_dict`'s state back.

        Raises:
            ValueError: it is of another detector.
        """
        for name, tensor in self._state.items():
            found = state[name]
            if found.shape != tensor.shape or found.dtype != tensor.dtype:
                raise ValueError(f"{name} of another detector")
            tensor.copy_(found)

    def _codes(self) -> Tensor:
        return torch.cat([torch.zeros(0, dtype=torch.int8, device=self._device()), *self._codes_by_layer()])

    def _codes_by_layer(self) -> Iterator[Tensor]:
        for conv in self._convs:
            grid = conv.weight_quantizer
            steps = conv.weight.detach() / grid.scale.detach().view(-1, 1, 1, 1)
            yield steps.round_().clamp_(-grid.highest, grid.highest).to(torch.int8).flatten()

    def _device(self) -> torch.device:
        return self._convs[0].weight.device if self._convs else torch.device("cpu")
