"""What each edge costs, and what stays float for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_float import float_detector

from edgedet.errors import CheckFailedError
from edgedet.models.checkpoint import load_checkpoint
from edgedet.models.quantized.detector import QuantizedDetector, traced
from edgedet.models.quantized.edges import find_edges
from edgedet.models.quantized.recipe import Recipe
from edgedet.quant import ptq
from edgedet.quant.calibrate import observe, quantize
from edgedet.quant.ptq import quantize_checkpoint
from edgedet.quant.ranges import range_of
from edgedet.quant.sensitivity import edge_errors

IMAGES = [torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]


def test_an_edges_error_is_that_of_a_detector_with_this_edge_alone_rounded() -> None:
    detector, _ = float_detector()
    histograms = observe(detector, lambda: [(one, "noise") for one in IMAGES])
    errors = edge_errors(detector, {name: range_of(one, "mse") for name, one in histograms.items()}, IMAGES)
    names = [edge.name for edge in find_edges(traced(detector))]
    assert sorted(one.edge for one in errors) == sorted(names)
    assert [one.error for one in errors] == sorted((one.error for one in errors), reverse=True)
    found = {one.edge: one.error for one in errors}
    for name in ("images", "backbone.features.7.expand_activation", names[-1]):
        recipe = Recipe(keep_float=tuple(other for other in names if other != name))
        alone = quantize(detector, histograms, method="mse", recipe=recipe)
        with torch.no_grad():
            changes = torch.cat([alone(one) - detector(one) for one in IMAGES])
            size = torch.cat([detector(one) for one in IMAGES])
        expected = (changes.double().square().mean() / size.double().square().mean()).sqrt().item()
        assert found[name] == pytest.approx(expected, rel=1e-3)


class Judged:
    """Evaluations whose mAP rises with the number of edges that stay float."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, loss: float) -> None:
        self.float_edges: list[int] = []
        real = ptq.evaluate

        def evaluate(detector: Any, samples: Any, class_names: Any, **options: Any) -> Any:
            evaluation = real(detector, samples, class_names, **options)
            network = detector.backend._decoded.detector
            kept = len(network.recipe.keep_float) if isinstance(network, QuantizedDetector) else None
            lost = 0.0 if kept is None else loss / (1 + kept)
            if kept is not None:
                self.float_edges.append(kept)
            metrics = ptq.Metrics(**{**vars(evaluation.metrics), "map": 0.5 - lost})
            return type(evaluation)(metrics, evaluation.images, evaluation.speed, evaluation.detections)

        monkeypatch.setattr(ptq, "evaluate", evaluate)


def test_the_worst_edges_stay_float(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    result = quantize_checkpoint(
        checkpoint, data, tmp_path / "q.pt", images=8, keep_worst=3, keep_float=("images",), sensitivity=True
    )
    worst = [one.edge for one in result.sensitivity if one.edge != "images"]
    assert result.recipe.keep_float == ("images", *worst[:3])
    assert list(result.regained) == worst[3 : 3 + ptq.REGAINED_EDGES]
    loaded = load_checkpoint(tmp_path / "q.pt").detector
    assert isinstance(loaded, QuantizedDetector)
    assert not set(result.recipe.keep_float) & set(loaded.quantizers())


def test_a_budget_keeps_more_and_more_float(
    checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = Judged(monkeypatch, loss=0.029)
    result = quantize_checkpoint(checkpoint, data, tmp_path / "q.pt", images=8, max_drop=1.0)
    assert judged.float_edges == [0, 1, 2]
    assert len(result.recipe.keep_float) == 2
    assert result.float_metrics.map - result.int8_metrics.map <= 0.01 + 1e-9


def test_a_budget_that_is_kept_at_once_changes_nothing(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    result = quantize_checkpoint(checkpoint, data, tmp_path / "q.pt", images=8, max_drop=0.5)
    assert result.recipe.keep_float == ()


def test_the_last_thing_a_budget_tries_is_to_keep_all_float(
    checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edges = len(find_edges(traced(float_detector()[0])))
    judged = Judged(monkeypatch, loss=0.01 * (edges + 0.5))
    result = quantize_checkpoint(checkpoint, data, tmp_path / "q.pt", images=8, max_drop=1.0)
    assert judged.float_edges == [0, 1, 2, 4, 8, 16, 32, edges]
    assert len(result.recipe.keep_float) == edges


def test_a_budget_that_cannot_be_kept_writes_nothing(
    checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Judged(monkeypatch, loss=10.0)
    with pytest.raises(CheckFailedError, match="whatever stays float"):
        quantize_checkpoint(checkpoint, data, tmp_path / "q.pt", images=8, max_drop=0.5)
    assert list(tmp_path.iterdir()) == []
