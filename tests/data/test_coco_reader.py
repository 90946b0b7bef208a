"""COCO json as written by hand, and a part of COCO itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade_datasets import coco as coco_json
from handmade_datasets import kinds_of, labelled, write_coco, write_image, write_json, write_text
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedet.data import coco
from edgedet.data import faults as kinds
from edgedet.errors import EdgedetError

SMALL = coco_json([(7, "a.jpg"), (9, "b.jpg")], [(7, 17, [10, 20, 30, 40]), (7, 3, [0.5, 1, 2, 3])])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_coco(tmp_path, "train2017", SMALL)
    write_coco(tmp_path, "val2017", coco_json([(7, "c.jpg")], [(7, 3, [1, 2, 3, 4])]))
    return tmp_path


def changed(root: Path, **lists: Any) -> Path:
    """The training json with some of its lists replaced."""
    return write_json(root / "annotations/instances_train2017.json", {**SMALL, **lists})


class TestReading:
    def test_sparse_ids_become_labels_in_their_order(self, root: Path) -> None:
        dataset = coco.read(root)
        assert dataset.class_names == ("cat", "dog")
        assert dataset.category_ids == (3, 17)
        assert list(dataset.splits) == ["train", "val"]
        assert labelled(dataset, "train") == [[("dog", [10, 20, 40, 60]), ("cat", [0.5, 1, 2.5, 4])], []]
        assert dataset.faults == ()

    def test_everything_else_a_sample_tells(self, root: Path) -> None:
        first, second = coco.read(root).splits["train"]
        assert (first.image, first.image_id, first.size) == (root / "images/train2017/a.jpg", 7, (60, 80))
        assert first.origins[1] == "annotations/instances_train2017.json: annotation 2"
        assert first.areas is not None
        assert first.areas.tolist() == [1200, 6]
        assert second.boxes.shape == (0, 4)

    def test_crowds_are_ignored_and_areas_kept(self, root: Path) -> None:
        crowd = {**SMALL["annotations"][0], "iscrowd": 1, "area": 5.5}
        changed(root, annotations=[crowd, SMALL["annotations"][1]])
        sample = coco.read(root).splits["train"][0]
        assert sample.ignore.tolist() == [True, False]
        assert sample.areas is not None
        assert sample.areas.tolist() == [5.5, 6]

    @pytest.mark.parametrize(
        "folder", ["images/train2017", "images/train", "train2017", "train", "images", ".", "annotations"]
    )
    def test_images_are_found_in_the_usual_folders(self, folder: str, tmp_path: Path) -> None:
        write_json(tmp_path / "annotations/instances_train2017.json", SMALL)
        write_image(tmp_path / folder / "a.jpg")
        write_image(tmp_path / folder / "b.jpg")
        samples = coco.read(tmp_path).splits["train"]
        assert [sample.image for sample in samples] == [tmp_path / folder / "a.jpg", tmp_path / folder / "b.jpg"]

    def test_a_split_takes_its_own_image_before_a_namesake(self, tmp_path: Path) -> None:
        for split in ("train", "val"):
            write_coco(tmp_path, split, coco_json([(1, "a.jpg")], []))
        write_image(tmp_path / "a.jpg")
        splits = coco.read(tmp_path).splits
        assert splits["val"][0].image == tmp_path / "images/val/a.jpg"
        assert splits["train"][0].image == tmp_path / "images/train/a.jpg"

    def test_file_names_with_folders(self, tmp_path: Path) -> None:
        write_json(tmp_path / "all.json", coco_json([(1, "images/x/a.jpg"), (2, "images\\x\\b.jpg")], []))
        for name in "ab":
            write_image(tmp_path / f"images/x/{name}.jpg")
        assert [s.image.name for s in coco.read(tmp_path).splits["all"] if s.image.is_file()] == ["a.jpg", "b.jpg"]

    def test_folders_of_splits_with_their_own_json(self, tmp_path: Path) -> None:
        for split in ("train", "valid", "test"):
            write_image(tmp_path / split / f"{split}.jpg")
            write_json(tmp_path / split / "_annotations.coco.json", coco_json([(1, f"{split}.jpg")], []))
        dataset = coco.read(tmp_path)
        assert list(dataset.splits) == ["train", "val", "test"]
        assert dataset.splits["val"][0].image.is_file()

    def test_a_json_given_directly(self, root: Path) -> None:
        path = root / "annotations/instances_val2017.json"
        dataset = coco.read(path)
        assert dataset.root == path
        assert dataset.splits["val"][0].image.is_file()

    def test_other_json_files_are_left_alone(self, root: Path) -> None:
        write_json(root / "annotations/captions_train2017.json", {"images": [], "annotations": []})
        write_json(root / "annotations/instances_results.txt", [])
        assert list(coco.read(root).splits) == ["train", "val"]

    def test_a_results_file_is_no_dataset(self, tmp_path: Path) -> None:
        write_json(tmp_path / "results.json", [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}])
        assert coco.locate(tmp_path) is None

    def test_splits_of_two_years_keep_their_names(self, tmp_path: Path) -> None:
        for split in ("train2014", "train2017"):
            write_coco(tmp_path, split, coco_json([(1, f"{split}.jpg")], []))
        assert list(coco.read(tmp_path).splits) == ["train2014", "train2017"]

    def test_files_that_number_classes_differently_agree_by_name(self, root: Path) -> None:
        value = coco_json([(7, "c.jpg")], [(7, 1, [1, 2, 3, 4]), (7, 2, [5, 5, 9, 9])], {1: "dog", 2: "cow"})
        write_json(root / "annotations/instances_val2017.json", value)
        dataset = coco.read(root)
        assert labelled(dataset, "val") == [[("dog", [1, 2, 4, 6]), ("cow", [5, 5, 14, 14])]]
        assert labelled(dataset, "train")[0][0][0] == "dog"
        assert set(kinds_of(dataset.faults)) == {kinds.CLASS_CONFLICT}

    def test_a_part_of_coco(self, oracles: Path) -> None:
        path = oracles / "coco100/instances_val2014_100.json"
        dataset = coco.read(path)
        samples = dataset.splits["val"]
        annotations = json.loads(path.read_text())["annotations"]
        assert len(samples) == 100
        assert len(dataset.class_names) == 80
        assert dataset.category_ids[11:13] == (13, 14)
        assert sum(len(sample.boxes) for sample in samples) == len(annotations) == 839
        assert sum(int(sample.ignore.sum()) for sample in samples) == 9
        read_areas = np.sort(np.concatenate([sample.areas for sample in samples if sample.areas is not None]))
        assert np.allclose(read_areas, np.sort([annotation["area"] for annotation in annotations]))
        assert dataset.faults == ()


class TestFaults:
    @pytest.mark.parametrize(
        "bbox", [None, [1, 2, 3], [1, 2, 3, "4"], "1 2 3 4", {"x": 1}, [1, 2, 3, None], [True, 1, 2, 3]]
    )
    def test_a_bbox_that_is_no_four_numbers(self, root: Path, bbox: Any) -> None:
        changed(root, annotations=[{**SMALL["annotations"][0], "bbox": bbox}, SMALL["annotations"][1]])
        dataset = coco.read(root)
        (fault,) = dataset.faults
        assert (fault.kind, fault.where) == (
            kinds.MALFORMED_BOX,
            "annotations/instances_train2017.json: annotation 1",
        )
        assert len(dataset.splits["train"][0].boxes) == 1

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            ({"category_id": 99}, kinds.UNKNOWN_CLASS),
            ({"category_id": "3"}, kinds.UNKNOWN_CLASS),
            ({"category_id": None}, kinds.UNKNOWN_CLASS),
            ({"image_id": 1234}, kinds.LABEL_WITHOUT_IMAGE),
            ({"image_id": [7]}, kinds.LABEL_WITHOUT_IMAGE),
        ],
    )
    def test_an_annotation_of_no_class_or_image(self, root: Path, change: dict[str, Any], kind: str) -> None:
        changed(root, annotations=[{**SMALL["annotations"][0], **change}])
        (fault,) = coco.read(root).faults
        assert (fault.kind, fault.split) == (kind, "train")

    @pytest.mark.parametrize(
        "entry", [None, 5, [], {}, {"id": 1}, {"id": "1", "file_name": "x.jpg"}, {"file_name": "x"}]
    )
    def test_an_image_entry_that_is_none(self, root: Path, entry: Any) -> None:
        changed(root, images=[entry, *SMALL["images"]])
        dataset = coco.read(root)
        assert kinds_of(dataset.faults) == [kinds.BROKEN_ANNOTATION]
        assert len(dataset.splits["train"]) == 2

    @pytest.mark.parametrize(
        "name",
        [
            "../../secret.jpg",
            "/etc/x.jpg",
            "a/../../x.jpg",
            "..\\x.jpg",
            "C:/x.jpg",
            "a\0.jpg",
            "\ud800.jpg",
            "x" * 300,
        ],
    )
    def test_a_file_name_that_leads_out(self, root: Path, name: str) -> None:
        changed(root, images=[{"id": 1, "file_name": name}, *SMALL["images"]])
        dataset = coco.read(root)
        (fault,) = dataset.faults
        assert (fault.kind, fault.where) == (kinds.UNSAFE_PATH, "annotations/instances_train2017.json: image 1")
        assert len(dataset.splits["train"]) == 2

    def test_an_image_listed_twice(self, root: Path) -> None:
        changed(root, images=[*SMALL["images"], {"id": 7, "file_name": "z.jpg"}, {"id": 11, "file_name": "a.jpg"}])
        dataset = coco.read(root)
        assert kinds_of(dataset.faults) == [kinds.DUPLICATE_IMAGE, kinds.DUPLICATE_IMAGE]
        assert len(dataset.splits["train"]) == 2

    @pytest.mark.parametrize(
        "category", [None, {"id": 5}, {"name": "x"}, {"id": "5", "name": "x"}, {"id": 5, "name": " "}]
    )
    def test_a_category_that_is_none(self, root: Path, category: Any) -> None:
        changed(root, categories=[*SMALL["categories"], category])
        dataset = coco.read(root)
        assert kinds_of(dataset.faults) == [kinds.BROKEN_ANNOTATION]
        assert dataset.class_names == ("cat", "dog")

    def test_two_names_for_one_id(self, root: Path) -> None:
        changed(root, categories=[*SMALL["categories"], {"id": 3, "name": "lion"}])
        assert kinds.CLASS_CONFLICT in kinds_of(coco.read(root).faults)

    def test_an_image_that_no_json_lists(self, root: Path) -> None:
        write_image(root / "images/val2017/extra.jpg")
        (fault,) = coco.read(root).faults
        assert (fault.kind, fault.where) == (kinds.IMAGE_WITHOUT_LABELS, "images/val2017/extra.jpg")

    def test_one_broken_json_of_two(self, root: Path) -> None:
        write_text(root / "annotations/instances_val2017.json", "{")
        dataset = coco.read(root)
        assert kinds_of(dataset.faults) == [kinds.BROKEN_ANNOTATION]
        assert list(dataset.splits) == ["train"]

    def test_numbers_beyond_any_float(self, root: Path) -> None:
        text = json.dumps(SMALL).replace("[10, 20, 30, 40]", f"[NaN, Infinity, 1e999, {10**400}]")
        write_text(root / "annotations/instances_train2017.json", text)
        sample = coco.read(root).splits["train"][0]
        assert not np.isfinite(sample.boxes[0]).any()
        assert sample.areas is not None


class TestUnusable:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{\n,", "not valid JSON"),
            ("[]", "no list of images"),
            ('{"images": {}}', "no list of images"),
            ('{"images": [], "annotations": 3}', "annotations are no list"),
            ("[" * 100_000, "not valid JSON"),
            ('{"images": [' + "9" * 5000 + "]}", "not valid JSON"),
        ],
    )
    def test_a_json_that_is_no_dataset(self, text: str, message: str, tmp_path: Path) -> None:
        path = write_text(tmp_path / "x.json", text)
        with pytest.raises(EdgedetError, match=message) as error:
            coco.read(path)
        assert str(path) in str(error.value)

    def test_a_syntax_error_names_the_line(self, tmp_path: Path) -> None:
        path = write_text(tmp_path / "x.json", '{\n"images": [],\n}')
        with pytest.raises(EdgedetError, match=r"x\.json:3"):
            coco.read(path)

    def test_no_json(self, tmp_path: Path) -> None:
        with pytest.raises(EdgedetError, match="looked for"):
            coco.read(tmp_path)


KEYS = ["id", "image_id", "category_id", "bbox", "name", "file_name", "width", "height", "iscrowd", "area"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 20) | st.floats() | st.sampled_from(["a.jpg", "cat", "", "../x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=12,
)


@settings(max_examples=50, deadline=None)
@given(images=st.lists(JSON, max_size=4), annotations=st.lists(JSON, max_size=4), categories=st.lists(JSON, max_size=3))
def test_no_content_of_a_json_crashes(
    images: list[Any], annotations: list[Any], categories: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    write_json(path, {"images": images, "annotations": annotations, "categories": categories})
    dataset = coco.read(path)
    for sample in dataset.splits["any"]:
        assert len(sample.boxes) == len(sample.labels) == len(sample.ignore) == len(sample.origins)
        assert (sample.labels < len(dataset.class_names)).all()
