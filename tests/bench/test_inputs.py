from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from handmade_datasets import write_image
from tiny_onnx import picture, write_tiny_model

from edgedet.bench.inputs import benchmark_split, generated_image, read_input
from edgedet.bench.settings import Input
from edgedet.data.sample import Dataset, Sample
from edgedet.errors import EdgedetError
from edgedet.runtime.load import load_detector

SHAPE = (1, 3, 64, 64)


def test_the_generated_image_is_the_same_every_time_and_has_texture() -> None:
    image = generated_image()
    assert (image.dtype, image.shape) == (np.uint8, (480, 640, 3))
    np.testing.assert_array_equal(image, generated_image())
    assert image.std() > 20


def test_without_images_the_generated_one_is_fed_as_it_is() -> None:
    feed = read_input(Input(), SHAPE)
    (only,) = feed.pictures
    np.testing.assert_array_equal(only.decoded(), generated_image())
    assert feed.source.sha256 == read_input(Input(), SHAPE).source.sha256


def test_a_batch_takes_the_images_in_turn_and_is_never_filled_with_zeros(tmp_path: Path) -> None:
    for name, color in (("a", "red"), ("b", "green")):
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture(64, 64, ((0, 0, 64, 64), color)))
    source = Input(kind="dataset", path=yolo(tmp_path))
    detector = load_detector(write_tiny_model(tmp_path / "free.onnx", batch="N"))
    tensor = read_input(source, SHAPE).batch(detector, 3)
    assert tensor.shape == (3, 3, 64, 64)
    assert [int(row.max(axis=(1, 2)).argmax()) for row in tensor] == [0, 1, 0]


def yolo(folder: Path) -> Path:
    """A dataset of the images in a folder, all of one split."""
    images = folder / "images" / "train"
    images.mkdir(parents=True)
    for image in sorted(folder.glob("*.png")):
        image.rename(images / image.name)
    (folder / "data.yaml").write_text("path: .\ntrain: images/train\nnames: [red, green, blue]\n")
    return folder / "data.yaml"


def test_of_a_dataset_at_most_so_many_images_are_read(tmp_path: Path) -> None:
    for number in range(5):
        write_image(tmp_path / f"{number}.png")
    dataset = yolo(tmp_path)
    names = [Path(one.name).name for one in read_input(Input(kind="dataset", path=dataset, images=3), SHAPE).pictures]
    assert names == ["0.png", "1.png", "2.png"]
    assert len(read_input(Input(kind="dataset", path=dataset), SHAPE).pictures) == 5


def test_the_split_is_the_one_named_else_val_else_the_largest() -> None:
    nothing = np.zeros(0, np.int64)
    sample = Sample(Path("a.png"), 0, np.zeros((0, 4), np.float32), nothing, nothing.astype(bool))

    def of(**sizes: int) -> Dataset:
        splits = {name: (sample,) * size for name, size in sizes.items()}
        return Dataset(Path("d"), "yolo", ("a",), splits)

    assert benchmark_split(of(train=3, val=1), "train") == "train"
    assert benchmark_split(of(train=3, val=1), None) == "val"
    assert benchmark_split(of(train=3, val=0, test=2), None) == "train"
    assert benchmark_split(of(), None) == "val"


def test_a_tensor_is_fed_as_it_is(tmp_path: Path) -> None:
    tensor = np.random.default_rng(0).random(SHAPE, np.float32)
    tensor.tofile(tmp_path / "t.bin")
    feed = read_input(Input(kind="tensor", path=tmp_path / "t.bin"), SHAPE)
    detector = load_detector(write_tiny_model(tmp_path / "m.onnx"))
    np.testing.assert_array_equal(feed.batch(detector, 1), tensor)
    assert feed.pictures == ()


def test_what_cannot_be_fed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short.bin").write_bytes(bytes(8))
    np.full(SHAPE, np.nan, np.float32).tofile(tmp_path / "nan.bin")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    for name, kind, message in (
        ("short.bin", "tensor", "holds 8 bytes; float32 1x3x64x64 takes 49152"),
        ("nan.bin", "tensor", "not finite"),
        ("broken.png", "image", "broken.png"),
        ("missing.png", "image", "cannot read"),
        ("missing", "dataset", "no such file or folder"),
    ):
        with pytest.raises(EdgedetError, match=message):
            read_input(Input.model_validate({"kind": kind, "path": tmp_path / name}), SHAPE)


def test_a_broken_image_is_found_before_anything_is_measured(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"\x89PNG")
    with pytest.raises(EdgedetError, match=r"b\.png"):
        read_input(Input(kind="dataset", path=yolo(tmp_path)), SHAPE)


def test_other_images_than_the_protocols_are_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", seed=1)
    recorded = read_input(Input(kind="image", path=path), SHAPE).source
    moved = path.rename(tmp_path / "moved.png")
    assert read_input(recorded.model_copy(update={"path": moved}), SHAPE).source.sha256 == recorded.sha256
    write_image(path, seed=2)
    with pytest.raises(EdgedetError, match="not the input that the protocol was recorded with"):
        read_input(recorded, SHAPE)
