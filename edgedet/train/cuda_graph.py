"""The network's forward and backward pass as CUDA graphs.

A step of a compact detector is some two thousand small kernels, which a GPU runs sooner than a host can start them
one by one. Recorded once, they are started together.
"""

from __future__ import annotations

import warnings

import torch
from torch import nn

from edgedet.errors import EdgedetError
from edgedet.train.config import TrainConfig

AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def require_recordable(config: TrainConfig) -> None:
    """Refuses settings by which a step would not be the same kernels on the same shapes every time.

    Raises:
        EdgedetError: names the setting.
    """
    changing = {
        "multi_scale": config.multi_scale > 0,
        "network.dropblock": config.network.dropblock > 0,
        "qat": config.qat is not None,
        "devices": config.devices > 1,
    }
    if config.cuda_graph and any(changing.values()):
        what = ", ".join(name for name, changes in changing.items() if changes)
        fix = f"leave cuda_graph or {what} out"
        raise EdgedetError(f"a CUDA graph repeats one step, which {what} would change", where="cuda_graph", fix=fix)


def require_graphs(device: torch.device) -> None:
    """Refuses a device that is no CUDA device.

    Raises:
        EdgedetError: it has no graphs.
    """
    if device.type != "cuda":
        raise EdgedetError(f"{device.type} has no CUDA graphs", where="cuda_graph", fix="leave cuda_graph out")


def record(detector: nn.Module, config: TrainConfig, device: torch.device) -> None:
    """Makes a detector replay its forward and backward pass in training; in evaluation it runs as before.

    Its weights and statistics are left as they are. From now on it takes images `[batch, 3, imgsz, imgsz]` float32,
    channels last, on the device, and only these.

    Raises:
        EdgedetError: the device is no CUDA device.
    """
    require_graphs(device)
    state = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    images = torch.zeros(config.batch, 3, config.imgsz, config.imgsz, device=device)
    dtype = AUTOCAST[config.precision]
    detector.train()
    # Weights that autocast has cast are new in every step: from its cache a graph would replay the first ones.
    with torch.autocast("cuda", dtype=dtype, enabled=dtype is not None, cache_enabled=False):
        torch.cuda.make_graphed_callables(detector, (images.to(memory_format=torch.channels_last),))
    # It also ties the weights' gradients to its own stream, of which every later step would warn.
    warnings.filterwarnings("ignore", message="The AccumulateGrad node's stream", category=UserWarning)
    # Recording runs the pass some times, which moves BatchNorm's statistics.
    detector.load_state_dict(state)
