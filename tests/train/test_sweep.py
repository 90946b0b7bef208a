"""Sweeps: what they leave, how they go on, what ends a trial and what does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from edgedet.config import load_yaml, parse
from edgedet.data.find import read_dataset
from edgedet.data.synth import synthesize
from edgedet.errors import EdgedetError
from edgedet.models.checkpoint import save_checkpoint
from edgedet.models.detector import STRIDES
from edgedet.models.zoo import build_detector
from edgedet.spec import Preprocess, Spec
from edgedet.train.config import TrainConfig
from edgedet.train.loop import TrainResult, train
from edgedet.train.reporter import Reporter, SilentReporter
from edgedet.train.sweep import run, study
from edgedet.train.sweep.pictures import save_sweep
from edgedet.train.sweep.pruning import PruningReporter
from edgedet.train.sweep.run import SweepResult, sweep
from edgedet.train.sweep.space import Choices, Range
from edgedet.train.sweep.start import require_startable
from edgedet.train.sweep.study import TrialSummary, importances, open_study, suggest

SPACE = "optimizer.lr: {low: 1e-4, high: 1e-1, log: true}\nbatch: {low: 4, high: 8, step: 2}\n"

Training = Callable[[TrainConfig, Reporter], float]


class Sweep:
    """Sweeps into one folder, with one study."""

    def __init__(self, folder: Path, base: dict[str, Any]) -> None:
        self.folder = folder
        self.base = base
        self.space = folder / "space.yaml"
        self.space.write_text(SPACE)

    def __call__(self, trials: int, **options: Any) -> SweepResult:
        defaults = {"storage": f"sqlite:///{self.folder / 'sweep.db'}", "name": "study"}
        return sweep(self.base, self.space, self.folder / "out", trials=trials, **{**defaults, **options})


@pytest.fixture
def sweeping(tmp_path: Path, settings: dict[str, Any]) -> Sweep:
    return Sweep(tmp_path, {**settings, "epochs": 1, "eval_every": 1})


@pytest.fixture
def trains(monkeypatch: pytest.MonkeyPatch) -> Callable[[Training], None]:
    """Puts a function in the place of training: from the settings to mAP; no pictures are drawn."""

    def put(training: Training) -> None:
        def trained(config: TrainConfig, folder: Path, *, reporter: Reporter) -> TrainResult:
            folder.mkdir(parents=True)
            return TrainResult(folder, training(config, reporter), [])

        monkeypatch.setattr(run, "train", trained)

    monkeypatch.setattr(run, "save_sweep", lambda *_: None)
    return put


def higher_is_better(config: TrainConfig, reporter: Reporter) -> float:
    return config.optimizer.lr


def chosen(result: SweepResult) -> list[dict[str, Any]]:
    return [one.settings for one in result.trials]


def states(result: SweepResult) -> list[str]:
    return [one.state for one in result.trials]


@pytest.mark.slow
def test_a_sweep_leaves_a_run_for_each_trial_and_a_picture(sweeping: Sweep) -> None:
    result = sweeping(2)
    assert states(result) == ["complete", "complete"]
    for one in result.trials:
        folder = sweeping.folder / "out" / f"trial-000{one.number}"
        config = parse(TrainConfig, load_yaml(folder / "config.yaml"))
        assert {"optimizer.lr": config.optimizer.lr, "batch": config.batch} == one.settings
        assert config.seed == 0 and config.epochs == 1
        records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert one.value == max(record["map"] for record in records)
        assert (folder / "best.pt").exists()
    assert cv2.imread(str(sweeping.folder / "out" / "sweep.png")) is not None
    assert json.loads(json.dumps(result.to_dict()))["best"]["value"] == max(one.value or 0 for one in result.trials)


class TestGoingOn:
    def test_a_sweep_in_parts_chooses_what_one_at_a_stretch_does(
        self, sweeping: Sweep, trains: Callable[[Training], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(study, "TRIALS_AT_RANDOM", 2)
        trains(higher_is_better)
        sweeping(1)
        in_parts = sweeping(5)
        whole = sweep(
            sweeping.base, sweeping.space, sweeping.folder / "other", trials=5, storage="sqlite://", name="whole"
        )
        assert len(in_parts.trials) == 5
        assert chosen(in_parts) == chosen(whole)

    def test_the_seed_decides_what_is_chosen(self, config: TrainConfig) -> None:
        space = {"optimizer.lr": Range(low=0.1, high=1.0)}
        found = []
        for seed in (0, 0, 1):
            opened = open_study("sqlite://", "study", config, space, prune=True)
            found.append(suggest(opened, opened.ask(), space, seed))
        assert found[0] == found[1] != found[2]

    def test_a_finished_sweep_is_told_again_without_another_trial(
        self, sweeping: Sweep, trains: Callable[[Training], None]
    ) -> None:
        trains(higher_is_better)
        first = sweeping(2)
        assert sweeping(2) == first

    def test_an_interrupted_trial_is_run_again_with_its_settings(
        self, sweeping: Sweep, trains: Callable[[Training], None]
    ) -> None:
        seen: list[float] = []

        def interrupted_once(config: TrainConfig, reporter: Reporter) -> float:
            seen.append(config.optimizer.lr)
            if len(seen) == 2:
                raise KeyboardInterrupt
            return 0.5

        trains(interrupted_once)
        with pytest.raises(KeyboardInterrupt):
            sweeping(3)
        result = sweeping(3)
        assert states(result) == ["complete", "interrupted", "complete", "complete"]
        assert seen[1] == seen[2] and len(set(seen)) == 3

    def test_two_machines_with_one_seed_choose_differently(self, config: TrainConfig, tmp_path: Path) -> None:
        space = {"optimizer.lr": Range(low=0.1, high=1.0)}
        storage = f"sqlite:///{tmp_path / 'shared.db'}"
        found = []
        for _ in range(2):
            shared = open_study(storage, "shared", config, space, prune=True)
            found.append(suggest(shared, shared.ask(), space, seed=0))
        assert found[0] != found[1]

    def test_machines_may_keep_the_data_elsewhere_and_load_it_otherwise(
        self, config: TrainConfig, tmp_path: Path
    ) -> None:
        storage = f"sqlite:///{tmp_path / 'shared.db'}"
        space = {"optimizer.lr": Range(low=0.1, high=1.0)}
        open_study(storage, "shared", config, space, prune=True)
        elsewhere = config.model_copy(update={"data": "/elsewhere", "workers": 4, "accelerator": "cuda"})
        open_study(storage, "shared", elsewhere, space, prune=True)
        with pytest.raises(EdgedetError, match="other settings"):
            open_study(storage, "shared", config.model_copy(update={"epochs": 9}), space, prune=True)


class TestWhatEndsATrial:
    def test_a_failed_trial_is_recorded_and_the_others_go_on(
        self, sweeping: Sweep, trains: Callable[[Training], None]
    ) -> None:
        calls: list[int] = []

        def failing_second(config: TrainConfig, reporter: Reporter) -> float:
            calls.append(1)
            if len(calls) == 2:
                raise EdgedetError("the loss is not finite", where="trial")
            return 0.25 * len(calls)

        trains(failing_second)
        result = sweeping(3)
        assert states(result) == ["complete", "failed", "complete"]
        assert result.trials[1].error == "EdgedetError: trial: the loss is not finite"
        assert [one.number for one in result.ranked] == [2, 0]

    @pytest.mark.parametrize(("prune", "state"), [(True, "pruned"), (False, "complete")])
    def test_a_trial_below_the_median_after_its_first_evaluation_ends_there(
        self,
        sweeping: Sweep,
        trains: Callable[[Training], None],
        monkeypatch: pytest.MonkeyPatch,
        prune: bool,
        state: str,
    ) -> None:
        monkeypatch.setattr(study, "TRIALS_BEFORE_PRUNING", 2)
        runs: list[list[int]] = []

        def third_is_bad(config: TrainConfig, reporter: Reporter) -> float:
            runs.append([])
            value = 0.1 if len(runs) == 3 else 0.5
            for epoch in (1, 2):
                runs[-1].append(epoch)
                reporter.epoch({"epoch": epoch, "map": value})
            return value

        sweeping.base["epochs"] = 2
        trains(third_is_bad)
        result = sweeping(3, prune=prune)
        assert states(result) == ["complete", "complete", state]
        assert runs[2] == ([1] if prune else [1, 2])
        assert result.trials[2].value == 0.1
        assert result.ranked[-1].number == 2

    def test_an_epoch_without_evaluation_decides_nothing_and_one_without_objects_counts_as_zero(self) -> None:
        trial = HopelessTrial()
        reporter = PruningReporter(SilentReporter(), trial, epochs=3)  # type: ignore[arg-type]
        reporter.epoch({"epoch": 1})
        assert trial.reported == {}
        with pytest.raises(optuna.TrialPruned):
            reporter.epoch({"epoch": 2, "map": None})
        assert trial.reported == {2: 0.0}

    def test_a_real_run_that_is_ended_early_leaves_its_best_checkpoint_and_ends_whoever_watches(
        self, settings: dict[str, Any], tmp_path: Path
    ) -> None:
        watching = Watching()
        trial = HopelessTrial()
        config = parse(TrainConfig, {**settings, "epochs": 2, "eval_every": 1})
        with pytest.raises(optuna.TrialPruned):
            train(config, tmp_path / "run", reporter=PruningReporter(watching, trial, 2))  # type: ignore[arg-type]
        assert list(trial.reported) == [1]
        assert watching.events == ["start", "epoch 1", "finish"]
        assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 1

    def test_after_its_last_epoch_a_run_is_not_ended_early(self) -> None:
        trial = HopelessTrial()
        PruningReporter(SilentReporter(), trial, epochs=3).epoch({"epoch": 3, "map": 0.1})  # type: ignore[arg-type]
        assert trial.reported == {3: 0.1}


class HopelessTrial:
    def __init__(self) -> None:
        self.reported: dict[int, float] = {}

    def report(self, value: float, step: int) -> None:
        self.reported[step] = value

    def should_prune(self) -> bool:
        return True


class Watching(SilentReporter):
    def __init__(self) -> None:
        self.events: list[str] = []

    def start(self, first_step: int, total_steps: int, images_per_step: int) -> None:
        self.events.append("start")

    def epoch(self, record: dict[str, Any]) -> None:
        self.events.append(f"epoch {record['epoch']}")

    def finish(self) -> None:
        self.events.append("finish")


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "space", "message"),
        [
            ({"devices": 2}, SPACE, "one process"),
            ({"model": "shufflenet_0.5x"}, SPACE, "unknown model"),
            ({"data": "/nowhere"}, SPACE, "nowhere"),
            ({"qat": {}}, SPACE, "starts from a trained detector"),
            ({"epoch": 3}, SPACE, "did you mean 'epochs'"),
            ({}, "imgsz: {low: 64, high: 96, step: 16}", "multiple of 32"),
            ({}, "model: {choices: [shufflenetv2_0.5x, shufflenetv3]}", "unknown model 'shufflenetv3'"),
            ({}, "optimizer.lrr: {low: 0.1, high: 1}", "did you mean 'lr'"),
        ],
    )
    def test_before_anything_is_written(
        self, sweeping: Sweep, change: dict[str, Any], space: str, message: str
    ) -> None:
        sweeping.base |= change
        sweeping.space.write_text(space)
        with pytest.raises(EdgedetError, match=message):
            sweeping(2)
        assert not (sweeping.folder / "out").exists()
        assert not (sweeping.folder / "sweep.db").exists()

    @pytest.mark.parametrize(
        ("space", "message"),
        [
            ("precision: {choices: [32-true, 16-mixed]}", "CPUs have no float16"),
            ("cuda_graph: {choices: [false, true]}", "cpu has no CUDA graphs"),
            ("weights: {choices: [null, nowhere.pth]}", "no such weights"),
            ("teacher.checkpoint: {choices: [nowhere.pt]}", "nowhere.pt"),
            ("network.head: {choices: [fcos, yolo]}\nloss.box: {choices: [ciou, diou]}", "no combination can start"),
        ],
    )
    def test_a_value_that_goes_with_nothing(self, sweeping: Sweep, space: str, message: str) -> None:
        sweeping.base["accelerator"] = "cpu"
        sweeping.space.write_text(space)
        with pytest.raises(EdgedetError, match=message) as caught:
            sweeping(2)
        assert str(caught.value.where).startswith(str(sweeping.space))
        assert not (sweeping.folder / "sweep.db").exists()

    def test_smoothed_labels_of_one_class(self, sweeping: Sweep, tmp_path: Path) -> None:
        one = tmp_path / "one"
        synthesize(one, images=4, classes=1, size=64, format="coco", seed=1, splits={"train": 3, "val": 1})
        sweeping.base |= {"data": str(one), "loss": {"classification": "bce"}}
        sweeping.space.write_text("loss.label_smoothing: {choices: [0.0, 0.1]}")
        with pytest.raises(EdgedetError, match="one class"):
            sweeping(2)

    @pytest.mark.parametrize("storage", ["sweep.db", "nosuchbase://sweep", "sqlite:////nowhere/sweep.db"])
    def test_a_storage_that_cannot_be_opened(self, sweeping: Sweep, storage: str) -> None:
        with pytest.raises(EdgedetError, match="cannot open the study"):
            sweeping(2, storage=storage)

    def test_a_study_of_another_space(self, sweeping: Sweep, trains: Callable[[Training], None]) -> None:
        trains(higher_is_better)
        sweeping(1)
        sweeping.space.write_text("batch: {low: 4, high: 8}")
        with pytest.raises(EdgedetError, match="another space") as caught:
            sweeping(2)
        assert "another --name" in str(caught.value.fix)

    def test_a_folder_with_the_trials_of_another_study(
        self, sweeping: Sweep, trains: Callable[[Training], None]
    ) -> None:
        trains(higher_is_better)
        sweeping(1)
        with pytest.raises(EdgedetError, match="trials of another study"):
            sweeping(1, name="new")


class TestCombinations:
    @pytest.mark.parametrize(
        ("space", "goes_together"),
        [
            (
                "network.head: {choices: [gfl, fcos]}\nloss.box: {choices: [giou, ciou]}",
                lambda config: config.network.head == "gfl" or config.loss.box == "giou",
            ),
            (
                "loss.classification: {choices: [qfl, bce]}\nloss.label_smoothing: {choices: [0.0, 0.1]}",
                lambda config: config.loss.classification == "bce" or config.loss.label_smoothing == 0,
            ),
        ],
        ids=["loss of another head", "smoothed quality"],
    )
    def test_one_that_cannot_start_is_drawn_again_and_counts_for_nothing(
        self,
        sweeping: Sweep,
        trains: Callable[[Training], None],
        space: str,
        goes_together: Callable[[TrainConfig], bool],
    ) -> None:
        started: list[TrainConfig] = []

        def training(config: TrainConfig, reporter: Reporter) -> float:
            started.append(config)
            return 0.5

        trains(training)
        sweeping.space.write_text(space)
        result = sweeping(12)
        assert all(map(goes_together, started))
        assert states(result).count("complete") == 12 == len(started)
        refused = [one for one in result.trials if one.state == "refused"]
        assert refused and states(result) == ["refused" if one in refused else "complete" for one in result.trials]
        assert len({tuple(one.settings.values()) for one in result.trials}) == 4
        assert len({tuple(one.settings.values()) for one in refused}) == 1
        assert all(one.error is not None and "loss" in one.error for one in refused)

    def test_a_choice_may_need_another_one(self, sweeping: Sweep, trains: Callable[[Training], None]) -> None:
        trains(higher_is_better)
        sweeping.base["loss"] = {"label_smoothing": 0.1}
        sweeping.space.write_text("loss.classification: {choices: [bce, focal]}")
        assert states(sweeping(1)) == ["complete"]

    def test_where_hardly_any_can_start_the_sweep_gives_up(
        self, sweeping: Sweep, trains: Callable[[Training], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trains(higher_is_better)
        monkeypatch.setattr(run, "MOST_REFUSED", 4)
        monkeypatch.setattr(run.Start, "refusal", lambda *_: EdgedetError("too large", where="batch"))
        monkeypatch.setattr(run, "require_startable", lambda *_: None)
        with pytest.raises(EdgedetError, match=r"4 combinations one after the other cannot start.*too large"):
            sweeping(2)

    def test_of_very_many_some_are_looked_at(self) -> None:
        space = {f"setting{index}": Choices(choices=tuple(range(9))) for index in range(40)}
        asked: list[Mapping[str, Any]] = []

        def refusal(chosen: Mapping[str, Any]) -> EdgedetError | None:
            asked.append(chosen)
            return EdgedetError("odd") if chosen["setting7"] == 3 else None

        with pytest.raises(EdgedetError, match="odd") as caught:
            require_startable(space, refusal, 0, Path("space.yaml"))
        assert caught.value.where == "space.yaml: setting7, 3"
        assert len(asked) < 1000


class TestTeachers:
    @pytest.fixture
    def teachers(self, sweeping: Sweep) -> dict[str, Path]:
        """One that fits, and one of other classes."""
        names = read_dataset(Path(sweeping.base["data"])).class_names
        found = {}
        for name, classes in (("fits", names), ("other", (*names, "another"))):
            found[name] = sweeping.folder / f"{name}.pt"
            spec = Spec(
                model="shufflenetv2_0.5x",
                class_names=classes,
                strides=STRIDES,
                preprocess=Preprocess(height=64, width=64),
            )
            save_checkpoint(found[name], build_detector("shufflenetv2_0.5x", len(classes)), spec)
        return found

    def test_that_of_all_trials_is_looked_at_before_the_first(self, sweeping: Sweep, teachers: dict[str, Path]) -> None:
        sweeping.base["teacher"] = {"checkpoint": str(teachers["other"])}
        with pytest.raises(EdgedetError, match="it knows 3 classes, not 2") as caught:
            sweeping(2)
        assert caught.value.where == str(teachers["other"])
        assert not (sweeping.folder / "out").exists()

    def test_each_that_is_tried_is_looked_at_before_the_first_trial(
        self, sweeping: Sweep, teachers: dict[str, Path]
    ) -> None:
        sweeping.space.write_text(f"teacher.checkpoint: {{choices: [{teachers['fits']}, {teachers['other']}]}}")
        with pytest.raises(EdgedetError, match="it knows 3 classes, not 2") as caught:
            sweeping(2)
        assert f"teacher.checkpoint, {teachers['other']}" in str(caught.value.where)

    def test_settings_of_a_teacher_that_is_tried_may_be_tried_too(
        self, sweeping: Sweep, teachers: dict[str, Path], trains: Callable[[Training], None]
    ) -> None:
        trains(lambda config, _: config.teacher.classification if config.teacher else 0.0)
        sweeping.space.write_text(
            f"teacher.classification: {{low: 0, high: 1}}\nteacher.checkpoint: {{choices: [{teachers['fits']}]}}"
        )
        assert states(sweeping(2)) == ["complete", "complete"]


class TestImportances:
    @staticmethod
    def with_trials(count: int) -> optuna.Study:
        """Values that one setting alone decides."""
        made = optuna.create_study(direction="maximize")
        for i in range(count):
            params = {"decides": i / count, "idle": (i * 7 % count) / count}
            distributions = {name: FloatDistribution(0.0, 1.0) for name in params}
            made.add_trial(create_trial(params=params, distributions=distributions, value=params["decides"]))
        return made

    def test_the_setting_that_decides_comes_first(self) -> None:
        found = importances(self.with_trials(40))
        assert list(found) == ["decides", "idle"]
        assert sum(found.values()) == pytest.approx(1.0)
        assert found["decides"] > 0.7

    def test_nine_trials_tell_nothing(self) -> None:
        assert importances(self.with_trials(9)) == {}
        assert importances(self.with_trials(10)) != {}


def test_the_picture_shows_what_the_trials_came_to_and_importances_beside_it(tmp_path: Path) -> None:
    trials = [
        TrialSummary(0, "complete", 0.3, {}, 1.0, None),
        TrialSummary(1, "pruned", 0.1, {}, 1.0, None),
        TrialSummary(2, "failed", None, {}, 1.0, "why"),
    ]
    save_sweep(trials[2:], {}, tmp_path / "failed.png")
    save_sweep(trials, {}, tmp_path / "some.png")
    save_sweep(trials, {"optimizer.lr": 0.8, "batch": 0.2}, tmp_path / "wide.png")
    failed, some, wide = (cv2.imread(str(tmp_path / name)) for name in ("failed.png", "some.png", "wide.png"))
    assert failed.shape == some.shape and (failed != some).any()
    assert wide.shape[0] == some.shape[0] and wide.shape[1] > some.shape[1]
