"""Large folders in shards: the same results as plain `edgedet predict`, whatever stops in between."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_onnx import picture, write_tiny_model
from typer.testing import CliRunner, Result

from edgedet.cli.app import app
from edgedet.errors import EdgedetError
from edgedet.runtime.fleet import DetectorSettings, Plan, ShardWriter, make_plan
from edgedet.runtime.fleet.shard import shard_path
from edgedet.runtime.sources import open_source
from edgedet.runtime.sources.images import ImageSource

HAS_RAY = importlib.util.find_spec("ray") is not None
IMAGES, BROKEN = 11, ("3.jpg", "8.png")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven images, of which two are broken."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(IMAGES):
        left = 32 * (number % 8)
        image = picture(128, 256, ((left, 32, left + 32, 64), ("red", "green", "blue")[number % 3]))
        assert cv2.imwrite(str(folder / f"{number}.png"), image)
    (folder / "3.png").rename(folder / "3.jpg")
    for name in BROKEN:
        (folder / name).write_bytes(b"\x89PNG broken")
    return folder


def predict(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)], catch_exceptions=False)


def plain(model: Path, photos: Path) -> list[dict[str, Any]]:
    result = predict(model, photos, "--no-save", "--json", "--threads", "1")
    return [json.loads(line) for line in result.stdout.splitlines()]


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(out.glob("part-*.jsonl")) for line in path.read_text().splitlines()]


def without_times(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name != "ms"} for record in records]


def run(plan: Plan, detector: DetectorSettings, count: int | None = None) -> None:
    """As one worker does it, which stops after so many shards."""
    writer = ShardWriter(detector, plan.out)
    for shard in plan.shards[:count]:
        writer.write(shard)


class TestShards:
    @pytest.fixture
    def detector(self, model: Path) -> DetectorSettings:
        return DetectorSettings(str(model))

    @pytest.mark.parametrize("size", [1, 4, 11, 100])
    def test_together_they_are_what_predict_prints(
        self, model: Path, photos: Path, tmp_path: Path, detector: DetectorSettings, size: int
    ) -> None:
        plan = make_plan(open_source(str(photos)), detector, tmp_path / "out", shard_size=size)
        run(plan, detector)
        found = lines_of(tmp_path / "out")
        assert len(list((tmp_path / "out").glob("part-*"))) == plan.shard_count == math.ceil(IMAGES / size)
        assert [record["frame"] for record in found] == list(range(IMAGES))
        assert without_times([record for record in found if "error" not in record]) == without_times(
            plain(model, photos)
        )
        assert [record["source"] for record in found if "error" in record] == list(BROKEN)

    def test_what_an_earlier_run_wrote_is_kept(self, photos: Path, tmp_path: Path, detector: DetectorSettings) -> None:
        out = tmp_path / "out"
        run(make_plan(open_source(str(photos)), detector, out, shard_size=2), detector, count=2)
        before = {path: path.stat().st_mtime_ns for path in out.glob("part-*")}
        again = make_plan(open_source(str(photos)), detector, out, shard_size=2)
        assert [shard.number for shard in again.shards] == [2, 3, 4, 5]
        run(again, detector)
        assert all(path.stat().st_mtime_ns == moment for path, moment in before.items())
        assert len(lines_of(out)) == IMAGES
        assert make_plan(open_source(str(photos)), detector, out, shard_size=2).shards == ()

    def test_a_shard_that_cannot_be_written_leaves_nothing_half(
        self, photos: Path, tmp_path: Path, detector: DetectorSettings
    ) -> None:
        out = tmp_path / "out"
        plan = make_plan(open_source(str(photos)), detector, out, shard_size=4)
        shard_path(out, 1).mkdir()
        with pytest.raises(EdgedetError, match="not a plain file"):
            run(plan, detector)
        assert sorted(path.name for path in out.iterdir() if path.is_file()) == ["part-000000.jsonl", "run.json"]

    @pytest.mark.parametrize("change", ["model", "score", "size", "images", "limit"])
    def test_another_run_does_not_go_on_in_the_same_folder(
        self, model: Path, photos: Path, tmp_path: Path, detector: DetectorSettings, change: str
    ) -> None:
        out = tmp_path / "out"
        make_plan(open_source(str(photos)), detector, out, shard_size=4)
        other, source, size, limit = detector, open_source(str(photos)), 4, None
        if change == "model":
            other = DetectorSettings(str(write_tiny_model(tmp_path / "other.onnx", batch="B")))
        elif change == "score":
            other = DetectorSettings(str(model), score=0.25)
        elif change == "size":
            size = 5
        elif change == "images":
            source = open_source(f"{photos}/*.png")
        else:
            limit = 5
        with pytest.raises(EdgedetError, match="another run") as caught:
            make_plan(source, other, out, shard_size=size, limit=limit)
        assert caught.value.exit_code == 2

    @pytest.mark.parametrize("content", ["", "{", '{"kind": "bench"}', "[1]"])
    def test_a_broken_manifest(self, photos: Path, tmp_path: Path, detector: DetectorSettings, content: str) -> None:
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(EdgedetError) as caught:
            make_plan(open_source(str(photos)), detector, tmp_path, shard_size=4)
        assert "run.json" in str(caught.value)

    @settings(deadline=None, max_examples=25)
    @given(count=st.integers(1, 60), size=st.integers(1, 70), limit=st.none() | st.integers(1, 70))
    def test_every_image_is_in_one_shard(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        model: Path,
        count: int,
        size: int,
        limit: int | None,
    ) -> None:
        detector = DetectorSettings(str(model))
        root = Path("/photos")
        source = ImageSource([root / f"{number}.png" for number in range(count)], root)
        plan = make_plan(source, detector, tmp_path_factory.mktemp("out"), shard_size=size, limit=limit)
        images = [image for shard in plan.shards for image in shard.images]
        assert [image.index for image in images] == list(range(min(count, limit or count)))
        assert all(0 < len(shard.images) <= size for shard in plan.shards)
        assert len({shard_path(plan.out, shard.number) for shard in plan.shards}) == plan.shard_count


def test_a_video_is_not_taken_apart(model: Path, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5.0, (64, 64))
    writer.write(picture(64, 64))
    writer.release()
    result = predict(model, tmp_path / "clip.avi", "--ray", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "only images" in result.stderr


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_it_says_what_to_install(model: Path, photos: Path, tmp_path: Path) -> None:
    result = predict(model, photos, "--ray", "--out", tmp_path)
    assert result.exit_code == 2
    assert 'pip install "edgedet[ray]"' in result.stderr


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of two CPUs on this machine; commands connect to it in processes of their own."""
    import ray

    context = ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1"
    )
    yield context.address_info["gcs_address"]
    ray.shutdown()


@pytest.mark.skipif(not HAS_RAY, reason='Ray is not installed: pip install "edgedet[ray]"')
def test_an_address_without_a_cluster(model: Path, photos: Path, tmp_path: Path) -> None:
    result = predict(model, photos, "--ray", "--ray-address", "127.0.0.1:9", "--out", tmp_path)
    assert result.exit_code == 2
    assert "127.0.0.1:9: no Ray cluster there" in result.stderr


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason='Ray is not installed: pip install "edgedet[ray]"')
class TestCluster:
    def test_the_same_as_plain_predict(self, address: str, model: Path, photos: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        arguments = ["predict", model, photos, "--out", out, "--ray", "--ray-address", address, "--shard-size", 3]
        command = [sys.executable, "-m", "edgedet", *map(str, arguments), "--json"]
        first = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert first.returncode == 0, first.stderr
        record = json.loads(first.stdout)
        assert (record["images"], record["detected_in"]) == (IMAGES, IMAGES - len(BROKEN))
        assert (record["shards"], record["shards_written"], record["shards_kept"]) == (4, 4, 0)
        assert [line.split(":")[0] for line in record["failed"]] == list(BROKEN)
        found = [one for one in lines_of(out) if "error" not in one]
        assert without_times(found) == without_times(plain(model, photos))

        shard_path(out, 1).unlink()
        shard_path(out, 1).mkdir()
        failed = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert failed.returncode == 2
        assert "a worker failed: " in failed.stderr and "not a plain file" in failed.stderr

        shard_path(out, 1).rmdir()
        again = json.loads(subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout)
        assert (again["shards_written"], again["shards_kept"]) == (1, 3)
        assert len(lines_of(out)) == IMAGES
