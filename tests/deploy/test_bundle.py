"""`edgedet deploy` and `edgedet bundle`: what is in a bundle, that it is the same every time, and all or nothing."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from deploy.conftest import NAMES, SPEC, Masters
from small_float import checkpoint_in
from typer.testing import CliRunner

from edgedet import files as files_module
from edgedet.cli.app import app
from edgedet.deploy.bundle import make_bundle
from edgedet.deploy.contents import Entry, with_manifest
from edgedet.deploy.folder import check_bundle, unpack, write_bundle
from edgedet.deploy.golden import scene
from edgedet.deploy.here import machine_differences
from edgedet.deploy.sources import source_folder
from edgedet.deploy.targets import load_target
from edgedet.engine.network import require_parsable
from edgedet.errors import EdgedetError
from edgedet.files import sha256_file
from edgedet.graph.reading import read_onnx
from edgedet.runtime.load import load_detector
from edgedet.spec import spec_from_json
from edgedet.trt.machine import Machine
from edgedet.trt.manifest import BuildOptions, File, Manifest, Platform, write_engine

ORIN = Machine(board="NVIDIA Jetson Orin Nano Developer Kit Super", l4t="36.4.3", jetpack="6.2")


def run(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if "--json" in arguments and result.stdout else result.output


def settings_of(bundle: Path) -> dict[str, str]:
    """The variables in `target.sh`, as a shell reads them."""
    program = (
        ". ./target.sh; for name in MACHINE BACKEND BOARDS L4T OPERATORS HAS_ENGINE BUILD_ENGINE FASTEST_MODE; do "
    )
    program += 'eval "value=\\$$name"; printf "%s=%s\\0" "$name" "$value"; done'
    done = subprocess.run(["sh", "-c", program], cwd=bundle, capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.split("\0")[:-1])


def write_changed(bundle: Path, to: Path, change: Callable[[str], str]) -> Path:
    """A bundle with another `golden.json`, and a manifest that agrees with it."""
    manifest = check_bundle(bundle).manifest
    files = {file.path: Entry((bundle / file.path).read_bytes(), executable=file.executable) for file in manifest.files}
    files["golden/golden.json"] = Entry(change(files["golden/golden.json"].data.decode()).encode())
    write_bundle(to, manifest.name, with_manifest(files, manifest))
    return to


@pytest.fixture(scope="module")
def cpu(masters: Masters, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the INT8 master, for this machine's kind."""
    out = tmp_path_factory.mktemp("cpu") / "bundle"
    make_bundle(masters.int8, load_target("x86-cpu"), out)
    return out


@pytest.fixture(scope="module")
def orin(masters: Masters, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the INT8 master with NMS inside, for Orin Nano."""
    out = tmp_path_factory.mktemp("orin") / "bundle"
    make_bundle(masters.nms, load_target("jetson-orin-nano"), out)
    return out


def test_a_bundle_for_a_cpu_finds_what_its_master_finds(cpu: Path, masters: Masters) -> None:
    lowered, master = (load_detector(path, threads=1) for path in (cpu / "model.onnx", masters.int8))
    assert lowered.spec == master.spec == SPEC == spec_from_json((cpu / "spec.json").read_text())
    tensor, _ = master.preprocess([scene(120, 160, seed=1)])
    for found, expected in zip(lowered.infer(tensor), master.infer(tensor), strict=True):
        assert np.quantile(np.abs(found - expected), 0.9) < 0.1 * max(1.0, float(np.abs(expected).max()))
    assert any(node.op_type == "QuantizeLinear" for node in read_onnx(cpu / "model.onnx").graph.node)
    assert (cpu / "labels.txt").read_text().splitlines() == list(NAMES)
    golden = json.loads((cpu / "golden/golden.json").read_text())
    assert golden["model_sha256"] == sha256_file(cpu / "model.onnx")
    assert sum(len(image["detections"]) for image in golden["images"]) > 0


def test_a_bundle_has_the_sources_that_its_target_needs(cpu: Path, orin: Path) -> None:
    for bundle, has, has_not in (
        (cpu, "plugins/onnxruntime/library.cpp", "plugins/cuda"),
        (orin, "plugins/tensorrt/library.cpp", "plugins/onnxruntime"),
    ):
        for name in ("CMakeLists.txt", "plugins/cpu/diou_nms.cpp", "export/runner/CMakeLists.txt", has):
            assert (bundle / name).read_bytes() == (source_folder() / name).read_bytes()
        assert not (bundle / has_not).exists()
        assert not list(bundle.rglob("*.py"))


def test_a_bundle_for_tensorrt_says_how_its_engine_is_built(orin: Path, masters: Masters) -> None:
    values = settings_of(orin)
    assert values["MACHINE"] == "aarch64" and values["BOARDS"] == "Jetson Orin Nano" and "36.4.3" in values["L4T"]
    assert values["OPERATORS"] == "yes" and values["FASTEST_MODE"] == "MAXN_SUPER" and not values["HAS_ENGINE"]
    command = shlex.split(values["BUILD_ENGINE"])
    assert command[0] == "trtexec" and {"--onnx=model.onnx", "--int8", "--fp16", "--skipInference"} <= set(command)
    assert "--saveEngine=installed/model.engine.part" in command
    assert "--dynamicPlugins=installed/lib/libedgedet_tensorrt.so" in command
    model = read_onnx(orin / "model.onnx")
    require_parsable(model, where=orin)
    assert not model.functions and "EdgeDetDIoUNMS" in {node.op_type for node in model.graph.node}


@pytest.mark.usefixtures("one_golden_image")
def test_an_old_tensorrt_is_asked_in_its_own_way(masters: Masters, tmp_path: Path) -> None:
    make_bundle(masters.int8, load_target("jetson-nano"), tmp_path / "b")
    command = shlex.split(settings_of(tmp_path / "b")["BUILD_ENGINE"])
    assert "--buildOnly" in command and not any("layerPrecisions" in word for word in command)
    (opset,) = (entry.version for entry in read_onnx(tmp_path / "b/model.onnx").opset_import if entry.domain == "")
    assert opset == 13


def test_the_same_bytes_at_another_time_and_place(
    cpu: Path, masters: Masters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    shutil.copy(masters.int8, elsewhere / "renamed.onnx")
    monkeypatch.chdir(elsewhere)
    mask = os.umask(0o077)
    try:
        make_bundle(Path("renamed.onnx"), load_target("x86-cpu"), Path("first.tar.zst"))
        program = "from edgedet.cli.app import main; main()"
        command = [sys.executable, "-c", program, "deploy", masters.int8, "--target", "x86-cpu", "--out", "two.tar.zst"]
        environment = {**os.environ, "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, capture_output=True, env=environment)
    finally:
        os.umask(mask)
    assert Path("first.tar.zst").read_bytes() == Path("two.tar.zst").read_bytes()
    unpack(Path("first.tar.zst"), Path("unpacked"))
    same = subprocess.run(["diff", "-r", "unpacked", cpu], capture_output=True, text=True)
    assert same.stdout == "" and same.returncode == 0
    for path in cpu.rglob("*"):
        if path.is_file():
            here, there = path.stat(), (elsewhere / "unpacked" / path.relative_to(cpu)).stat()
            assert (here.st_mode, here.st_mtime) == (there.st_mode, there.st_mtime)


def test_without_torch_from_a_master(masters: Masters, tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None; sys.modules['onnxscript'] = None; "
        "from edgedet.cli.app import main; main()"
    )
    command = [sys.executable, "-c", program, "deploy", masters.float, "--target", "arm64-cpu", "--out", tmp_path / "b"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert check_bundle(tmp_path / "b").manifest.lowering == "fp32"


@pytest.mark.usefixtures("one_golden_image")
def test_what_was_exported_for_another_target_is_refused(orin: Path, cpu: Path, tmp_path: Path) -> None:
    refused = run("deploy", orin / "model.onnx", "--target", "x86-cpu", "--out", tmp_path / "b", code=2)
    assert "exported for trt10, and this needs ort-cpu" in refused
    again = make_bundle(cpu / "model.onnx", load_target("x86-cpu"), tmp_path / "c")
    assert (tmp_path / "c/model.onnx").read_bytes() == (cpu / "model.onnx").read_bytes()
    assert again.manifest.lowering == "ort-cpu"
    refused = run("deploy", cpu / "model.onnx", "--target", "jetson-orin-nano", "--out", tmp_path / "d", code=2)
    assert "as for ONNX Runtime on CPUs: GPUs have none" in refused


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.onnx", "--target", "x86-cpu"], "no such model file"),
        (["--target", "x86-cpu"], "a model and a target are needed"),
        (["MODEL", "--target", "x86"], "did you mean"),
        (["MODEL", "--target", "x86-cpu", "--nms"], "give the checkpoint"),
        (["MODEL", "--target", "x86-cpu", "--with", "tritn"], "did you mean 'triton'"),
        (["MODEL", "--target", "x86-cpu", "--with", "deepstream"], "needs TensorRT"),
        (["MODEL", "--target", "x86-cpu", "--engine", "x.engine"], "is not beside it"),
        (["MODEL", "--target", "x86-cpu", "--prebuilt", "."], "nothing prebuilt"),
    ],
)
def test_what_does_not_fit_is_refused(
    masters: Masters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [str(masters.float) if word == "MODEL" else word for word in arguments]
    assert says in run("deploy", *words, code=2)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_not_replaced(masters: Masters, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(EdgedetError, match="is no bundle"):
        make_bundle(masters.float, load_target("x86-cpu"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.usefixtures("one_golden_image")
def test_given_images_go_into_the_self_test(masters: Masters, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "street.png"), scene(50, 70, seed=3))
    target = load_target("x86-cpu")
    made = make_bundle(masters.int8, target, tmp_path / "b", golden=tmp_path / "street.png")
    names = {file.path for file in made.manifest.files}
    assert {"golden/given0.png", "golden/given0.input", "golden/same.png"} <= names
    golden = json.loads((tmp_path / "b/golden/golden.json").read_text())
    assert made.manifest.golden_detections == sum(len(image["detections"]) for image in golden["images"])


@pytest.mark.usefixtures("one_golden_image")
def test_a_bundle_is_replaced(cpu: Path, masters: Masters, tmp_path: Path) -> None:
    shutil.copytree(cpu, tmp_path / "b")
    (tmp_path / "b/left over").touch()
    make_bundle(masters.float, load_target("x86-cpu"), tmp_path / "b")
    assert check_bundle(tmp_path / "b").faults == ()
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.usefixtures("one_golden_image")
class TestEngine:
    def engine(self, folder: Path, masters: Masters, **changes: Any) -> Path:
        """A plan with its manifest, as `edgedet build` writes it; only the plan's own bytes are made up."""
        import hashlib

        plan = b"a plan"
        built_on = {
            "tensorrt": "10.3.0",
            "compute_capability": "8.7",
            "gpu": "Orin",
            "multiprocessors": 8,
            "cuda_runtime": "12.6",
            "cuda_driver": "12.6",
            "board": ORIN.board,
            **changes,
        }
        manifest = Manifest(
            edgedet="0.1.0",
            engine=File(name="m.engine", sha256=hashlib.sha256(plan).hexdigest()),
            onnx=File(name=masters.int8.name, sha256=sha256_file(masters.int8)),
            lowered_sha256="b" * 64,
            lowering="trt10",
            options=BuildOptions(precision="int8"),
            strongly_typed=False,
            built_on=Platform(**built_on),
            tensors=(),
            spec=SPEC,
            build_seconds=1.0,
            peak_memory_bytes=1,
        )
        write_engine(folder / "m.engine", plan, manifest)
        return folder / "m.engine"

    def test_one_that_was_built_for_that_device_goes_along(self, masters: Masters, tmp_path: Path) -> None:
        engine = self.engine(tmp_path, masters)
        make_bundle(masters.int8, load_target("jetson-orin-nano"), tmp_path / "b", engine=engine)
        assert (tmp_path / "b/model.engine").read_bytes() == b"a plan"
        assert json.loads((tmp_path / "b/model.engine.json").read_text())["engine"]["name"] == "model.engine"
        assert settings_of(tmp_path / "b")["HAS_ENGINE"] == "yes"

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"tensorrt": "10.7.0"}, "built by TensorRT 10.7.0"),
            ({"compute_capability": "8.6"}, "compute capability 8.6"),
            ({"board": "NVIDIA Jetson AGX Orin"}, "not on NVIDIA Jetson Orin Nano"),
            ({"board": None}, "built on no Jetson"),
        ],
    )
    def test_one_of_another_device_is_refused(
        self, masters: Masters, tmp_path: Path, changes: dict[str, Any], says: str
    ) -> None:
        engine = self.engine(tmp_path, masters, **changes)
        with pytest.raises(EdgedetError, match=says):
            make_bundle(masters.int8, load_target("jetson-orin-nano"), tmp_path / "b", engine=engine)
        assert not (tmp_path / "b").exists()

    def test_one_of_another_model_and_a_changed_one_are_refused(self, masters: Masters, tmp_path: Path) -> None:
        engine = self.engine(tmp_path, masters)
        with pytest.raises(EdgedetError, match=r"built of another file \(int8.onnx\) than float.onnx"):
            make_bundle(masters.float, load_target("jetson-orin-nano"), tmp_path / "b", engine=engine)
        engine.write_bytes(b"another plan")
        with pytest.raises(EdgedetError, match="not the one that its manifest was written for"):
            make_bundle(masters.int8, load_target("jetson-orin-nano"), tmp_path / "b", engine=engine)


@pytest.mark.usefixtures("one_golden_image")
def test_only_programs_for_the_target_are_taken(masters: Masters, tmp_path: Path) -> None:
    (tmp_path / "built").mkdir()
    program = tmp_path / "built/edgedet-run"
    program.write_bytes(b"\x7fELF\2\1\1" + bytes(11) + (183).to_bytes(2, "little") + bytes(44))
    make_bundle(masters.float, load_target("arm64-cpu"), tmp_path / "b", prebuilt=tmp_path / "built")
    assert os.access(tmp_path / "b/prebuilt/bin/edgedet-run", os.X_OK)
    for data in (program.read_bytes(), b"#!/bin/sh\n", b""):
        program.write_bytes(data)
        with pytest.raises(EdgedetError, match="not a program for x86_64"):
            make_bundle(masters.float, load_target("x86-cpu"), tmp_path / "c", prebuilt=tmp_path / "built")


@pytest.mark.usefixtures("one_golden_image")
class TestCommands:
    def test_check_says_what_it_is_and_where_it_belongs(self, cpu: Path, orin: Path) -> None:
        checked = run("bundle", "check", cpu, "--json")
        assert checked["faults"] == [] and checked["manifest"]["target"]["name"] == "x86-cpu"
        assert "as its manifest says" in run("bundle", "check", orin)

    def test_the_self_test_holds_and_fails(self, cpu: Path, tmp_path: Path) -> None:
        result = run("bundle", "selftest", cpu, "--threads", 1, "--json")
        assert len(result["images"]) == 10 and all(image["fault"] is None for image in result["images"])
        assert sum(image["detections"] for image in result["images"]) > 0
        broken = write_changed(cpu, tmp_path / "b", lambda text: text.replace('"class": 0', '"class": 1'))
        assert "no detection of class 1" in run("bundle", "selftest", broken, "--threads", 1, code=1)

    def test_golden_files_from_strangers(self, cpu: Path, tmp_path: Path) -> None:
        for place, (change, says) in enumerate(
            {
                (lambda text: "{"): "not valid JSON",
                (lambda text: "[]"): "not a JSON object",
                (lambda text: text.replace('"same.png"', '"../../x.png"')): "a path that no bundle has",
                (lambda text: text.replace('"version": 1', '"version": 2')): "version",
            }.items()
        ):
            broken = write_changed(cpu, tmp_path / f"{place}", change)
            assert says in run("bundle", "selftest", broken, code=2)

    def test_a_changed_file_fails(self, cpu: Path, tmp_path: Path) -> None:
        shutil.copytree(cpu, tmp_path / "b")
        with (tmp_path / "b/model.onnx").open("ab") as file:
            file.write(b"x")
        assert "model.onnx has" in run("bundle", "check", tmp_path / "b", code=1)

    @pytest.mark.skipif(os.uname().machine != "x86_64", reason="asks whether it is for this x86 machine")
    def test_a_board_elsewhere_fails_where_that_is_asked(self, cpu: Path, orin: Path) -> None:
        assert "it is for aarch64, and this is x86_64" in run("bundle", "check", orin)
        refused = run("bundle", "check", orin, "--here", code=1)
        assert "not for this machine" in refused and "edgedet deploy MODEL --target" in refused
        run("bundle", "check", cpu, "--here")

    def test_unpack_writes_a_folder_of_the_archives_name(
        self, cpu: Path, masters: Masters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        run("deploy", masters.float, "--target", "x86-cpu", "--out", "pi.tar.zst", "--json")
        result = run("bundle", "unpack", "pi.tar.zst", "--json")
        assert result["folder"] == "pi" and check_bundle(Path("pi")).faults == ()
        assert "cannot be read" in run("bundle", "unpack", "missing.tar.zst", code=2)


@pytest.mark.parametrize(
    ("target", "machine", "architecture", "says"),
    [
        ("jetson-orin-nano", ORIN, "aarch64", []),
        ("jetson-orin-nano", ORIN, "x86_64", ["it is for aarch64, and this is x86_64"]),
        ("jetson-orin-nano", Machine(board="Raspberry Pi 5"), "aarch64", ["this is no Jetson"]),
        ("jetson-orin-nx", ORIN, "aarch64", ["it is for NVIDIA Jetson Orin NX, and this is NVIDIA Jetson Orin Nano"]),
        (
            "jetson-orin-nano",
            Machine(board=ORIN.board, l4t="35.4.1", jetpack="5.1.2"),
            "aarch64",
            ["JetPack 6.1 to 6.2.3", "this has JetPack 5.1.2 (L4T 35.4.1)"],
        ),
        ("jetson-orin-nano", Machine(board=ORIN.board, l4t="40.1.0"), "aarch64", ["an unknown JetPack"]),
        ("arm64-cpu", Machine(board="Raspberry Pi 5"), "aarch64", []),
        ("x86-cpu", Machine(), "x86_64", []),
    ],
)
def test_where_a_bundle_belongs(target: str, machine: Machine, architecture: str, says: list[str]) -> None:
    found = "; ".join(machine_differences(load_target(target), machine, architecture))
    assert bool(found) == bool(says)
    assert all(text in found for text in says)


@pytest.mark.usefixtures("one_golden_image")
class TestAllOrNothing:
    """A full disk, an interrupt and a kill, while a bundle that is there is replaced."""

    def test_an_interrupt_leaves_what_was_there(
        self, cpu: Path, masters: Masters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(cpu, tmp_path / "b")
        before = sha256_file(tmp_path / "b/manifest.json")
        left = iter(range(20))

        def interrupted(handle: int) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_bundle(masters.float, load_target("x86-cpu"), tmp_path / "b")
        monkeypatch.undo()
        assert sha256_file(tmp_path / "b/manifest.json") == before and check_bundle(tmp_path / "b").faults == ()
        assert [path.name for path in tmp_path.iterdir()] == ["b"]

    def test_a_rename_that_fails_brings_the_old_one_back(
        self, cpu: Path, masters: Masters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(cpu, tmp_path / "b")
        replace = Path.replace

        def failing(path: Path, to: Path) -> Path:
            if path.name.endswith(".tmp"):
                raise OSError(5, "Input/output error")
            return replace(path, to)

        monkeypatch.setattr(files_module.Path, "replace", failing)
        with pytest.raises(EdgedetError, match="Input/output error"):
            write_bundle(tmp_path / "b", "b", {})
        monkeypatch.undo()
        assert check_bundle(tmp_path / "b").faults == ()
        assert [path.name for path in tmp_path.iterdir()] == ["b"]

    def test_a_full_disk_leaves_what_was_there(self, masters: Masters, small_disk: Path, cpu: Path) -> None:
        (small_disk / "b.tar.zst").write_bytes(b"before")
        for out in ("b.tar.zst", "folder"):
            with pytest.raises(EdgedetError, match="No space left") as caught:
                make_bundle(masters.int8, load_target("x86-cpu"), small_disk / out)
            assert "free some space" in str(caught.value.fix)
        assert (small_disk / "b.tar.zst").read_bytes() == b"before"
        assert [path.name for path in small_disk.iterdir()] == ["b.tar.zst"]

    def test_a_full_disk_leaves_nothing_half_unpacked(self, masters: Masters, small_disk: Path, tmp_path: Path) -> None:
        make_bundle(masters.int8, load_target("x86-cpu"), tmp_path / "b.tar.zst")
        with pytest.raises(EdgedetError, match="No space left"):
            unpack(tmp_path / "b.tar.zst", small_disk / "out")
        assert list(small_disk.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_checkpoint_with_nms(tmp_path: Path) -> None:
    checkpoint = checkpoint_in(tmp_path)
    made = make_bundle(checkpoint, load_target("x86-cpu"), tmp_path / "b", nms=True)
    assert (made.manifest.lowering, made.manifest.has_nms, made.manifest.quantized) == ("fp32", True, False)
    assert made.manifest.model_sha256 == made.manifest.checkpoint_sha256 == sha256_file(checkpoint)
    assert load_detector(tmp_path / "b/model.onnx", threads=1).has_nms
    tensorrt = make_bundle(checkpoint, load_target("jetson-thor"), tmp_path / "t", nms=True)
    assert "libedgedet_tensorrt.so" in settings_of(tmp_path / "t")["BUILD_ENGINE"]
    assert tensorrt.manifest.target.board.compute_capability == "11.0"
