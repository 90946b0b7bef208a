from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.errors import EdgedetError
from edgedet.train.config import OptimizerConfig, TrainConfig
from edgedet.train.folder import RunFolder, resume_folder, start_folder

CONFIG = TrainConfig(data="größer/data", imgsz=64, multi_scale=0.25, optimizer=OptimizerConfig(name="sgd", lr=1e-4))


def finished_run(root: Path) -> RunFolder:
    folder = start_folder(root, CONFIG, overwrite=False)
    for file in (folder.last, folder.best, folder.metrics, folder.curves):
        file.write_text("old")
    return folder


def test_a_new_folder_holds_the_whole_configuration(tmp_path: Path) -> None:
    folder = start_folder(tmp_path / "runs" / "a", CONFIG, overwrite=False)
    assert folder.root == tmp_path / "runs" / "a"
    assert resume_folder(folder.root) == (folder, CONFIG)
    text = folder.config.read_text()
    for name in TrainConfig.model_fields:
        assert f"{name}:" in text


def test_a_run_is_not_replaced_unasked(tmp_path: Path) -> None:
    folder = finished_run(tmp_path)
    with pytest.raises(EdgedetError, match="already holds a run") as caught:
        start_folder(tmp_path, CONFIG.model_copy(update={"seed": 9}), overwrite=False)
    assert "--resume" in str(caught.value.fix) and "--overwrite" in str(caught.value.fix)
    assert [file.read_text() for file in (folder.last, folder.best, folder.metrics)] == ["old"] * 3
    assert resume_folder(tmp_path)[1] == CONFIG


@pytest.mark.parametrize("name", ["last.pt", "best.pt", "metrics.jsonl"])
def test_any_part_of_a_run_is_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("old")
    with pytest.raises(EdgedetError, match="already holds a run"):
        start_folder(tmp_path, CONFIG, overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_overwriting_leaves_nothing_of_the_old_run_but_other_files(tmp_path: Path) -> None:
    folder = finished_run(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    changed = CONFIG.model_copy(update={"seed": 9})
    start_folder(tmp_path, changed, overwrite=True)
    assert not any(file.exists() for file in (folder.last, folder.best, folder.metrics, folder.curves))
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert resume_folder(tmp_path)[1] == changed


def test_a_run_that_never_reached_a_checkpoint_is_started_again(tmp_path: Path) -> None:
    start_folder(tmp_path, CONFIG, overwrite=False)
    start_folder(tmp_path, CONFIG, overwrite=False)


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    for root in (tmp_path / "run", tmp_path / "run" / "below"):
        with pytest.raises(EdgedetError, match="cannot write"):
            start_folder(root, CONFIG, overwrite=True)
    assert (tmp_path / "run").read_text() == "a file"


class TestResume:
    @pytest.mark.parametrize("exists", [True, False])
    def test_a_folder_without_a_run(self, tmp_path: Path, exists: bool) -> None:
        root = tmp_path if exists else tmp_path / "none"
        with pytest.raises(EdgedetError, match="holds no run to resume") as caught:
            resume_folder(root)
        assert caught.value.where == str(root)
        assert root.exists() == exists

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("data: x\nepoch: 3\n", "did you mean 'epochs'"),
            ("data: x\nepochs: -3\n", "epochs"),
            ("epochs: 3\n", "data"),
            ("data: x\nimgsz: .nan\n", "imgsz"),
            ("data: x\noptimizer: {lr: .inf}\n", "optimizer.lr"),
            ("- a\n- b\n", "no mapping"),
            ("data: [\n", "not valid YAML"),
            ("data: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
            ("", "no mapping"),
        ],
    )
    def test_a_configuration_that_is_none(self, tmp_path: Path, text: str, said: str) -> None:
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(EdgedetError) as caught:
            resume_folder(tmp_path)
        assert said in str(caught.value)
        assert str(tmp_path / "config.yaml") in str(caught.value.where)
