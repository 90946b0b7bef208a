"""Precision gating, as a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.config import load_yaml, parse
from edgedet.errors import EdgedetError
from edgedet.models.checkpoint import load_checkpoint
from edgedet.models.quantized.detector import QuantizedDetector, traced
from edgedet.models.quantized.edges import edge_read_by, find_edges
from edgedet.models.quantized.gated import GatedQuantizedConv2d, gated_layers
from edgedet.quant.gating import FAR
from edgedet.train.config import TrainConfig
from edgedet.train.loop import train
from edgedet.train.optimizer import THRESHOLD_SPEED, make_optimizer, set_learning_rate


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A float checkpoint of a short run."""
    folder = tmp_path_factory.mktemp("float")
    settings = {"data": str(tiny_data), "model": "squeezenet_1.1", "imgsz": 64, "epochs": 2, "batch": 4, "workers": 0}
    train(parse(TrainConfig, settings), folder)
    return folder / "best.pt"


@pytest.fixture
def settings(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "model": "squeezenet_1.1"}


def gated_of(path: Path) -> tuple[QuantizedDetector, dict[str, GatedQuantizedConv2d]]:
    detector = load_checkpoint(path).detector
    assert isinstance(detector, QuantizedDetector)
    return detector, gated_layers(detector.network)


def run(settings: dict[str, Any], folder: Path, init: Path, **pg: Any) -> Path:
    train(parse(TrainConfig, {**settings, "qat": {"pg": pg}}), folder, init=init)
    return folder


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_thresholds_learn_and_stay_near_where_they_started(
    settings: dict[str, Any], best: Path, tmp_path: Path
) -> None:
    folder = run(settings, tmp_path / "run", best, open=0.4)
    detector, layers = gated_of(folder / "last.pt")
    assert detector.recipe.gating is not None and set(layers) == set(detector.recipe.gating.layers)
    assert len(layers) > 15
    apart = torch.cat([conv.gate.threshold - conv.gate.resting for conv in layers.values()])
    assert 0 < float(apart.abs().max()) < 1
    for record in records(folder):
        assert record["loss_thresholds"] >= 0
        assert record["open_gates"] == pytest.approx(0.4, abs=0.15)


def test_the_record_counts_all_batches_of_an_epoch(
    settings: dict[str, Any], best: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter(range(1, 100))
    monkeypatch.setattr("edgedet.train.qat.updates", lambda _: torch.tensor([next(counts), 100], dtype=torch.float64))
    found = records(run(settings, tmp_path / "run", best))
    steps = [record["step"] for record in found]
    for record, first, last in zip(found, [0, *steps], steps, strict=False):
        assert last - first > 1
        assert record["open_gates"] == pytest.approx((first + 1 + last) / 200)


@pytest.mark.parametrize("thresholds", ["kept", "one"])
def test_thresholds_for_comparison_stand_still(
    settings: dict[str, Any], best: Path, tmp_path: Path, thresholds: str
) -> None:
    folder = run(settings, tmp_path / "run", best, thresholds=thresholds)
    _, layers = gated_of(folder / "last.pt")
    numbers = torch.cat([conv.gate.bounds() for conv in layers.values()])
    assert all((conv.gate.threshold == conv.gate.resting).all() for conv in layers.values())
    assert (numbers.unique().numel() == 1) == (thresholds == "one")


def test_without_updates_and_with_all(settings: dict[str, Any], best: Path, tmp_path: Path) -> None:
    for share in (0.0, 1.0):
        folder = run(settings, tmp_path / f"run{share}", best, open=share, thresholds="kept", bits=6, high_bits=3)
        assert [record["open_gates"] for record in records(folder)] == [share] * 3
        _, layers = gated_of(folder / "last.pt")
        assert all((conv.gate.threshold.abs() == FAR).all() for conv in layers.values())


def test_a_share_of_the_convolutions_and_those_that_are_named(
    settings: dict[str, Any], best: Path, tmp_path: Path
) -> None:
    _, layers = gated_of(run(settings, tmp_path / "half", best, share=0.5) / "last.pt")
    assert 5 < len(layers) < 40
    named = ["neck.laterals.0.0", "neck.laterals.1.0"]
    _, layers = gated_of(run(settings, tmp_path / "named", best, layers=named) / "last.pt")
    assert sorted(layers) == named


def test_more_than_8_bits_are_of_edges_that_are_kept_float(
    settings: dict[str, Any], best: Path, tmp_path: Path
) -> None:
    float_detector = load_checkpoint(best).float_detector
    network = traced(float_detector)
    edge = edge_read_by("neck.laterals.0.0", find_edges(network), network).name
    qat = {"keep_float": [edge], "pg": {"bits": 16, "high_bits": 8}}
    train(parse(TrainConfig, {**settings, "epochs": 1, "qat": qat}), tmp_path / "wide", init=best)
    detector, layers = gated_of(tmp_path / "wide" / "last.pt")
    assert "neck.laterals.0.0" in layers
    assert {detector.gated_inputs[layer] for layer in layers} == {edge}
    assert {conv.definition.highest for conv in layers.values()} == {32639}


def test_thresholds_move_faster_than_weights(settings: dict[str, Any], best: Path, tmp_path: Path) -> None:
    detector, layers = gated_of(run(settings, tmp_path / "run", best) / "last.pt")
    for conv in layers.values():
        conv.gate.threshold.requires_grad_(True)
    optimizer = make_optimizer(detector, parse(TrainConfig, settings).optimizer)
    set_learning_rate(optimizer, 0.5)
    thresholds = {id(conv.gate.threshold) for conv in layers.values()}
    for group in optimizer.param_groups:
        of_thresholds = {id(parameter) in thresholds for parameter in group["params"]}
        assert of_thresholds in ({True}, {False})
        assert group["lr"] == (0.5 * THRESHOLD_SPEED if of_thresholds == {True} else 0.5)
    assert sum(len(group["params"]) for group in optimizer.param_groups if group["lr"] > 0.5) == len(thresholds)


@pytest.mark.parametrize(
    ("pg", "message"),
    [
        ({"bits": 4, "high_bits": 4}, "low ones"),
        ({"layers": ["backbone.nothing"]}, "backbone.nothing"),
        ({"share": 1e-6}, "no convolution is left"),
        ({"bits": 16, "high_bits": 8}, "no convolution reads an edge that is kept float"),
    ],
)
def test_what_cannot_be_gated_is_refused_before_anything_is_written(
    settings: dict[str, Any], best: Path, tmp_path: Path, pg: dict[str, Any], message: str
) -> None:
    with pytest.raises(EdgedetError, match=message):
        run(settings, tmp_path / "run", best, **pg)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_the_command(tiny_data: Path, best: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ["train", str(tiny_data), "--init", str(best), "--pg", "--out", str(out), "--workers", "0"]
    result = CliRunner().invoke(app, [*command, "--epochs", "1", "--set", "qat.pg.granularity=pixel"])
    assert result.exit_code == 0, result.output
    config = load_yaml(out / "config.yaml")
    assert config["qat"]["pg"]["granularity"] == "pixel" and config["qat"]["pg"]["bits"] == 8
    assert config["model"] == "squeezenet_1.1" and config["augment"]["mosaic"] == 0
    result = CliRunner().invoke(app, ["train", "--resume", str(out), "--pg"])
    assert result.exit_code == 2 and "keeps its settings" in result.stderr
