"""Starting a backbone from torchvision's ImageNet weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from edgedet.errors import EdgedetError, nearest
from edgedet.files import MEBIBYTE, read_bytes, write_bytes
from edgedet.models.backbones import mobilenetv2, shufflenetv2
from edgedet.models.backbones.base import Backbone
from edgedet.models.backbones.mobilenetv2 import MobileNetV2
from edgedet.models.backbones.shufflenetv2 import ShuffleNetV2
from edgedet.models.backbones.squeezenet import SqueezeNet
from edgedet.models.download import fetch
from edgedet.models.torch_file import is_dense, load_plain

LIMIT = 256 * MEBIBYTE
BASE_URL = "https://download.pytorch.org/models/"

# torchvision's files; each name ends with the first digits of the file's SHA-256. Of MobileNetV2 it is IMAGENET1K_V1,
# the generation that torchvision itself starts detectors from.
IMAGENET_FILES = {
    "mobilenetv2_1.0": "mobilenet_v2-b0353104.pth",
    "shufflenetv2_0.5x": "shufflenetv2_x0.5-f707e7126e.pth",
    "shufflenetv2_1.0x": "shufflenetv2_x1-5666bf0f80.pth",
    "shufflenetv2_1.5x": "shufflenetv2_x1_5-3c479a10.pth",
    "squeezenet_1.1": "squeezenet1_1-b8a52dc0.pth",
}

_BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_CLASSIFIER_KEYS: dict[type[Backbone], tuple[str, ...]] = {
    MobileNetV2: (
        "features.18.0.weight",
        *(f"features.18.1.{name}" for name in _BATCH_NORM),
        "classifier.1.weight",
        "classifier.1.bias",
    ),
    ShuffleNetV2: ("conv5.0.weight", *(f"conv5.1.{name}" for name in _BATCH_NORM), "fc.weight", "fc.bias"),
    SqueezeNet: ("classifier.1.weight", "classifier.1.bias"),
}
_ADDED_BY_EDGEDET = "extra."


def load_backbone_weights(backbone: Backbone, source: str | Path, *, cache: Path | None = None) -> None:
    """Replaces the backbone's weights by published ones, all or none of them.

    Args:
        backbone: stays as it was where this fails. A block that torchvision's network does not have keeps its weights.
        source: `imagenet` for torchvision's weights, downloaded once, or the path of a torchvision state dict. In a
            file, `{"state_dict": ...}` around it and a `module.` before every key are taken off.
        cache: folder of downloaded files, by default `~/.cache/edgedet`.

    Raises:
        EdgedetError: no such weights, no network, not a state dict, or one of another network; where it fits another
            backbone, the message says which.
    """
    path = Path(source)
    if source == "imagenet":
        path = _imagenet_file(backbone.name, cache or Path.home() / ".cache" / "edgedet")
    elif not path.exists():
        hint = "did you mean 'imagenet'? " if nearest(str(source), ["imagenet"]) else ""
        fix = f"{hint}give imagenet, or the path of a torchvision state dict"
        raise EdgedetError("no such weights", where=path, fix=fix)
    weights = _state_dict(load_plain(path, limit=LIMIT), path)
    problems = list(_misfits(backbone, weights))
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        what = f"the weights do not fit {backbone.name}: {'; '.join(problems[:3])}{more}"
        raise EdgedetError(what, where=path, fix=_where_they_fit(weights))
    backbone.load_state_dict({**backbone.state_dict(), **_without_classifier(backbone, weights)})


def _imagenet_file(backbone: str, cache: Path, base_url: str = BASE_URL, **options: Any) -> Path:
    """The path of the published file, downloaded where the cache does not hold it whole. `options` are `fetch`'s."""
    if backbone not in IMAGENET_FILES:
        fix = f"train from random weights, or use one of: {', '.join(IMAGENET_FILES)}"
        raise EdgedetError(f"no ImageNet weights of {backbone} are published", where="--weights imagenet", fix=fix)
    name = IMAGENET_FILES[backbone]
    sha256_prefix = name.removesuffix(".pth").rpartition("-")[2]
    path = cache / name
    if path.is_file() and hashlib.sha256(read_bytes(path, limit=LIMIT)).hexdigest().startswith(sha256_prefix):
        return path
    url = base_url + name
    fix = f"download {url} where there is a network and pass its path: --weights {name}"
    write_bytes(path, fetch(url, sha256_prefix=sha256_prefix, limit=LIMIT, fix=fix, **options))
    return path


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content or not all(map(_is_entry, content.items())):
        fix = "give the state dict of a torchvision classifier"
        raise EdgedetError("holds no state dict (names with tensors)", where=path, fix=fix)
    if all(key.startswith("module.") for key in content):
        return {key.removeprefix("module."): tensor for key, tensor in content.items()}
    return dict(content)


def _is_entry(item: tuple[Any, Any]) -> bool:
    key, value = item
    return isinstance(key, str) and is_dense(value)


def _without_classifier(backbone: Backbone, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    classifier = _CLASSIFIER_KEYS[type(backbone)]
    return {key: tensor for key, tensor in weights.items() if key not in classifier}


def _misfits(backbone: Backbone, weights: dict[str, Tensor]) -> Iterator[str]:
    """What keeps the weights from being the backbone's, a phrase each."""
    expected = {key: tensor for key, tensor in backbone.state_dict().items() if not key.startswith(_ADDED_BY_EDGEDET)}
    found = _without_classifier(backbone, weights)
    for key, tensor in expected.items():
        if key not in found:
            # A counter that PyTorch before 0.4.1 did not write and that no forward pass reads; and an activation's own.
            if not key.endswith((".num_batches_tracked", ".beta")):
                yield f"{key} is missing"
        elif found[key].shape != tensor.shape:
            yield f"{key} is {list(found[key].shape)}, not {list(tensor.shape)}"
        elif found[key].is_floating_point() != tensor.is_floating_point():
            yield f"{key} is {found[key].dtype}, not {tensor.dtype}"
        elif not found[key].isfinite().all():
            yield f"{key} holds values that are not finite"
    for key in found:
        if key not in expected:
            yield f"{key} is unexpected"


def _where_they_fit(weights: dict[str, Tensor]) -> str:
    for other in _every_backbone():
        if not any(_misfits(other, weights)):
            return f"they fit {other.name}: use that model"
    return "give the state dict of torchvision's classifier of the same name and width"


def _every_backbone() -> Iterator[Backbone]:
    yield from (MobileNetV2(width) for width in mobilenetv2.WIDTHS)
    yield from (ShuffleNetV2(width) for width in shufflenetv2.WIDTHS)
    yield SqueezeNet()
