"""The generated dataset: the same for the same seed, the same in each format, sound, and worth learning from."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from handmade_datasets import labelled

from edgedet.data.check import check_dataset
from edgedet.data.find import read_dataset
from edgedet.data.synth import synthesize
from edgedet.data.synth_scene import MIN_VISIBLE, render_scene
from edgedet.data.synth_shapes import SHAPES
from edgedet.errors import EdgedetError

FORMATS = ["coco", "voc", "yolo"]


def digests(folder: Path, pattern: str = "*") -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob(pattern))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same dataset in each format, in a folder of that name."""
    folder = tmp_path_factory.mktemp("generated")
    for format in FORMATS:
        synthesize(folder / format, images=24, classes=len(SHAPES), size=128, format=format, seed=3)
    return folder


class TestSameness:
    def test_the_same_seed_gives_the_same_bytes_in_another_process(self, generated: Path, tmp_path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from edgedet.data.synth import synthesize\n"
            "for format in sys.argv[2:]: synthesize(Path(sys.argv[1], format), images=24, classes=10, size=128,"
            " format=format, seed=3)"
        )
        subprocess.run([sys.executable, "-c", program, str(tmp_path), *FORMATS], check=True, timeout=60)
        for format in FORMATS:
            assert digests(tmp_path / format) == digests(generated / format)

    def test_the_images_are_the_same_in_each_format(self, generated: Path) -> None:
        images = [sorted(digests(generated / format, "*.jpg").values()) for format in FORMATS]
        assert images[0] == images[1] == images[2]
        assert len(set(images[0])) == 24

    def test_the_labels_are_the_same_in_each_format(self, generated: Path) -> None:
        datasets = [read_dataset(generated / format) for format in FORMATS]
        for split in ("train", "val", "test"):
            labels = [labelled(dataset, split) for dataset in datasets]
            assert labels[0] == labels[1] == labels[2]
            names = [[sample.image.name for sample in dataset.splits[split]] for dataset in datasets]
            assert names[0] == names[1] == names[2]

    def test_another_seed_gives_other_images(self, generated: Path, tmp_path: Path) -> None:
        synthesize(tmp_path / "other", images=24, classes=10, size=128, seed=4)
        assert not set(digests(tmp_path / "other", "*.jpg").values()) & set(digests(generated, "*.jpg").values())

    def test_a_longer_set_begins_like_a_shorter_one(self, generated: Path, tmp_path: Path) -> None:
        synthesize(tmp_path / "long", images=30, classes=10, size=128, seed=3)
        long = {Path(name).name: digest for name, digest in digests(tmp_path / "long", "*.jpg").items()}
        short = {Path(name).name: digest for name, digest in digests(generated / "coco", "*.jpg").items()}
        assert short.items() < long.items()


class TestContent:
    @pytest.mark.parametrize("format", FORMATS)
    def test_it_has_no_fault(self, generated: Path, format: str) -> None:
        dataset = read_dataset(generated / format)
        assert dataset.format == format
        assert check_dataset(dataset) == ()

    def test_splits_share_the_images(self, generated: Path) -> None:
        splits = read_dataset(generated / "coco").splits
        assert {split: len(samples) for split, samples in splits.items()} == {"train": 17, "val": 3, "test": 4}

    def test_it_has_what_makes_detection_hard(self) -> None:
        """Small and large objects, occlusion, cut objects, crowds, and images without any."""
        scenes = [render_scene(np.random.default_rng([0, index]), 160, 5) for index in range(150)]
        counts = np.array([len(scene.boxes) for scene in scenes])
        boxes = np.concatenate([scene.boxes for scene in scenes])
        sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)) / 160
        labels = np.concatenate([scene.labels for scene in scenes])
        assert 0.04 < (counts == 0).mean() < 0.2
        assert counts.max() >= 6
        assert 2.5 < counts.mean() < 5
        assert (sides < 0.14).mean() > 0.15
        assert (sides > 0.3).mean() > 0.15
        assert ((boxes == 0) | (boxes == 160)).any(axis=1).mean() > 0.05
        assert np.bincount(labels, minlength=5).min() > 0.12 * len(labels)
        assert sum(_overlap(scene.boxes) for scene in scenes) > 50

    def test_boxes_fit_the_objects(self) -> None:
        """Drawn over a blank background, an object alone fills its box from side to side."""
        for seed in range(60):
            scene = _lone_object(seed)
            if scene is None:  # Almost all of it lies outside of the image.
                continue
            changed, (x1, y1, x2, y2) = scene
            rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
            assert np.abs([columns[0] - x1, rows[0] - y1, columns[-1] + 1 - x2, rows[-1] + 1 - y2]).max() <= 1

    def test_hidden_objects_are_not_labelled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With every object at one place, only those that show can have a label."""
        monkeypatch.setattr("edgedet.data.synth_scene.SMALLEST", 0.26)
        monkeypatch.setattr("edgedet.data.synth_scene.LARGEST", 0.27)
        for seed in range(10):
            rng = _CentredGenerator(np.random.PCG64(seed))
            scene = render_scene(rng, 128, 1)
            assert len(scene.boxes) <= 1 / MIN_VISIBLE

    def test_shapes_are_told_apart(self) -> None:
        """No two classes have outlines that cover nearly the same area in the best of all turns."""
        masks = {name: [_mask(outline(), turn) for turn in range(0, 360, 15)] for name, outline in SHAPES.items()}
        for first in SHAPES:
            for second in SHAPES:
                if first < second:
                    still = masks[first][0]
                    best = max((still & mask).sum() / (still | mask).sum() for mask in masks[second])
                    assert best < 0.85, (first, second)


class TestArguments:
    @pytest.mark.parametrize(
        ("option", "value"),
        [("images", 2), ("images", -1), ("classes", 0), ("classes", 11), ("size", 63), ("size", 10**6), ("seed", -1)],
    )
    def test_values_out_of_range(self, option: str, value: int, tmp_path: Path) -> None:
        with pytest.raises(EdgedetError, match=f"--{option}") as error:
            synthesize(tmp_path / "out", **{option: value})  # type: ignore[arg-type]
        assert error.value.fix is not None
        assert list(tmp_path.iterdir()) == []

    def test_an_unknown_format(self, tmp_path: Path) -> None:
        with pytest.raises(EdgedetError, match="did you mean 'yolo'"):
            synthesize(tmp_path / "out", format="yolov8")

    @pytest.mark.parametrize("images", [3, 20, 100])
    def test_every_split_gets_an_image(self, images: int, tmp_path: Path) -> None:
        written = synthesize(tmp_path / "out", images=images, size=64)
        assert min(written.images.values()) >= 1
        assert sum(written.images.values()) == images
        assert abs(written.images["train"] - 0.7 * images) <= 1.2

    def test_own_splits(self, tmp_path: Path) -> None:
        written = synthesize(tmp_path / "out", images=10, size=64, format="yolo", splits={"train": 4, "val": 1})
        assert dict(written.images) == {"train": 8, "val": 2}
        assert set(read_dataset(tmp_path / "out").splits) == {"train", "val"}

    def test_the_number_of_classes_is_kept_even_if_one_is_never_drawn(self, tmp_path: Path) -> None:
        synthesize(tmp_path / "out", images=3, size=64, classes=10)
        assert read_dataset(tmp_path / "out").class_names == tuple(SHAPES)


class _CentredGenerator(np.random.Generator):
    """Puts every object into the middle of the image."""

    def uniform(self, low: float = 0.0, high: float = 1.0, size: object = None) -> object:  # type: ignore[override]
        if size == 2:
            return np.array([64.0, 64.0])
        return super().uniform(low, high, size)  # type: ignore[call-overload]


def _overlap(boxes: np.ndarray) -> int:
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    return int(((high > low).all(axis=2).sum() - len(boxes)) / 2)


def _lone_object(seed: int) -> tuple[np.ndarray, list[int]] | None:
    from edgedet.data import synth_scene

    rng = np.random.default_rng(seed)
    canvas = np.full((160, 160, 3), 600, np.float32)
    owner = np.full((160, 160), -1, np.int16)
    box, area = synth_scene._draw_object(rng, canvas, owner, 0, seed % len(SHAPES))
    assert area > 0
    changed = np.abs(canvas - 600).max(axis=2) > 150
    return (changed, list(box)) if changed.any() else None


def _mask(outline: tuple[np.ndarray, ...], degrees: int) -> np.ndarray:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    mask = np.zeros((128, 128), np.uint8)
    cv2.fillPoly(mask, [np.rint(polygon @ turn * 60 + 64).astype(np.int32) for polygon in outline], 1)
    return mask.astype(bool)
