"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgedet.data.image_cache import cache_sizes
from edgedet.errors import CheckFailedError, EdgedetError
from edgedet.evaluate.run import evaluate
from edgedet.interrupt import StopRequest, deferred_interrupt
from edgedet.losses import detection
from edgedet.losses.targets import Targets, moved
from edgedet.models.checkpoint import save_checkpoint
from edgedet.models.detector import DecodedDetector, DetectionNetwork
from edgedet.models.quantized.detector import QuantizedDetector
from edgedet.models.quantized.provenance import stamped
from edgedet.models.weights import load_backbone_weights
from edgedet.runtime.backends.torch import TorchBackend
from edgedet.runtime.detector import Detector as RuntimeDetector
from edgedet.runtime.load import load_detector
from edgedet.spec import Preprocess
from edgedet.train.config import TrainConfig
from edgedet.train.dropping import prepare_dropblocks
from edgedet.train.folder import RunFolder, require_free, resume_folder, start_folder
from edgedet.train.loader import Batch, TrainingSet, make_loader, read_image_or_grey
from edgedet.train.optimizer import learning_rate, set_learning_rate
from edgedet.train.pictures import draw_run
from edgedet.train.qat import calibrated, check_qat_settings, recipe_of, require_float_checkpoint_of, uncalibrated
from edgedet.train.reporter import Reporter, SilentReporter
from edgedet.train.run import (
    Run,
    build,
    check_settings,
    check_settings_for,
    launch,
    mean_over_processes,
    prepare,
    read_data,
    require_same_data,
    return_to_checkpoint,
    specification,
    start_from,
    teacher_of,
)
from edgedet.train.state import capture

EVALUATIONS_A_RUN = 20
MAX_MOSAIC_FREE_SHARE = 0.25


@dataclass(frozen=True)
class TrainResult:
    """What a finished run leaves.

    Attributes:
        folder: the run's folder.
        best_map: highest mAP on the validation split, as a fraction.
        records: the lines of `metrics.jsonl`.
        quantized: whether the detector computes in INT8.
        is_global_zero: whether this is the first of the run's processes: the one to tell people about it.
    """

    folder: Path
    best_map: float
    records: list[dict[str, Any]]
    quantized: bool = False
    is_global_zero: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it, with the last epoch's record only."""
        return {
            "folder": str(self.folder),
            "best_map": self.best_map,
            "quantized": self.quantized,
            "last_epoch": self.records[-1],
        }


def train(
    config: TrainConfig,
    out: Path,
    *,
    init: Path | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> TrainResult:
    """Trains a detector from the start and leaves `best.pt`, `last.pt`, `config.yaml`, `metrics.jsonl` and pictures.

    Args:
        config: the settings.
        out: folder of the run; must hold no run yet unless `overwrite`.
        init: checkpoint whose weights to start from; quantization-aware training needs one, and learns from it.
        overwrite: replace a run in `out`.
        reporter: who watches.

    Raises:
        EdgedetError: the settings or the data cannot be used.
        CheckFailedError: the loss became infinite or not a number.
        KeyboardInterrupt: after a Ctrl-C, with the state saved.
    """
    check_settings(config)
    check_qat_settings(config, init)
    require_free(out, overwrite=overwrite)
    fabric, config = launch(config, out)
    reporter = reporter if reporter is not None and fabric.is_global_zero else SilentReporter()
    data = read_data(config, reporter)
    require_same_data(fabric, data, config.data)
    check_settings_for(config, data.class_names)
    spec = specification(config, data.class_names)
    detector: DetectionNetwork
    float_detector = detector = build(config, data.class_names)
    if config.weights is not None:
        weights = "imagenet" if config.weights == "imagenet" else Path(config.weights)
        load_backbone_weights(float_detector.backbone, weights)
    if init is not None:
        start_from(float_detector, init)
    if config.qat is not None and init is not None:
        require_float_checkpoint_of(spec, init)
        detector = calibrated(config, float_detector.eval(), data.train, spec.preprocess)
    teacher = teacher_of(config.teacher, fabric, float_detector, spec)
    # Nothing that was there before is touched until everything that can be wrong was looked at.
    if fabric.is_global_zero:
        start_folder(out, config, overwrite=overwrite)
    fabric.barrier()
    run = prepare(config, fabric, RunFolder(out), data, detector, float_detector, teacher, reporter)
    # From here on the run can be resumed, whatever its weights were started from; and a full disk shows now.
    try:
        taught_by = float_detector if teacher is None else teacher.detector
        if (config.qat is not None or teacher is not None) and fabric.is_global_zero:
            save_checkpoint(run.folder.teacher, taught_by, spec)
        _save_last(run)
    except EdgedetError:
        run.folder.abandon()
        raise
    return _finish(run)


def resume(out: Path, *, reporter: Reporter | None = None) -> TrainResult:
    """Goes on with a run that was cut off, from its last checkpoint, to the same end as if it had not been."""
    folder, config = resume_folder(out)
    fabric, config = launch(config, out)
    reporter = reporter if reporter is not None and fabric.is_global_zero else SilentReporter()
    data = read_data(config, reporter)
    require_same_data(fabric, data, config.data)
    detector: DetectionNetwork
    float_detector = detector = build(config, data.class_names)
    if config.qat is not None:
        start_from(float_detector, folder.teacher)
        detector = uncalibrated(config, float_detector, recipe_of(folder.last))
    kept = config.teacher and config.teacher.model_copy(update={"checkpoint": str(folder.teacher)})
    teacher = teacher_of(kept, fabric, float_detector, specification(config, data.class_names))
    run = prepare(config, fabric, folder, data, detector, float_detector, teacher, reporter)
    return_to_checkpoint(run)
    return _finish(run)


def _finish(run: Run) -> TrainResult:
    run.reporter.start(run.progress.step, run.plan.total_steps, run.config.batch)
    try:
        with deferred_interrupt() as stop:
            _run_steps(run, stop)
    finally:
        run.reporter.finish()
    if run.fabric.is_global_zero:
        draw_run(run.folder, run.history.records, load_detector(run.folder.best), run.data.val)
    best_map, records = run.fabric.broadcast((run.progress.best_map, run.history.records))
    return TrainResult(run.folder.root, best_map, records, run.quantization is not None, run.fabric.is_global_zero)


def _run_steps(run: Run, stop: StopRequest) -> None:
    if run.quantization is not None and run.progress.step == 0:
        _keep_calibrated(run)
    run.model.train()
    started = time.perf_counter()
    for batch in _batches(run):
        loss = _step(run, batch)
        run.progress.step += 1
        run.progress.seconds += time.perf_counter() - started
        epoch = (run.progress.step - 1) // run.plan.steps_per_epoch
        run.reporter.step(epoch, loss)
        stopping = _any_process(run, stop.wanted)
        if run.progress.step % run.plan.steps_per_epoch == 0:
            _end_epoch(run, epoch)
            _save_last(run)
        elif stopping or _checkpoint_is_due(run):
            _save_last(run)
        if stopping:
            raise KeyboardInterrupt
        started = time.perf_counter()


def _batches(run: Run) -> Iterable[Batch]:
    pin_memory = run.fabric.device.type == "cuda"
    workers = run.config.workers
    return make_loader(_training_set(run), run.plan, run.progress.step, workers=workers, pin_memory=pin_memory)


def _training_set(run: Run) -> TrainingSet:
    config = run.config
    mosaic_free = min(config.close_mosaic_epochs, int(MAX_MOSAIC_FREE_SHARE * config.epochs))
    largest = max(run.plan.size(step) for step in range(run.plan.total_steps)) if config.multi_scale else config.imgsz
    return TrainingSet(
        run.data.train,
        config.augment,
        run.plan,
        mosaic_epochs=config.epochs - mosaic_free,
        max_size=largest,
        cache=cache_sizes(config.cache_mib, config.workers),
    )


def _step(run: Run, batch: Batch) -> float:
    config, progress = run.config, run.progress
    rate = learning_rate(progress.step, run.plan.total_steps, run.plan.steps_per_epoch, config.optimizer)
    set_learning_rate(run.optimizer, rate)
    images, targets = to_device(batch, run.spec.preprocess, run.fabric.device)
    points, strides = run.detector.points(images.shape[2], images.shape[3])
    if run.quantization is not None:
        run.quantization.prepare_step(progress.step)
    prepare_dropblocks(run.detector, run.plan, progress.step)
    logits = run.model(images)
    parts = detection.detection_loss(
        config.network.head,
        logits,
        points.to(images.device),
        strides.to(images.device),
        targets,
        run.detector.num_classes,
        config.loss,
        mean=partial(mean_over_processes, run.fabric),
    )
    if run.quantization is not None:
        parts |= run.quantization.losses(images, logits)
    if run.teacher is not None:
        parts |= run.teacher.losses(images, logits)
    total = detection.total(parts)
    _require_finite(total, "loss", run, batch)
    run.optimizer.zero_grad()
    run.fabric.backward(total)
    norm = run.fabric.clip_gradients(
        run.model, run.optimizer, max_norm=config.optimizer.clip_norm, error_if_nonfinite=False
    )
    if config.precision != "16-mixed":  # the loss scaler skips such steps by design
        _require_finite(norm, "gradient", run, batch)
    with nullcontext() if run.quantization is None else run.quantization.moving(progress.step):
        run.optimizer.step()
    if run.quantization is not None:
        run.quantization.oscillation.update()
    if run.ema is not None:
        run.ema.update(run.detector, progress.step)
    names = ["loss", *(f"loss_{name}" for name in parts)]
    values = mean_over_processes(run.fabric, torch.stack([total, *parts.values()]).detach()).tolist()
    for name, value in zip(names, values, strict=True):
        progress.loss_sums[name] = progress.loss_sums.get(name, 0.0) + value
    return values[0]


def to_device(batch: Batch, preprocess: Preprocess, device: torch.device) -> tuple[Tensor, list[Targets]]:
    """Normalised images `[B, 3, S, S]` float32 RGB, channels last in memory, and their targets."""
    images = batch.images.to(device, non_blocking=True).permute(0, 3, 1, 2).flip(1).float()
    mean = torch.tensor(preprocess.mean, device=device).view(3, 1, 1) * 255
    std = torch.tensor(preprocess.std, device=device).view(3, 1, 1) * 255
    images = (images - mean).div_(std).contiguous(memory_format=torch.channels_last)
    return images, moved(batch.targets, device)


def _require_finite(value: Tensor | None, what: str, run: Run, batch: Batch) -> None:
    if value is None or bool(value.detach().isfinite().all()):
        return
    dataset = _training_set(run)
    names = ", ".join(dict.fromkeys(image.name for key in batch.keys for image in dataset.images(key)))
    raise CheckFailedError(
        f"the {what} is not finite at step {run.progress.step}; the batch's images: {names}",
        where=run.folder.root,
        fix="lower the learning rate (--set optimizer.lr=...), or look at these images with `edgedet data show`",
    )


def _end_epoch(run: Run, epoch: int) -> None:
    config, progress = run.config, run.progress
    steps = run.plan.steps_per_epoch
    record: dict[str, Any] = {
        "epoch": epoch + 1,
        "step": progress.step,
        "lr": run.optimizer.param_groups[0]["lr"],
        **{name: total / steps for name, total in progress.loss_sums.items()},
        "seconds": round(progress.seconds, 3),
        "images_per_second": round(steps * config.batch / max(progress.seconds, 1e-9), 2),
    }
    if run.quantization is not None:
        record |= run.quantization.statistics()
        if epoch + 1 == config.epochs:
            run.quantization.finish(run.judged)
    every = config.eval_every or max(1, config.epochs // EVALUATIONS_A_RUN)
    if (epoch + 1) % every == 0 or epoch + 1 == config.epochs:
        started = time.perf_counter()
        record |= _evaluate(run)
        record["eval_seconds"] = round(time.perf_counter() - started, 3)
    progress.loss_sums = {}
    progress.seconds = 0.0
    if run.fabric.is_global_zero:
        run.history.append(record)
        run.reporter.epoch(record)
        numbers = {name: value for name, value in record.items() if isinstance(value, int | float)}
        run.fabric.log_dict(numbers, step=progress.step)


def _evaluate(run: Run) -> dict[str, Any]:
    """Metrics on the validation split; a new best is kept."""
    result: dict[str, Any] = {}
    if run.fabric.is_global_zero:
        size = run.spec.preprocess
        decoded = DecodedDetector(run.judged, size.height, size.width)
        detector = RuntimeDetector(TorchBackend(decoded, run.fabric.device), run.spec)
        evaluation = evaluate(
            detector, run.data.val, run.data.class_names, batch=run.config.batch, read=read_image_or_grey
        )
        result = evaluation.metrics.to_dict()
        del result["classes"]
        reached = result["map"] if result["map"] is not None else 0.0
        if reached > run.progress.best_map:
            run.progress.best_map = reached
            _save(run, run.folder.best)
    run.fabric.barrier()
    run.model.train()
    return result


def _keep_calibrated(run: Run) -> None:
    """What the run starts from is its first best: training that only harms leaves it."""
    found = _evaluate(run)["map"] if run.fabric.is_global_zero else _evaluate(run)
    if run.fabric.is_global_zero:
        run.reporter.message(f"calibrated, before training: mAP50-95 {found or 0:.4f}")


def _any_process(run: Run, wanted: bool) -> bool:
    """Processes must stop at the same step: one that goes on alone waits for the others forever."""
    if run.fabric.world_size == 1:
        return wanted
    return bool(mean_over_processes(run.fabric, torch.tensor(float(wanted), device=run.fabric.device)) > 0)


def _checkpoint_is_due(run: Run) -> bool:
    every = run.config.checkpoint_every
    return every is not None and run.progress.step % every == 0


def _save_last(run: Run) -> None:
    if run.fabric.is_global_zero:
        precision = run.fabric._precision.state_dict()
        training = capture(
            run.progress,
            run.detector,
            run.optimizer.optimizer,
            precision,
            run.data.fingerprint,
            None if run.quantization is None else run.quantization.oscillation.state_dict(),
        )
        _save(run, run.folder.last, training=training)
    run.fabric.barrier()


def _save(run: Run, path: Path, training: Any = None) -> None:
    if isinstance(run.judged, QuantizedDetector):
        run.judged.recipe = stamped(run.judged)
    save_checkpoint(path, run.judged, run.spec, training=training)
