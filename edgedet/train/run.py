"""A training run: what it is made of, how it is set up, and how it returns to its last checkpoint."""

from __future__ import annotations

import logging
import os
import platform
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import lightning_fabric
import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import Logger, TensorBoardLogger
from torch import Tensor

import edgedet
from edgedet.config import parse
from edgedet.data.clean import readable, reader_summary, require_known_classes, trainable
from edgedet.data.find import read_dataset, split_of
from edgedet.data.sample import Sample
from edgedet.errors import EdgedetError
from edgedet.files import write_json
from edgedet.losses.detection import require_classes_to_smooth, require_loss_of
from edgedet.models.checkpoint import load_checkpoint
from edgedet.models.detector import INPUT_MULTIPLE, STRIDES, DetectionNetwork, Detector
from edgedet.models.quantized.detector import QuantizedDetector
from edgedet.models.zoo import build_detector, require_dropblock_fits, require_input_size
from edgedet.spec import Spec
from edgedet.train.batch_norm import synchronize_batch_norms
from edgedet.train.config import TeacherConfig, TrainConfig
from edgedet.train.cuda_graph import record, require_graphs, require_recordable
from edgedet.train.ema import ExponentialMovingAverage
from edgedet.train.folder import RunFolder
from edgedet.train.history import History
from edgedet.train.memory import keep_freed_memory
from edgedet.train.optimizer import make_optimizer
from edgedet.train.plan import BatchPlan
from edgedet.train.processes import processes
from edgedet.train.qat import Quantization, whole_images
from edgedet.train.reporter import Reporter
from edgedet.train.state import Progress, data_fingerprint, restore
from edgedet.train.teacher import Teacher, load_teacher


@dataclass(frozen=True)
class Data:
    """What a run learns from and is judged by."""

    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    class_names: tuple[str, ...]
    fingerprint: str


@dataclass
class Run:
    """A run in progress."""

    config: TrainConfig
    folder: RunFolder
    data: Data
    spec: Spec
    plan: BatchPlan
    fabric: Fabric
    detector: DetectionNetwork
    model: Any
    optimizer: Any
    ema: ExponentialMovingAverage | None
    history: History
    reporter: Reporter
    quantization: Quantization | None = None
    teacher: Teacher | None = None
    progress: Progress = field(default_factory=Progress)

    @property
    def judged(self) -> DetectionNetwork:
        """The weights that are evaluated and kept: the average where there is one."""
        return self.detector if self.ema is None else self.ema.model  # type: ignore[return-value]


def launch(config: TrainConfig, root: Path) -> tuple[Fabric, TrainConfig]:
    """Starts the run's processes, or joins those that torchrun started.

    Also the settings with everything filled in that depends on this machine. How many processes torchrun started is
    none of them: a run can be resumed by another number.

    Raises:
        EdgedetError: this machine has no such device, or not so many.
    """
    loggers: list[Logger] = []
    if config.tensorboard:
        loggers.append(TensorBoardLogger(root_dir=root, name="tensorboard", version=""))
    fabric = open_fabric(config, loggers)
    filled = config.model_copy(update={"data": str(Path(config.data).absolute())})
    if config.teacher is not None:
        checkpoint = str(Path(config.teacher.checkpoint).absolute())
        filled = filled.model_copy(update={"teacher": config.teacher.model_copy(update={"checkpoint": checkpoint})})
    if fabric.device.type == "cpu":
        # The bits of a result depend on the threads, so a run keeps those that it was started with.
        per_machine = processes(config.devices, os.environ).per_machine
        filled = filled.model_copy(update={"threads": config.threads or default_threads(per_machine)})
    fabric.launch()
    return fabric, filled


def open_fabric(config: TrainConfig, loggers: Sequence[Logger] = ()) -> Fabric:
    """The devices of a run on this machine; no process is started yet.

    Raises:
        EdgedetError: this machine has no such device, or not so many, or these cannot compute as the settings say.
    """
    started = processes(config.devices, os.environ)
    # Lightning tells of devices and processes in its own words, beside ours.
    for name in ("lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fabric = Fabric(
                accelerator=config.accelerator,
                devices=started.per_machine,
                num_nodes=started.machines,
                precision=config.precision,
                loggers=list(loggers),
            )
    except Exception as error:
        # Fabric raises errors of many classes for devices that are not there.
        what = f"cannot run on {started.per_machine} x {config.accelerator} ({str(error).splitlines()[0]})"
        raise EdgedetError(what, where="accelerator, devices, precision", fix="--set accelerator=cpu") from error
    if config.precision == "16-mixed" and fabric.device.type == "cpu":
        what = "16-mixed needs a GPU: CPUs have no float16 arithmetic"
        raise EdgedetError(what, where="--precision", fix="--precision bf16-mixed")
    if config.cuda_graph:
        require_graphs(fabric.device)
    return fabric


def check_settings(config: TrainConfig) -> None:
    """Refuses what no dataset and no machine could make work."""
    require_input_size(config.imgsz, config.imgsz)
    devices = processes(config.devices, os.environ).total
    if config.batch % devices:
        raise EdgedetError(
            f"a batch of {config.batch} cannot be shared by {devices} devices",
            where="--batch",
            fix=f"use a multiple of {devices}",
        )
    smallest = round(config.imgsz * (1 - config.multi_scale) / INPUT_MULTIPLE) * INPUT_MULTIPLE
    if config.batch == 1 and smallest <= max(STRIDES):
        fix = "use a larger --batch or --imgsz"
        raise EdgedetError(
            f"BatchNorm cannot learn from one image of {smallest} pixels a step: the coarsest map has one cell",
            where="--batch",
            fix=fix,
        )
    require_recordable(config)
    require_loss_of(config.network.head, config.loss)
    require_dropblock_fits(config.network.model_dump(), smallest)
    if config.teacher is not None and config.qat is not None:
        what = "quantization-aware training has the float detector as its teacher"
        raise EdgedetError(what, where="--teacher, --qat", fix="leave one of them out")
    if config.teacher is not None and not config.teacher.classification and not config.teacher.localisation:
        what = "nothing is learned from a teacher whose weights are all 0"
        fix = "set one of them above 0, or leave the teacher out"
        raise EdgedetError(what, where="teacher.classification, teacher.localisation", fix=fix)


def check_settings_for(config: TrainConfig, class_names: Sequence[str]) -> None:
    """Refuses what the dataset's classes do not let work."""
    require_classes_to_smooth(config.loss, len(class_names))


def read_data(config: TrainConfig, reporter: Reporter) -> Data:
    """Reads the run's splits; boxes and images that cannot be learned from are left out with one line."""
    dataset = read_dataset(Path(config.data))
    cleaned = {}
    for split, clean in ((config.train_split, trainable), (config.val_split, readable)):
        samples = split_of(dataset, split)
        require_known_classes(dataset, split)
        cleaned[split], left_out = clean(samples)
        for summary in (reader_summary(dataset, split), left_out):
            if summary:
                reporter.message(f"{split}: {summary}")
        if not cleaned[split]:
            fix = f"run `edgedet data check {config.data}`"
            raise EdgedetError(f"no image of the split {split!r} can be used", where=config.data, fix=fix)
    fingerprint = data_fingerprint(cleaned[config.train_split], dataset.class_names)
    return Data(cleaned[config.train_split], cleaned[config.val_split], dataset.class_names, fingerprint)


def require_same_data(fabric: Fabric, data: Data, where: str) -> None:
    """Refuses machines with different training images, boxes or classes: each plans the whole run's batches by itself.

    Args:
        fabric: launched; every process calls.
        data: of this process.
        where: the dataset's path.
    """
    same = float(fabric.broadcast(data.fingerprint) == data.fingerprint)
    # All processes end with the error, not only those whose data differ: the others would wait for them.
    if mean_over_processes(fabric, torch.tensor(same, device=fabric.device)) != 1.0:
        fix = "give every machine the same dataset"
        raise EdgedetError("the machines see different training images or boxes", where=where, fix=fix)


def build(config: TrainConfig, class_names: Sequence[str]) -> Detector:
    """The detector with the random weights of the run's seed."""
    torch.manual_seed(config.seed)
    return build_detector(config.model, len(class_names), activation=config.activation, **config.network.model_dump())


def specification(config: TrainConfig, class_names: Sequence[str]) -> Spec:
    """What the run's checkpoints say of themselves."""
    size = {"height": config.imgsz, "width": config.imgsz}
    values = {"model": config.model, "class_names": class_names, "strides": STRIDES, "preprocess": size}
    return parse(Spec, values, where=config.data)


def prepare(
    config: TrainConfig,
    fabric: Fabric,
    folder: RunFolder,
    data: Data,
    detector: DetectionNetwork,
    float_detector: Detector,
    teacher: Teacher | None,
    reporter: Reporter,
) -> Run:
    """Puts a run together at its first step, on this process's device.

    Args:
        config: the settings.
        fabric: launched.
        folder: of the run.
        data: what it learns from.
        detector: what learns.
        float_detector: the same in float: what a detector that is quantized learns from.
        teacher: see `teacher_of`.
        reporter: who watches.
    """
    keep_freed_memory()
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    plan = BatchPlan(
        len(data.train),
        config.batch,
        config.epochs,
        config.seed,
        config.imgsz,
        config.multi_scale,
        fabric.global_rank,
        fabric.world_size,
    )
    # Depthwise convolutions are much faster with channels last, on CPUs and GPUs.
    detector = detector.to(device=fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = ExponentialMovingAverage(detector, plan.total_steps) if config.ema else None
    if fabric.world_size > 1:
        synchronize_batch_norms(detector)
    if config.cuda_graph:
        record(detector, config, fabric.device)
    model, optimizer = fabric.setup(detector, make_optimizer(detector, config.optimizer))
    spec = specification(config, data.class_names)
    if fabric.is_global_zero:
        write_json(folder.versions, _versions())
    history = History(folder.metrics, 0)
    quantization = None
    if config.qat is not None:
        assert isinstance(detector, QuantizedDetector)
        taught = float_detector.to(device=fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = partial(
            whole_images, data.train, config.qat.estimate_images, spec.preprocess, config.batch, fabric.device
        )
        quantization = Quantization(config.qat, detector, taught, plan.total_steps, images)
    return Run(
        config=config,
        folder=folder,
        data=data,
        spec=spec,
        plan=plan,
        fabric=fabric,
        detector=detector,
        model=model,
        optimizer=optimizer,
        ema=ema,
        history=history,
        reporter=reporter,
        quantization=quantization,
        teacher=teacher,
    )


def teacher_of(config: TeacherConfig | None, fabric: Fabric, detector: Detector, spec: Spec) -> Teacher | None:
    """The detector that the run's learns from besides its boxes, on this process's device; None without one.

    Raises:
        EdgedetError: it cannot teach this detector.
    """
    if config is None:
        return None
    mean = partial(mean_over_processes, fabric)
    return load_teacher(config, detector, spec, fabric.device, mean, fabric.autocast)


def mean_over_processes(fabric: Fabric, value: Tensor) -> Tensor:
    """The mean of a tensor over the run's processes; every process calls."""
    mean = fabric.all_reduce(value, reduce_op="mean")
    assert isinstance(mean, Tensor)
    return mean


def default_threads(devices: int) -> int:
    """Threads of each process: a core is left free, because threads that wait for one held by the loader collapse."""
    return max(1, (len(os.sched_getaffinity(0)) - 1) // devices)


def return_to_checkpoint(run: Run) -> None:
    """Goes back to the run's last checkpoint (one is written before the first step)."""
    checkpoint = load_checkpoint(run.folder.last)
    oscillation = None if run.quantization is None else run.quantization.oscillation
    run.progress, precision = restore(
        checkpoint.training,
        run.detector,
        run.optimizer.optimizer,
        run.data.fingerprint,
        oscillation,
        where=run.folder.last,
    )
    run.fabric._precision.load_state_dict(precision)
    if run.ema is not None:
        run.ema.model.load_state_dict(checkpoint.detector.state_dict())
    run.history = History(run.folder.metrics, run.progress.step // run.plan.steps_per_epoch)
    run.reporter.message(f"resuming at step {run.progress.step} of {run.plan.total_steps}")


def start_from(detector: Detector, path: Path) -> None:
    """Takes a checkpoint's weights, except those of the outputs where the number of classes differs."""
    source = load_checkpoint(path).float_detector
    if source.architecture["name"] != detector.architecture["name"]:
        fix = f"use --model {source.architecture['name']}, or another checkpoint"
        raise EdgedetError(
            f"a checkpoint of {source.architecture['name']} cannot start a {detector.architecture['name']}",
            where=path,
            fix=fix,
        )
    if source.state_dict().keys() != detector.state_dict().keys():
        fix = "give network (head, spp, se) and activation as they were there, or start from --weights"
        raise EdgedetError("the checkpoint's detector is built in another way", where=path, fix=fix)
    wanted = detector.state_dict()
    fitting = {name: tensor for name, tensor in source.state_dict().items() if tensor.shape == wanted[name].shape}
    detector.load_state_dict({**wanted, **fitting})


def _versions() -> dict[str, str]:
    return {
        "edgedet": edgedet.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning_fabric": lightning_fabric.__version__,
    }
