"""Pascal VOC as written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from handmade_datasets import kinds_of, labelled, voc_xml, write_image, write_text, write_voc
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.data import faults as kinds
from edgedet.data import voc
from edgedet.data.find import read_dataset
from edgedet.errors import EdgedetError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_voc(
        tmp_path / "voc",
        {
            "train": {"a": [("dog", 11, 21, 31, 51), ("cat", 1, 1, 80, 60, 1)], "b": []},
            "val": {"c": [("cat", 5, 6, 7, 8)]},
        },
    )


class TestReading:
    def test_coordinates_count_from_one_and_names_are_sorted(self, root: Path) -> None:
        dataset = voc.read(root)
        assert dataset.format == "voc"
        assert dataset.class_names == ("cat", "dog")
        assert list(dataset.splits) == ["train", "val"]
        assert labelled(dataset, "train") == [[("dog", [10, 20, 30, 50]), ("cat", [0, 0, 79, 59])], []]
        assert dataset.faults == ()

    def test_everything_else_a_sample_tells(self, root: Path) -> None:
        first, second = voc.read(root).splits["train"]
        assert first.image == root / "JPEGImages" / "a.jpg"
        assert first.size == (60, 80)
        assert first.ignore.tolist() == [False, True]
        assert first.origins == ("Annotations/a.xml: object 1", "Annotations/a.xml: object 2")
        assert (first.image_id, second.image_id) == (0, 1)
        assert first.boxes.dtype == np.float32
        assert second.boxes.shape == (0, 4)
        assert first.labels.dtype == second.labels.dtype == np.int64

    def test_fractions_of_pixels_are_read(self, tmp_path: Path) -> None:
        root = write_voc(tmp_path, {"train": {"a": [("cat", 1.5, 2.25, 10.5, 20)]}})
        assert labelled(voc.read(root), "train") == [[("cat", [0.5, 1.25, 9.5, 19])]]

    def test_lists_of_one_class_are_no_splits(self, root: Path) -> None:
        write_text(root / "ImageSets/Main/cat_train.txt", "a  1\nb -1\n")
        write_text(root / "ImageSets/Main/hard_train.txt", "a\n")
        assert list(voc.read(root).splits) == ["train", "val", "hard_train"]

    def test_trainval_is_a_split(self, root: Path) -> None:
        write_text(root / "ImageSets/Main/trainval.txt", "c\na\nb\n")
        samples = voc.read(root).splits["trainval"]
        assert [sample.image.stem for sample in samples] == ["c", "a", "b"]

    def test_windows_line_ends_and_a_byte_order_mark(self, root: Path) -> None:
        (root / "ImageSets/Main/train.txt").write_bytes(b"\xef\xbb\xbfa\r\n\r\nb\r\n")
        assert [sample.image.name for sample in voc.read(root).splits["train"]] == ["a.jpg", "b.jpg"]

    def test_without_lists_all_is_the_training_split(self, tmp_path: Path) -> None:
        write_image(tmp_path / "JPEGImages/b.png")
        write_image(tmp_path / "JPEGImages/a.JPG")
        for stem in "ab":
            write_text(tmp_path / f"Annotations/{stem}.xml", voc_xml([("cat", 1, 1, 9, 9)]))
        dataset = voc.read(tmp_path)
        assert [sample.image.name for sample in dataset.splits["train"]] == ["a.JPG", "b.png"]

    def test_the_file_name_decides_between_images_of_one_id(self, root: Path) -> None:
        write_image(root / "JPEGImages/a.png")
        write_text(root / "Annotations/a.xml", voc_xml(file_name="a.png"))
        assert voc.read(root).splits["train"][0].image.name == "a.png"

    def test_a_size_of_zero_is_an_unknown_size(self, root: Path) -> None:
        write_text(root / "Annotations/a.xml", voc_xml(width=0, height=0))
        assert voc.read(root).splits["train"][0].size is None

    def test_bccd(self, bccd: Path) -> None:
        dataset = voc.read(bccd)
        assert {split: len(samples) for split, samples in dataset.splits.items()} == {
            "train": 205,
            "val": 87,
            "trainval": 292,
            "test": 72,
        }
        labels = np.concatenate([s.labels for split in ("train", "val", "test") for s in dataset.splits[split]])
        counts = dict(zip(dataset.class_names, np.bincount(labels).tolist(), strict=True))
        assert counts == {"RBC": 4155, "WBC": 372, "Platelets": 361}
        assert dataset.faults == ()


class TestFaults:
    def test_xml_that_does_not_parse_names_the_line(self, root: Path) -> None:
        write_text(root / "Annotations/a.xml", "<annotation>\n<object>\n</annotation>")
        (fault,) = voc.read(root).faults
        assert fault.kind == kinds.BROKEN_ANNOTATION
        assert fault.where == "Annotations/a.xml:3"

    def test_a_broken_annotation_leaves_the_rest(self, root: Path) -> None:
        (root / "Annotations/a.xml").write_bytes(b"\xff\xfe\0<")
        dataset = voc.read(root)
        assert kinds_of(dataset.faults) == [kinds.BROKEN_ANNOTATION]
        assert [len(sample.boxes) for sample in dataset.splits["train"]] == [0, 0]
        assert dataset.class_names == ("cat",)

    @pytest.mark.parametrize("declaration", ['<!DOCTYPE a [<!ENTITY b "bomb">]>', '<!DOCTYPE a SYSTEM "/etc/passwd">'])
    def test_document_types_and_entities_are_refused(self, root: Path, declaration: str) -> None:
        write_text(root / "Annotations/a.xml", f'<?xml version="1.0"?>{declaration}<annotation>&b;</annotation>')
        (fault,) = voc.read(root).faults
        assert fault.kind == kinds.BROKEN_ANNOTATION
        assert "entity" in fault.message

    def test_xml_of_something_else(self, root: Path) -> None:
        write_text(root / "Annotations/a.xml", "<svg/>")
        (fault,) = voc.read(root).faults
        assert fault.kind == kinds.BROKEN_ANNOTATION and "'svg'" in fault.message

    def test_a_deeply_nested_annotation_does_no_harm(self, root: Path) -> None:
        write_text(root / "Annotations/a.xml", "<a>" * 100_000 + "</a>" * 100_000)
        assert voc.read(root).splits["train"][0].boxes.shape == (0, 4)

    @pytest.mark.parametrize(
        "item",
        [
            "<object><name>cat</name></object>",
            "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax></bndbox></object>",
            "<object><name>cat</name><bndbox><xmin>a</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object>",
            "<object><name> </name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object>",
            "<object/>",
        ],
    )
    def test_an_object_without_name_or_box(self, root: Path, item: str) -> None:
        good = voc_xml([("dog", 1, 1, 9, 9)])
        write_text(root / "Annotations/a.xml", good.replace("<object>", f"{item}<object>", 1))
        dataset = voc.read(root)
        assert [(fault.kind, fault.where) for fault in dataset.faults] == [
            (kinds.MALFORMED_BOX, "Annotations/a.xml: object 1")
        ]
        assert labelled(dataset, "train")[0] == [("dog", [0, 0, 8, 8])]

    def test_infinite_coordinates_reach_the_check(self, root: Path) -> None:
        write_text(root / "Annotations/a.xml", voc_xml([("cat", "nan", 1, "1e300", "-inf")]))
        assert not np.isfinite(voc.read(root).splits["train"][0].boxes[0, [0, 2, 3]]).any()

    @pytest.mark.parametrize(
        "name", ["../../etc/passwd", "/etc/passwd", "x/../../y", "C:\\x", "..\\..\\x", "sub/a", "x" * 300]
    )
    def test_an_id_that_leads_elsewhere(self, root: Path, name: str) -> None:
        write_text(root / "ImageSets/Main/train.txt", f"a\n{name}\n")
        dataset = voc.read(root)
        (fault,) = dataset.faults
        assert (fault.kind, fault.where) == (kinds.UNSAFE_PATH, "ImageSets/Main/train.txt:2")
        assert [sample.image.name for sample in dataset.splits["train"]] == ["a.jpg"]

    def test_an_id_listed_twice(self, root: Path) -> None:
        write_text(root / "ImageSets/Main/train.txt", "a\nb\na\n")
        dataset = voc.read(root)
        (fault,) = dataset.faults
        assert (fault.kind, fault.where, fault.split) == (
            kinds.DUPLICATE_IMAGE,
            "ImageSets/Main/train.txt:3",
            "train",
        )
        assert len(dataset.splits["train"]) == 2

    def test_an_image_without_annotation(self, root: Path) -> None:
        (root / "Annotations/a.xml").unlink()
        (fault,) = voc.read(root).faults
        assert (fault.kind, fault.where) == (kinds.IMAGE_WITHOUT_LABELS, "JPEGImages/a.jpg")

    def test_an_annotation_without_image_and_list(self, root: Path) -> None:
        write_text(root / "Annotations/z.xml", voc_xml())
        (fault,) = voc.read(root).faults
        assert (fault.kind, fault.where) == (kinds.LABEL_WITHOUT_IMAGE, "Annotations/z.xml")

    def test_a_list_that_is_no_text(self, root: Path) -> None:
        (root / "ImageSets/Main/test.txt").write_bytes(b"\xff\xff")
        dataset = voc.read(root)
        assert kinds_of(dataset.faults) == [kinds.BROKEN_ANNOTATION]
        assert "test" not in dataset.splits

    @settings(max_examples=50, deadline=None)
    @given(content=st.one_of(st.binary(max_size=200), st.text(max_size=100).map(str.encode)))
    def test_no_content_of_an_annotation_crashes(
        self, content: bytes, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        root = tmp_path_factory.mktemp("voc")
        write_text(root / "Annotations/a.xml", "")
        (root / "Annotations/a.xml").write_bytes(content)
        assert len(voc.read(root).splits["train"]) == 1


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(EdgedetError, match="not a Pascal VOC dataset"):
        voc.read(tmp_path)


def test_found_one_folder_down(root: Path) -> None:
    assert read_dataset(root.parent).root == root
