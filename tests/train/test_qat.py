"""Quantization-aware training, as a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.config import load_yaml, parse
from edgedet.errors import EdgedetError
from edgedet.graph.export import export_model
from edgedet.models.checkpoint import load_checkpoint, save_checkpoint
from edgedet.models.quantized.detector import QuantizedDetector
from edgedet.models.quantized.provenance import weights_sha256
from edgedet.models.zoo import build_detector
from edgedet.quant.batch_norm import estimate_statistics
from edgedet.train import loop
from edgedet.train.config import TrainConfig
from edgedet.train.loop import train
from edgedet.train.qat import check_qat_settings, defaults, whole_images
from edgedet.train.reporter import SilentReporter
from edgedet.train.run import Run, read_data

METHODS = ["lsq", "pact", "observed"]


@pytest.fixture(scope="module")
def float_run(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A short float run of SqueezeNet."""
    folder = tmp_path_factory.mktemp("float")
    settings = {"data": str(tiny_data), "model": "squeezenet_1.1", "imgsz": 64, "epochs": 2, "batch": 4, "workers": 0}
    train(parse(TrainConfig, settings), folder)
    return folder


@pytest.fixture
def best(float_run: Path) -> Path:
    return float_run / "best.pt"


@pytest.fixture
def qat_settings(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "model": "squeezenet_1.1", "qat": {}}


def run(settings: dict[str, Any], folder: Path, init: Path | None, **qat: Any) -> Path:
    train(parse(TrainConfig, {**settings, "qat": {**settings["qat"], **qat}}), folder, init=init)
    return folder


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def scales(detector: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in detector.state_dict().items() if name.endswith("scale")}


@pytest.mark.parametrize("method", METHODS)
def test_a_run_leaves_a_checkpoint_that_is_quantized_fresh_and_exports(
    qat_settings: dict[str, Any], best: Path, tmp_path: Path, method: str
) -> None:
    folder = run(qat_settings, tmp_path / "run", best, method=method)
    for name in ("best.pt", "last.pt"):
        trained = load_checkpoint(folder / name).detector  # refuses grids that belong to other weights
        assert isinstance(trained, QuantizedDetector)
        assert trained.recipe.trained == method
        assert trained.recipe.calibration is not None and trained.recipe.calibration.images == 10
    exported = export_model(str(folder / "best.pt"), target="ort-cpu")
    assert exported.kernels is not None and exported.kernels.integer == exported.kernels.quantized > 30
    lines = records(folder)
    expected = {"loss_distillation", "oscillating_weights"} | ({"loss_clipping"} if method == "pact" else set())
    assert all(expected <= line.keys() for line in lines)
    for line in lines:
        parts = sum(value for name, value in line.items() if name.startswith("loss_"))
        assert line["loss"] == pytest.approx(parts, rel=1e-4)
        assert 0 <= line["oscillating_weights"] <= 1


def test_the_teacher_is_the_float_checkpoint(qat_settings: dict[str, Any], best: Path, tmp_path: Path) -> None:
    folder = run(qat_settings, tmp_path / "run", best)
    assert weights_of(folder / "teacher.pt") == weights_of(best)
    without = run(qat_settings, tmp_path / "without", best, distill=0.0)
    assert not any("loss_distillation" in line for line in records(without))
    assert records(without)[-1]["loss"] != records(folder)[-1]["loss"]


def weights_of(path: Path) -> str:
    return weights_sha256(load_checkpoint(path).detector.state_dict())


def test_training_that_only_harms_leaves_the_calibrated_detector(
    qat_settings: dict[str, Any], best: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrated_map = iter([0.5])
    whole = loop.evaluate

    def first_is_best(*arguments: Any, **options: Any) -> Any:
        found = whole(*arguments, **options)
        object.__setattr__(found.metrics, "map", next(calibrated_map, 0.1))
        return found

    monkeypatch.setattr(loop, "evaluate", first_is_best)
    folder = run({**qat_settings, "optimizer": {"lr": 0.1}}, tmp_path / "run", best)
    kept, teacher = load_checkpoint(folder / "best.pt").detector, load_checkpoint(best).detector
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        near = float((kept(images) - teacher(images)).abs().mean())
        far = float((load_checkpoint(folder / "last.pt").detector(images) - teacher(images)).abs().mean())
    assert near < 0.2 * far


class Watcher:
    """Remembers what stood still at each step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.scales: list[dict[str, torch.Tensor]] = []
        self.means: list[torch.Tensor] = []
        self.weights: list[torch.Tensor] = []
        self.first_lateral = torch.zeros(0)
        self.average: QuantizedDetector | None = None
        whole = loop._step

        def watched(run: Run, batch: Any) -> float:
            loss = whole(run, batch)
            state = run.detector.state_dict()
            self.scales.append({name: tensor.clone() for name, tensor in scales(run.detector).items()})
            self.means.append(torch.cat([state[name] for name in state if name.endswith("running_mean")]).clone())
            self.weights.append(state["network.backbone.features.0.weight"].clone())
            self.first_lateral = state["network.neck.laterals.0.1.running_mean"].clone()
            assert isinstance(run.judged, QuantizedDetector)
            self.average = run.judged
            return loss

        monkeypatch.setattr(loop, "_step", watched)


@pytest.mark.parametrize("method", METHODS)
def test_statistics_and_grids_stand_still_when_their_time_has_come(
    qat_settings: dict[str, Any], best: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    watcher = Watcher(monkeypatch)
    # Nine steps: statistics move in the first three and are estimated before the fourth, grids move in the first six.
    run(qat_settings, tmp_path / "run", best, method=method, hold_batch_norm_from=1 / 3, hold_grids_from=2 / 3)
    means = [torch.equal(a, b) for a, b in zip(watcher.means, watcher.means[1:], strict=False)]
    assert means == 3 * [False] + 5 * [True]
    grids = [
        all(torch.equal(a[name], b[name]) for name in a)
        for a, b in zip(watcher.scales, watcher.scales[1:], strict=False)
    ]
    assert grids == 5 * [False] + 3 * [True]
    assert not any(torch.equal(a, b) for a, b in zip(watcher.weights, watcher.weights[1:], strict=False))


def test_the_average_has_grids_between_those_that_it_averages(
    qat_settings: dict[str, Any], best: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher(monkeypatch)
    monkeypatch.setattr("edgedet.train.ema.HORIZON_SHARE", 0.5)
    run(qat_settings, tmp_path / "run", best)
    assert watcher.average is not None
    for name, average in scales(watcher.average).items():
        seen = torch.stack([one[name] for one in watcher.scales])
        slack = 0.02 * seen.amin(dim=0)  # the start, before the first step, is averaged too
        assert (average >= seen.amin(dim=0) - slack).all() and (average <= seen.amax(dim=0) + slack).all(), name


def test_statistics_that_were_never_held_are_estimated_again_at_the_end(
    qat_settings: dict[str, Any], best: Path, tmp_path: Path
) -> None:
    kept, again = (
        load_checkpoint(
            run(qat_settings, tmp_path / str(count), best, hold_batch_norm_from=1.0, estimate_images=count) / "last.pt"
        ).detector.state_dict()
        for count in (0, 8)
    )
    different = [name for name, tensor in kept.items() if not torch.equal(tensor, again[name])]
    assert different and all("running_" in name or "num_batches" in name for name in different)


def test_statistics_are_held_at_those_of_whole_images(
    qat_settings: dict[str, Any], best: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first step on: of the calibrated detector, whose first layer rounds what the float one does."""
    watcher = Watcher(monkeypatch)
    run(qat_settings, tmp_path / "run", best, hold_batch_norm_from=0.0, estimate_images=10)
    kept = load_checkpoint(best)
    batches = list(whole_images(read_data_of(qat_settings), 10, kept.spec.preprocess, 4, torch.device("cpu")))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    reference = load_checkpoint(tmp_path / "run" / "teacher.pt").float_detector
    estimate_statistics(reference, batches)
    lateral = reference.neck.laterals[0][1].running_mean
    found = watcher.first_lateral
    assert torch.allclose(found, lateral, atol=0.1 * float(lateral.abs().max()))
    moved = load_checkpoint(best).float_detector.neck.laterals[0][1].running_mean
    assert (found - lateral).abs().mean() < 0.2 * (moved - lateral).abs().mean()


def read_data_of(settings: dict[str, Any]) -> Any:
    return read_data(parse(TrainConfig, settings), SilentReporter()).train


def test_without_an_average_the_end_is_looked_at_as_inference_sees_it(
    qat_settings: dict[str, Any], best: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Estimating statistics must not move grids: they follow what is rounded in training alone."""
    watcher = Watcher(monkeypatch)
    settings = {**qat_settings, "ema": False}
    folder = run(settings, tmp_path / "run", best, method="observed", hold_batch_norm_from=1.0, hold_grids_from=1.0)
    kept = scales(load_checkpoint(folder / "last.pt").detector)
    assert all(torch.equal(kept[name], scale) for name, scale in watcher.scales[-1].items())


class TestRefused:
    def refusal(self, settings: dict[str, Any], folder: Path, init: Path | None, **qat: Any) -> str:
        with pytest.raises(EdgedetError) as caught:
            run(settings, folder / "run", init, **qat)
        assert not (folder / "run").exists()
        return str(caught.value)

    def test_without_a_checkpoint(self, qat_settings: dict[str, Any], tmp_path: Path) -> None:
        assert "starts from a trained detector" in self.refusal(qat_settings, tmp_path, None)

    def test_a_quantized_checkpoint(self, qat_settings: dict[str, Any], best: Path, tmp_path: Path) -> None:
        folder = run(qat_settings, tmp_path / "first", best)
        assert "quantized already" in self.refusal(qat_settings, tmp_path, folder / "best.pt")

    def test_half_precision(self, qat_settings: dict[str, Any], best: Path, tmp_path: Path) -> None:
        found = self.refusal({**qat_settings, "precision": "bf16-mixed"}, tmp_path, best)
        assert "too few digits" in found

    def test_weights_of_a_backbone(self, qat_settings: dict[str, Any], best: Path, tmp_path: Path) -> None:
        assert "needs no backbone weights" in self.refusal({**qat_settings, "weights": "imagenet"}, tmp_path, best)

    def test_a_head_without_box_distributions_to_learn(
        self, qat_settings: dict[str, Any], best: Path, tmp_path: Path
    ) -> None:
        other = {**qat_settings, "network": {"head": "yolo"}}
        assert "the head yolo has no box distributions" in self.refusal(other, tmp_path, best)
        check_qat_settings(parse(TrainConfig, {**other, "qat": {"distill": 0}}), best)

    def test_an_unknown_edge(self, qat_settings: dict[str, Any], best: Path, tmp_path: Path) -> None:
        assert "unknown edge 'nowhere'" in self.refusal(qat_settings, tmp_path, best, keep_float=("nowhere",))

    def test_an_unknown_calibration(self, qat_settings: dict[str, Any], best: Path, tmp_path: Path) -> None:
        assert "unknown calibration method" in self.refusal(qat_settings, tmp_path, best, calibration="guess")

    def test_more_calibration_images_than_there_are(
        self, qat_settings: dict[str, Any], best: Path, tmp_path: Path
    ) -> None:
        assert "only 10 can be read" in self.refusal(qat_settings, tmp_path, best, images=11)

    def test_another_size(self, qat_settings: dict[str, Any], best: Path, tmp_path: Path) -> None:
        assert "for images of 64x64" in self.refusal({**qat_settings, "imgsz": 96}, tmp_path, best)

    def test_other_classes(self, qat_settings: dict[str, Any], best: Path, tmp_path: Path) -> None:
        loaded = load_checkpoint(best)
        renamed = loaded.spec.model_copy(update={"class_names": ("cat", "dog")})
        save_checkpoint(tmp_path / "other.pt", loaded.detector, renamed)
        assert "knows other classes" in self.refusal(qat_settings, tmp_path, tmp_path / "other.pt")


@pytest.mark.parametrize(
    ("options", "network"),
    [({}, {}), ({"spp": True, "dropblock": 0.1, "dropblock_size": 3}, {"head": "gfl", "spp": True, "se": False})],
)
def test_the_network_of_a_run_is_the_checkpoints(
    best: Path, tmp_path: Path, options: dict[str, Any], network: dict[str, Any]
) -> None:
    detector = build_detector("shufflenetv2_0.5x", 2, **options)
    spec = load_checkpoint(best).spec
    save_checkpoint(tmp_path / "float.pt", detector, spec.model_copy(update={"class_names": ("a", "b")}))
    assert defaults(tmp_path / "float.pt")["network"] == network


class TestCommand:
    def test_model_and_size_come_from_the_checkpoint_and_the_rest_is_a_short_run(
        self, tiny_data: Path, best: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "run"
        command = ["train", str(tiny_data), "--init", str(best), "--qat", "--out", str(out), "--workers", "0"]
        result = CliRunner().invoke(app, [*command, "--epochs", "1", "--set", "qat.method=observed"])
        assert result.exit_code == 0, result.output
        config = load_yaml(out / "config.yaml")
        assert (config["model"], config["imgsz"], config["activation"]) == ("squeezenet_1.1", 64, "relu")
        assert config["epochs"] == 1 and config["qat"]["method"] == "observed" and config["augment"]["mosaic"] == 0
        assert config["optimizer"]["lr"] == 3e-4 and config["optimizer"]["name"] == "adamw"
        assert "calibrated, before training: mAP50-95" in result.stderr
        assert f"edgedet export {out}/best.pt --target ort-cpu" in result.stdout

    def test_without_a_checkpoint_it_is_refused(self, tiny_data: Path) -> None:
        result = CliRunner().invoke(app, ["train", str(tiny_data), "--qat"])
        assert result.exit_code == 2 and "--init" in result.stderr

    def test_a_resumed_run_keeps_its_own(self) -> None:
        result = CliRunner().invoke(app, ["train", "--resume", "run", "--qat"])
        assert result.exit_code == 2 and "keeps its settings" in result.stderr
