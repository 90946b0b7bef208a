"""Every kind of fault is found, once, where it is; a sound dataset has none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from handmade_datasets import coco, voc_xml, write_coco, write_image, write_json, write_text, write_voc, write_yolo
from PIL import Image as Pillow

from edgedet.data import faults as kinds
from edgedet.data.check import check_dataset, faulty_samples, union_splits
from edgedet.data.find import read_dataset
from edgedet.data.sample import Fault
from edgedet.errors import EdgedetError


def voc(root: Path) -> Path:
    return write_voc(
        root,
        {
            "train": {"a": [("cat", 11, 11, 31, 31), ("dog", 41, 11, 61, 31)], "b": []},
            "val": {"c": [("cat", 1, 1, 80, 60)]},
        },
    )


def yolo(root: Path) -> Path:
    return write_yolo(root, {"train": {"a": "0 0.5 0.5 0.5 0.5\n1 0.2 0.2 0.2 0.2\n"}, "val": {"b": "0 0.5 0.5 1 1\n"}})


def coco_set(root: Path) -> Path:
    write_coco(root, "train", coco([(1, "a.jpg")], [(1, 3, [10, 10, 20, 20]), (1, 17, [0, 0, 80, 60])]))
    write_coco(root, "val", coco([(1, "b.jpg")], [(1, 3, [10, 10, 20, 20])]))
    return root


def found(root: Path) -> list[Fault]:
    return list(check_dataset(read_dataset(root)))


@pytest.mark.parametrize("write", [voc, yolo, coco_set])
def test_a_sound_dataset_has_no_fault(write: Callable[[Path], Path], tmp_path: Path) -> None:
    assert found(write(tmp_path)) == []


def test_the_known_faults_of_bccd(bccd: Path) -> None:
    faults = check_dataset(read_dataset(bccd))
    assert {(fault.kind, fault.where) for fault in faults} == {
        (kinds.ZERO_AREA, "Annotations/BloodImage_00338.xml: object 13"),
        (kinds.ZERO_AREA, "Annotations/BloodImage_00343.xml: object 4"),
    }
    assert {fault.split for fault in faults} == {"train", "val"}


def _voc_box(*box: object) -> Callable[[Path], None]:
    """Adds a box to the first image, as VOC counts it."""
    return lambda root: _rewrite(root, [("cat", *box)])


def _rewrite(root: Path, objects: list[tuple]) -> None:
    write_text(root / "Annotations/a.xml", voc_xml([*objects, ("dog", 41, 11, 61, 31), ("cat", 11, 11, 31, 31)]))


def _cut(path: str) -> Callable[[Path], None]:
    def cut(root: Path) -> None:
        data = (root / path).read_bytes()
        (root / path).write_bytes(data[: len(data) // 2])

    return cut


def _turned(root: Path) -> None:
    exif = Pillow.Exif()
    exif[274] = 6
    Pillow.open(root / "JPEGImages/b.jpg").save(root / "JPEGImages/b.jpg", exif=exif)


VOC_FAULTS: list[tuple[str, Callable[[Path], object], str, str, str]] = [
    (kinds.MISSING_IMAGE, lambda r: (r / "JPEGImages/b.jpg").unlink(), "JPEGImages/b.jpg", "no such file", "train"),
    (kinds.BROKEN_IMAGE, _cut("JPEGImages/b.jpg"), "JPEGImages/b.jpg", "truncated", "train"),
    (
        kinds.BROKEN_IMAGE,
        lambda r: write_text(r / "JPEGImages/b.jpg", "no"),
        "JPEGImages/b.jpg",
        "known format",
        "train",
    ),
    (kinds.BROKEN_ANNOTATION, _cut("Annotations/b.xml"), "Annotations/b.xml:1", "not valid XML", ""),
    (kinds.MALFORMED_BOX, _voc_box("x", 1, 5, 5), "Annotations/a.xml: object 1", "not four numbers", ""),
    (kinds.NON_FINITE, _voc_box("nan", 1, 5, 5), "Annotations/a.xml: object 1", "nan", "train"),
    (kinds.NON_FINITE, _voc_box(1, 1, "inf", 5), "Annotations/a.xml: object 1", "inf", "train"),
    (kinds.ZERO_AREA, _voc_box(5, 5, 5, 9), "Annotations/a.xml: object 1", "x 4 to 4", "train"),
    (kinds.ZERO_AREA, _voc_box(9, 5, 5, 9), "Annotations/a.xml: object 1", "x 8 to 4", "train"),
    (kinds.OUTSIDE_IMAGE, _voc_box(5, 5, 83, 9), "Annotations/a.xml: object 1", "80x60", "train"),
    (kinds.OUTSIDE_IMAGE, _voc_box(-3, 5, 9, 9), "Annotations/a.xml: object 1", "80x60", "train"),
    (kinds.DUPLICATE_BOX, _voc_box(11, 11, 31, 31), "Annotations/a.xml: object 3", "object 1", "train"),
    (
        kinds.SIZE_MISMATCH,
        lambda r: write_image(r / "JPEGImages/b.jpg", width=70),
        "JPEGImages/b.jpg",
        "70x60",
        "train",
    ),
    (kinds.SIZE_MISMATCH, _turned, "JPEGImages/b.jpg", "EXIF", "train"),
    (
        kinds.UNTRAINED_CLASS,
        lambda r: write_text(r / "Annotations/c.xml", voc_xml([("cta", 1, 1, 9, 9)])),
        "Annotations/c.xml: object 1",
        "'cta'",
        "val",
    ),
    (kinds.IMAGE_WITHOUT_LABELS, lambda r: (r / "Annotations/b.xml").unlink(), "JPEGImages/b.jpg", "missing", "train"),
    (
        kinds.LABEL_WITHOUT_IMAGE,
        lambda r: write_text(r / "Annotations/z.xml", voc_xml()),
        "Annotations/z.xml",
        "'z'",
        "",
    ),
    (
        kinds.SPLIT_OVERLAP,
        lambda r: write_text(r / "ImageSets/Main/val.txt", "c\na\n"),
        "JPEGImages/a.jpg",
        "the same file as JPEGImages/a.jpg in train",
        "val",
    ),
    (
        kinds.SPLIT_OVERLAP,
        lambda r: shutil.copy(r / "JPEGImages/b.jpg", r / "JPEGImages/c.jpg"),
        "JPEGImages/c.jpg",
        "the same bytes as JPEGImages/b.jpg in train",
        "val",
    ),
    (
        kinds.DUPLICATE_IMAGE,
        lambda r: shutil.copy(r / "JPEGImages/a.jpg", r / "JPEGImages/b.jpg"),
        "JPEGImages/b.jpg",
        "the same bytes as JPEGImages/a.jpg",
        "train",
    ),
    (
        kinds.DUPLICATE_IMAGE,
        lambda r: write_text(r / "ImageSets/Main/train.txt", "a\nb\nb\n"),
        "ImageSets/Main/train.txt:3",
        "line 2",
        "train",
    ),
    (kinds.EMPTY_SPLIT, lambda r: write_text(r / "ImageSets/Main/test.txt", "\n"), "", "'test' holds no image", "test"),
    (
        kinds.UNSAFE_PATH,
        lambda r: write_text(r / "ImageSets/Main/val.txt", "c\n../c\n"),
        "ImageSets/Main/val.txt:2",
        "'../c'",
        "val",
    ),
]

YOLO_FAULTS: list[tuple[str, Callable[[Path], object], str, str, str]] = [
    (
        kinds.UNKNOWN_CLASS,
        lambda r: write_text(r / "labels/val/b.txt", "0 0.5 0.5 1 1\n5 0.5 0.5 0.1 0.1\n"),
        "labels/val/b.txt:2",
        "out of range",
        "val",
    ),
    (
        kinds.OUTSIDE_IMAGE,
        lambda r: write_text(r / "labels/val/b.txt", "0 0.9 0.5 0.5 0.5\n"),
        "labels/val/b.txt:1",
        "80x60",
        "val",
    ),
    (
        kinds.ZERO_AREA,
        lambda r: write_text(r / "labels/val/b.txt", "0 0.9 0.5 0 0.5\n"),
        "labels/val/b.txt:1",
        "x 72",
        "val",
    ),
    (kinds.IMAGE_WITHOUT_LABELS, lambda r: (r / "labels/val/b.txt").unlink(), "images/val/b.jpg", "missing", "val"),
    (kinds.LABEL_WITHOUT_IMAGE, lambda r: write_text(r / "labels/val/x.txt", ""), "labels/val/x.txt", "no image", ""),
    (kinds.BROKEN_IMAGE, _cut("images/val/b.jpg"), "images/val/b.jpg", "truncated", "val"),
    (
        kinds.SPLIT_OVERLAP,
        lambda r: write_text(r / "data.yaml", "train: images/train\nval: images/train\nnames: [a, b]\n"),
        "images/train/a.jpg",
        "in train",
        "val",
    ),
]

COCO_FAULTS: list[tuple[str, Callable[[Path], object], str, str, str]] = [
    (kinds.MISSING_IMAGE, lambda r: (r / "images/val/b.jpg").unlink(), "images/val/b.jpg", "no such file", "val"),
    (
        kinds.UNKNOWN_CLASS,
        lambda r: write_json(r / "annotations/instances_val.json", coco([(1, "b.jpg")], [(1, 4, [1, 1, 2, 2])])),
        "annotations/instances_val.json: annotation 1",
        "category_id 4",
        "val",
    ),
    (
        kinds.CLASS_CONFLICT,
        lambda r: write_json(r / "annotations/instances_val.json", coco([(1, "b.jpg")], [], {3: "cow", 17: "dog"})),
        "annotations/instances_val.json",
        "'cow'",
        "val",
    ),
    (
        kinds.BROKEN_ANNOTATION,
        lambda r: write_text(r / "annotations/instances_test.json", "{"),
        "annotations/instances_test.json",
        "not valid JSON",
        "test",
    ),
    (
        kinds.IMAGE_WITHOUT_LABELS,
        lambda r: write_image(r / "images/val/x.jpg"),
        "images/val/x.jpg",
        "no annotation",
        "",
    ),
]


@pytest.mark.parametrize(
    ("write", "kind", "spoil", "where", "message", "split"),
    [
        pytest.param(write, *case, id=f"{write.__name__}-{case[0]}-{index}")
        for write, cases in ((voc, VOC_FAULTS), (yolo, YOLO_FAULTS), (coco_set, COCO_FAULTS))
        for index, case in enumerate(cases)
    ],
)
def test_one_spoilt_thing_is_one_fault(
    write: Callable[[Path], Path],
    kind: str,
    spoil: Callable[[Path], object],
    where: str,
    message: str,
    split: str,
    tmp_path: Path,
) -> None:
    root = write(tmp_path)
    spoil(root)
    (fault,) = found(root)
    assert (fault.kind, fault.where, fault.split) == (kind, where or str(root), split)
    assert message in fault.message


def test_every_kind_is_tried_here_and_explained() -> None:
    tried = {case[0] for case in (*VOC_FAULTS, *YOLO_FAULTS, *COCO_FAULTS)}
    assert tried == set(kinds.MEANINGS)


def test_a_pixel_more_or_less_is_no_fault(tmp_path: Path) -> None:
    root = voc(tmp_path)
    _rewrite(root, [("cat", 0, 0, 82, 62)])
    assert found(root) == []


def test_the_same_box_of_another_class_is_no_duplicate(tmp_path: Path) -> None:
    root = voc(tmp_path)
    _rewrite(root, [("dog", 11, 11, 31, 31)])
    assert found(root) == []


def test_damage_in_the_middle_of_an_image(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"train": {"a": ""}})
    image = Pillow.open(root / "images/train/a.jpg")
    (root / "images/train/a.jpg").unlink()
    path = root / "images/train/a.png"
    image.save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    (fault,) = found(root)
    assert (fault.kind, fault.where) == (kinds.BROKEN_IMAGE, "images/train/a.png")


class TestUnions:
    def test_trainval_is_neither_overlap_nor_a_second_report(self, tmp_path: Path) -> None:
        root = voc(tmp_path)
        _rewrite(root, [("cat", 5, 5, 5, 9)])
        write_text(root / "ImageSets/Main/trainval.txt", "a\nb\nc\n")
        assert union_splits(read_dataset(root)) == ("trainval",)
        assert [(fault.kind, fault.split) for fault in found(root)] == [(kinds.ZERO_AREA, "train")]

    def test_a_copy_of_one_split_is_no_union(self, tmp_path: Path) -> None:
        root = voc(tmp_path)
        write_text(root / "ImageSets/Main/test.txt", "a\nb\n")
        assert union_splits(read_dataset(root)) == ()
        assert [fault.kind for fault in found(root)] == [kinds.SPLIT_OVERLAP] * 2


class TestFaultySamples:
    def test_those_with_a_fault_of_their_own_or_of_a_box(self, tmp_path: Path) -> None:
        root = voc(tmp_path)
        _rewrite(root, [("cat", 5, 5, 5, 9)])
        _cut("JPEGImages/c.jpg")(root)
        dataset = read_dataset(root)
        assert [sample.image.name for sample in faulty_samples(dataset, "train")] == ["a.jpg"]
        assert [sample.image.name for sample in faulty_samples(dataset, "val")] == ["c.jpg"]

    def test_none(self, tmp_path: Path) -> None:
        with pytest.raises(EdgedetError, match="no image of the split 'val' has a fault"):
            faulty_samples(read_dataset(voc(tmp_path)), "val")
