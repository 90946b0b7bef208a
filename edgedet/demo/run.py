"""Generate images, train on them, export, evaluate both files, draw detections, measure latency, write a page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.bench.measure import measure
from edgedet.bench.result import Result
from edgedet.bench.settings import Settings
from edgedet.config import parse
from edgedet.data.synth import synthesize
from edgedet.demo.page import page
from edgedet.evaluate.run import evaluate_model
from edgedet.files import require_writable_folder, write_text
from edgedet.graph.export import Export, export_model
from edgedet.runtime.load import load_detector
from edgedet.runtime.predict import predict
from edgedet.runtime.sources import open_source
from edgedet.train.config import TrainConfig
from edgedet.train.loop import train
from edgedet.train.reporter import Reporter

IMAGES, CLASSES, SIZE = 300, 3, 192
DRAWN = 6


@dataclass(frozen=True)
class Demo:
    """What the demo made and measured.

    Attributes:
        page: the page to look at.
        export: the exported file and how well it agrees with the checkpoint.
        map: mAP50-95 on the test split, of the checkpoint and of the exported file.
        latency: of the exported file, by number of threads.
        seconds: each step took.
    """

    page: Path
    export: Export
    map: dict[str, float | None]
    latency: dict[int, Result]
    seconds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """A plain record, ready for JSON."""
        return {
            "page": str(self.page),
            "export": self.export.to_dict(),
            "map": self.map,
            "latency": {str(threads): latency.model_dump(mode="json") for threads, latency in self.latency.items()},
            "seconds": self.seconds,
        }


def run_demo(out: Path, *, model: str, epochs: int, seed: int, threads: tuple[int, ...], reporter: Reporter) -> Demo:
    """Does the main job in the folder `out`, which is made where it is missing.

    Args:
        out: gets `data-SEED/`, `run/`, `model.onnx`, `predictions/` and `index.html`.
        model: a name of `edgedet models`.
        epochs: of the training.
        seed: of the images and the training.
        threads: to measure latency at.
        reporter: who watches the training.
    """
    require_writable_folder(out)
    seconds: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        reporter.message(f"{name} ...")
        started = time.perf_counter()
        yield
        seconds[name] = round(time.perf_counter() - started, 2)

    data, run, onnx_file = out / f"data-{seed}", out / "run", out / "model.onnx"
    with step("generate images"):
        if not data.exists():
            synthesize(data, images=IMAGES, classes=CLASSES, size=SIZE, format="coco", seed=seed)
    with step("train"):
        config = parse(
            TrainConfig,
            {
                "data": str(data),
                "model": model,
                "imgsz": SIZE,
                "epochs": epochs,
                "seed": seed,
                "eval_every": 5,
            },
        )
        train(config, run, overwrite=True, reporter=reporter)
    with step("export"):
        export = export_model(str(run / "best.pt"), onnx_file, data=data)
    with step("evaluate"):
        files = {"checkpoint": run / "best.pt", "ONNX file": onnx_file}
        metrics = {name: evaluate_model(file, data, split="test").metrics for name, file in files.items()}
    with step("detect"):
        source = open_source(str(data / "images" / "test"))
        for _ in predict(load_detector(onnx_file), source, out=out / "predictions", limit=DRAWN):
            pass
    with step("measure latency"):
        latency = {count: measure(onnx_file, Settings(threads=count, duration=1.0)).result for count in threads}
    demo = Demo(
        out / "index.html",
        export,
        {name: metric.to_dict()["map"] for name, metric in metrics.items()},
        latency,
        seconds,
    )
    pictures = {
        "Predictions on validation images": run / "predictions.png",
        "Training": run / "curves.png",
        "Precision over recall": run / "precision_recall.png",
    }
    write_text(demo.page, page(demo.to_dict(), pictures))
    return demo
