"""A bundle's `install.sh` and `selftest`, run by a POSIX shell: what they refuse, ask for and leave behind."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import REPOSITORY
from deploy.conftest import SPEC, Masters

from edgedet.deploy.bundle import make_bundle
from edgedet.deploy.folder import check_bundle
from edgedet.deploy.sources import source_folder
from edgedet.deploy.targets import load_target
from edgedet.files import sha256_file
from edgedet.trt.manifest import differences, read_manifest

MACHINE = os.uname().machine
SCRIPTS = source_folder() / "export/bundle"
SHELL = shutil.which("dash") or "sh"

pytestmark = pytest.mark.skipif(MACHINE != "x86_64", reason="installs bundles for x86")


@pytest.fixture(scope="module")
def made(masters: Masters, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make_bundle(masters.int8, load_target("x86-cpu"), folder / "cpu")
    (folder / "prebuilt").mkdir()
    # It only has to be a program for this machine that knows --version.
    shutil.copy("/bin/true", folder / "prebuilt/edgedet-run")
    target = load_target("x86-tensorrt", tensorrt="10.3")
    make_bundle(
        masters.int8, target, folder / "gpu", prebuilt=folder / "prebuilt", integrations=("triton", "triton-ensemble")
    )
    make_bundle(masters.int8, load_target("jetson-orin-nano"), folder / "orin")
    return folder


@pytest.fixture
def cpu(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "cpu", tmp_path / "a bundle")


@pytest.fixture
def gpu(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "gpu", tmp_path / "gpu")


def install(bundle: Path, *arguments: object, code: int = 0, **environment: str) -> str:
    done = subprocess.run(
        [SHELL, "install.sh", *map(str, arguments)],
        cwd=bundle,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        timeout=600,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_shellcheck_finds_nothing() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("there is no shellcheck")
    done = subprocess.run(
        ["shellcheck", "-s", "sh", SCRIPTS / "install.sh", SCRIPTS / "selftest"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


class TestRefusals:
    def test_a_changed_file(self, cpu: Path) -> None:
        with (cpu / "model.onnx").open("ab") as file:
            file.write(b"x")
        assert "missing or were changed" in install(cpu, code=2)
        (cpu / "model.onnx").unlink()
        assert "missing or were changed" in install(cpu, code=2)
        assert not (cpu / "installed").exists()

    def test_another_processor(self, made: Path, tmp_path: Path) -> None:
        orin = shutil.copytree(made / "orin", tmp_path / "orin")
        said = install(orin, code=2)
        assert "this bundle is for aarch64, and this is x86_64" in said and "edgedet deploy MODEL --target" in said

    def test_another_board(self, made: Path, tmp_path: Path) -> None:
        """Where the processor fits; this machine is no Jetson."""
        orin = shutil.copytree(made / "orin", tmp_path / "orin")
        programs = tmp_path / "programs"
        programs.mkdir()
        (programs / "uname").write_text("#!/bin/sh\necho aarch64\n")
        (programs / "uname").chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        said = install(orin, code=2, PATH=path)
        assert "this bundle is for NVIDIA Jetson Orin Nano, and this is" in said and "--force" in said
        forced = install(orin, "--force", code=2, PATH=path)
        assert "warning: this bundle is for JetPack 6.1 to 6.2.3" in forced
        assert "TensorRT (apt: nvidia-jetpack)" in forced and forced.count("apt install nvidia-jetpack\n") == 1

    def test_a_missing_library_is_named_with_its_package(self, cpu: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        said = install(cpu, "--onnxruntime", tmp_path / "empty", code=2)
        assert "ONNX Runtime's library" in said and "ONNX Runtime's headers" in said
        assert "fix: sudo apt install libonnxruntime-dev\n" in said
        assert "TensorRT" not in said, "it asks for nothing that it does not need"

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["--frobnicate"], "unknown option --frobnicate"),
            (["--jobs"], "--jobs needs a value"),
            (["--onnxruntime", "nowhere"], "there is no folder nowhere"),
        ],
    )
    def test_wrong_use(self, cpu: Path, arguments: list[str], says: str) -> None:
        assert says in install(cpu, *arguments, code=2)
        assert not (cpu / "installed").exists()

    def test_a_self_test_of_what_is_not_installed(self, gpu: Path) -> None:
        done = subprocess.run(["./selftest"], cwd=gpu, capture_output=True, text=True)
        assert done.returncode == 2 and "run install.sh" in done.stderr

    @pytest.mark.parametrize("user", ["nobody-of-that-name", "no;body"])
    def test_a_service_for_nobody(self, gpu: Path, tensorrt: Path, user: str) -> None:
        here = {"LD_LIBRARY_PATH": str(tensorrt / "lib")}
        said = install(gpu, "--tensorrt", tensorrt, "--no-selftest", "--service", user, code=2, **here)
        assert "there is no user" in said or "by root alone" in said


NVIDIA = """
int cuInit(unsigned flags) { return 0; }
int cuDeviceGet(int* device, int place) { return *device = 0; }
int cuDeviceGetName(char* name, int size, int device) {
    const char* text = "Orin (nvgpu)'&|";
    while ((*name++ = *text++)) continue;
    return 0;
}
int cuDriverGetVersion(int* version) { *version = 12060; return 0; }
int cudaRuntimeGetVersion(int* version) { *version = 12060; return 0; }
int cuDeviceGetAttribute(int* value, int which, int device) {
    *value = which == 75 ? 8 : which == 76 ? 7 : which == 16 ? 16 : -1;
    return 0;
}
int getInferLibVersion(void) { return VERSION; }
"""
"""What is asked of NVIDIA's libraries, which are not here."""


def nvidia_libraries(folder: Path, version: int) -> None:
    source = folder / "nvidia.c"
    source.write_text(NVIDIA)
    for name in ("lib/libnvinfer.so", "lib/libcuda.so.1", "lib/libcudart.so"):
        command = ["gcc", "-shared", "-fPIC", f"-DVERSION={version}", "-o", folder / name, source]
        subprocess.run(command, check=True)


@pytest.fixture
def tensorrt(tmp_path: Path) -> Path:
    """What `install.sh` looks for of TensorRT; its trtexec notes how it is called and writes the file asked for."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no C compiler")
    folder = tmp_path / "tensorrt"
    for name in ("include/NvInferRuntime.h", "lib/libnvinfer.so", "bin/trtexec"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    nvidia_libraries(folder, 100300)
    (folder / "bin/trtexec").write_text(
        '#!/bin/sh\n[ ! -e "$0.broken" ] || { echo "no kernel"; exit 1; }\nprintf "%s\\n" "$@" >> "$0.calls"\n'
        'for word; do case $word in --saveEngine=*) echo plan > "${word#*=}" ;; esac; done\n'
    )
    (folder / "bin/trtexec").chmod(0o755)
    return folder


class TestEngine:
    """How the engine is asked for; trtexec itself is not here."""

    def test_it_is_built_once_and_again_for_another_tensorrt(self, gpu: Path, tensorrt: Path) -> None:
        arguments = ("--tensorrt", tensorrt, "--no-selftest")
        here = {"LD_LIBRARY_PATH": str(tensorrt / "lib")}
        assert "building the engine" in install(gpu, *arguments, **here)
        calls = (tensorrt / "bin/trtexec.calls").read_text().splitlines()
        assert "--onnx=model.onnx" in calls and "--int8" in calls
        assert any(word.startswith("--layerPrecisions=decode/") for word in calls)
        assert (gpu / "installed/model.engine").read_text() == "plan\n"
        assert (gpu / "installed/triton/edgedet/1/model.plan").read_text() == "plan\n"
        assert (gpu / "installed/triton/edgedet_ensemble/config.pbtxt").is_file()
        assert "the engine is there" in install(gpu, *arguments, **here)
        assert (tensorrt / "bin/trtexec.calls").read_text().splitlines() == calls
        nvidia_libraries(tensorrt, 8502)
        assert "building the engine" in install(gpu, *arguments, **here)
        assert read_manifest(gpu / "installed/model.engine").built_on.tensorrt == "8.5.2"
        assert check_bundle(gpu).faults == ()

    def test_its_manifest_is_that_of_edgedet_build(self, gpu: Path, tensorrt: Path) -> None:
        install(gpu, "--tensorrt", tensorrt, "--no-selftest", LD_LIBRARY_PATH=str(tensorrt / "lib"))
        manifest = read_manifest(gpu / "installed/model.engine")
        assert manifest.spec == SPEC and manifest.onnx.sha256 == sha256_file(gpu / "model.onnx")
        first = manifest.tensors[0]
        assert (first.name, first.shape, first.dtype) == ("images", (1, 3, 64, 96), "float32")
        assert (manifest.lowering, manifest.options.precision) == ("trt10", "int8")
        built_on = manifest.built_on
        assert (built_on.tensorrt, built_on.compute_capability, built_on.multiprocessors) == ("10.3.0", "8.7", 16)
        assert (built_on.gpu, built_on.cuda_driver) == ("Orin (nvgpu)", "12.6")
        plan = sha256_file(gpu / "installed/model.engine")
        assert list(differences(manifest, plan, built_on, None)) == []

    def test_without_a_gpu_there_is_none(self, gpu: Path, tensorrt: Path) -> None:
        (tensorrt / "lib/libcuda.so.1").unlink()
        said = install(gpu, "--tensorrt", tensorrt, "--no-selftest", code=2, LD_LIBRARY_PATH=str(tensorrt / "lib"))
        assert "this machine's GPU could not be described" in said
        assert not (gpu / "installed/model.engine").exists()

    def test_one_that_cannot_be_built_leaves_none(self, gpu: Path, tensorrt: Path) -> None:
        (tensorrt / "bin/trtexec.broken").touch()
        said = install(gpu, "--tensorrt", tensorrt, "--no-selftest", code=2)
        assert "TensorRT could not build the engine" in said and "no kernel" in said
        assert not (gpu / "installed/model.engine").exists()
        (tensorrt / "bin/trtexec.broken").unlink()
        install(gpu, "--tensorrt", tensorrt, "--no-selftest", LD_LIBRARY_PATH=str(tensorrt / "lib"))
        assert (gpu / "installed/model.engine").exists()


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    unit = (SCRIPTS / "edgedet.service").read_text()
    for name, value in {
        "@FOLDER@": "/tmp",
        "@USER@": "daemon",
        "@MODEL@": "model.onnx",
        "@OPERATORS@": "",
        "/tmp/installed/bin/edgedet-run": "/bin/true",
    }.items():
        assert name in unit
        unit = unit.replace(name, value)
    (tmp_path / "edgedet.service").write_text(unit)
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / "edgedet.service"], capture_output=True, text=True)
    assert done.returncode == 0 and "edgedet.service:" not in done.stderr, done.stderr


@pytest.mark.slow
def test_from_bundle_to_self_test(made: Path, tmp_path: Path) -> None:
    """All of it for real: the runner is compiled, runs ONNX Runtime, and finds what Python found."""
    import onnxruntime

    headers = REPOSITORY / "build/onnxruntime/usr/include"
    libraries = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    if not headers.is_dir() or not libraries or shutil.which("cmake") is None or shutil.which("g++") is None:
        pytest.skip("ONNX Runtime's headers (make operators), a compiler or CMake are missing")
    runtime = tmp_path / "runtime"
    (runtime / "lib").mkdir(parents=True)
    (runtime / "include").symlink_to(headers)
    (runtime / "lib/libonnxruntime.so").symlink_to(libraries[-1])
    bundle = shutil.copytree(made / "cpu", tmp_path / "bundle")
    said = install(bundle, "--onnxruntime", runtime, "--jobs", 2)
    assert "10 of 10 images as in Python" in said
    assert "the program is there" in install(bundle, "--onnxruntime", runtime)
    golden = bundle / "golden/golden.json"
    text = golden.read_text()
    golden.write_text(text.replace('"class": 0', '"class": 1'))
    assert subprocess.run(["./selftest"], cwd=bundle, capture_output=True).returncode == 1
    golden.write_text(text)
    assert check_bundle(bundle).faults == ()
