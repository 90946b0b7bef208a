"""Accuracy and cost of training from random weights: ours beside YOLOv8n's and YOLO11n's, on the same images.

    python benchmarks/accuracy_peers.py DATA OUT [--models mobilenetv2_0.5 shufflenetv2_1.0x] [--peers yolov8n yolo11n]
    python benchmarks/accuracy_peers.py DATA OUT --epochs 100 --imgsz 320 --seeds 0 1 2 --threads 2 --device cuda
    python benchmarks/accuracy_peers.py DATA OUT -- --set loss.assigner=tal        options of edgedet train, for ours
    python benchmarks/accuracy_peers.py DATA OUT --table                           of what is done

Needs the package `ultralytics`, which is AGPL and no dependency: run it with the Python of an environment that
`peer_environment.py` makes. Nothing is downloaded, neither weights nor fonts.

Each learns by its own default recipe, in float32. The same for all are the images, their size, the epochs, the cores,
and with --batch the batch (without, 8 for ours and 16 for peers, which are their defaults). Of --threads cores edgedet
leaves one to the process that loads; on a CPU a peer computes with all of them, and loads in between. Both choose their
best.pt on the split `val`.

That file is measured on the split `test`, by edgedet's evaluator for all: a square input, everything with a score above
.001, a box for each class that it scores in, at most 300 an image, after the NMS that each has by default. Beside it
stands what Ultralytics' own validator says of the file: mAP50-95, mAP50. Minutes are those of the whole training
command, which validates as well, and of all its processes.

A run is kept in OUT/NAME-SEED; a finished one is not done again.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from options import split
from protocol import print_protocol

from edgedet.data.convert import convert
from edgedet.data.find import read_dataset, split_of
from edgedet.data.images import read_image
from edgedet.evaluate.predictions import category_ids, write_results
from edgedet.files import write_json
from edgedet.models.checkpoint import load_checkpoint
from edgedet.runtime.results import Detections

SPLIT = "test"
PEER_PACKAGES = ("ultralytics", "torchvision")
PEER_BATCH = 16
PEER_DEVICES = {"cpu": "cpu", "cuda": "0"}
PEER_TEST = {"conf": 0.001, "iou": 0.7, "max_det": 300}
IMAGES_AT_ONCE = 16
HEADINGS = (
    "model",
    "parameters, M",
    "seeds",
    "mAP50-95",
    "from, to",
    "mAP50",
    "by its own validator",
    "minutes",
    "CPU minutes",
)


@dataclass(frozen=True)
class Run:
    """One training of one model, and what it leaves in its folder.

    Attributes:
        name: the model's.
        seed: of the training.
        folder: of the run.
    """

    name: str
    seed: int
    folder: Path

    @property
    def log(self) -> Path:
        """What the run's processes say."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def cost(self) -> Path:
        """What a finished training took."""
        return self.folder / "training.json"

    @property
    def found(self) -> Path:
        """What a finished test found."""
        return self.folder / "test.json"

    @property
    def results(self) -> Path:
        """A peer's detections, as a COCO results file."""
        return self.folder / "results.json"

    @property
    def peer_says(self) -> Path:
        """What the process that tests a peer reports."""
        return self.folder / "peer.json"

    @property
    def peer_best(self) -> Path:
        """The checkpoint that a peer chose."""
        return self.folder / "weights" / "best.pt"


def run_of(arguments: argparse.Namespace, name: str, seed: int) -> Run:
    return Run(name, seed, arguments.out / f"{name}-{seed}")


def train_all(arguments: argparse.Namespace) -> bool:
    """Every model with the first seed, then with the next; whether all of them succeeded."""
    runs = [run_of(arguments, name, seed) for seed in arguments.seeds for name in (*arguments.models, *arguments.peers)]
    with ThreadPoolExecutor(arguments.parallel, initializer=take_cores, initargs=(core_sets(arguments),)) as pool:
        done = [pool.submit(train_and_test, arguments, run) for run in runs]
    for run, future in zip(runs, done, strict=True):
        if future.exception() is not None:
            print(f"{run.name}, seed {run.seed}: {future.exception()} (see {run.log})", file=sys.stderr)
    return all(future.exception() is None for future in done)


def core_sets(arguments: argparse.Namespace) -> SimpleQueue[Sequence[int]]:
    """The cores of each of the runs that go on at once."""
    cores = sorted(os.sched_getaffinity(0))
    sets: SimpleQueue[Sequence[int]] = SimpleQueue()
    for number in range(arguments.parallel):
        sets.put(cores[number * arguments.threads : (number + 1) * arguments.threads])
    return sets


def take_cores(sets: SimpleQueue[Sequence[int]]) -> None:
    """Binds this thread, and the processes that it starts, to cores of its own."""
    os.sched_setaffinity(0, sets.get())


def train_and_test(arguments: argparse.Namespace, run: Run) -> None:
    """One run, as far as it is not done yet."""
    peer = run.name in arguments.peers
    run.folder.mkdir(parents=True, exist_ok=True)
    if not run.cost.exists():
        command = peer_command(arguments, "train", run) if peer else training_command(arguments, run)
        write_json(run.cost, timed(command, run, environment(arguments)))
    if not run.found.exists():
        write_json(run.found, test_peer(arguments, run) if peer else test_ours(arguments, run))


def training_command(arguments: argparse.Namespace, run: Run) -> list[str]:
    """Trains one of ours. The user's options come last, and win."""
    same = [
        "--epochs",
        arguments.epochs,
        "--imgsz",
        arguments.imgsz,
        "--seed",
        run.seed,
        "--workers",
        workers(arguments),
    ]
    batch = [] if arguments.batch is None else ["--batch", arguments.batch]
    place = ["--out", run.folder, "--overwrite", "--set", f"accelerator={arguments.device}"]
    return edgedet("train", arguments.data, "--model", run.name, *same, *batch, *place, *arguments.options)


def workers(arguments: argparse.Namespace) -> int:
    """Loader processes: one beside a CPU that computes (Ultralytics starts none there), all cores but one for a GPU."""
    return 1 if arguments.device == "cpu" else max(1, arguments.threads - 1)


def edgedet(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edgedet", *map(str, arguments)]


def peer_command(arguments: argparse.Namespace, step: str, run: Run) -> list[str]:
    """This script once more, with the same arguments, for one step of one peer."""
    one = ["--seeds", str(run.seed), f"--{step}-peer", run.name]
    return [sys.executable, __file__, *arguments.own, *one]


def environment(arguments: argparse.Namespace) -> dict[str, str]:
    """Of a run's processes: the threads, and an Ultralytics that stays in OUT and off the network."""
    ultralytics = {"YOLO_CONFIG_DIR": str(arguments.out / "ultralytics"), "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0"}
    return {**os.environ, "OMP_NUM_THREADS": str(arguments.threads), **ultralytics}


def timed(command: Sequence[str], run: Run, variables: Mapping[str, str]) -> dict[str, float]:
    """Runs a command to its end; the seconds by the clock, and those of its processes on the CPU."""
    started = time.perf_counter()
    with run.log.open("a", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=variables)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {"seconds": time.perf_counter() - started, "cpu_seconds": usage.ru_utime + usage.ru_stime}


def test_ours(arguments: argparse.Namespace, run: Run) -> dict[str, Any]:
    best = run.folder / "best.pt"
    evaluation = evaluate(arguments, run, best, arguments.data, "--device", arguments.device)
    return {**evaluation, "parameters": parameters(load_checkpoint(best).detector)}


def test_peer(arguments: argparse.Namespace, run: Run) -> dict[str, Any]:
    timed(peer_command(arguments, "test", run), run, environment(arguments))
    return {**evaluate(arguments, run, "--predictions", run.results, arguments.data), **read_json(run.peer_says)}


def evaluate(arguments: argparse.Namespace, run: Run, *what: object) -> dict[str, Any]:
    """What edgedet's evaluator says, of a checkpoint or of a results file."""
    command = edgedet("eval", *what, "--split", SPLIT, "--json")
    with run.log.open("a", encoding="utf-8") as log:
        variables = environment(arguments)
        told = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=log, env=variables)
    return json.loads(told.stdout)


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def prepare(arguments: argparse.Namespace) -> None:
    """What peers need in OUT: the images in YOLO's layout, and a font where Ultralytics would download one.

    It asks for fonts whether anything is drawn or not. Matplotlib's stands in; nothing is drawn.
    """
    dataset = read_dataset(arguments.data)
    for name in ("train", "val", SPLIT):
        split_of(dataset, name)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not arguments.peers:
        return
    if not yolo_folder(arguments).exists():
        convert(dataset, "yolo", yolo_folder(arguments))
    import matplotlib

    settings = arguments.out / "ultralytics" / "Ultralytics"
    settings.mkdir(parents=True, exist_ok=True)
    for name in ("Arial.ttf", "Arial.Unicode.ttf"):
        shutil.copyfile(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), settings / name)


def yolo_folder(arguments: argparse.Namespace) -> Path:
    return arguments.out / "data"


def ultralytics_model(arguments: argparse.Namespace, source: str | Path) -> Any:
    """Ultralytics' model of a checkpoint, or of a name with random weights.

    Wherever Ultralytics chooses the CPU, it sets torch's threads to a number of its own.
    """
    from ultralytics import YOLO
    from ultralytics.utils import torch_utils

    torch_utils.NUM_THREADS = arguments.threads
    return YOLO(source)


def peer_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What training and validation of a peer are told alike."""
    return {
        "data": str(yolo_folder(arguments) / "data.yaml"),
        "imgsz": arguments.imgsz,
        "batch": arguments.batch or PEER_BATCH,
        "device": PEER_DEVICES[arguments.device],
        "workers": workers(arguments),
        "plots": False,
        "exist_ok": True,
    }


def train_peer(arguments: argparse.Namespace, run: Run) -> None:
    """By its own recipe, but in float32: mixed precision is first checked with weights that are downloaded."""
    model = ultralytics_model(arguments, f"{run.name}.yaml")
    place = {"project": str(arguments.out), "name": run.folder.name}
    random = {"pretrained": False, "seed": run.seed, "amp": False}
    model.train(epochs=arguments.epochs, **random, **place, **peer_settings(arguments))
    if arguments.device == "cpu" and torch.get_num_threads() != arguments.threads:
        raise SystemExit(f"trained with {torch.get_num_threads()} threads: this Ultralytics chooses them elsewhere")


def examine_peer(arguments: argparse.Namespace, run: Run) -> None:
    """Writes a peer's detections, and what it says of itself."""
    dataset = read_dataset(arguments.data)
    samples = split_of(dataset, SPLIT)
    model = ultralytics_model(arguments, run.peer_best)
    size = parameters(model.model)
    found: list[Detections] = []
    for start in range(0, len(samples), IMAGES_AT_ONCE):
        images = [read_image(sample.image) for sample in samples[start : start + IMAGES_AT_ONCE]]
        found += detect(arguments, model, images, dataset.class_names)
    write_results(run.results, samples, found, category_ids(dataset))
    place = {"project": str(run.folder), "name": "validator"}
    box = (
        ultralytics_model(arguments, run.peer_best)
        .val(split=SPLIT, **PEER_TEST, **place, **peer_settings(arguments))
        .box
    )
    write_json(run.peer_says, {"parameters": size, "own_map": float(box.map), "own_map50": float(box.map50)})


def detect(
    arguments: argparse.Namespace, model: Any, images: Sequence[np.ndarray], class_names: tuple[str, ...]
) -> list[Detections]:
    """What a peer finds on images as edgedet reads them."""
    settings = {"imgsz": arguments.imgsz, "rect": False, "device": PEER_DEVICES[arguments.device], "verbose": False}
    found = model.predict(images, predictor=every_class_predictor(), **PEER_TEST, **settings)
    boxes = [result.boxes.cpu().numpy() for result in found]
    return [Detections(one.xyxy, one.conf, one.cls.astype(np.int64), class_names) for one in boxes]


def every_class_predictor() -> type:
    """Ultralytics' predictor with the NMS of its validator, which gives a box every class that it scores in.

    The predictor's own keeps the best class alone, and edgedet's NMS does not: accuracy would be lower by that.
    """
    from ultralytics.models.yolo.detect import DetectionPredictor
    from ultralytics.utils.nms import non_max_suppression

    class EveryClassPredictor(DetectionPredictor):
        def postprocess(self, preds: Any, img: torch.Tensor, orig_imgs: list[np.ndarray]) -> list[Any]:
            settings = {"max_det": self.args.max_det, "end2end": getattr(self.model, "end2end", False)}
            found = non_max_suppression(preds, self.args.conf, self.args.iou, multi_label=True, **settings)
            return self.construct_results(found, img, orig_imgs)

    return EveryClassPredictor


def print_table(arguments: argparse.Namespace) -> None:
    print(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}")
    for name in (*arguments.models, *arguments.peers):
        runs = [run_of(arguments, name, seed) for seed in arguments.seeds]
        finished = [{**read_json(run.cost), **read_json(run.found)} for run in runs if run.found.exists()]
        if finished:
            print(row(name, finished))


def row(name: str, finished: Sequence[Mapping[str, Any]]) -> str:
    scores = [one["map"] for one in finished]
    own = "-"
    if "own_map" in finished[0]:
        own = f"{mean(finished, 'own_map'):.4f}, {mean(finished, 'own_map50'):.4f}"
    cells = (
        name,
        f"{finished[0]['parameters'] / 1e6:.2f}",
        str(len(finished)),
        f"{mean(finished, 'map'):.4f}",
        f"{min(scores):.4f}, {max(scores):.4f}",
        f"{mean(finished, 'map50'):.4f}",
        own,
        f"{mean(finished, 'seconds') / 60:.1f}",
        f"{mean(finished, 'cpu_seconds') / 60:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def mean(finished: Sequence[Mapping[str, Any]], key: str) -> float:
    return statistics.mean(one[key] for one in finished)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", nargs="*", default=["mobilenetv2_0.5", "shufflenetv2_1.0x"])
    parser.add_argument("--peers", nargs="*", default=["yolov8n", "yolo11n"])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, help="for all; without it each has its default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=2, help="cores of each run")
    parser.add_argument("--parallel", type=int, default=1, help="runs at once")
    parser.add_argument("--device", choices=list(PEER_DEVICES), default="cpu")
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--train-peer", help=argparse.SUPPRESS)
    parser.add_argument("--test-peer", help=argparse.SUPPRESS)
    own, options = split(sys.argv[1:])
    arguments = parser.parse_args(own, argparse.Namespace(own=own, options=options))
    arguments.out = arguments.out.absolute()
    cores = len(os.sched_getaffinity(0))
    starts_runs = not (arguments.table or arguments.train_peer or arguments.test_peer)
    if starts_runs and arguments.threads * arguments.parallel > cores:
        parser.error(f"{arguments.parallel} runs of {arguments.threads} threads, but only {cores} cores may be used")
    if starts_runs and arguments.peers and (missing := [name for name in PEER_PACKAGES if not importable(name)]):
        what = f"{' and '.join(missing)} cannot be imported by {sys.executable}"
        parser.error(f"{what}: make an environment by benchmarks/peer_environment.py, and run this with its Python")
    return arguments


def importable(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def main() -> None:
    arguments = parsed()
    if arguments.train_peer:
        return train_peer(arguments, run_of(arguments, arguments.train_peer, arguments.seeds[0]))
    if arguments.test_peer:
        return examine_peer(arguments, run_of(arguments, arguments.test_peer, arguments.seeds[0]))
    succeeded = True
    if not arguments.table:
        prepare(arguments)
        succeeded = train_all(arguments)
    print_table(arguments)
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu"
    packages = [package for package in ("edgedet", "torch", "ultralytics") if importable(package)]
    same = {name: getattr(arguments, name) for name in ("epochs", "imgsz", "threads", "parallel")}
    batch = arguments.batch or "by default"
    print_protocol(*packages, device=device, **same, batch=batch, options=" ".join(arguments.options) or "defaults")
    sys.exit(0 if succeeded else 1)


if __name__ == "__main__":
    main()
