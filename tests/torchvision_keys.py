"""Parameter names and shapes of torchvision's classifiers (its release 0.29.2), as its own code makes them.

A line is a convolution or linear layer: its name, the name of the batch norm after it or `+bias` where it has a bias
instead, and the shape of its weight in each of the networks that the table's heading names.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

MOBILENETV2 = """
layer then mobilenetv2_0.35 mobilenetv2_0.5 mobilenetv2_0.75 mobilenetv2_1.0
features.0.0          features.0.1          16x3x3x3      16x3x3x3      24x3x3x3      32x3x3x3
features.1.conv.0.0   features.1.conv.0.1   16x1x3x3      16x1x3x3      24x1x3x3      32x1x3x3
features.1.conv.1     features.1.conv.2     8x16x1x1      8x16x1x1      16x24x1x1     16x32x1x1
features.2.conv.0.0   features.2.conv.0.1   48x8x1x1      48x8x1x1      96x16x1x1     96x16x1x1
features.2.conv.1.0   features.2.conv.1.1   48x1x3x3      48x1x3x3      96x1x3x3      96x1x3x3
features.2.conv.2     features.2.conv.3     8x48x1x1      16x48x1x1     24x96x1x1     24x96x1x1
features.3.conv.0.0   features.3.conv.0.1   48x8x1x1      96x16x1x1     144x24x1x1    144x24x1x1
features.3.conv.1.0   features.3.conv.1.1   48x1x3x3      96x1x3x3      144x1x3x3     144x1x3x3
features.3.conv.2     features.3.conv.3     8x48x1x1      16x96x1x1     24x144x1x1    24x144x1x1
features.4.conv.0.0   features.4.conv.0.1   48x8x1x1      96x16x1x1     144x24x1x1    144x24x1x1
features.4.conv.1.0   features.4.conv.1.1   48x1x3x3      96x1x3x3      144x1x3x3     144x1x3x3
features.4.conv.2     features.4.conv.3     16x48x1x1     16x96x1x1     24x144x1x1    32x144x1x1
features.5.conv.0.0   features.5.conv.0.1   96x16x1x1     96x16x1x1     144x24x1x1    192x32x1x1
features.5.conv.1.0   features.5.conv.1.1   96x1x3x3      96x1x3x3      144x1x3x3     192x1x3x3
features.5.conv.2     features.5.conv.3     16x96x1x1     16x96x1x1     24x144x1x1    32x192x1x1
features.6.conv.0.0   features.6.conv.0.1   96x16x1x1     96x16x1x1     144x24x1x1    192x32x1x1
features.6.conv.1.0   features.6.conv.1.1   96x1x3x3      96x1x3x3      144x1x3x3     192x1x3x3
features.6.conv.2     features.6.conv.3     16x96x1x1     16x96x1x1     24x144x1x1    32x192x1x1
features.7.conv.0.0   features.7.conv.0.1   96x16x1x1     96x16x1x1     144x24x1x1    192x32x1x1
features.7.conv.1.0   features.7.conv.1.1   96x1x3x3      96x1x3x3      144x1x3x3     192x1x3x3
features.7.conv.2     features.7.conv.3     24x96x1x1     32x96x1x1     48x144x1x1    64x192x1x1
features.8.conv.0.0   features.8.conv.0.1   144x24x1x1    192x32x1x1    288x48x1x1    384x64x1x1
features.8.conv.1.0   features.8.conv.1.1   144x1x3x3     192x1x3x3     288x1x3x3     384x1x3x3
features.8.conv.2     features.8.conv.3     24x144x1x1    32x192x1x1    48x288x1x1    64x384x1x1
features.9.conv.0.0   features.9.conv.0.1   144x24x1x1    192x32x1x1    288x48x1x1    384x64x1x1
features.9.conv.1.0   features.9.conv.1.1   144x1x3x3     192x1x3x3     288x1x3x3     384x1x3x3
features.9.conv.2     features.9.conv.3     24x144x1x1    32x192x1x1    48x288x1x1    64x384x1x1
features.10.conv.0.0  features.10.conv.0.1  144x24x1x1    192x32x1x1    288x48x1x1    384x64x1x1
features.10.conv.1.0  features.10.conv.1.1  144x1x3x3     192x1x3x3     288x1x3x3     384x1x3x3
features.10.conv.2    features.10.conv.3    24x144x1x1    32x192x1x1    48x288x1x1    64x384x1x1
features.11.conv.0.0  features.11.conv.0.1  144x24x1x1    192x32x1x1    288x48x1x1    384x64x1x1
features.11.conv.1.0  features.11.conv.1.1  144x1x3x3     192x1x3x3     288x1x3x3     384x1x3x3
features.11.conv.2    features.11.conv.3    32x144x1x1    48x192x1x1    72x288x1x1    96x384x1x1
features.12.conv.0.0  features.12.conv.0.1  192x32x1x1    288x48x1x1    432x72x1x1    576x96x1x1
features.12.conv.1.0  features.12.conv.1.1  192x1x3x3     288x1x3x3     432x1x3x3     576x1x3x3
features.12.conv.2    features.12.conv.3    32x192x1x1    48x288x1x1    72x432x1x1    96x576x1x1
features.13.conv.0.0  features.13.conv.0.1  192x32x1x1    288x48x1x1    432x72x1x1    576x96x1x1
features.13.conv.1.0  features.13.conv.1.1  192x1x3x3     288x1x3x3     432x1x3x3     576x1x3x3
features.13.conv.2    features.13.conv.3    32x192x1x1    48x288x1x1    72x432x1x1    96x576x1x1
features.14.conv.0.0  features.14.conv.0.1  192x32x1x1    288x48x1x1    432x72x1x1    576x96x1x1
features.14.conv.1.0  features.14.conv.1.1  192x1x3x3     288x1x3x3     432x1x3x3     576x1x3x3
features.14.conv.2    features.14.conv.3    56x192x1x1    80x288x1x1    120x432x1x1   160x576x1x1
features.15.conv.0.0  features.15.conv.0.1  336x56x1x1    480x80x1x1    720x120x1x1   960x160x1x1
features.15.conv.1.0  features.15.conv.1.1  336x1x3x3     480x1x3x3     720x1x3x3     960x1x3x3
features.15.conv.2    features.15.conv.3    56x336x1x1    80x480x1x1    120x720x1x1   160x960x1x1
features.16.conv.0.0  features.16.conv.0.1  336x56x1x1    480x80x1x1    720x120x1x1   960x160x1x1
features.16.conv.1.0  features.16.conv.1.1  336x1x3x3     480x1x3x3     720x1x3x3     960x1x3x3
features.16.conv.2    features.16.conv.3    56x336x1x1    80x480x1x1    120x720x1x1   160x960x1x1
features.17.conv.0.0  features.17.conv.0.1  336x56x1x1    480x80x1x1    720x120x1x1   960x160x1x1
features.17.conv.1.0  features.17.conv.1.1  336x1x3x3     480x1x3x3     720x1x3x3     960x1x3x3
features.17.conv.2    features.17.conv.3    112x336x1x1   160x480x1x1   240x720x1x1   320x960x1x1
features.18.0         features.18.1         1280x112x1x1  1280x160x1x1  1280x240x1x1  1280x320x1x1
classifier.1          +bias                 1000x1280     1000x1280     1000x1280     1000x1280
"""

SHUFFLENETV2 = """
layer then shufflenetv2_0.5x shufflenetv2_1.0x shufflenetv2_1.5x
conv1.0             conv1.1             24x3x3x3      24x3x3x3      24x3x3x3
stage2.0.branch1.0  stage2.0.branch1.1  24x1x3x3      24x1x3x3      24x1x3x3
stage2.0.branch1.2  stage2.0.branch1.3  24x24x1x1     58x24x1x1     88x24x1x1
stage2.0.branch2.0  stage2.0.branch2.1  24x24x1x1     58x24x1x1     88x24x1x1
stage2.0.branch2.3  stage2.0.branch2.4  24x1x3x3      58x1x3x3      88x1x3x3
stage2.0.branch2.5  stage2.0.branch2.6  24x24x1x1     58x58x1x1     88x88x1x1
stage2.1.branch2.0  stage2.1.branch2.1  24x24x1x1     58x58x1x1     88x88x1x1
stage2.1.branch2.3  stage2.1.branch2.4  24x1x3x3      58x1x3x3      88x1x3x3
stage2.1.branch2.5  stage2.1.branch2.6  24x24x1x1     58x58x1x1     88x88x1x1
stage2.2.branch2.0  stage2.2.branch2.1  24x24x1x1     58x58x1x1     88x88x1x1
stage2.2.branch2.3  stage2.2.branch2.4  24x1x3x3      58x1x3x3      88x1x3x3
stage2.2.branch2.5  stage2.2.branch2.6  24x24x1x1     58x58x1x1     88x88x1x1
stage2.3.branch2.0  stage2.3.branch2.1  24x24x1x1     58x58x1x1     88x88x1x1
stage2.3.branch2.3  stage2.3.branch2.4  24x1x3x3      58x1x3x3      88x1x3x3
stage2.3.branch2.5  stage2.3.branch2.6  24x24x1x1     58x58x1x1     88x88x1x1
stage3.0.branch1.0  stage3.0.branch1.1  48x1x3x3      116x1x3x3     176x1x3x3
stage3.0.branch1.2  stage3.0.branch1.3  48x48x1x1     116x116x1x1   176x176x1x1
stage3.0.branch2.0  stage3.0.branch2.1  48x48x1x1     116x116x1x1   176x176x1x1
stage3.0.branch2.3  stage3.0.branch2.4  48x1x3x3      116x1x3x3     176x1x3x3
stage3.0.branch2.5  stage3.0.branch2.6  48x48x1x1     116x116x1x1   176x176x1x1
stage3.1.branch2.0  stage3.1.branch2.1  48x48x1x1     116x116x1x1   176x176x1x1
stage3.1.branch2.3  stage3.1.branch2.4  48x1x3x3      116x1x3x3     176x1x3x3
stage3.1.branch2.5  stage3.1.branch2.6  48x48x1x1     116x116x1x1   176x176x1x1
stage3.2.branch2.0  stage3.2.branch2.1  48x48x1x1     116x116x1x1   176x176x1x1
stage3.2.branch2.3  stage3.2.branch2.4  48x1x3x3      116x1x3x3     176x1x3x3
stage3.2.branch2.5  stage3.2.branch2.6  48x48x1x1     116x116x1x1   176x176x1x1
stage3.3.branch2.0  stage3.3.branch2.1  48x48x1x1     116x116x1x1   176x176x1x1
stage3.3.branch2.3  stage3.3.branch2.4  48x1x3x3      116x1x3x3     176x1x3x3
stage3.3.branch2.5  stage3.3.branch2.6  48x48x1x1     116x116x1x1   176x176x1x1
stage3.4.branch2.0  stage3.4.branch2.1  48x48x1x1     116x116x1x1   176x176x1x1
stage3.4.branch2.3  stage3.4.branch2.4  48x1x3x3      116x1x3x3     176x1x3x3
stage3.4.branch2.5  stage3.4.branch2.6  48x48x1x1     116x116x1x1   176x176x1x1
stage3.5.branch2.0  stage3.5.branch2.1  48x48x1x1     116x116x1x1   176x176x1x1
stage3.5.branch2.3  stage3.5.branch2.4  48x1x3x3      116x1x3x3     176x1x3x3
stage3.5.branch2.5  stage3.5.branch2.6  48x48x1x1     116x116x1x1   176x176x1x1
stage3.6.branch2.0  stage3.6.branch2.1  48x48x1x1     116x116x1x1   176x176x1x1
stage3.6.branch2.3  stage3.6.branch2.4  48x1x3x3      116x1x3x3     176x1x3x3
stage3.6.branch2.5  stage3.6.branch2.6  48x48x1x1     116x116x1x1   176x176x1x1
stage3.7.branch2.0  stage3.7.branch2.1  48x48x1x1     116x116x1x1   176x176x1x1
stage3.7.branch2.3  stage3.7.branch2.4  48x1x3x3      116x1x3x3     176x1x3x3
stage3.7.branch2.5  stage3.7.branch2.6  48x48x1x1     116x116x1x1   176x176x1x1
stage4.0.branch1.0  stage4.0.branch1.1  96x1x3x3      232x1x3x3     352x1x3x3
stage4.0.branch1.2  stage4.0.branch1.3  96x96x1x1     232x232x1x1   352x352x1x1
stage4.0.branch2.0  stage4.0.branch2.1  96x96x1x1     232x232x1x1   352x352x1x1
stage4.0.branch2.3  stage4.0.branch2.4  96x1x3x3      232x1x3x3     352x1x3x3
stage4.0.branch2.5  stage4.0.branch2.6  96x96x1x1     232x232x1x1   352x352x1x1
stage4.1.branch2.0  stage4.1.branch2.1  96x96x1x1     232x232x1x1   352x352x1x1
stage4.1.branch2.3  stage4.1.branch2.4  96x1x3x3      232x1x3x3     352x1x3x3
stage4.1.branch2.5  stage4.1.branch2.6  96x96x1x1     232x232x1x1   352x352x1x1
stage4.2.branch2.0  stage4.2.branch2.1  96x96x1x1     232x232x1x1   352x352x1x1
stage4.2.branch2.3  stage4.2.branch2.4  96x1x3x3      232x1x3x3     352x1x3x3
stage4.2.branch2.5  stage4.2.branch2.6  96x96x1x1     232x232x1x1   352x352x1x1
stage4.3.branch2.0  stage4.3.branch2.1  96x96x1x1     232x232x1x1   352x352x1x1
stage4.3.branch2.3  stage4.3.branch2.4  96x1x3x3      232x1x3x3     352x1x3x3
stage4.3.branch2.5  stage4.3.branch2.6  96x96x1x1     232x232x1x1   352x352x1x1
conv5.0             conv5.1             1024x192x1x1  1024x464x1x1  1024x704x1x1
fc                  +bias               1000x1024     1000x1024     1000x1024
"""

SQUEEZENET = """
layer then squeezenet_1.1
features.0             +bias  64x3x3x3
features.3.squeeze     +bias  16x64x1x1
features.3.expand1x1   +bias  64x16x1x1
features.3.expand3x3   +bias  64x16x3x3
features.4.squeeze     +bias  16x128x1x1
features.4.expand1x1   +bias  64x16x1x1
features.4.expand3x3   +bias  64x16x3x3
features.6.squeeze     +bias  32x128x1x1
features.6.expand1x1   +bias  128x32x1x1
features.6.expand3x3   +bias  128x32x3x3
features.7.squeeze     +bias  32x256x1x1
features.7.expand1x1   +bias  128x32x1x1
features.7.expand3x3   +bias  128x32x3x3
features.9.squeeze     +bias  48x256x1x1
features.9.expand1x1   +bias  192x48x1x1
features.9.expand3x3   +bias  192x48x3x3
features.10.squeeze    +bias  48x384x1x1
features.10.expand1x1  +bias  192x48x1x1
features.10.expand3x3  +bias  192x48x3x3
features.11.squeeze    +bias  64x384x1x1
features.11.expand1x1  +bias  256x64x1x1
features.11.expand3x3  +bias  256x64x3x3
features.12.squeeze    +bias  64x512x1x1
features.12.expand1x1  +bias  256x64x1x1
features.12.expand3x3  +bias  256x64x3x3
classifier.1           +bias  1000x512x1x1
"""


def shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Every key of the network's state dict with its shape, in torchvision's order."""
    result: dict[str, tuple[int, ...]] = {}
    table = next(table for table in (MOBILENETV2, SHUFFLENETV2, SQUEEZENET) if network in table)
    heading, *lines = table.strip().splitlines()
    column = heading.split().index(network)
    for line in lines:
        layer, after, *weights = line.split()
        shape = tuple(map(int, weights[column - 2].split("x")))
        result[f"{layer}.weight"] = shape
        if after == "+bias":
            result[f"{layer}.bias"] = shape[:1]
        else:
            result.update({f"{after}.{name}": () if name == NORM[-1] else shape[:1] for name in NORM})
    return result


def state_dict(network: str) -> dict[str, Tensor]:
    """A state dict like torchvision's, filled with numbers that only NumPy's frozen generator decides."""
    return {
        key: torch.from_numpy(_values(key, shape, seed)) for seed, (key, shape) in enumerate(shapes(network).items())
    }


def _values(key: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    random = np.random.RandomState(seed)
    if key.endswith("num_batches_tracked"):
        return np.array(0)
    if len(shape) > 1:
        return (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
    if key.endswith(("running_mean", "bias")):
        return (random.standard_normal(shape) * 0.1).astype(np.float32)
    return random.uniform(0.5, 1.5, shape).astype(np.float32)
