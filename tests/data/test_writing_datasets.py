"""What is written is what was read, in the layout that other tools expect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from handmade_datasets import coco, labelled, voc_xml, write_coco, write_image, write_text, write_voc, write_yolo
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.data.check import check_dataset
from edgedet.data.convert import convert
from edgedet.data.find import read_dataset
from edgedet.data.sample import Dataset
from edgedet.data.writing import new_folder
from edgedet.errors import EdgedetError

FORMATS = ["coco", "voc", "yolo"]


def converted(root: Path, format: str, out: Path) -> Dataset:
    convert(read_dataset(root), format, out)
    return read_dataset(out)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    value = coco([(5, "a.jpg"), (8, "b.jpg")], [(5, 17, [10, 20, 30, 40]), (5, 3, [0.5, 1.25, 2, 3])])
    write_coco(tmp_path / "root", "train", value)
    write_coco(tmp_path / "root", "val", coco([(5, "c.jpg")], [(5, 3, [0, 0, 80, 60])]))
    return tmp_path / "root"


class TestLayouts:
    def test_coco(self, root: Path, tmp_path: Path) -> None:
        converted(root, "coco", tmp_path / "out")
        value = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
        assert value["images"][1] == {"id": 8, "file_name": "b.jpg", "height": 60, "width": 80}
        assert value["annotations"][0] == {
            "id": 1,
            "image_id": 5,
            "category_id": 17,
            "bbox": [10, 20, 30, 40],
            "area": 1200,
            "iscrowd": 0,
            "segmentation": [],
        }
        assert [(category["id"], category["name"]) for category in value["categories"]] == [(3, "cat"), (17, "dog")]
        assert (tmp_path / "out/images/train/a.jpg").read_bytes() == (root / "images/train/a.jpg").read_bytes()

    def test_voc(self, root: Path, tmp_path: Path) -> None:
        converted(root, "voc", tmp_path / "out")
        assert (tmp_path / "out/ImageSets/Main/train.txt").read_text() == "a\nb\n"
        assert (tmp_path / "out/JPEGImages/a.jpg").read_bytes() == (root / "images/train/a.jpg").read_bytes()
        tree = ElementTree.parse(tmp_path / "out/Annotations/a.xml").getroot()
        assert tree.findtext("filename") == "a.jpg"
        assert [tree.findtext(f"size/{key}") for key in ("width", "height", "depth")] == ["80", "60", "3"]
        boxes = [[item.text for item in corners] for corners in tree.iter("bndbox")]
        assert boxes == [["11", "21", "41", "61"], ["1.5", "2.25", "3.5", "5.25"]]
        assert [item.tag for item in next(tree.iter("bndbox"))] == ["xmin", "ymin", "xmax", "ymax"]

    def test_yolo(self, root: Path, tmp_path: Path) -> None:
        converted(root, "yolo", tmp_path / "out")
        values = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
        assert values == {"train": "images/train", "val": "images/val", "names": {0: "cat", 1: "dog"}}
        lines = (tmp_path / "out/labels/train/a.txt").read_text().splitlines()
        assert lines[0] == "1 0.3125 0.66666667 0.375 0.66666667"
        assert (tmp_path / "out/labels/train/b.txt").read_text() == ""
        assert (tmp_path / "out/images/val/c.jpg").is_file()


class TestConversion:
    @pytest.mark.parametrize("format", FORMATS)
    def test_what_is_written_has_no_fault(self, root: Path, format: str, tmp_path: Path) -> None:
        dataset = converted(root, format, tmp_path / "out")
        assert dataset.format == format
        assert check_dataset(dataset) == ()
        assert labelled(dataset, "train") == [[("dog", [10, 20, 40, 60]), ("cat", [0.5, 1.25, 2.5, 4.25])], []]
        assert labelled(dataset, "val") == [[("cat", [0, 0, 80, 60])]]

    def test_bad_boxes_are_left_out_with_a_note(self, tmp_path: Path) -> None:
        root = write_voc(tmp_path / "voc", {"train": {"a": [("cat", 5, 5, 5, 5), ("cat", 71, 1, 99, 11)]}})
        conversion = convert(read_dataset(root), "coco", tmp_path / "out")
        assert conversion.boxes == 1
        (note,) = conversion.notes
        assert "1 box without area" in note
        assert labelled(read_dataset(tmp_path / "out"), "train") == [[("cat", [70, 0, 80, 10])]]

    def test_ignored_objects_survive_where_the_format_knows_them(self, tmp_path: Path) -> None:
        root = write_voc(tmp_path / "root", {"train": {"a": [("cat", 1, 1, 9, 9, 1), ("cat", 11, 11, 19, 19)]}})
        for format in ("coco", "voc"):
            (sample,) = converted(root, format, tmp_path / format).splits["train"]
            assert sample.ignore.tolist() == [True, False]
        conversion = convert(read_dataset(root), "yolo", tmp_path / "yolo")
        assert (conversion.boxes, len(conversion.notes)) == (1, 1)
        assert labelled(read_dataset(tmp_path / "yolo"), "train") == [[("cat", [10, 10, 18, 18])]]

    def test_coco_keeps_ids_and_areas(self, root: Path, tmp_path: Path) -> None:
        before, after = read_dataset(root), converted(root, "coco", tmp_path / "out")
        assert after.category_ids == before.category_ids == (3, 17)
        for old, new in zip(before.splits["train"], after.splits["train"], strict=True):
            assert old.image_id == new.image_id
            assert np.array_equal(old.areas, new.areas)  # type: ignore[arg-type]

    def test_union_splits_are_lists_in_voc_and_left_out_elsewhere(self, tmp_path: Path) -> None:
        root = write_voc(tmp_path / "voc", {"train": {"a": [("cat", 1, 1, 9, 9)]}, "val": {"b": []}})
        write_text(root / "ImageSets/Main/trainval.txt", "a\nb\n")
        assert list(converted(root, "voc", tmp_path / "out").splits) == ["train", "val", "trainval"]
        assert len(list((tmp_path / "out/JPEGImages").iterdir())) == 2
        conversion = convert(read_dataset(root), "coco", tmp_path / "coco")
        assert dict(conversion.images) == {"train": 1, "val": 1}
        assert "trainval" in conversion.notes[0]

    @pytest.mark.parametrize("format", FORMATS)
    def test_images_of_one_name_stay_apart(self, format: str, tmp_path: Path) -> None:
        root = tmp_path / "yolo"
        for folder, share in (("x", 0.2), ("y", 0.4), ("Z", 0.6)):
            name = "A.jpg" if folder == "Z" else "a.jpg"
            write_image(root / f"images/{folder}/{name}")
            write_text(root / f"labels/{folder}/{name[0]}.txt", f"0 0.5 0.5 {share} {share}")
        write_image(root / "images/x/a.png")
        write_text(root / "labels/x/b.txt", "")
        write_text(root / "data.yaml", "train: [images/x, images/y]\nval: images/Z\nnames: [cat]\n")
        dataset = converted(root, format, tmp_path / "out")
        widths = [
            [round(float(box[2] - box[0])) for box in s.boxes]
            for split in ("train", "val")
            for s in dataset.splits[split]
        ]
        assert widths == [[16], [16], [32], [48]]
        assert len({sample.image.read_bytes() for samples in dataset.splits.values() for sample in samples}) == 4
        assert len({sample.image.stem.lower() for samples in dataset.splits.values() for sample in samples}) == 4

    @pytest.mark.parametrize("format", FORMATS)
    @pytest.mark.parametrize("name", ["a b (1).jpg", "ä 细胞.jpg", "-rf.jpg", "x\ny.jpg", "100%&<>'\".jpg", " a .jpg"])
    def test_awkward_file_names(self, format: str, name: str, tmp_path: Path) -> None:
        write_coco(tmp_path / "root", "train", coco([(1, name)], [(1, 3, [1, 2, 3, 4])]))
        dataset = converted(tmp_path / "root", format, tmp_path / "out")
        assert labelled(dataset, "train") == [[("cat", [1, 2, 4, 6])]]
        assert check_dataset(dataset) == ()

    @pytest.mark.parametrize("format", FORMATS)
    @pytest.mark.parametrize("name", ["R&B <x>", "ä 细胞", "null", "0", "a: b #c", "'\"", "two\nlines", "a\x01b"])
    def test_awkward_class_names(self, format: str, name: str, tmp_path: Path) -> None:
        write_coco(tmp_path / "root", "train", coco([(1, "a.jpg")], [(1, 1, [1, 2, 3, 4])], {1: name}))
        dataset = converted(tmp_path / "root", format, tmp_path / "out")
        expected = name.replace("\x01", "?") if format == "voc" else name
        assert dataset.class_names == (expected,)

    def test_images_that_cannot_be_read_are_left_out(self, root: Path, tmp_path: Path) -> None:
        (root / "images/train/a.jpg").write_text("no image")
        conversion = convert(read_dataset(root), "yolo", tmp_path / "out")
        assert dict(conversion.images) == {"train": 1, "val": 1}
        assert "1 image that cannot be read" in conversion.notes[0]

    def test_a_split_whose_annotations_cannot_be_read(self, root: Path, tmp_path: Path) -> None:
        write_text(root / "annotations/instances_train.json", '{"images": [')
        with pytest.raises(EdgedetError, match="not valid JSON") as error:
            convert(read_dataset(root), "yolo", tmp_path / "out")
        assert "instances_train.json" in str(error.value.where)
        assert not (tmp_path / "out").exists()

    def test_labels_that_are_not_understood_are_noted(self, tmp_path: Path) -> None:
        write_yolo(tmp_path / "root", {"train": {"a": "0 .5 .5 .1 .1\n7 .5 .5 .1 .1\n"}})
        conversion = convert(read_dataset(tmp_path / "root"), "coco", tmp_path / "out")
        assert conversion.boxes == 1
        assert any("1 unknown-class" in note for note in conversion.notes)

    def test_among_its_own_images(self, root: Path) -> None:
        with pytest.raises(EdgedetError, match="among the images"):
            convert(read_dataset(root), "voc", root / "images/train/new")

    def test_nothing_to_convert(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        write_text(root / "Annotations/a.xml", voc_xml())
        with pytest.raises(EdgedetError, match="no image can be used"):
            convert(read_dataset(root), "coco", tmp_path / "out")
        write_image(root / "JPEGImages/a.jpg")
        with pytest.raises(EdgedetError, match="no class"):
            convert(read_dataset(root), "coco", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_an_unknown_format(self, root: Path, tmp_path: Path) -> None:
        with pytest.raises(EdgedetError, match="'yool'") as error:
            convert(read_dataset(root), "yool", tmp_path / "out")
        assert "did you mean 'yolo'" in str(error.value)

    def test_bccd(self, bccd: Path, tmp_path: Path) -> None:
        before = read_dataset(bccd)
        after = converted(bccd, "yolo", tmp_path / "out")
        for split in ("train", "val", "test"):
            expected = [[item for item in objects if item[1][0] < item[1][2]] for objects in labelled(before, split)]
            assert labelled(after, split) == expected


COORDINATE = st.floats(0, 1, width=32)
OBJECT = st.tuples(
    st.sampled_from(["cat", "dog", "owl"]), COORDINATE, COORDINATE, COORDINATE, COORDINATE, st.booleans()
)


@settings(max_examples=25, deadline=None)
@given(images=st.lists(st.lists(OBJECT, max_size=6), min_size=1, max_size=3).filter(any))
def test_round_trip_through_all_formats(images: list[list[tuple]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """COCO to VOC to YOLO to COCO: the boxes come back within a hundredth of a pixel, in order, with their names."""
    folder = tmp_path_factory.mktemp("round")
    annotations: list[tuple[int, int, list[Any]]] = []
    ids = {"cat": 2, "dog": 5, "owl": 90}
    expected: list[list[tuple[str, list[float]]]] = []
    for image_id, objects in enumerate(images):
        expected.append([])
        for name, x, y, w, h, _ in objects:
            left, top, width, height = 79 * x, 59 * y, 1 + w * (79 - 79 * x), 1 + h * (59 - 59 * y)
            annotations.append((image_id, ids[name], [left, top, width, height]))
            expected[-1].append((name, [left, top, left + width, top + height]))
    names = {category_id: name for name, category_id in ids.items()}
    write_coco(folder / "0", "train", coco([(i, f"{i}.jpg") for i in range(len(images))], annotations, names))
    for step, format in enumerate(["voc", "yolo", "coco"]):
        convert(read_dataset(folder / str(step)), format, folder / str(step + 1))
    result = labelled(read_dataset(folder / "3"), "train")
    assert [[name for name, _ in objects] for objects in result] == [[name for name, _ in o] for o in expected]
    flat = [box for objects in result for _, box in objects]
    assert np.allclose(flat, [box for objects in expected for _, box in objects], atol=0.011)


class TestOutputFolder:
    @pytest.mark.parametrize("taken", ["file", "folder"])
    def test_what_is_there_is_not_touched(self, root: Path, taken: str, tmp_path: Path) -> None:
        out = tmp_path / "out"
        kept = write_text(out if taken == "file" else out / "notes.txt", "mine")
        with pytest.raises(EdgedetError, match="there already") as error:
            convert(read_dataset(root), "voc", out)
        assert error.value.exit_code == 2
        assert kept.read_text() == "mine"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "root"]

    def test_an_empty_folder_is_filled(self, root: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        assert len(converted(root, "voc", tmp_path / "out").splits) == 2

    def test_an_exception_leaves_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "a/out") as folder:
            write_text(folder / "half", "written")
            raise KeyboardInterrupt
        assert list((tmp_path / "a").iterdir()) == []

    def test_a_full_disk_is_one_message(self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(source: Path, target: Path) -> None:
            raise OSError(28, "No space left on device", str(target))

        monkeypatch.setattr("edgedet.data.convert.shutil.copyfile", full)
        with pytest.raises(EdgedetError, match="No space left"):
            convert(read_dataset(root), "voc", tmp_path / "out")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["root"]

    def test_a_place_that_cannot_be_written(self, root: Path, tmp_path: Path) -> None:
        blocked = write_text(tmp_path / "file", "")
        with pytest.raises(EdgedetError, match="cannot write"):
            convert(read_dataset(root), "voc", blocked / "out")


def test_yolo_can_be_moved(tmp_path: Path) -> None:
    """The yaml names no folder of this machine."""
    root = write_yolo(tmp_path / "a", {"train": {"x": "0 0.5 0.5 0.5 0.5"}})
    converted(root, "yolo", tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "moved")
    assert len(read_dataset(tmp_path / "moved").splits["train"][0].boxes) == 1
