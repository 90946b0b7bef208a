"""`edgedet pg report`: what gates do on images, and the same weights with other gates."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from gated_detectors import gated_checkpoint_in, gated_layer, rounded
from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.errors import EdgedetError
from edgedet.models.checkpoint import save_checkpoint
from edgedet.models.quantized.gated import gated_layers
from edgedet.quant.gate_picture import LEGEND_HEIGHT, draw_gates
from edgedet.quant.gate_report import GateReport, gate_map, load_gated, report_gates
from edgedet.quant.gating import FAR, decisions


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with gates on all layers, a quarter of them open on noise."""
    return gated_checkpoint_in(tmp_path_factory.mktemp("gated"))


@pytest.fixture(scope="module")
def found(gated: Path, data: Path) -> GateReport:
    return report_gates(gated, data)


def test_every_layer_is_told_of(found: GateReport, gated: Path) -> None:
    layers = gated_layers(load_gated(gated)[0].network)
    assert [one.layer for one in found.layers] == list(layers)
    assert found.images == 4 and found.split == "val"
    for one in found.layers:
        assert 0 <= one.open_p5 <= one.open_p50 <= one.open_p95 <= 1
        assert one.open <= one.open_pixels <= one.open_tiles <= 1
        assert one.bits == pytest.approx(4 + 4 * one.open)
    lateral = next(one for one in found.layers if one.layer == "neck.laterals.0.0")
    channels = layers["neck.laterals.0.0"].in_channels * layers["neck.laterals.0.0"].out_channels
    assert lateral.macs == channels * 8 * 8  # at stride 8 of 64 pixels


def test_the_totals_are_weighted_by_multiply_accumulates(found: GateReport) -> None:
    macs = sum(one.macs for one in found.layers)
    assert found.bits == pytest.approx(sum(one.macs * one.bits for one in found.layers) / macs)
    assert found.bit_operations == pytest.approx(macs * 8 * found.bits)
    assert found.high_bit_operations == macs * 8 * 4 and found.full_bit_operations == macs * 8 * 8
    assert found.high_bit_operations < found.bit_operations < found.tile_bit_operations <= found.full_bit_operations
    assert found.accuracy.keys() == {"gated", "full", "high", "random", "one", "static", "uniform", "uniform_all"}
    assert found.uniform_bits == -(-found.bits // 1)
    assert all(0 <= value <= 1 for value in found.accuracy.values())


def test_the_limit_spreads_over_the_split(gated: Path, data: Path) -> None:
    assert report_gates(gated, data, limit=2).images == 2
    assert report_gates(gated, data, limit=3).images == 2  # every second of four


@torch.no_grad()
def test_decisions_are_those_of_the_layer() -> None:
    conv = gated_layer("pixel")
    conv.gate.rest_(torch.full((8,), 0.5))
    x, step = rounded(torch.randn(2, 4, 6, 6))
    conv(x, step)
    is_open = decisions(conv, x, step)
    assert is_open.shape == (2, 1, 6, 6)
    assert 0.1 < float(is_open.mean()) < 0.9
    assert float(is_open.mean()) == pytest.approx(float(conv.gate.opened))


def test_the_map_is_of_the_image(gated: Path) -> None:
    detector, _ = load_gated(gated)
    shares = gate_map(detector, torch.randn(1, 3, 64, 64))
    assert shares.shape == (64, 64) and 0 <= float(shares.min()) < float(shares.max()) <= 1
    assert not any(conv._forward_pre_hooks for conv in gated_layers(detector.network).values())


def test_gates_that_are_open_everywhere_have_one_colour(gated: Path, data: Path, tmp_path: Path) -> None:
    detector, spec = load_gated(gated)
    for conv in gated_layers(detector.network).values():
        conv.gate.rest_(torch.full_like(conv.gate.threshold, -FAR))
    checkpoint = tmp_path / "open.pt"
    save_checkpoint(checkpoint, detector, spec)
    draw_gates(checkpoint, data, "val", tmp_path / "gates.png")
    drawn = cv2.imread(str(tmp_path / "gates.png"))
    assert drawn is not None
    heat = 2.0 * drawn[:512, 512:1024] - drawn[:512, :512]
    yellow = np.array([37, 231, 253])  # the end of viridis, in BGR
    assert np.abs(heat - yellow).max() <= 2, "not stretched to what little differs"


class TestCommand:
    def test_the_table_and_the_picture(self, gated: Path, data: Path, tmp_path: Path) -> None:
        picture = tmp_path / "gates.png"
        result = CliRunner().invoke(
            app, ["pg", "report", str(gated), str(data), "--limit", "1", "--picture", str(picture)]
        )
        assert result.exit_code == 0, result.output
        assert "neck.laterals.0.0" in result.stdout and "none of these is a time" in result.stdout
        drawn = cv2.imread(str(picture))
        assert drawn is not None and drawn.shape == (512 + LEGEND_HEIGHT, 1024, 3)
        assert (drawn[:512, :512] != drawn[:512, 512:]).any()

    def test_json(self, gated: Path, data: Path) -> None:
        result = CliRunner().invoke(app, ["pg", "report", str(gated), str(data), "--limit", "1", "--json"])
        assert result.exit_code == 0, result.output
        read = json.loads(result.stdout)
        assert read["images"] == 1 and len(read["layers"]) == len(gated_layers(load_gated(gated)[0].network))
        assert np.isfinite(read["bits"])

    @pytest.mark.parametrize(("more", "says"), [([], "nothing is timed"), (["--latency"], "no such library")])
    def test_a_library_in_vain_is_refused_before_anything_is_computed(
        self, gated: Path, tmp_path: Path, more: list[str], says: str
    ) -> None:
        arguments = [
            "pg",
            "report",
            str(gated),
            str(tmp_path / "no data"),
            "--operators",
            str(tmp_path / "no.so"),
            *more,
        ]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2 and says in result.stderr

    def test_a_checkpoint_without_gates(self, checkpoint: Path, data: Path) -> None:
        with pytest.raises(EdgedetError, match="no gated convolutions"):
            report_gates(checkpoint, data)

    def test_a_picture_of_no_known_kind(self, gated: Path, data: Path) -> None:
        result = CliRunner().invoke(app, ["pg", "report", str(gated), str(data), "--picture", "gates.gif"])
        assert result.exit_code == 2 and ".png" in result.stderr
