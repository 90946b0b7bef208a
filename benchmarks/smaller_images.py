"""What a detector finds on images decoded at a half or a quarter of their size, beside images that were resized.

    python benchmarks/smaller_images.py DATA BEST.pt [BEST.pt ...] [--split test] [--imgsz 320 160]

Training decodes JPEGs no larger than it needs (`edgedet.data.images.read_smaller_image`); every runtime decodes them
whole and resizes them. A trained detector sees the difference here: mAP50-95 of both, at input sizes for which images
are decoded smaller.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from protocol import print_protocol

from edgedet.data.find import read_dataset, split_of
from edgedet.data.images import read_smaller_image
from edgedet.data.sample import Sample
from edgedet.evaluate.run import evaluate
from edgedet.models.checkpoint import load_checkpoint
from edgedet.quant.ptq import runtime_of
from edgedet.runtime.detector import Detector


def detector_at(checkpoint: Path, side: int) -> Detector:
    loaded = load_checkpoint(checkpoint)
    preprocess = loaded.spec.preprocess.model_copy(update={"height": side, "width": side})
    return runtime_of(loaded.detector.eval(), loaded.spec.model_copy(update={"preprocess": preprocess}))


def map_of_smaller(detector: Detector, samples: Sequence[Sample], names: Sequence[str]) -> tuple[float, set[int]]:
    """mAP50-95, and how many times smaller images were decoded."""
    side = detector.spec.preprocess.width
    reductions = {sample.image: read_smaller_image(sample.image, side)[1] for sample in samples}
    smaller = [
        replace(one, boxes=one.boxes / np.float32(reductions[one.image]), size=None, areas=None) for one in samples
    ]

    def read(path: Path) -> NDArray[np.uint8]:
        return read_smaller_image(path, side)[0]

    return evaluate(detector, smaller, names, batch=1, read=read).metrics.map, set(reductions.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--split", default="test")
    parser.add_argument("--imgsz", type=int, nargs="+", default=[320, 160])
    arguments = parser.parse_args()
    dataset = read_dataset(arguments.data)
    samples = split_of(dataset, arguments.split)
    print("| detector | input | decoded at | resized | decoded smaller | difference |\n|" + " --- |" * 6)
    for checkpoint in arguments.checkpoints:
        for side in arguments.imgsz:
            detector = detector_at(checkpoint, side)
            whole = evaluate(detector, samples, dataset.class_names, batch=1).metrics.map
            smaller, reductions = map_of_smaller(detector, samples, dataset.class_names)
            parts = ", ".join(f"1/{one}" for one in sorted(reductions))
            found = f"{whole:.4f} | {smaller:.4f} | {smaller - whole:+.4f}"
            print(f"| {checkpoint.parent.name} | {side} | {parts} | {found} |", flush=True)
    print_protocol("edgedet", "torch", "opencv-python-headless", split=arguments.split)


if __name__ == "__main__":
    main()
