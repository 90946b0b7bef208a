"""`edgedet data`: exit codes, JSON, and what a person reads."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from handmade_datasets import write_text, write_voc
from typer.testing import CliRunner, Result

from edgedet.cli.app import app
from edgedet.data.find import read_dataset


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, args)])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    objects = {"a": [("cat", 1, 1, 41, 31)], "b": [("dog", 5, 5, 25, 25)], "c": []}
    return write_voc(tmp_path / "voc", {"train": objects, "val": {"d": [("cat", 1, 1, 9, 9)]}})


@pytest.fixture
def faulty(root: Path) -> Path:
    write_voc(root, {"test": {f"t{index}": [("cat", 5, 5, 5, 5)] for index in range(5)}})
    return root


class TestCheck:
    def test_a_sound_dataset(self, root: Path) -> None:
        result = run("check", root)
        assert result.exit_code == 0
        assert "voc dataset with 2 classes: no faults" in result.stdout
        assert "train" in result.stdout
        assert "cat" in result.stdout

    def test_faults_are_grouped_and_counted(self, faulty: Path) -> None:
        result = run("check", faulty)
        assert result.exit_code == 1
        assert "zero-area: 5 (" in result.stdout
        assert "Annotations/t3.xml: object 1" in result.stdout
        assert "5 faults" in result.stderr

    def test_long_lists_are_cut(self, faulty: Path) -> None:
        result = run("check", faulty, "--limit", 2)
        assert "t1.xml" in result.stdout
        assert "t2.xml" not in result.stdout
        assert "and 3 more" in result.stdout

    def test_json_is_one_object_with_everything(self, faulty: Path) -> None:
        result = run("check", faulty, "--limit", 1, "--json")
        assert result.exit_code == 1
        value = json.loads(result.stdout)
        assert (value["format"], value["classes"]) == ("voc", ["cat", "dog"])
        assert [(split["name"], split["images"], split["background"]) for split in value["splits"]] == [
            ("train", 3, 1),
            ("val", 1, 0),
            ("test", 5, 0),
        ]
        assert value["splits"][0]["boxes_by_class"] == [1, 1]
        assert [fault["kind"] for fault in value["faults"]] == ["zero-area"] * 5
        assert set(value["faults"][0]) == {"kind", "where", "message", "split"}

    def test_no_dataset(self, tmp_path: Path) -> None:
        result = run("check", tmp_path / "nowhere")
        assert result.exit_code == 2
        assert result.stdout == ""
        assert "no such file or folder" in result.stderr

    def test_names_from_files_cannot_drive_the_terminal(self, root: Path) -> None:
        write_text(root / "ImageSets/Main/test.txt", "../\x1b[31mred\n")
        result = run("check", root)
        assert result.exit_code == 1
        assert "\x1b" not in result.stdout + result.stderr


class TestConvert:
    @pytest.mark.parametrize("format", ["coco", "voc", "yolo"])
    def test_to_each_format(self, root: Path, format: str, tmp_path: Path) -> None:
        result = run("convert", root, tmp_path / "out", "--format", format)
        assert result.exit_code == 0
        assert f"{format}, images: train 3, val 1; 3 boxes" in result.stdout
        assert read_dataset(tmp_path / "out").format == format

    def test_notes_and_json(self, faulty: Path, tmp_path: Path) -> None:
        result = run("convert", faulty, tmp_path / "out", "--format", "yolo", "--json")
        value = json.loads(result.stdout)
        assert value["images"] == {"train": 3, "val": 1, "test": 5}
        assert value["boxes"] == 3
        assert "5 boxes without area" in value["notes"][0]

    def test_bad_arguments_leave_nothing(self, root: Path, tmp_path: Path) -> None:
        result = run("convert", root, tmp_path / "out", "--format", "pascal")
        assert result.exit_code == 2
        assert "coco, voc, yolo" in result.stderr
        assert not (tmp_path / "out").exists()


class TestShow:
    def test_a_sheet(self, root: Path, tmp_path: Path) -> None:
        result = run("show", root, "--out", tmp_path / "sheet.png", "--count", 2)
        assert result.exit_code == 0
        assert result.stdout.strip() == str(tmp_path / "sheet.png")
        assert cv2.imread(str(tmp_path / "sheet.png")).shape[1] > 600

    def test_a_dataset_without_training_split(self, root: Path, tmp_path: Path) -> None:
        (root / "ImageSets/Main/train.txt").unlink()
        result = run("show", root, "--out", tmp_path / "sheet.png", "--json")
        assert json.loads(result.stdout)["split"] == "val"

    def test_only_faulty_images(self, faulty: Path, tmp_path: Path) -> None:
        result = run("show", faulty, "--faults", "--split", "test", "--out", tmp_path / "s.png", "--json")
        assert json.loads(result.stdout)["images"] == 5
        result = run("show", faulty, "--faults", "--split", "val", "--out", tmp_path / "v.png")
        assert result.exit_code == 2
        assert not (tmp_path / "v.png").exists()

    def test_an_image_of_the_dataset_is_not_replaced(self, root: Path) -> None:
        image = next((root / "JPEGImages").glob("*.jpg"))
        before = image.read_bytes()
        result = run("show", root, "--out", image)
        assert result.exit_code == 2
        assert "would replace an image" in result.stderr
        assert image.read_bytes() == before

    @pytest.mark.parametrize(("option", "value"), [("--split", "tset"), ("--out", "sheet.pdf"), ("--count", 0)])
    def test_bad_options(self, root: Path, option: str, value: object) -> None:
        assert run("show", root, option, value).exit_code == 2


class TestShowAugmented:
    def test_the_same_seed_gives_the_same_picture_and_another_one_another(self, root: Path, tmp_path: Path) -> None:
        options = ("--augment", "default", "--count", 2, "--draws", 2)
        for name, seed in (("a", 3), ("b", 3), ("c", 4)):
            result = run("show", root, *options, "--seed", seed, "--out", tmp_path / f"{name}.png", "--json")
            assert json.loads(result.stdout)["images"] == 2
        first, second, third = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
        assert first == second != third

    def test_a_row_for_each_image_and_a_column_for_each_draw(self, root: Path, tmp_path: Path) -> None:
        for count, draws in ((2, 2), (2, 3), (3, 3)):
            run("show", root, "--augment", "default", "--count", count, "--draws", draws, "--out", tmp_path / "s.png")
            height, width = cv2.imread(str(tmp_path / "s.png")).shape[:2]
            assert width == draws * 416 + 16
            assert height // 440 == count

    def test_images_have_the_size_that_is_asked_for(self, root: Path, tmp_path: Path) -> None:
        heights = {}
        for size in (32, 320):
            out = tmp_path / f"{size}.png"
            options = ("--augment", "default", "--imgsz", size, "--count", 1, "--draws", 1)
            assert run("show", root, *options, "--out", out).exit_code == 0
            heights[size] = len(cv2.imread(str(out)))
        # On a sheet images are enlarged to 400 pixels, but no more than 8 times; legends differ by less than a row.
        assert heights[320] - heights[32] == pytest.approx(400 - 8 * 32, abs=50)

    def test_an_input_size_that_no_detector_has(self, root: Path, tmp_path: Path) -> None:
        result = run("show", root, "--augment", "default", "--imgsz", 100, "--out", tmp_path / "s.png")
        assert result.exit_code == 2
        assert "100 is not a multiple of 32" in result.stderr
        assert not (tmp_path / "s.png").exists()

    @pytest.mark.parametrize(("option", "value"), [("--draws", 4), ("--seed", 0), ("--imgsz", 320)])
    def test_its_options_are_refused_without_it(self, root: Path, tmp_path: Path, option: str, value: int) -> None:
        result = run("show", root, option, value, "--out", tmp_path / "s.png")
        assert result.exit_code == 2
        assert f"{option} needs --augment" in result.stderr
        assert f"leave {option} out" in result.stderr
        assert not (tmp_path / "s.png").exists()

    def test_a_recipe_with_an_unknown_setting(self, root: Path, tmp_path: Path) -> None:
        recipe = tmp_path / "recipe.yaml"
        write_text(recipe, "mosiac: 1\n")
        result = run("show", root, "--augment", recipe, "--out", tmp_path / "s.png")
        assert result.exit_code == 2
        assert "mosaic" in result.stderr
        assert not (tmp_path / "s.png").exists()

    def test_weights_of_objects_are_written_beside_their_names(self, root: Path, tmp_path: Path) -> None:
        write_text(tmp_path / "plain.yaml", "mosaic: 0\n")
        write_text(tmp_path / "mixed.yaml", "mosaic: 0\nmixup: 1\n")
        for name in ("plain", "mixed"):
            recipe, out = tmp_path / f"{name}.yaml", tmp_path / f"{name}.png"
            result = run("show", root, "--augment", recipe, "--count", 1, "--draws", 1, "--out", out)
            assert result.exit_code == 0
        assert (tmp_path / "plain.png").read_bytes() != (tmp_path / "mixed.png").read_bytes()


class TestSynth:
    def test_a_dataset_that_passes_the_check(self, tmp_path: Path) -> None:
        options = ("--images", 20, "--size", 64, "--classes", 2, "--format", "voc", "--seed", 5)
        result = run("synth", tmp_path / "out", *options)
        assert result.exit_code == 0
        assert "voc, images: train 14, val 3, test 3" in result.stdout
        assert run("check", tmp_path / "out").exit_code == 0

    def test_twice_into_one_folder(self, tmp_path: Path) -> None:
        assert run("synth", tmp_path / "out", "--images", 3, "--size", 64).exit_code == 0
        result = run("synth", tmp_path / "out", "--images", 3, "--size", 64)
        assert result.exit_code == 2
        assert "there already" in result.stderr

    def test_json(self, tmp_path: Path) -> None:
        value = json.loads(run("synth", tmp_path / "out", "--images", 3, "--size", 64, "--json").stdout)
        assert sum(value["images"].values()) == 3
        assert value["out"] == str(tmp_path / "out")
