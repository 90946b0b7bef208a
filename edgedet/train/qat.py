"""Quantization-aware training: what it starts from, and what it adds to each step of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgedet.data.sample import Sample
from edgedet.data.sheet import spread
from edgedet.errors import EdgedetError
from edgedet.losses.distill import distillation_loss
from edgedet.models.checkpoint import load_checkpoint
from edgedet.models.detector import DetectionNetwork, Detector
from edgedet.models.quantized.detector import BITS_OF_EDGES, QuantizedDetector, traced
from edgedet.models.quantized.edges import find_edges, readers_in
from edgedet.models.quantized.gated import gate_of
from edgedet.models.quantized.recipe import Gating, Recipe
from edgedet.ops.gated_conv.definition import GatedConv
from edgedet.progress import no_progress
from edgedet.quant.batch_norm import estimate_statistics, hold_statistics
from edgedet.quant.calibrate import calibration_record, gated_range, observe, quantize
from edgedet.quant.gating import let_thresholds_learn, one_threshold, pull, start_thresholds, updates
from edgedet.quant.grids import hold_grids, make_grids_move, moving, squared_clipping_ends
from edgedet.quant.images import calibration_images, tensors
from edgedet.quant.oscillation import Oscillation
from edgedet.quant.placement import candidates, gateable, placed
from edgedet.quant.ranges import require_method
from edgedet.spec import Preprocess, Spec
from edgedet.train.config import PGConfig, QATConfig, TrainConfig
from edgedet.train.loader import read_image_or_grey

CALIBRATION_IMAGES = 128
RANKED_IMAGES = 16
"""Of these, on which convolutions to gate are ranked and thresholds chosen."""


def defaults(init: Path) -> dict[str, Any]:
    """The settings of a quantization-aware run: a float checkpoint's network and size, and a short fine-tuning."""
    checkpoint = load_checkpoint(init)
    architecture = checkpoint.float_detector.architecture
    return {
        "model": architecture["name"],
        "activation": architecture["activation"],
        # Without DropBlock: grids are trained on whole maps.
        "network": {name: architecture[name] for name in ("head", "spp", "se") if name in architecture},
        "imgsz": checkpoint.spec.preprocess.height,
        "epochs": 20,
        "eval_every": 2,
        "optimizer": {"lr": 3e-4, "warmup_epochs": 1.0},
        # A float run ends without mosaics too; the grids are fitted to whole images.
        "augment": {"mosaic": 0.0},
        "qat": {},
    }


def check_qat_settings(config: TrainConfig, init: Path | None) -> None:
    """Refuses what no data could make work."""
    if config.qat is None:
        return
    if init is None:
        fix = "give the float checkpoint to start from with --init"
        raise EdgedetError("quantization-aware training starts from a trained detector", where="--qat", fix=fix)
    if config.weights is not None:
        fix = "leave --weights out: --init brings the weights"
        raise EdgedetError("a trained detector needs no backbone weights", where="--weights", fix=fix)
    if config.precision != "32-true":
        what = f"{config.precision} has too few digits to tell neighbouring steps of a grid apart"
        raise EdgedetError(what, where="--precision", fix="leave it at 32-true")
    if config.network.head != "gfl" and config.qat.distill > 0:
        what = f"the head {config.network.head} has no box distributions to learn from the float detector"
        raise EdgedetError(what, where="qat.distill, network.head", fix="--set qat.distill=0")
    require_method(config.qat.calibration)
    if config.qat.pg is not None:
        gate_of(Gating(layers=(), bits=config.qat.pg.bits, high_bits=config.qat.pg.high_bits), signed=True)


def require_float_checkpoint_of(spec: Spec, init: Path) -> None:
    """Refuses a checkpoint of other classes or for other images: it could not teach."""
    found = load_checkpoint(init).spec
    if found.class_names != spec.class_names:
        fix = "train a float detector on this dataset first"
        raise EdgedetError("the checkpoint knows other classes than the dataset", where=init, fix=fix)
    if found.preprocess != spec.preprocess:
        size = f"{found.preprocess.height}x{found.preprocess.width}"
        fix = f"use --imgsz {found.preprocess.height}, or train a float detector for the other size first"
        raise EdgedetError(f"the checkpoint is for images of {size}, prepared in its own way", where=init, fix=fix)


def calibrated(
    config: TrainConfig, teacher: Detector, samples: Sequence[Sample], preprocess: Preprocess
) -> QuantizedDetector:
    """The INT8 detector that a run begins with: the float one on grids that fit training images."""
    assert config.qat is not None
    QuantizedDetector(teacher, Recipe(keep_float=config.qat.keep_float))  # refuses an unknown edge before the long work
    count = config.qat.images or min(CALIBRATION_IMAGES, len(samples))
    chosen, digest = calibration_images(samples, count, where=config.data)
    method = config.qat.calibration
    record = calibration_record(teacher, preprocess, method=method, images=len(chosen), images_sha256=digest)
    histograms = observe(teacher, lambda: tensors(chosen, preprocess, no_progress))
    some = [tensor for tensor, _ in tensors(chosen[:RANKED_IMAGES], preprocess, no_progress)]
    gating = None
    if config.qat.pg is not None:

        def end_of_high_bits(edge: str, gate: GatedConv) -> float:
            return gated_range(histograms[edge], method, gate, 0.0)

        gating = _gating(config.qat.pg, teacher, end_of_high_bits, some, config.qat.keep_float)
    recipe = Recipe(keep_float=config.qat.keep_float, calibration=record, trained=config.qat.method, gating=gating)
    share = 1.0 if config.qat.pg is None else config.qat.pg.open
    quantized = quantize(teacher, histograms, method=method, recipe=recipe, open_share=share)
    if config.qat.pg is not None:
        start = one_threshold if config.qat.pg.thresholds == "one" else start_thresholds
        start(quantized, torch.cat(some), config.qat.pg.open)
    _make_trainable(quantized, config.qat)
    return quantized


def uncalibrated(config: TrainConfig, detector: Detector, recipe: Recipe) -> QuantizedDetector:
    """The INT8 detector of the same parameters as `calibrated` gives, to load a checkpoint's into.

    Args:
        config: the run's settings.
        detector: float.
        recipe: the checkpoint's.
    """
    assert config.qat is not None
    quantized = QuantizedDetector(detector, recipe)
    _make_trainable(quantized, config.qat)
    return quantized


def recipe_of(checkpoint: Path) -> Recipe:
    """How the detector of a run's checkpoint is quantized.

    Raises:
        EdgedetError: it is not.
    """
    detector = load_checkpoint(checkpoint).detector
    if not isinstance(detector, QuantizedDetector):
        fix = "start the run again"
        raise EdgedetError("the run's checkpoint is not quantized, as its settings say", where=checkpoint, fix=fix)
    return detector.recipe


def _gating(
    config: PGConfig,
    teacher: Detector,
    end_of: Callable[[str, GatedConv], float],
    images: Sequence[Tensor],
    keep_float: Sequence[str],
) -> Gating:
    """Where the gates are, of the settings or by `placed`."""
    how = {name: getattr(config, name) for name in ("bits", "high_bits", "granularity", "tile")}
    gating = Gating(layers=config.layers or (), **how)
    if config.layers is not None:
        return gating
    network = traced(teacher)
    layers = gateable(network)
    if config.bits > BITS_OF_EDGES:
        # Of what is rounded to 8 bits no more can be split.
        edges = [edge for edge in find_edges(network) if edge.name in keep_float]
        layers = tuple(layer for layer in layers if any(layer in readers_in(network, edge) for edge in edges))
        if not layers:
            what = f"no convolution reads an edge that is kept float, of which alone {config.bits} bits can be split"
            fix = "keep edges float that lose with 8 bits, see `edgedet quantize --sensitivity`: --set qat.keep_float="
            raise EdgedetError(what, where="qat.pg.bits", fix=fix)
    if config.share < 1.0:
        found = [one for one in candidates(teacher, end_of, images, gating) if one.layer in layers]
        layers = placed(found, config.share)
    if not layers:
        fix = "give a larger share, or name the layers"
        raise EdgedetError("no convolution is left to gate", where="qat.pg.share", fix=fix)
    return gating.model_copy(update={"layers": layers})


def _make_trainable(quantized: QuantizedDetector, config: QATConfig) -> None:
    make_grids_move(quantized, config.method)
    if config.pg is not None and config.pg.thresholds == "learned":
        let_thresholds_learn(quantized)


class Quantization:
    """What quantization-aware training adds to each step of a run.

    Args:
        config: its settings.
        detector: the one that is trained, on its device.
        teacher: the float detector that it was made of.
        total_steps: of the run.
        whole_images: gives batches `[B, 3, H, W]` of training images without augmentation.
    """

    def __init__(
        self,
        config: QATConfig,
        detector: QuantizedDetector,
        teacher: Detector,
        total_steps: int,
        whole_images: Callable[[], Iterable[Tensor]],
    ) -> None:
        self._config = config
        self._detector = detector
        self._teacher = teacher.eval().requires_grad_(False)
        self._statistics_held_from = math.ceil(config.hold_batch_norm_from * total_steps)
        self._grids_held_from = math.ceil(config.hold_grids_from * total_steps)
        self._total_steps = total_steps
        self._whole_images = whole_images
        self.oscillation = Oscillation(detector)
        self._updates = torch.zeros(2)

    def prepare_step(self, step: int) -> None:
        """Puts the detector into training mode, but for what stands still from some step on."""
        if step == self._statistics_held_from:
            estimate_statistics(self._detector.eval(), self._whole_images())
        self._detector.train()
        if step >= self._statistics_held_from:
            hold_statistics(self._detector)
        if step >= self._grids_held_from:
            hold_grids(self._detector)

    def losses(self, images: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """What is minimised besides the detector's own loss, by name."""
        found: dict[str, Tensor] = {}
        if self._config.distill > 0:
            with torch.no_grad():
                taught = self._teacher(images)
            found["distillation"] = self._config.distill * distillation_loss(logits, taught)
        if self._config.method == "pact":
            found["clipping"] = self._config.pact_decay * squared_clipping_ends(self._detector)
        if self._config.pg is not None:
            found["thresholds"] = self._config.pg.pull * pull(self._detector)
            self._updates = self._updates.to(images.device) + updates(self._detector)
        return found

    def statistics(self) -> dict[str, float]:
        """What an epoch's record has besides losses: asked for once, at its end."""
        found = {"oscillating_weights": self.oscillation.share()}
        if self._config.pg is not None:
            made, possible = self._updates.tolist()
            found["open_gates"] = made / max(possible, 1.0)
            self._updates.zero_()
        return found

    def moving(self, step: int) -> AbstractContextManager[None]:
        """Around the optimizer's step."""
        return moving(self._detector, hold=step >= self._grids_held_from)

    def finish(self, judged: DetectionNetwork) -> None:
        """Where BatchNorm's statistics were never held, estimates those of the weights that are kept.

        Weights that were trained beside held statistics are fitted to them: others would not fit.
        """
        if self._statistics_held_from >= self._total_steps:
            estimate_statistics(judged.eval(), self._whole_images())


def whole_images(
    samples: Sequence[Sample], count: int, preprocess: Preprocess, batch: int, device: torch.device
) -> Iterator[Tensor]:
    """Batches `[B, 3, H, W]` of at most `count` images spread over the samples, as inference sees them."""
    chosen = list(spread(samples, min(count, len(samples)))) if count else []
    for first in range(0, len(chosen), batch):
        part = tensors(chosen[first : first + batch], preprocess, no_progress, read_image_or_grey)
        yield torch.cat([image for image, _ in part]).to(device)
