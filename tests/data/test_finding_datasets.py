"""From a path to a dataset, and from a dataset to a split."""

from __future__ import annotations

from pathlib import Path

import pytest
from handmade_datasets import coco, write_coco, write_text, write_voc, write_yolo

from edgedet.data.find import read_dataset, split_of
from edgedet.errors import EdgedetError

WRITERS = {
    "coco": lambda root: write_coco(root, "train", coco([(1, "a.jpg")], [])),
    "voc": lambda root: write_voc(root, {"train": {"a": [("cat", 1, 1, 9, 9)]}}),
    "yolo": lambda root: write_yolo(root, {"train": {"a": ""}}),
}


@pytest.mark.parametrize("format", WRITERS)
@pytest.mark.parametrize("depth", ["", "down", "down/down"])
def test_the_format_is_found_up_to_two_folders_down(format: str, depth: str, tmp_path: Path) -> None:
    WRITERS[format](tmp_path / "data" / depth)
    dataset = read_dataset(tmp_path / "data")
    assert dataset.format == format
    assert len(dataset.splits["train"]) == 1


@pytest.mark.parametrize(("format", "file"), [("coco", "annotations/instances_train.json"), ("yolo", "data.yaml")])
def test_a_file_says_what_it_is(format: str, file: str, tmp_path: Path) -> None:
    for write in WRITERS.values():
        write(tmp_path)
    assert read_dataset(tmp_path / file).format == format


def test_two_formats_in_one_folder(tmp_path: Path) -> None:
    WRITERS["voc"](tmp_path)
    WRITERS["yolo"](tmp_path)
    with pytest.raises(EdgedetError, match="more than one dataset") as error:
        read_dataset(tmp_path)
    assert "voc" in str(error.value)
    assert "yolo" in str(error.value)


def test_two_datasets_in_one_folder(tmp_path: Path) -> None:
    for name in ("first", "second"):
        WRITERS["voc"](tmp_path / name)
    with pytest.raises(EdgedetError, match="more than one dataset") as error:
        read_dataset(tmp_path)
    assert str(tmp_path / "second") in str(error.value)


def test_nothing_found_tells_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(EdgedetError) as error:
        read_dataset(tmp_path)
    for word in ("instances_", "Annotations", "data.yaml", str(tmp_path)):
        assert word in str(error.value)


@pytest.mark.parametrize("name", ["missing", "missing.json"])
def test_no_such_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(EdgedetError, match="no such file or folder"):
        read_dataset(tmp_path / name)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(EdgedetError, match="a dataset is a folder"):
        read_dataset(write_text(tmp_path / "a.xml", "<annotation/>"))


class TestSplits:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        root = write_voc(tmp_path, {"train": {"a": []}, "val": {"b": []}})
        write_text(root / "ImageSets/Main/test.txt", "")
        return root

    def test_a_split_by_name(self, root: Path) -> None:
        assert [sample.image.stem for sample in split_of(read_dataset(root), "val")] == ["b"]

    def test_a_misspelt_split(self, root: Path) -> None:
        with pytest.raises(EdgedetError, match="no split 'vla'") as error:
            split_of(read_dataset(root), "vla")
        assert error.value.fix == "did you mean 'val'? splits with images: train (1), val (1)"

    def test_a_split_whose_file_is_broken(self, tmp_path: Path) -> None:
        write_coco(tmp_path / "root", "val", coco([(1, "a.jpg")], []))
        write_text(tmp_path / "root/annotations/instances_train.json", '{"images": [')
        with pytest.raises(EdgedetError, match="not valid JSON") as error:
            split_of(read_dataset(tmp_path / "root"), "train")
        assert "instances_train.json" in str(error.value.where)

    def test_an_empty_split(self, root: Path) -> None:
        with pytest.raises(EdgedetError, match="'test' is empty") as error:
            split_of(read_dataset(root), "test")
        assert error.value.exit_code == 2
        assert "train (1)" in str(error.value)
