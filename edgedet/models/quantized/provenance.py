"""Whether a detector's grids still belong to its weights and to the images that it is fed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from torch import Tensor

from edgedet.errors import EdgedetError
from edgedet.models.quantized.detector import QUANTIZERS, QuantizedDetector
from edgedet.models.quantized.recipe import Recipe
from edgedet.spec import Preprocess

NETWORK = "network."


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """Of the named parameters and statistics of a traced float network, or of the quantized one made of it."""
    digest = hashlib.sha256()
    for name, tensor in sorted((key.removeprefix(NETWORK), value) for key, value in state.items()):
        is_grid = name.startswith(f"{QUANTIZERS}.") or name.endswith(".weight_quantizer.scale") or ".gate." in name
        if not is_grid:
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def stamped(quantized: QuantizedDetector) -> Recipe:
    """The detector's recipe, of the weights that it has now: training moved them together with their grids."""
    calibration = quantized.recipe.calibration
    if calibration is None:
        return quantized.recipe
    fresh = calibration.model_copy(update={"weights_sha256": weights_sha256(quantized.state_dict())})
    return quantized.recipe.model_copy(update={"calibration": fresh})


def preprocess_sha256(preprocess: Preprocess) -> str:
    """Of the specification by which images become tensors."""
    return hashlib.sha256(preprocess.model_dump_json().encode()).hexdigest()


def require_fresh(quantized: QuantizedDetector, preprocess: Preprocess, *, where: object = None) -> None:
    """Refuses grids that were calibrated for other weights or other images; grids without calibration pass."""
    calibration = quantized.recipe.calibration
    if calibration is None:
        return
    fix = "quantize the float checkpoint again with `edgedet quantize`"
    if calibration.weights_sha256 != weights_sha256(quantized.state_dict()):
        raise EdgedetError("its grids were calibrated for other weights", where=where, fix=fix)
    if calibration.preprocess_sha256 != preprocess_sha256(preprocess):
        raise EdgedetError("its grids were calibrated for another preprocessing or input size", where=where, fix=fix)
