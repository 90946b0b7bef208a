"""Settings of a training run. The full resolved configuration is kept in the run's folder."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgedet.config import Frozen
from edgedet.data.augment.config import AugmentConfig
from edgedet.losses.config import LossConfig
from edgedet.ops.gated_conv.definition import Granularity

Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]


class OptimizerConfig(Frozen):
    """The optimizer and its schedule: linear warm-up, then half a cosine.

    Attributes:
        name: `adamw`, or `sgd` with Nesterov momentum.
        lr: peak learning rate; the default was chosen for batches of 8.
        final_lr: learning rate at the end, as a share of the peak.
        warmup_epochs: length of the warm-up, at most a quarter of the run.
        weight_decay: of convolution weights; biases and BatchNorm are not decayed.
        momentum: of SGD.
        clip_norm: gradients are scaled down to this norm.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    lr: Positive = 3e-3
    final_lr: Annotated[float, Field(ge=0.0, le=1.0)] = 0.02
    warmup_epochs: NotNegative = 3.0
    weight_decay: NotNegative = 0.05
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    clip_norm: Positive = 35.0


Share = Annotated[float, Field(ge=0.0, le=1.0)]


class PGConfig(Frozen):
    """Precision gating in quantization-aware training (`edgedet.models.quantized.gated`).

    Attributes:
        bits: of a gated convolution's activations where the gate is open; more than 8 are two passes of 8 bits, for
            edges of `keep_float`.
        high_bits: of these, where it is closed.
        granularity: what a decision is for: one output `element` (the paper's), one `pixel`, or a `tile` of pixels.
        tile: side of a tile in positions.
        layers: module paths of the convolutions to gate; None chooses them by what their high bits alone do to the
            logits on calibration images, and by their multiply-accumulates.
        share: of the multiply-accumulates that can be gated, which are; where `layers` is None.
        open: share of the outputs that is updated at the start, and that the thresholds are pulled to; 0 and 1 leave
            convolutions of the high bits, and of all.
        pull: weight of the squared distance of the thresholds from their start, in standard deviations, in the loss.
        thresholds: `learned`; or for comparison: `kept` where they started, or `one` number for all channels of all
            layers, in the units of their results, which is the fixed threshold that the paper compares with.
    """

    bits: Annotated[int, Field(ge=2, le=16)] = 8
    high_bits: Annotated[int, Field(ge=1, le=8)] = 4
    granularity: Granularity = "element"
    tile: Annotated[int, Field(ge=1, le=64)] = 8
    layers: tuple[str, ...] | None = None
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    open: Share = 0.3
    pull: NotNegative = 1e-2
    thresholds: Literal["learned", "kept", "one"] = "learned"


class QATConfig(Frozen):
    """Quantization-aware training of a calibrated detector.

    Attributes:
        method: how the grids move: `lsq` learns their steps, `pact` learns where activations are clipped, `observed`
            follows the largest activations; with the last two each channel's grid ends at its largest weight.
        keep_float: edges that are not rounded, see `edgedet quantize`.
        calibration: how the grids' ends are chosen at the start, of `edgedet.quant.ranges.METHODS`.
        images: how many training images they are chosen on; None means 128, or all where there are fewer.
        hold_grids_from: share of the run after which the grids stand still.
        hold_batch_norm_from: share of the run after which BatchNorm's statistics stand still and are used. They are
            estimated again then, on whole training images; with 1, at the end of the run, for the averaged weights.
        estimate_images: how many images that is done on; 0 keeps the running statistics.
        distill: weight of the loss against the float detector's scores and box distributions.
        pact_decay: of the squares of `pact`'s clipping ends, in the loss.
        pg: precision gating; None gives every convolution its whole input.
    """

    method: Literal["lsq", "pact", "observed"] = "lsq"
    keep_float: tuple[str, ...] = ()
    calibration: str = "mse"
    images: Count | None = None
    hold_grids_from: Share = 0.75
    hold_batch_norm_from: Share = 0.5
    estimate_images: Annotated[int, Field(ge=0)] = 400
    distill: NotNegative = 1.0
    pact_decay: NotNegative = 1e-4
    pg: PGConfig | None = None


class TeacherConfig(Frozen):
    """Distillation from a trained detector of any backbone.

    Temperatures, and the weight of the box distributions, are those of localization distillation (LD, Zheng et al.,
    CVPR 2022, in its main region). LD distils scores with a softmax over all classes; of the sigmoid head's own form,
    the weight is unconfirmed.

    Attributes:
        checkpoint: path of a float checkpoint of the same classes and strides; both detectors have the head `gfl`.
        classification: weight of the divergence from the teacher's scores; 0 leaves it out.
        localisation: weight of the divergence from the teacher's box distributions; 0 leaves it out. Not both are 0.
        temperature_classification: by which the logits of scores are divided.
        temperature_localisation: by which the logits of box distributions are divided.
    """

    checkpoint: str
    classification: NotNegative = 1.0
    localisation: NotNegative = 0.25
    temperature_classification: Positive = 2.0
    temperature_localisation: Positive = 10.0


class NetworkConfig(Frozen):
    """What the detector is built of besides its backbone (`edgedet.models.zoo.build_detector`).

    Attributes:
        head: `gfl`, `fcos`, `ssdlite` or `yolo`.
        spp: spatial pyramid pooling on the coarsest map.
        se: squeeze and excitation in the neck.
        dropblock: probability that DropBlock drops a cell of the neck's coarse maps at the end of the run; it grows
            from 0 over the run.
        dropblock_size: side of a dropped block in cells.
    """

    head: Literal["gfl", "fcos", "ssdlite", "yolo"] = "gfl"
    spp: bool = False
    se: bool = False
    dropblock: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    dropblock_size: Count = 7


class TrainConfig(Frozen):
    """A training run.

    Attributes:
        data: path of the dataset.
        train_split: split to learn from.
        val_split: split by which the best checkpoint is chosen.
        model: a name of `edgedet models`.
        activation: None means the backbone's native one.
        weights: backbone weights: `imagenet`, the path of a torchvision state dict, or None for random ones.
        imgsz: side of the square input in pixels, a multiple of 32.
        epochs: passes over the training split.
        batch: images a step, over all processes.
        seed: of every random choice.
        precision: of the arithmetic, as Lightning Fabric names it.
        devices: number of devices (processes).
        accelerator: as Lightning Fabric names it.
        cuda_graph: record the network's kernels once and start them together, where the GPU waits for the host.
        workers: loader processes; 0 loads in the main process.
        threads: for computing on a CPU, in each process; None means all cores but one, which loads. The bits of a
            result depend on it.
        cache_mib: memory for decoded images, over all workers; half of it, and 192 MiB at least, for the latest ones.
        multi_scale: the input side is drawn for each step from `1 - multi_scale .. 1 + multi_scale` times `imgsz`.
        close_mosaic_epochs: the last epochs see single images: no mosaics, splits, Mixup and CutMix; at most a quarter
            of the run.
        ema: evaluate and save an exponential moving average of the weights.
        eval_every: epochs between evaluations; the last is always evaluated. None means 20 over the run.
        checkpoint_every: steps between checkpoints within an epoch; None means at the end of each epoch only.
        tensorboard: also write TensorBoard event files.
        network: what else the detector is built of.
        loss: what is minimised.
        optimizer: the optimizer and its schedule.
        augment: what each training image goes through.
        teacher: a trained detector to learn from besides the boxes; of float training.
        qat: quantization-aware training; None means float.
    """

    data: str
    train_split: str = "train"
    val_split: str = "val"
    model: str = "shufflenetv2_1.0x"
    activation: str | None = None
    weights: str | None = None
    imgsz: int = 320
    epochs: Count = 100
    batch: Count = 8
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    devices: Count = 1
    accelerator: Literal["auto", "cpu", "cuda", "gpu", "mps"] = "auto"
    cuda_graph: bool = False
    workers: Annotated[int, Field(ge=0, le=256)] = 1
    threads: Count | None = None
    cache_mib: Annotated[int, Field(ge=0)] = 1024
    multi_scale: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    close_mosaic_epochs: Annotated[int, Field(ge=0)] = 25
    ema: bool = True
    eval_every: Count | None = None
    checkpoint_every: Count | None = None
    tensorboard: bool = False
    network: NetworkConfig = NetworkConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    augment: AugmentConfig = AugmentConfig()
    teacher: TeacherConfig | None = None
    qat: QATConfig | None = None
