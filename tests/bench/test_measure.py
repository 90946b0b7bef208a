"""Measurements of small real models: what is in a result, and that it fits together."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx import TensorProto, helper
from tiny_onnx import picture, tiny_model, write_tiny_model

from edgedet.bench import measure as measuring
from edgedet.bench.loop import Trace
from edgedet.bench.measure import measure
from edgedet.bench.opening import NO_TRUST, open_model, open_runners
from edgedet.bench.pinning import pinned
from edgedet.bench.result import Result, read_result, write_result
from edgedet.bench.settings import Input, Settings
from edgedet.bench.stages import STAGES
from edgedet.errors import EdgedetError

SHORT = Settings(iterations=20, duration=0, warm_up=1)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny.onnx")


def short(**changes: object) -> Settings:
    return Settings.model_validate({**SHORT.model_dump(), **changes})


def require_coherent(result: Result, trace: Trace) -> None:
    """What holds of every measurement."""
    assert result.queries == len(trace.queries) == len(result.latencies)
    found = [query.latency for query in trace.queries]
    assert (result.latency.min, result.latency.max) == (min(found), max(found))
    assert result.latencies == pytest.approx(found, abs=1e-5)
    assert result.latency.min > 0
    assert result.wall_seconds * 1e3 == pytest.approx(trace.wall_milliseconds)
    assert result.queries_per_second == pytest.approx(result.queries / result.wall_seconds)
    assert result.images_per_second == pytest.approx(result.queries_per_second * result.protocol.batch)


def test_what_a_jetson_says_of_itself_stands_beside_the_result(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program stands for its tegrastats."""
    line = "RAM 6712/7620MB CPU [38%@1497,2%@729] GR3D_FREQ 99%@[612] gpu@58.625C VDD_IN 5081mW/5181mW"
    program = tmp_path / "bin" / "tegrastats"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nwhile true; do echo "{line}"; sleep 0.05; done\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    result = measure(model, short(duration=0.5)).result
    assert result.power is not None and result.power.watts == pytest.approx(5.081)
    assert result.board is not None and result.board.samples == result.power.samples
    assert (result.board.ram_used_mib, result.board.gpu_percent) == (6712, 99)
    write_result(tmp_path / "result.json", result)
    assert read_result(tmp_path / "result.json") == result
    before = json.loads((tmp_path / "result.json").read_text())
    del before["board"]
    (tmp_path / "before.json").write_text(json.dumps(before))
    assert read_result(tmp_path / "before.json").board is None


def test_a_result_says_what_was_measured_and_how(model: Path) -> None:
    found = measure(model, SHORT)
    result, protocol = found.result, found.result.protocol
    require_coherent(result, found.trace)
    assert result.queries == 20 and not result.interrupted and result.pace is None
    assert result.model.sha256 == hashlib.sha256(model.read_bytes()).hexdigest()
    assert (result.model.architecture, result.model.class_count) == ("tiny", 3)
    assert protocol.backend.startswith("onnxruntime")
    assert protocol.settings == SHORT.model_copy(update={"input": protocol.settings.input})
    assert protocol.settings.input.kind == "generated" and protocol.settings.input.sha256
    assert (protocol.preprocess.height, protocol.batch) == (64, 1)
    assert protocol.cpus is not None and len(protocol.cpus) == 1
    assert result.h2d.max == result.d2h.max == 0
    assert result.compute == result.latency == result.enqueue
    assert result.memory is not None and result.memory.peak_resident_bytes > 1e7


def test_the_stages_add_up(model: Path) -> None:
    stages = measure(model, short(iterations=10_000)).result.stages
    assert stages is not None and tuple(stages) == (*STAGES, "total")
    assert sum(stages[name].mean for name in STAGES) == pytest.approx(stages["total"].mean)
    assert all(stages[name].min > 0 for name in STAGES)


def test_the_table_of_stages_does_not_take_as_many_queries(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    time_stages = measuring.time_stages

    def watched(*arguments: object) -> object:
        asked.append(arguments[3])
        return time_stages(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(measuring, "time_stages", watched)
    measure(model, short(iterations=10_000, duration=0.0))
    (limit,) = asked
    assert (limit.iterations, limit.duration) == (10, 0)


def test_an_image_of_the_users_is_fed_and_what_is_found_in_it_is_told(tmp_path: Path, model: Path) -> None:
    image = tmp_path / "photo.png"
    cv2.imwrite(str(image), picture(64, 64, ((8, 16, 16, 24), "red")))
    result = measure(model, short(input=Input(kind="image", path=image))).result
    (sample,) = result.samples
    (box,) = sample.detections
    assert (sample.image, box.name, box.xyxy) == (str(image), "red", (8, 16, 16, 24))


def test_a_tensor_has_no_stages_and_no_detections(tmp_path: Path, model: Path) -> None:
    np.ones((1, 3, 64, 64), np.float32).tofile(tmp_path / "t.bin")
    fed = Input(kind="tensor", path=tmp_path / "t.bin")
    result = measure(model, short(input=fed)).result
    assert result.stages is None and result.samples == ()
    with pytest.raises(EdgedetError, match="a tensor is no image"):
        measure(model, short(input=fed, end_to_end=True))


def test_a_batch_is_one_query_of_many_images(tmp_path: Path) -> None:
    found = measure(write_tiny_model(tmp_path / "m.onnx", batch=3), SHORT)
    assert found.result.protocol.batch == 3
    require_coherent(found.result, found.trace)


@pytest.mark.parametrize("end_to_end", [False, True])
def test_streams_run_side_by_side(model: Path, end_to_end: bool) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two streams take two cores")
    found = measure(model, short(streams=2, end_to_end=end_to_end, iterations=50))
    require_coherent(found.result, found.trace)
    assert {query.stream for query in found.trace.queries} == {0, 1}
    assert found.result.queries >= 100
    assert found.result.protocol.cpus is not None and len(found.result.protocol.cpus) == 2


def test_streams_share_no_model(model: Path) -> None:
    settings = short(streams=3)
    opened = open_model(model, settings, NO_TRUST)
    loaded = []
    counted = opened.__class__(
        opened.detector, lambda: loaded.append(opened.load()) or loaded[-1], opened.feed, opened.batch, opened.tensor
    )
    assert len(open_runners(counted, settings)) == 3
    assert len({id(detector.backend) for detector in (opened.detector, *loaded)}) == 3


def test_end_to_end_takes_longer_than_the_network(model: Path) -> None:
    network, whole = (measure(model, short(end_to_end=end_to_end)).result for end_to_end in (False, True))
    assert whole.latency.min > 5 * network.latency.min  # the image is decoded, too


def test_images_come_at_the_cameras_rate(model: Path) -> None:
    found = measure(model, short(fps=50, iterations=10))
    require_coherent(found.result, found.trace)
    pace = found.result.pace
    assert pace is not None
    assert pace.frames + pace.dropped == 10
    assert found.result.wall_seconds > 0.15  # nine periods of 20 ms
    assert pace.latency.min >= found.result.latency.min


def test_a_camera_faster_than_the_model_is_overload(model: Path) -> None:
    found = measure(model, short(fps=10_000, iterations=100, warm_up=0, end_to_end=True))
    pace = found.result.pace
    assert pace is not None
    assert pace.frames + pace.dropped == 100
    assert pace.missed == pace.frames < 10


def test_shapes_that_the_model_takes(tmp_path: Path, model: Path) -> None:
    assert measure(model, short(shape=(1, 3, 64, 64))).result.protocol.batch == 1
    free = write_tiny_model(tmp_path / "free.onnx", batch="N")
    assert measure(free, SHORT).result.protocol.batch == 1
    assert measure(free, short(shape=(4, 3, 64, 64))).result.protocol.batch == 4


@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (1, 3, 32, 64)])
def test_shapes_that_it_does_not_take(model: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(EdgedetError, match=f"takes images:1x3x64x64, not {'x'.join(map(str, shape))}"):
        measure(model, short(shape=shape))


def test_a_model_that_does_not_run_is_said_to(tmp_path: Path) -> None:
    broken = tiny_model()
    # It loads; but no computation gives 65 rows out of 64.
    flat = next(one for one in broken.graph.initializer if one.name == "flat")
    flat.CopyFrom(helper.make_tensor("flat", TensorProto.INT64, [3], [0, 3, 65]))
    for output in broken.graph.output:
        output.type.tensor_type.shape.dim[1].dim_param = "N"
    (tmp_path / "m.onnx").write_bytes(broken.SerializeToString())
    open_model(tmp_path / "m.onnx", SHORT, NO_TRUST)
    with pytest.raises(EdgedetError, match="could not run the model"):
        measure(tmp_path / "m.onnx", SHORT)


def test_ctrl_c_gives_what_was_measured(model: Path) -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    found = measure(model, Settings(duration=60))
    assert found.result.interrupted
    require_coherent(found.result, found.trace)
    assert found.result.wall_seconds < 30


class TestPinning:
    def test_is_restored_also_after_an_error(self) -> None:
        before = os.sched_getaffinity(0), cv2.getNumThreads()
        with pytest.raises(ZeroDivisionError), pinned(1) as cores:
            assert cores is not None
            assert os.sched_getaffinity(0) == set(cores)
            assert len(cores) == cv2.getNumThreads() == 1
            raise ZeroDivisionError
        assert (os.sched_getaffinity(0), cv2.getNumThreads()) == before

    def test_more_threads_than_cores(self, model: Path) -> None:
        with pytest.raises(EdgedetError, match="999 threads"), pinned(999):
            pass
        with pytest.raises(EdgedetError, match="64000 threads"):
            measure(model, short(threads=1000, streams=64))
