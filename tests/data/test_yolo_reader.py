"""YOLO text files and yaml as written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade_datasets import kinds_of, labelled, write_image, write_text, write_yolo
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from edgedet.data import faults as kinds
from edgedet.data import yolo
from edgedet.errors import EdgedetError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_yolo(
        tmp_path / "yolo",
        {"train": {"a": "1 0.25 0.5 0.25 0.5\n0 0.5 0.5 1 1\n", "b": ""}, "val": {"c": "0 0.5 0.5 0.1 0.1\n"}},
    )


class TestReading:
    def test_shares_become_pixels(self, root: Path) -> None:
        dataset = yolo.read(root)
        assert dataset.format == "yolo"
        assert dataset.class_names == ("cat", "dog")
        assert labelled(dataset, "train") == [[("dog", [10, 15, 30, 45]), ("cat", [0, 0, 80, 60])], []]
        assert dataset.faults == ()

    def test_everything_else_a_sample_tells(self, root: Path) -> None:
        first, second = yolo.read(root).splits["train"]
        assert first.image == root / "images/train/a.jpg"
        assert first.size == (60, 80)
        assert first.origins == ("labels/train/a.txt:1", "labels/train/a.txt:2")
        assert not first.ignore.any()
        assert second.boxes.shape == (0, 4)

    def test_shares_are_of_the_upright_image(self, root: Path) -> None:
        exif = Pillow.Exif()
        exif[274] = 6
        Pillow.new("RGB", (80, 60)).save(root / "images/train/a.jpg", exif=exif)
        assert labelled(yolo.read(root), "train")[0][1] == ("cat", [0, 0, 60, 80])

    def test_polygons_give_their_extent(self, root: Path) -> None:
        write_text(root / "labels/train/a.txt", "1 0.1 0.2 0.5 0.1 0.3 0.9\n")
        assert labelled(yolo.read(root), "train")[0] == [("dog", [8, 6, 40, 54])]

    def test_spaces_tabs_windows_line_ends_and_blank_lines(self, root: Path) -> None:
        write_text(root / "labels/train/a.txt", "\r\n 1\t0.25  0.5 0.25 0.5 \r\n\r\n")
        sample = yolo.read(root).splits["train"][0]
        assert sample.origins == ("labels/train/a.txt:2",)

    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            ("[cat, dog]", ("cat", "dog")),
            ("{0: cat, 1: dog}", ("cat", "dog")),
            ('{1: dog, "0": cat}', ("cat", "dog")),
            ("[1, 2]", ("1", "2")),
        ],
    )
    def test_names_as_list_or_mapping(self, root: Path, names: str, expected: tuple[str, ...]) -> None:
        write_text(root / "data.yaml", f"train: images/train\nval: images/val\nnames: {names}\n")
        assert yolo.read(root).class_names == expected

    def test_a_number_of_classes_without_names(self, root: Path) -> None:
        write_text(root / "data.yaml", "train: images/train\nnc: 3\n")
        assert yolo.read(root).class_names == ("0", "1", "2")

    @pytest.mark.parametrize("path", [None, ".", "../yolo", "ABSOLUTE", "not/there", '"a\\0b"', "x" * 9999])
    def test_path_may_lead_anywhere(self, root: Path, path: str | None) -> None:
        line = "" if path is None else f"path: {root if path == 'ABSOLUTE' else path}\n"
        write_text(root / "data.yaml", f"{line}train: images/train\nnames: [cat, dog]\n")
        assert len(yolo.read(root / "data.yaml").splits["train"]) == 2

    @pytest.mark.parametrize(
        "text", ["path: ../other\ntrain: images/train", "train: ../../other/images/train", "train: /"]
    )
    def test_from_a_folder_nothing_outside_is_read(self, root: Path, tmp_path: Path, text: str) -> None:
        write_yolo(tmp_path / "other", {"train": {"secret": ""}})
        path = write_text(root / "data.yaml", f"{text}\nval: images/val\nnames: [cat, dog]\n")
        if text != "train: /":
            yolo.read(path)
        with pytest.raises(EdgedetError, match="leads out of the folder") as error:
            yolo.read(root)
        assert str(path) in str(error.value.fix)

    def test_a_yaml_elsewhere(self, root: Path, tmp_path: Path) -> None:
        path = write_text(tmp_path / "conf/blood.yaml", "path: ../yolo\ntrain: images/train\nnames: [cat, dog]\n")
        assert yolo.read(path).splits["train"][0].image == root / "images/train/a.jpg"

    def test_one_parent_too_many(self, root: Path) -> None:
        write_text(root / "data.yaml", "train: ../images/train\nval: ../images/val\nnames: [cat, dog]\n")
        assert {split: len(s) for split, s in yolo.read(root).splits.items()} == {"train": 2, "val": 1}

    def test_a_list_of_folders(self, root: Path) -> None:
        write_text(root / "data.yaml", "train: [images/train, images/val]\nnames: [cat, dog]\n")
        assert [s.image.stem for s in yolo.read(root).splits["train"]] == ["a", "b", "c"]

    @pytest.mark.parametrize("prefix", ["./images/", "images/", "ABSOLUTE", "images\\"])
    def test_a_list_of_images(self, root: Path, prefix: str) -> None:
        prefix = f"{root}/images/" if prefix == "ABSOLUTE" else prefix
        write_text(root / "train.txt", f"{prefix}train/a.jpg\n\n{prefix}val/c.jpg\n".replace("\\", "/"))
        write_text(root / "data.yaml", "train: train.txt\nnames: [cat, dog]\n")
        dataset = yolo.read(root)
        assert [s.image for s in dataset.splits["train"]] == [root / "images/train/a.jpg", root / "images/val/c.jpg"]
        assert dataset.faults == ()

    def test_folders_inside_a_split_and_images_without_such_a_folder(self, tmp_path: Path) -> None:
        for folder in ("x", "y/z"):
            write_image(tmp_path / f"data/{folder}/a.png")
            write_text(tmp_path / f"data/{folder}/a.txt", "0 0.5 0.5 0.5 0.5")
        write_text(tmp_path / "data/classes.txt", "cat")
        write_text(tmp_path / "data.yaml", "train: data\nnames: [cat]\n")
        dataset = yolo.read(tmp_path)
        assert [len(sample.boxes) for sample in dataset.splits["train"]] == [1, 1]
        assert dataset.faults == ()

    @pytest.mark.parametrize(
        ("image", "labels"),
        [
            ("d/images/a.jpg", "d/labels/a.txt"),
            ("images/x/images/y/a.b.png", "images/x/labels/y/a.b.txt"),
            ("d/pictures/a.jpg", "d/pictures/a.txt"),
            ("my_images/a.jpg", "my_images/a.txt"),
        ],
    )
    def test_where_labels_are(self, image: str, labels: str) -> None:
        assert yolo.label_path(Path(image)) == Path(labels)

    def test_hidden_files_are_no_images(self, root: Path) -> None:
        write_text(root / "images/train/._a.jpg", "x")
        assert len(yolo.read(root).splits["train"]) == 2

    def test_an_unusual_split(self, root: Path) -> None:
        write_text(root / "data.yaml", "train: images/train\nholdout: images/val\nnote: hello\nnames: [cat, dog]\n")
        assert list(yolo.read(root).splits) == ["train", "holdout"]


class TestFaults:
    @pytest.mark.parametrize("line", ["7 0.5 0.5 0.1 0.1", "2 0.5 0.5 0.1 0.1", "-1 0.5 0.5 0.1 0.1"])
    def test_a_class_out_of_range(self, root: Path, line: str) -> None:
        write_text(root / "labels/train/a.txt", f"0 0.5 0.5 0.1 0.1\n{line}\n")
        dataset = yolo.read(root)
        (fault,) = dataset.faults
        assert (fault.kind, fault.where, fault.split) == (kinds.UNKNOWN_CLASS, "labels/train/a.txt:2", "train")
        assert line.split()[0] in fault.message
        assert len(dataset.splits["train"][0].boxes) == 1

    @pytest.mark.parametrize(
        "line",
        [
            "0 0.5 0.5 0.1",
            "0 0.5 0.5 0.1 0.1 0.9",
            "cat 0.5 0.5 0.1 0.1",
            "0.5 0.5 0.5 0.1 0.1",
            "nan 0.5 0.5 0.1 0.1",
            "0",
            "0 a b c d",
        ],
    )
    def test_a_line_that_is_no_box(self, root: Path, line: str) -> None:
        write_text(root / "labels/train/a.txt", f"{line}\n1 0.5 0.5 0.1 0.1\n")
        dataset = yolo.read(root)
        assert [(fault.kind, fault.where) for fault in dataset.faults] == [
            (kinds.MALFORMED_BOX, "labels/train/a.txt:1")
        ]
        assert len(dataset.splits["train"][0].boxes) == 1

    def test_infinite_coordinates_reach_the_check(self, root: Path) -> None:
        write_text(root / "labels/train/a.txt", "0 nan 0.5 1e999 0.1\n")
        assert not np.isfinite(yolo.read(root).splits["train"][0].boxes[0, [0, 2]]).any()

    def test_labels_that_are_no_text(self, root: Path) -> None:
        (root / "labels/train/a.txt").write_bytes(b"\xff\xfe0\0")
        assert kinds_of(yolo.read(root).faults) == [kinds.BROKEN_ANNOTATION]

    def test_an_image_without_labels_is_no_empty_label_file(self, root: Path) -> None:
        (root / "labels/train/b.txt").unlink()
        (fault,) = yolo.read(root).faults
        assert (fault.kind, fault.where) == (kinds.IMAGE_WITHOUT_LABELS, "images/train/b.jpg")

    def test_labels_without_image(self, root: Path) -> None:
        write_text(root / "labels/val/z.txt", "0 0.5 0.5 0.1 0.1")
        (fault,) = yolo.read(root).faults
        assert (fault.kind, fault.where) == (kinds.LABEL_WITHOUT_IMAGE, "labels/val/z.txt")

    def test_an_image_that_is_listed_and_not_there(self, root: Path) -> None:
        write_text(root / "train.txt", "images/train/a.jpg\nimages/train/gone.jpg\n")
        write_text(root / "data.yaml", "train: train.txt\nnames: [cat, dog]\n")
        samples = yolo.read(root).splits["train"]
        assert (len(samples), samples[1].size, len(samples[1].boxes)) == (2, None, 0)

    @pytest.mark.parametrize(
        "name", ["../../etc/secret.jpg", "/etc/secret.jpg", "images/../../../x.jpg", "a\0b.jpg", "x" * 9999]
    )
    def test_a_list_may_not_lead_out(self, root: Path, name: str) -> None:
        write_text(root / "train.txt", f"images/train/a.jpg\n{name}\n")
        write_text(root / "data.yaml", "train: train.txt\nnames: [cat, dog]\n")
        dataset = yolo.read(root)
        (fault,) = dataset.faults
        assert (fault.kind, fault.where) == (kinds.UNSAFE_PATH, "train.txt:2")
        assert len(dataset.splits["train"]) == 1

    def test_an_image_listed_twice(self, root: Path) -> None:
        write_text(root / "train.txt", "images/train/a.jpg\n./images/train/a.jpg\n")
        write_text(root / "data.yaml", "train: train.txt\nnames: [cat, dog]\n")
        dataset = yolo.read(root)
        assert kinds_of(dataset.faults) == [kinds.DUPLICATE_IMAGE]
        assert len(dataset.splits["train"]) == 1

    def test_one_missing_split_of_two(self, root: Path) -> None:
        write_text(root / "data.yaml", "train: images/train\nval: images/nowhere\nnames: [cat, dog]\n")
        (fault,) = yolo.read(root).faults
        assert (fault.kind, fault.split) == (kinds.EMPTY_SPLIT, "val")

    def test_a_split_that_is_no_path(self, root: Path) -> None:
        write_text(root / "data.yaml", "train: 5\nval: images/val\nnames: [cat, dog]\n")
        (fault,) = [fault for fault in yolo.read(root).faults if fault.kind == kinds.EMPTY_SPLIT]
        assert fault.split == "train" and "5" in fault.message

    def test_classes_called_alike(self, root: Path) -> None:
        write_text(root / "data.yaml", "train: images/train\nval: images/val\nnames: [cat, cat]\n")
        assert kinds_of(yolo.read(root).faults) == [kinds.CLASS_CONFLICT]

    def test_two_names_of_one_split(self, root: Path) -> None:
        write_text(root / "data.yaml", "train: images/train\nval: images/val\nvalid: images/train\nnames: [cat, dog]\n")
        assert [sample.image.stem for sample in yolo.read(root).splits["val"]] == ["c", "a", "b"]

    @settings(max_examples=100, deadline=None)
    @given(content=st.binary(max_size=60) | st.text("0123456789.- \nenaif", max_size=60).map(str.encode))
    def test_no_content_of_a_label_file_crashes(self, content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
        root = tmp_path_factory.getbasetemp() / "any"
        if not root.exists():
            write_yolo(root, {"train": {"a": ""}})
        (root / "labels/train/a.txt").write_bytes(content)
        (sample,) = yolo.read(root).splits["train"]
        assert len(sample.boxes) == len(sample.labels) == len(sample.origins)
        assert np.isin(sample.labels, [0, 1]).all()


class TestUnusable:
    @pytest.mark.parametrize(
        ("names", "message"),
        [
            ("", "no class names"),
            ("names: []", "no class names"),
            ("names: cat", "no class names"),
            ("names: {0: cat, 2: dog}", "not 0 to 1"),
            ("names: {a: cat}", "no whole number"),
            ("names: [[cat]]", "no text"),
            ("nc: 0", "no class names"),
            ("nc: 999999999999", "no class names"),
        ],
    )
    def test_names_that_are_none(self, root: Path, names: str, message: str) -> None:
        path = write_text(root / "data.yaml", f"train: images/train\n{names}\n")
        with pytest.raises(EdgedetError, match=message) as error:
            yolo.read(root)
        assert str(path) in str(error.value)

    def test_aliases_that_would_grow_to_gigabytes(self, root: Path) -> None:
        levels = [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 30)]
        text = "\n".join(["a0: &a0 [x, x]", *levels, "train: images/train", "names: [*a29]"])
        write_text(root / "data.yaml", text)
        with pytest.raises(EdgedetError, match="aliases"):
            yolo.read(root)

    @pytest.mark.parametrize(
        "entries", ["", "train: nowhere", "train: [nowhere, 5]", "train: {a: b}", "train: ''", f"train: {'x' * 9999}"]
    )
    def test_no_split_at_all(self, tmp_path: Path, entries: str) -> None:
        write_text(tmp_path / "sub/data.yaml", f"{entries}\nnames: [cat]\n")
        with pytest.raises(EdgedetError, match="none of its splits") as error:
            yolo.read(tmp_path / "sub")
        assert error.value.fix is not None

    def test_several_yaml_files(self, root: Path) -> None:
        (root / "data.yaml").rename(root / "one.yaml")
        write_text(root / "two.yaml", (root / "one.yaml").read_text())
        write_text(root / "other.yaml", "lr: 0.1\n")
        with pytest.raises(EdgedetError, match=r"one\.yaml, two\.yaml"):
            yolo.read(root)

    def test_a_yaml_by_another_name(self, root: Path) -> None:
        (root / "data.yaml").rename(root / "blood.yml")
        write_text(root / "other.yaml", "lr: 0.1\n")
        assert len(yolo.read(root).splits) == 2


def test_a_python_object_in_a_yaml_is_not_made(root: Path) -> None:
    marker: Any = root / "made"
    write_text(root / "data.yaml", f"train: !!python/object/apply:os.mkdir ['{marker}']\nnames: [cat]\n")
    with pytest.raises(EdgedetError, match="not valid YAML"):
        yolo.read(root)
    assert not marker.exists()
