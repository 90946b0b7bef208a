"""Images a second of the whole training step, ours beside YOLOv8n's and YOLO11n's: forward, loss, backward, optimizer.

    python benchmarks/training.py DATA [--models shufflenetv2_1.0x shufflenetv2_0.5x] [--threads 2] [--rounds 15]
    python benchmarks/training.py DATA --device cuda --batch 64 --precisions 32-true bf16-mixed 16-mixed \
        --memory "channels last" --ways eager "cuda graph" compiled

Every round takes one step of every contender, one after the other, on the same augmented batch; the figures are
medians over rounds, of the images a second and of each round's quotient with the first peer: in the same way, or eager
where it has none. `compiled` is torch.compile with its defaults, `cuda graph` the setting cuda_graph of edgedet. Peers
are timed where the package `ultralytics` can be imported (`benchmarks/peer_environment.py`): their own model, loss and
default gains, with AdamW. `channels last` and `contiguous` are how images and weights lie in memory; edgedet trains
channels last.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from protocol import print_protocol
from torch import Tensor, nn

from edgedet.data.augment.config import AugmentConfig
from edgedet.data.clean import trainable
from edgedet.data.find import read_dataset, split_of
from edgedet.data.image_cache import cache_sizes
from edgedet.losses.detection import total
from edgedet.losses.gfl import gfl_loss
from edgedet.losses.targets import Targets
from edgedet.models.heads.geometry import anchor_points
from edgedet.models.zoo import build_detector
from edgedet.spec import Preprocess
from edgedet.train.config import OptimizerConfig, TrainConfig
from edgedet.train.cuda_graph import AUTOCAST, record
from edgedet.train.loader import Batch, TrainingSet, make_loader
from edgedet.train.loop import to_device
from edgedet.train.memory import keep_freed_memory
from edgedet.train.optimizer import make_optimizer
from edgedet.train.plan import BatchPlan

PEERS = ("yolov8n", "yolo11n")
EAGER, COMPILED, GRAPH = "eager", "compiled", "cuda graph"
FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}

Loss = Callable[[nn.Module, Tensor, Sequence[Targets]], Tensor]


@dataclass
class Contender:
    """A model in training, with what a step of it needs."""

    name: str
    model: nn.Module
    compute: nn.Module
    loss: Loss
    memory: str
    precision: str
    way: str
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    seconds: list[float]

    def step(self, images: Tensor, targets: Sequence[Targets]) -> None:
        """One step, whose time is kept."""
        device = images.device
        images = images.contiguous(memory_format=FORMATS[self.memory])
        kind = AUTOCAST[self.precision]
        finish(device)
        started = time.perf_counter()
        with nullcontext() if kind is None else torch.autocast(device.type, dtype=kind):
            value = self.loss(self.compute, images, targets)
        self.optimizer.zero_grad()
        self.scaler.scale(value).backward()
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 35.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        finish(device)
        self.seconds.append(time.perf_counter() - started)


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def edgedet_loss(detector: nn.Module, device: torch.device, size: int) -> Loss:
    points, strides = (tensor.to(device) for tensor in anchor_points(size, size, detector.strides))
    return lambda model, images, targets: total(gfl_loss(model(images), points, strides, targets))


def ultralytics_loss(detector: nn.Module, size: int) -> Loss:
    """Their loss of the outputs: boxes as shares of the image, one row for each object."""

    def loss(model: nn.Module, images: Tensor, targets: Sequence[Targets]) -> Tensor:
        boxes = torch.cat([target.boxes for target in targets]) / size
        rows = [torch.full_like(target.labels, image) for image, target in enumerate(targets)]
        batch = {
            "img": images,
            "batch_idx": torch.cat(rows).float(),
            "cls": torch.cat([target.labels for target in targets])[:, None].float(),
            "bboxes": torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], dim=1),
        }
        return detector.loss(batch, model(images))[0].sum()

    return loss


def ultralytics_model(name: str, classes: int) -> nn.Module:
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    model = DetectionModel(f"{name}.yaml", nc=classes, verbose=False)
    model.args = get_cfg()
    return model


def contender(
    arguments: argparse.Namespace, name: str, classes: int, memory: str, precision: str, way: str
) -> Contender:
    device = torch.device(arguments.device)
    torch.manual_seed(0)
    model = ultralytics_model(name, classes) if name in PEERS else build_detector(name, classes)
    model = model.to(device, memory_format=FORMATS[memory]).train()
    size = arguments.imgsz
    loss = ultralytics_loss(model, size) if name in PEERS else edgedet_loss(model, device, size)
    compute = torch.compile(model) if way == COMPILED else model
    if way == GRAPH:
        record(model, TrainConfig(data="", batch=arguments.batch, imgsz=size, precision=precision), device)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "16-mixed")
    optimizer = make_optimizer(model, OptimizerConfig())
    return Contender(name, model, compute, loss, memory, precision, way, optimizer, scaler, [])


def batches(arguments: argparse.Namespace) -> tuple[list[Batch], int]:
    """Augmented batches as edgedet's default run sees them, and the number of classes."""
    dataset = read_dataset(arguments.data)
    samples, _ = trainable(split_of(dataset, arguments.split))
    plan = BatchPlan(len(samples), arguments.batch, 1 + arguments.rounds, 0, arguments.imgsz)
    training_set = TrainingSet(
        samples,
        AugmentConfig(),
        plan,
        mosaic_epochs=plan.epochs,
        max_size=arguments.imgsz,
        cache=cache_sizes(1024, 0),
    )
    loader = make_loader(training_set, plan, 0, workers=0, pin_memory=False)
    return [batch for _, batch in zip(range(min(8, plan.total_steps)), loader, strict=False)], len(dataset.class_names)


def report(contenders: Sequence[Contender], batch: int, warm_up: int) -> None:
    print("| model | way | memory | precision | images/s | slowest, fastest | speed, the peer's = 1 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for one in contenders:
        alike = [two for two in contenders if (two.memory, two.precision) == (one.memory, one.precision)]
        peers = [two for two in alike if two.name in PEERS]
        rival = next((two for two in peers if two.way == one.way), peers[0] if peers else one)
        seconds = one.seconds[warm_up:]
        quotients = [theirs / ours for ours, theirs in zip(seconds, rival.seconds[warm_up:], strict=True)]
        speed = f"{statistics.median(quotients):.2f}" if rival.name in PEERS else "-"
        rates = f"{batch / statistics.median(seconds):.1f} | {batch / max(seconds):.1f}, {batch / min(seconds):.1f}"
        print(f"| {one.name} | {one.way} | {one.memory} | {one.precision} | {rates} | {speed} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--models", nargs="+", default=["shufflenetv2_1.0x", "shufflenetv2_0.5x"])
    parser.add_argument("--precisions", nargs="+", choices=list(AUTOCAST), default=["32-true", "bf16-mixed"])
    parser.add_argument("--memory", nargs="+", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--ways", nargs="+", choices=[EAGER, COMPILED, GRAPH], default=[EAGER])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    found, classes = batches(arguments)
    peers = arguments.peers if importlib.util.find_spec("ultralytics") is not None else ()
    contenders = [
        contender(arguments, name, classes, memory, precision, way)
        for precision in arguments.precisions
        for memory in arguments.memory
        for way in arguments.ways
        for name in (*peers, *arguments.models)
        if way != GRAPH or name not in PEERS
    ]
    preprocess = Preprocess(height=arguments.imgsz, width=arguments.imgsz)
    for round_number in range(arguments.warm_up + arguments.rounds):
        images, targets = to_device(found[round_number % len(found)], preprocess, torch.device(arguments.device))
        for one in contenders:
            one.step(images, targets)
    report(contenders, arguments.batch, arguments.warm_up)
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu"
    packages = ["edgedet", "torch", *(["ultralytics"] if peers else [])]
    settings = {"rounds": arguments.rounds, "imgsz": arguments.imgsz}
    print_protocol(*packages, device=device, threads=arguments.threads, batch=arguments.batch, **settings)


if __name__ == "__main__":
    main()
