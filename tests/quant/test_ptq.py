"""From a float checkpoint to an INT8 one, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from small_float import float_detector
from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.data.find import read_dataset, split_of
from edgedet.data.synth import synthesize
from edgedet.errors import CheckFailedError, EdgedetError
from edgedet.graph.source import find_model
from edgedet.models.checkpoint import load_checkpoint, save_checkpoint
from edgedet.models.quantized.detector import QuantizedDetector, traced
from edgedet.models.quantized.edges import find_edges
from edgedet.models.quantized.provenance import weights_sha256
from edgedet.quant.calibrate import fit_to_noise, observe
from edgedet.quant.ptq import calibration_images, quantize_checkpoint
from edgedet.spec import Preprocess


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["quantize", *map(str, arguments)])


class TestCommand:
    def test_it_writes_a_checkpoint_and_compares(self, checkpoint: Path, data: Path, tmp_path: Path) -> None:
        result = run(checkpoint, data, "--images", 10, "--out", tmp_path / "int8.pt", "--json")
        assert result.exit_code == 0, result.stderr
        value = json.loads(result.stdout)
        assert value["float"].keys() == value["int8"].keys()
        assert value["rank_correlation"] > 0.9
        calibration = value["recipe"]["calibration"]
        assert (calibration["images"], calibration["method"]) == (10, "mse")
        loaded = load_checkpoint(tmp_path / "int8.pt")
        assert isinstance(loaded.detector, QuantizedDetector)
        assert loaded.detector.recipe.calibration is not None
        assert loaded.detector.recipe.calibration.images_sha256 == calibration["images_sha256"]
        assert calibration["weights_sha256"] == weights_sha256(traced(float_detector()[0]).state_dict())
        assert value["edges"] == len(loaded.detector.edges)

    def test_the_table_shows_both(self, checkpoint: Path, data: Path, tmp_path: Path) -> None:
        result = run(checkpoint, data, "--images", 8, "--out", tmp_path / "int8.pt", "--keep-float", "images")
        assert result.exit_code == 0, result.stderr
        for word in ("float AP50-95", "INT8 AP50-95", "disc", "triangle", "rank correlation", "--target ort-cpu"):
            assert word in result.stdout

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--images", 7], "too few"),
            (["--images", 13], "only 12 can be read"),
            (["--method", "mean"], "unknown calibration method"),
            (["--keep-float", "image"], "did you mean 'images'"),
            (["--max-drop", "-1"], "max-drop"),
            (["--split", "trian"], "did you mean 'train'"),
        ],
    )
    def test_what_does_not_do_is_refused(
        self, checkpoint: Path, data: Path, tmp_path: Path, options: list[Any], message: str
    ) -> None:
        result = run(checkpoint, data, "--out", tmp_path / "int8.pt", "--images", 8, *options)
        assert result.exit_code == 2
        assert message in result.stderr
        assert list(tmp_path.iterdir()) == []

    def test_a_quantized_checkpoint_and_the_checkpoint_itself(
        self, checkpoint: Path, data: Path, tmp_path: Path
    ) -> None:
        assert "would replace" in run(checkpoint, data, "--out", checkpoint).stderr
        detector, spec = float_detector()
        save_checkpoint(tmp_path / "int8.pt", fit_to_noise(detector, spec.preprocess), spec)
        result = run(tmp_path / "int8.pt", data, "--images", 8)
        assert result.exit_code == 2
        assert "quantized already" in result.stderr


def test_images_that_are_all_alike(tmp_path: Path) -> None:
    synthesize(tmp_path / "data", images=12, classes=2, size=64, format="coco", splits={"train": 10, "val": 2})
    for path in (tmp_path / "data/images/train").iterdir():
        cv2.imwrite(str(path), np.full((64, 64, 3), 90, np.uint8))
    with pytest.raises(EdgedetError, match="all alike"):
        calibration_images(split_of(read_dataset(tmp_path / "data"), "train"), 8)


def test_an_image_that_cannot_be_read_is_replaced_by_another(tmp_path: Path) -> None:
    synthesize(tmp_path / "data", images=12, classes=2, size=64, format="coco", splits={"train": 10, "val": 2})
    samples = split_of(read_dataset(tmp_path / "data"), "train")
    samples[0].image.write_bytes(b"no image")
    chosen, _ = calibration_images(samples, 9)
    assert len(chosen) == 9 and samples[0] not in chosen
    with pytest.raises(EdgedetError, match="only 9 can be read"):
        calibration_images(samples, 10)


def test_the_digest_is_of_the_pixels_in_their_order(data: Path) -> None:
    samples = split_of(read_dataset(data), "train")
    chosen, digest = calibration_images(samples, 8)
    assert (len(chosen), digest) == (8, calibration_images(samples, 8)[1])
    assert calibration_images(samples[::-1], 8)[1] != digest


def test_the_same_images_give_the_same_checkpoint(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    paths = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for path in paths:
        quantize_checkpoint(checkpoint, data, path, images=8)
    first, second = (load_checkpoint(path).detector.state_dict() for path in paths)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_observed_ranges_are_the_largest_values_of_the_float_network() -> None:
    detector, _ = float_detector()
    batches = [(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed)), "x") for seed in range(3)]
    histograms = observe(detector, lambda: batches)
    sources = {source: edge.name for edge in find_edges(traced(detector)) for source in edge.sources}
    assert set(histograms) == set(sources.values())
    pooled = []
    detector.backbone.features[1].register_forward_hook(lambda _, __, out: pooled.append(float(out.abs().max())))
    with torch.no_grad():
        for images, _ in batches:
            detector(images)
    assert histograms["backbone.features.1"].largest == pytest.approx(max(pooled))
    assert histograms["images"].largest == pytest.approx(max(float(images.abs().max()) for images, _ in batches))
    assert histograms["images"].counts.sum() == 3 * 3 * 64 * 64


def test_values_that_are_not_finite_name_the_edge_and_the_image() -> None:
    detector, _ = float_detector()
    with torch.no_grad():
        detector.backbone.features[0].weight[0] = torch.inf
    with pytest.raises(CheckFailedError, match=r"backbone\.features\.1 are not finite") as caught:
        observe(detector, lambda: [(torch.rand(1, 3, 64, 64), "street.jpg")])
    assert caught.value.where == "street.jpg"


def test_grids_for_latency_fit_noise_and_are_the_same_every_time() -> None:
    detector, _ = float_detector()
    first, second = (fit_to_noise(detector, Preprocess(height=64, width=64)).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


class TestStaleGrids:
    @pytest.fixture(scope="class")
    @staticmethod
    def path(checkpoint: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return quantize_checkpoint(checkpoint, data, tmp_path_factory.mktemp("int8") / "int8.pt", images=8).path

    def test_of_other_weights(self, path: Path, tmp_path: Path) -> None:
        content = torch.load(path, weights_only=True)
        content["weights"]["network.backbone.features.0.weight"][0, 0, 0, 0] += 1e-3
        torch.save(content, tmp_path / "other.pt")
        with pytest.raises(EdgedetError, match="calibrated for other weights") as caught:
            load_checkpoint(tmp_path / "other.pt")
        assert "edgedet quantize" in str(caught.value.fix)

    def test_of_another_preprocessing(self, path: Path, tmp_path: Path) -> None:
        content = torch.load(path, weights_only=True)
        spec = json.loads(content["spec"])
        spec["preprocess"]["mean"] = [0.5, 0.5, 0.5]
        torch.save({**content, "spec": json.dumps(spec)}, tmp_path / "other.pt")
        with pytest.raises(EdgedetError, match="another preprocessing"):
            load_checkpoint(tmp_path / "other.pt")

    def test_of_another_size(self, path: Path) -> None:
        find_model(str(path), size=(64, 64))
        with pytest.raises(EdgedetError, match="another preprocessing or input size"):
            find_model(str(path), size=(96, 96))

    def test_of_a_finer_scale_of_an_edge_is_none(self, path: Path, tmp_path: Path) -> None:
        content = torch.load(path, weights_only=True)
        content["weights"]["network.quantizers.0.scale"] *= 0.5
        torch.save(content, tmp_path / "other.pt")
        assert isinstance(load_checkpoint(tmp_path / "other.pt").detector, QuantizedDetector)
