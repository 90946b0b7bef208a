"""`edgedet build` and what runs its engines, with NVIDIA's own Python modules of four versions.

What a version is asked, what is written, refused and said; not whether TensorRT would do it: a double takes the place
of what needs its libraries, and ONNX Runtime that of its kernels.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
from conftest import REPOSITORY
from onnx import helper
from tensorrt_double.environment import TensorRT
from typer.testing import CliRunner

from edgedet.cli.app import app
from edgedet.graph.metadata import Provenance, with_provenance
from edgedet.graph.reading import read_onnx
from edgedet.graph.targets import lower

OLDEST, NEWEST = "8.6.1", "11.4.0.106"
ZERO_POINT = helper.make_tensor("value", onnx.TensorProto.INT8, [], [3])
DECODING = ["decode/Exp", "decode/Mul_1", "decode/Sigmoid"]
HELD = [
    "decode/ReduceMax",
    "decode/Sub",
    "decode/Exp",
    "decode/Mul",
    "decode/ReduceSum",
    "decode/ReduceSum_1",
    "decode/Div",
    "decode/Mul_1",
    "decode/Sub_1",
    "decode/Add",
    "decode/Sigmoid",
]


def build(trt: TensorRT, model: Path, folder: Path, *options: object, **settings: str) -> dict[str, Any]:
    done = trt.run("build", model, "--out", folder / "m.engine", "--json", *options, cwd=folder, **settings)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def detections(trt: TensorRT, model: Path, images: Path, folder: Path, *options: object, **settings: str) -> list[Any]:
    done = trt.run("predict", model, images, "--no-save", "--json", *options, cwd=folder, **settings)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["detections"] for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def built(trt10: TensorRT, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    build(trt10, models / "float.onnx", folder, "--precision", "fp32")
    return folder / "m.engine"


def copy(engine: Path, folder: Path) -> Path:
    for path in (engine, engine.with_name("m.engine.json")):
        shutil.copy(path, folder)
    return folder / "m.engine"


def test_each_version_is_asked_in_its_own_way_for_an_int8_engine(trt: TensorRT, models: Path, tmp_path: Path) -> None:
    result = build(trt, models / "int8.onnx", tmp_path)
    (asked,) = trt.recorded("build")
    manifest = result["manifest"]
    assert asked["version"] == trt.version
    assert asked["verbosity"] == "DETAILED"
    assert asked["profiles"] == [{"images": [[1, 3, 64, 64]] * 3}]
    assert "TF32" not in asked["flags"]
    assert asked["monitored"] == (trt.version != OLDEST)
    if trt.version == NEWEST:
        assert (asked["flags"], asked["network"], asked["float32"]) == ([], ["STRONGLY_TYPED"], [])
        assert (manifest["lowering"], manifest["strongly_typed"]) == ("trt11", True)
    else:
        assert asked["flags"] == ["FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"]
        assert asked["network"] == (["EXPLICIT_BATCH"] if trt.version == OLDEST else [])
        assert set(DECODING) <= set(asked["float32"])
        assert not [name for name in asked["float32"] if name.startswith(("backbone", "neck"))]
        assert manifest["lowering"] == ("trt8" if trt.version == OLDEST else "trt10")
    assert result["unheld"] == []


def test_a_float_model_gives_a_float16_engine(trt: TensorRT, models: Path, tmp_path: Path) -> None:
    manifest = build(trt, models / "float.onnx", tmp_path)["manifest"]
    (asked,) = trt.recorded("build")
    strongly_typed = trt.version == NEWEST
    assert manifest["options"]["precision"] == "fp16"
    assert manifest["lowering"] == ("fp16" if strongly_typed else "fp32")
    assert ("FP16" in asked["flags"]) != strongly_typed and "INT8" not in asked["flags"]


def test_an_engine_finds_what_onnx_runtime_finds(trt: TensorRT, models: Path, pictures: Path, tmp_path: Path) -> None:
    build(trt, models / "float.onnx", tmp_path, "--precision", "fp32")
    (asked,) = trt.recorded("build")
    assert "FP16" not in asked["flags"] and asked["float32"] == []
    found = detections(trt, tmp_path / "m.engine", pictures, tmp_path)
    assert found == detections(trt, models / "float.onnx", pictures, tmp_path)
    assert sum(map(len, found)) > 0
    assert not trt.recorded("execute_async_v2") and trt.recorded("execute_async_v3")


def test_the_manifest_says_what_the_engine_depends_on(trt10: TensorRT, models: Path, tmp_path: Path) -> None:
    model = models / "int8.onnx"
    shown = build(trt10, model, tmp_path)["manifest"]
    manifest = json.loads((tmp_path / "m.engine.json").read_text())
    assert shown == manifest
    plan, cache = (tmp_path / name for name in ("m.engine", "m.timing-cache"))
    assert manifest["engine"] == {"name": "m.engine", "sha256": sha256(plan)}
    assert manifest["onnx"] == {"name": "int8.onnx", "sha256": sha256(model)}
    assert manifest["timing_cache"] == {"name": "m.timing-cache", "sha256": sha256(cache)}
    assert manifest["calibration_sha256"] == "c" * 64 and manifest["checkpoint_sha256"] is None
    assert manifest["operators"] is None
    built_on = manifest["built_on"]
    assert (built_on["tensorrt"], built_on["gpu"], built_on["compute_capability"]) == ("10.3.0", "Orin", "8.7")
    assert (built_on["multiprocessors"], built_on["cuda_runtime"]) == (8, "12.6")
    assert [tensor["name"] for tensor in manifest["tensors"]] == ["images", "boxes", "scores"]
    assert manifest["spec"]["class_names"] == ["disc", "triangle", "square"]
    assert manifest["peak_memory_bytes"] > 1 << 20 and manifest["build_seconds"] >= 0
    assert plan.read_bytes().startswith(b"a plan of the double\n"), "the plan has no prefix of edgedet's"


def test_the_manifest_of_a_float_model_names_its_checkpoint(trt10: TensorRT, models: Path, tmp_path: Path) -> None:
    manifest = build(trt10, models / "float.onnx", tmp_path)["manifest"]
    assert manifest["checkpoint_sha256"] == "a" * 64 and manifest["calibration_sha256"] is None


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"HOST_CUDA_CAPABILITY": "8.9"}, "built for compute capability 8.7, and this GPU has 8.9"),
        ({"HOST_CUDA_NAME": "Orin Ultra"}, "chosen on Orin with 8 multiprocessors, and this is Orin Ultra with 8"),
        ({"HOST_CUDA_MULTIPROCESSORS": "16"}, "chosen on Orin with 8 multiprocessors, and this is Orin with 16"),
        ({"DOUBLE_VERSION": "10.7.0"}, "built by TensorRT 10.3.0, and this is 10.7.0"),
        ({"DOUBLE_VERSION": "10.2.0"}, "built by TensorRT 10.3.0, and this is 10.2.0"),
    ],
)
def test_an_engine_of_another_machine_is_refused_before_it_is_looked_at(
    trt10: TensorRT, built: Path, pictures: Path, tmp_path: Path, settings: dict[str, str], says: str
) -> None:
    refused = trt10.run("predict", built, pictures, "--no-save", cwd=tmp_path, **settings)
    assert refused.returncode == 2
    assert says in refused.stderr
    assert "edgedet build float.onnx --precision fp32 --out m.engine" in refused.stderr
    assert trt10.recorded("deserialize") == []
    forced = trt10.run("predict", built, pictures, "--no-save", "--force", cwd=tmp_path, **settings)
    assert forced.returncode == 0 and says in forced.stderr


def test_a_changed_or_cut_off_plan_is_refused(trt10: TensorRT, built: Path, pictures: Path, tmp_path: Path) -> None:
    engine = copy(built, tmp_path)
    whole = engine.read_bytes()
    for changed in (whole[:-7], whole[:5000], whole[:40] + b"!" + whole[41:], b""):
        engine.write_bytes(changed)
        refused = trt10.run("predict", engine, pictures, cwd=tmp_path)
        assert refused.returncode == 2 and "not the one that the manifest was written for" in refused.stderr
    assert trt10.recorded("deserialize") == []


def test_a_plan_that_is_none_is_refused_by_tensorrt_with_its_words(
    trt10: TensorRT, built: Path, pictures: Path, tmp_path: Path
) -> None:
    engine = copy(built, tmp_path)
    engine.write_bytes(b"certainly no plan")
    refused = trt10.run("predict", engine, pictures, "--force", cwd=tmp_path)
    assert refused.returncode == 2
    assert "cannot load the plan (Serialization assertion" in refused.stderr


def test_an_engine_without_its_manifest_is_refused(
    trt10: TensorRT, built: Path, pictures: Path, tmp_path: Path
) -> None:
    engine = copy(built, tmp_path)
    manifest = tmp_path / "m.engine.json"
    text = manifest.read_text()
    for broken, says in (
        (None, "its manifest m.engine.json is not beside it"),
        ("{", "not valid JSON"),
        ("[1]", "not a JSON object"),
        (text.replace('"version": 1', '"version": 9', 1), "version"),
        (text.replace('"multiprocessors": 8', '"multiprocessors": "many"'), "multiprocessors"),
        ("9" * (5 << 20), "larger than 4 MiB"),
    ):
        manifest.unlink(missing_ok=True)
        if broken is not None:
            manifest.write_text(broken)
        refused = trt10.run("predict", engine, pictures, "--force", cwd=tmp_path)
        assert refused.returncode == 2 and says in refused.stderr, refused.stderr
    assert trt10.recorded("deserialize") == []


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        ("build", 2, "Could not find any implementation for node conv1"),
        ("out-of-memory", 2, "out of memory while building"),
        ("parse", 2, "UNSUPPORTED_NODE"),
        ("deserialize", 2, "cannot load the plan"),
        ("enqueue", 2, "did not start the network"),
        ("numbers", 1, "the engine does not agree with ONNX Runtime"),
        ("interrupt", 130, "interrupted"),
    ],
)
def test_a_failure_leaves_what_was_there(
    trt10: TensorRT, models: Path, built: Path, tmp_path: Path, fault: str, code: int, says: str
) -> None:
    engine = copy(built, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    failed = trt10.run("build", models / "int8.onnx", "--out", engine, cwd=tmp_path, DOUBLE_FAILS=fault)
    assert failed.returncode == code, failed.stderr
    assert says in failed.stderr and "Traceback" not in failed.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_too_little_memory_on_the_device_is_said(trt10: TensorRT, built: Path, pictures: Path, tmp_path: Path) -> None:
    failed = trt10.run("predict", built, pictures, cwd=tmp_path, HOST_CUDA_MEBIBYTES="0")
    assert failed.returncode == 2 and "CUDA: out of memory" in failed.stderr


def test_without_a_gpu_it_says_so(trt10: TensorRT, models: Path, tmp_path: Path) -> None:
    failed = trt10.run("build", models / "float.onnx", cwd=tmp_path, HOST_CUDA_NO_DEVICE="1")
    assert failed.returncode == 2 and "no CUDA-capable device" in failed.stderr


def test_options_reach_the_builder(trt10: TensorRT, models: Path, tmp_path: Path) -> None:
    options = ["--workspace", "64", "--optimization-level", "1", "--batches", "1:2:4"]
    result = build(trt10, models / "free.onnx", tmp_path, *options)
    (asked,) = trt10.recorded("build")
    assert asked["pools"]["WORKSPACE"] == 64 << 20
    assert asked["optimization_level"] == 1
    assert asked["profiles"] == [{"images": [[1, 3, 64, 64], [2, 3, 64, 64], [4, 3, 64, 64]]}]
    assert result["manifest"]["options"]["profile"] == {"smallest": 1, "best": 2, "largest": 4}


def test_a_free_batch_runs_all_images(
    trt10: TensorRT, models: Path, images: Path, pictures: Path, tmp_path: Path
) -> None:
    build(trt10, models / "free.onnx", tmp_path, "--precision", "fp32", "--batches", "2:2:4")
    evaluated = [
        trt10.run("eval", model, images, "--split", "train", "--json", cwd=tmp_path)
        for model in (tmp_path / "m.engine", models / "free.onnx")
    ]
    metrics = [json.loads(done.stdout) for done in evaluated]
    for one in metrics:
        del one["speed_ms_per_image"]
    assert metrics[0] == metrics[1] and metrics[0]["images"] > 8
    found = detections(trt10, tmp_path / "m.engine", pictures, tmp_path)
    assert found == detections(trt10, models / "free.onnx", pictures, tmp_path)


def test_a_batch_that_the_model_does_not_take_is_refused(trt10: TensorRT, models: Path, tmp_path: Path) -> None:
    refused = trt10.run("build", models / "float.onnx", "--batches", "4", cwd=tmp_path)
    assert refused.returncode == 2 and "the model takes 1 at once" in refused.stderr
    refused = trt10.run("build", models / "free.onnx", "--batches", "4:2:1", cwd=tmp_path)
    assert refused.returncode == 2 and "does not rise" in refused.stderr


def test_times_that_were_measured_are_used_again_and_foreign_ones_are_not(
    trt10: TensorRT, models: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "m.timing-cache"
    for content in (None, None, b"foreign"):
        if content is not None:
            cache.write_bytes(content)
        build(trt10, models / "float.onnx", tmp_path)
    assert [asked["timing_cache"] for asked in trt10.recorded("build")] == [0, len("measured"), 0]
    assert cache.read_bytes() == b"measured"
    cache.unlink()
    assert build(trt10, models / "float.onnx", tmp_path, "--no-timing-cache")["manifest"]["timing_cache"] is None
    assert not cache.exists()


def test_a_version_compatible_engine_runs_on_later_versions_if_its_code_is_allowed(
    trt10: TensorRT, models: Path, pictures: Path, tmp_path: Path
) -> None:
    build(trt10, models / "float.onnx", tmp_path, "--version-compatible")
    (asked,) = trt10.recorded("build")
    assert "VERSION_COMPATIBLE" in asked["flags"]
    arguments = ("predict", tmp_path / "m.engine", pictures, "--no-save")
    refused = trt10.run(*arguments, cwd=tmp_path, DOUBLE_VERSION="10.7.0")
    assert refused.returncode == 2 and "--allow-code" in refused.stderr
    older = trt10.run(*arguments, "--allow-code", cwd=tmp_path, DOUBLE_VERSION="10.2.0")
    assert older.returncode == 2 and "newer ones alone" in older.stderr
    trt10.record.unlink()
    later = trt10.run(*arguments, "--allow-code", cwd=tmp_path, DOUBLE_VERSION="10.7.0")
    assert later.returncode == 0, later.stderr
    assert [call["code"] for call in trt10.recorded("deserialize")] == [True]


def test_a_plan_that_carries_its_operators_needs_no_library(
    trt10: TensorRT, models: Path, pictures: Path, tmp_path: Path
) -> None:
    library = tmp_path / "libedgedet_tensorrt.so"
    shutil.copy(_any_library(), library)
    options = ("--version-compatible", "--serialize-operators", "--operators", library)
    build(trt10, models / "int8-nms.onnx", tmp_path, *options)
    (asked,) = trt10.recorded("build")
    assert asked["plugins_to_serialize"] == [str(library)]
    library.unlink()
    assert detections(trt10, tmp_path / "m.engine", pictures, tmp_path, "--allow-code")
    for arguments, says in (
        ([models / "int8-nms.onnx", "--serialize-operators"], "add --version-compatible"),
        ([models / "int8.onnx", "--serialize-operators", "--version-compatible"], "no library to put in"),
    ):
        refused = trt10.run("build", *arguments, cwd=tmp_path)
        assert refused.returncode == 2 and says in refused.stderr


def _any_library() -> Path:
    """One that can be opened here: the double's registry asks it nothing."""
    for name in ("cuda/libedgedet_cuda.so", "native/libedgedet_cuda_on_host.so"):
        if (REPOSITORY / "build" / name).is_file():
            return REPOSITORY / "build" / name
    pytest.skip("there is no library: make operators")


def test_a_library_is_opened_once_in_a_process(trt10: TensorRT, models: Path, tmp_path: Path) -> None:
    library = tmp_path / "libedgedet_tensorrt.so"
    shutil.copy(_any_library(), library)
    for _ in range(2):  # TensorRT refuses a library whose plugins it has
        build(trt10, models / "int8-nms.onnx", tmp_path, "--operators", library)
    assert len(trt10.recorded("load_library")) == 1


def test_code_in_other_engines_is_never_allowed(trt10: TensorRT, built: Path, pictures: Path, tmp_path: Path) -> None:
    done = trt10.run("predict", built, pictures, "--no-save", "--allow-code", cwd=tmp_path)
    assert done.returncode == 0
    assert [call["code"] for call in trt10.recorded("deserialize")] == [False]


def test_hardware_compatible_engines(trt10: TensorRT, models: Path, pictures: Path, tmp_path: Path) -> None:
    build(trt10, models / "float.onnx", tmp_path, "--hardware-compatibility", "ampere-plus")
    assert trt10.recorded("build")[0]["hardware"] == "AMPERE_PLUS"
    arguments = ("predict", tmp_path / "m.engine", pictures, "--no-save")
    other = trt10.run(*arguments, cwd=tmp_path, HOST_CUDA_CAPABILITY="8.9", HOST_CUDA_NAME="RTX 4090")
    assert other.returncode == 0, other.stderr
    turing = trt10.run(*arguments, cwd=tmp_path, HOST_CUDA_CAPABILITY="7.5")
    assert turing.returncode == 2 and "8.0 and later" in turing.stderr
    refused = trt10.run(
        "build", models / "float.onnx", "--hardware-compatibility", "same-compute-capability", cwd=tmp_path
    )
    assert refused.returncode == 2 and "comes with TensorRT 10.9" in refused.stderr


def test_the_accelerator(trt: TensorRT, models: Path, tmp_path: Path) -> None:
    arguments = ("build", models / "float.onnx", "--dla", "1", "--precision", "fp16", "--json")
    done = trt.run(*arguments, cwd=tmp_path)
    if trt.version in ("10.16.1.11", NEWEST):
        assert done.returncode == 2 and "has no DLA" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    (asked,) = trt.recorded("build")
    assert (asked["device"], asked["dla_core"]) == ("DLA", 1) and "GPU_FALLBACK" in asked["flags"]
    assert "decode/Exp" in json.loads(done.stdout)["on_gpu"]
    assert {call["dla"] for call in trt.recorded("deserialize")} == {1}
    int8 = trt.run("build", models / "int8.onnx", "--dla", "0", cwd=tmp_path)
    assert int8.returncode == 2 and "--precision fp16 with --dla" in int8.stderr


def test_strong_typing_is_asked_for_where_it_is_complete(trt: TensorRT, models: Path, tmp_path: Path) -> None:
    done = trt.run("build", models / "int8.onnx", "--strongly-typed", "--json", cwd=tmp_path)
    if trt.version in (OLDEST, "10.3.0"):
        assert done.returncode == 2 and "complete from TensorRT 10.12 on" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    (asked,) = trt.recorded("build")
    assert asked["network"] == ["STRONGLY_TYPED"] and asked["flags"] == []
    assert json.loads(done.stdout)["manifest"]["lowering"] == "trt11"


def test_a_model_with_nms_needs_the_library_of_plugins(
    trt: TensorRT, models: Path, pictures: Path, tmp_path: Path
) -> None:
    library = tmp_path / "libedgedet_tensorrt.so"
    shutil.copy(_any_library(), library)
    model, engine = models / "int8-nms.onnx", tmp_path / "m.engine"
    without = trt.run("build", model, "--out", engine, cwd=tmp_path)
    assert without.returncode == 2 and "libedgedet_tensorrt.so is not installed" in without.stderr
    refused = trt.run("build", model, "--out", engine, "--operators", library, cwd=tmp_path, DOUBLE_FAILS="no-plugins")
    assert refused.returncode == 2 and "takes no plugins from it" in refused.stderr
    result = build(trt, model, tmp_path, "--operators", library)
    (asked,) = trt.recorded("build")
    assert ("nms" in asked["float32"]) == (trt.version != NEWEST)
    assert result["manifest"]["operators"] == {"name": library.name, "sha256": sha256(library)}
    assert result["comparison"]["shared"] == 1.0
    without = trt.run("predict", engine, pictures, cwd=tmp_path)
    assert without.returncode == 2 and "--operators" in without.stderr
    other = tmp_path / "other.so"
    other.write_bytes(library.read_bytes() + b"\0")
    refused = trt.run("predict", engine, pictures, "--operators", other, cwd=tmp_path)
    assert refused.returncode == 2 and "not the one that it was built with" in refused.stderr
    found = detections(trt, engine, pictures, tmp_path, "--operators", library)
    assert sum(map(len, found)) > 0


def test_what_is_not_for_tensorrt_is_refused_by_name(trt10: TensorRT, models: Path, tmp_path: Path) -> None:
    master = read_onnx(models / "int8.onnx")
    for_cpu, for_11 = tmp_path / "cpu.onnx", tmp_path / "11.onnx"
    for_cpu.write_bytes(lower(master, "ort-cpu").SerializeToString())
    for_11.write_bytes(with_provenance(master, Provenance(target="trt11")).SerializeToString())
    strange = tmp_path / "strange.onnx"
    master.graph.node.append(
        helper.make_node("BitShift", ["images", "images"], ["shifted"], name="shift", direction="LEFT")
    )
    strange.write_bytes(master.SerializeToString())
    computed, other = (tmp_path / f"{name}.onnx" for name in ("computed", "other"))
    del master.graph.node[-1]
    known = {tensor.name for tensor in master.graph.initializer}
    quantizer = next(node for node in master.graph.node if node.op_type == "QuantizeLinear")
    changed = onnx.ModelProto()
    changed.CopyFrom(master)
    found = next(node for node in changed.graph.node if node.name == quantizer.name)
    found.input[2] = "somewhere"
    changed.graph.node.insert(0, helper.make_node("Constant", [], ["somewhere"], name="c", value=ZERO_POINT))
    assert quantizer.input[2] in known and "somewhere" not in known
    computed.write_bytes(changed.SerializeToString())
    changed.CopyFrom(master)
    del changed.graph.output[1:]
    other.write_bytes(changed.SerializeToString())
    nobodys = tmp_path / "nobodys.onnx"
    del master.metadata_props[:]
    onnx.save(master, nobodys)
    for model, says in (
        (for_cpu, "zero point other than 0"),
        (for_11, "exported for trt11, and TensorRT 10.3.0 needs trt10"),
        (strange, "BitShift (shift)"),
        (nobodys, "edgedet export"),
        (computed, "zero point other than 0"),
        (other, "not those of a detector"),
        (tmp_path / "missing.onnx", "cannot read the file"),
    ):
        refused = trt10.run("build", model, cwd=tmp_path)
        assert refused.returncode == 2 and says in refused.stderr, refused.stderr
        assert "export" in refused.stderr or "path" in refused.stderr
    assert trt10.recorded("build") == []


def test_metadata_that_is_no_provenance_is_refused(trt10: TensorRT, models: Path, tmp_path: Path) -> None:
    model = onnx.load(models / "int8.onnx")
    values = {entry.key: entry.value for entry in model.metadata_props}
    for text, says in (
        ('{"target": "master", "checkpoint_sha256": "no digest"}', "checkpoint_sha256"),
        ("[]", "not a JSON object"),
        ("{", "not valid JSON"),
    ):
        helper.set_model_props(model, values | {"edgedet_provenance": text})
        onnx.save(model, tmp_path / "m.onnx")
        refused = trt10.run("build", tmp_path / "m.onnx", cwd=tmp_path)
        assert refused.returncode == 2 and says in refused.stderr, refused.stderr


def test_without_cuda_graphs_it_runs_all_the_same(trt10: TensorRT, built: Path, pictures: Path, tmp_path: Path) -> None:
    plain = detections(trt10, built, pictures, tmp_path, HOST_CUDA_NO_CAPTURE="1")
    enqueued = len(trt10.recorded("execute_async_v3"))
    assert plain == detections(trt10, built, pictures, tmp_path)
    assert enqueued == len(plain) > 2 == len(trt10.recorded("execute_async_v3")) - enqueued, "one run, one capture"


def test_half_a_capture_is_never_run(trt10: TensorRT, built: Path, pictures: Path, tmp_path: Path) -> None:
    refused = detections(trt10, built, pictures, tmp_path, DOUBLE_FAILS="capture")
    assert refused == detections(trt10, built, pictures, tmp_path)
    assert len({json.dumps(found) for found in refused}) == len(refused) > 2, "each image has its own"


def test_bench_says_what_ran(trt10: TensorRT, built: Path, tmp_path: Path) -> None:
    done = trt10.run("bench", built, "--iterations", "3", "--json", cwd=tmp_path)
    protocol = json.loads(done.stdout)["protocol"]
    assert protocol["backend"] == "tensorrt 10.3.0 (Orin)"
    assert protocol["backend_settings"] == {
        "lowering": "fp32",
        "strongly_typed": False,
        "largest_batch": 1,
        "transfers": True,
        "cuda_graph": True,
        "spin": False,
        "depth": 2,
    }


def test_what_a_person_sees(trt10: TensorRT, models: Path, tmp_path: Path) -> None:
    done = trt10.run("build", models / "int8.onnx", "--out", tmp_path / "m.engine", cwd=tmp_path)
    assert re.search(r"m.engine: shufflenetv2_0.5x, int8 for Orin\n", done.stdout)
    assert "TensorRT 10.3.0, lowered for trt10, weakly typed" in done.stdout
    assert "agrees with ONNX Runtime on 8 images (generated images)" in done.stdout
    assert "Building Engine: 2 steps" in done.stderr


HOLDING = "--precisionConstraints=obey --layerPrecisions={layers} --layerOutputTypes={layers}"
TRTEXEC = {
    "8.2.1": "--fp16 --int8 --buildOnly",
    "8.5.2": f"--fp16 --int8 {HOLDING} --buildOnly",
    "8.6.1": f"--fp16 --int8 {HOLDING} --skipInference",
    "10.3.0": f"--fp16 --int8 {HOLDING} --skipInference",
    "10.16.1": f"--fp16 --int8 {HOLDING} --skipInference",
    "11.4.0": "--skipInference",
}
LOWERED = {"8.2.1": "trt8", "8.5.2": "trt8", "8.6.1": "trt8", "10.3.0": "trt10", "10.16.1": "trt10", "11.4.0": "trt11"}


@pytest.mark.parametrize("version", TRTEXEC)
def test_the_trtexec_command_of_each_version(models: Path, tmp_path: Path, version: str) -> None:
    result = CliRunner().invoke(
        app,
        [
            "build",
            str(models / "int8.onnx"),
            "--out",
            str(tmp_path / "m.engine"),
            "--emit-trtexec",
            "--tensorrt",
            version,
        ],
    )
    assert result.exit_code == 0, result.stderr
    major, minor, _ = version.split(".")
    lowered = tmp_path / f"m.tensorrt{major}.{minor}.onnx"
    layers = ",".join(f"{name}:fp32" for name in HELD)
    assert result.stdout.split() == [
        "trtexec",
        f"--onnx={lowered}",
        f"--saveEngine={tmp_path}/m.engine",
        "--noTF32",
        "--profilingVerbosity=detailed",
        *TRTEXEC[version].format(layers=layers).split(),
        f"--timingCacheFile={tmp_path}/m.timing-cache",
    ]
    assert f"lowered for {LOWERED[version]} (TensorRT {version})" in result.stderr
    model = onnx.load(lowered)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == {"8.2.1": 13, "11.4.0": 19}.get(version, 17)


def test_options_in_the_trtexec_command(models: Path, tmp_path: Path) -> None:
    options = (
        "--batches 1:2:4 --workspace 256 --optimization-level 2 --precision fp32 --version-compatible "
        "--hardware-compatibility ampere-plus --tensorrt 10.3 "
        "--emit-trtexec --no-timing-cache"
    )
    result = CliRunner().invoke(
        app, ["build", str(models / "free.onnx"), "--out", f"{tmp_path}/m.engine", *options.split()]
    )
    assert result.exit_code == 0, result.stderr
    assert set(result.stdout.split()) >= {
        "--minShapes=images:1x3x64x64",
        "--optShapes=images:2x3x64x64",
        "--maxShapes=images:4x3x64x64",
        "--memPoolSize=workspace:256",
        "--builderOptimizationLevel=2",
        "--versionCompatible",
        "--hardwareCompatibilityLevel=ampere+",
    }
    assert "--timingCacheFile" not in result.stdout
    dla = CliRunner().invoke(
        app,
        ["build", str(models / "float.onnx"), "--out", f"{tmp_path}/d.engine", "--dla", "1", "--precision", "fp16"]
        + ["--emit-trtexec", "--tensorrt", "8.5"],
    )
    assert {"--useDLACore=1", "--allowGPUFallback", "--fp16", "--precisionConstraints=prefer"} <= set(
        dla.stdout.split()
    )
    assert "--layerPrecisions=decode/ReduceMax:fp32" in dla.stdout
    words = ["build", str(models / "int8-nms.onnx"), "--out", f"{tmp_path}/n.engine", "--emit-trtexec"]
    carrying = ["--serialize-operators", "--version-compatible", "--operators", "/opt/lib.so"]
    shown = CliRunner().invoke(app, [*words, *carrying, "--tensorrt", "10.3"])
    assert {"--dynamicPlugins=/opt/lib.so", "--setPluginsToSerialize=/opt/lib.so"} <= set(shown.stdout.split())
    assert ",nms:int32+fp32+fp32+int32" in shown.stdout
    old = CliRunner().invoke(app, [*words, "--optimization-level", "3", "--tensorrt", "8.5"])
    assert old.exit_code == 2 and "levels of optimization come with TensorRT 8.6" in old.stderr


def test_the_script_asks_for_the_same_engine(trt: TensorRT, models: Path, tmp_path: Path) -> None:
    options = ["--optimization-level", "4", "--workspace", "64", "--no-timing-cache"]
    build(trt, models / "int8.onnx", tmp_path, *options)
    shown = trt.run("build", models / "int8.onnx", "--out", "s.engine", *options, "--emit-script", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    (tmp_path / "script.py").write_text(shown.stdout)
    done = trt.run_script(tmp_path / "script.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    by_edgedet, by_script = trt.recorded("build")
    by_edgedet.pop("monitored"), by_script.pop("monitored")
    assert by_script == by_edgedet
    plans = [(tmp_path / name).read_bytes().rpartition(b"\n{")[2] for name in ("m.engine", "s.engine")]
    assert plans[0][-10_000:] == plans[1][-10_000:]


@pytest.mark.slow
def test_the_suite_for_boards_can_be_run(trt10: TensorRT, models: Path, tmp_path: Path) -> None:
    done = trt10.run_suite(REPOSITORY / "tests" / "on_gpu", models, "-m", "tensorrt", cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") >= 15


def test_tensorrt_that_is_not_installed_is_said(models: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["build", str(models / "float.onnx"), "--out", str(tmp_path / "m.engine")])
    assert result.exit_code == 2 and "tensorrt" in result.stderr and "JetPack" in result.stderr


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
