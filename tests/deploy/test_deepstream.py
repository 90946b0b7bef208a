"""What DeepStream is given: a configuration, a network of pixels, and a parser, which is compiled and run here."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from deploy.conftest import NAMES, SPEC, Masters

from edgedet.deploy.deepstream import deepstream_files
from edgedet.deploy.golden import scene
from edgedet.deploy.model import network_for
from edgedet.deploy.sources import source_folder
from edgedet.deploy.targets import load_target
from edgedet.ops.diou_nms import DIoUNMS
from edgedet.ops.diou_nms.reference import diou_nms
from edgedet.runtime.preprocess import preprocess

HERE = Path(__file__).resolve().parent
TARGET = "jetson-orin-nano"


@pytest.fixture(scope="module")
def folder(masters: Masters, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle's `deepstream`, with the plugins beside it."""
    top = tmp_path_factory.mktemp("deepstream")
    for path, entry in deepstream_files(network_for(masters.int8, load_target(TARGET)), load_target(TARGET)).items():
        (top / path).parent.mkdir(exist_ok=True)
        (top / path).write_bytes(entry.data)
    (top / "plugins").symlink_to(source_folder() / "plugins")
    return top / "deepstream"


def test_the_configuration_is_the_specifications(folder: Path) -> None:
    read = configparser.ConfigParser(delimiters="=", comment_prefixes="#", strict=True)
    read.read_string((folder / "config_infer.txt").read_text())
    values = read["property"]
    assert values["net-scale-factor"] == "1" and "offsets" not in values, "the network normalises by itself"
    assert values["infer-dims"] == "3;64;96" and values["model-color-format"] == "0"
    assert (values["maintain-aspect-ratio"], values["symmetric-padding"]) == ("1", "0")
    assert values["num-detected-classes"] == str(len(NAMES))
    assert (values["network-mode"], values["cluster-mode"]) == ("1", "4")
    assert float(read["class-attrs-all"]["pre-cluster-threshold"]) == SPEC.postprocess.score_threshold
    for key in ("onnx-file", "labelfile-path"):
        assert (folder / values[key]).is_file()
    assert values["parse-bbox-func-name"] in (folder / "nvdsinfer_edgedet.cpp").read_text()
    assert (folder / values["labelfile-path"]).read_text().splitlines() == list(NAMES)


def test_a_network_of_pixels_gives_what_the_normalised_one_gives(folder: Path, masters: Masters) -> None:
    """With the very values of the table the outputs would be the same; they are off by its last places."""
    image = scene(64, 96, seed=1)
    expected, _ = preprocess(image, SPEC.preprocess)
    pixels = np.ascontiguousarray(image[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32))
    model = (folder / "model.onnx").read_bytes()
    session = onnxruntime.InferenceSession(_with_output(model, "images"), providers=["CPUExecutionProvider"])
    assert [tensor.name for tensor in session.get_inputs()] == ["pixels"]
    (normalised,) = session.run(["images"], {"pixels": pixels})
    steps = np.abs(normalised[0] - expected) / np.spacing(np.abs(expected) + 1)
    assert steps.max() <= 3
    metadata = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).get_modelmeta()
    assert "edgedet" in metadata.custom_metadata_map


def _with_output(model: bytes, name: str) -> bytes:
    import onnx

    graph = onnx.ModelProto.FromString(model)
    onnx.checker.check_model(graph, full_check=True)
    graph.graph.output.append(next(value for value in graph.graph.value_info if value.name == name))
    return graph.SerializeToString()


@pytest.fixture(scope="module")
def parser(folder: Path) -> Path:
    """The parser built by the bundle's own Makefile, and a program around it."""
    if shutil.which("g++") is None or shutil.which("make") is None:
        pytest.skip("there is no C++ compiler or make")
    include = HERE / "nvdsinfer"
    (folder / "headers/sources").mkdir(parents=True)
    (folder / "headers/sources/includes").symlink_to(include)
    made = subprocess.run(["make", "DEEPSTREAM=headers", "CUDA=/none"], cwd=folder, capture_output=True, text=True)
    assert made.returncode == 0 and "warning" not in made.stderr, made.stderr
    library = folder / "libnvdsinfer_edgedet.so"
    command = ["g++", "-std=c++17", f"-I{include}", include / "parse.cpp", library, f"-Wl,-rpath,{folder}"]
    subprocess.run([*command, "-o", folder / "parse"], check=True)
    return folder / "parse"


@pytest.mark.parametrize("threshold", [0.0, 0.6])
def test_the_parser_suppresses_as_the_runtime_does(parser: Path, threshold: float) -> None:
    random = np.random.default_rng(0)
    corners = random.uniform(-10, 100, (200, 2, 2)).astype(np.float32)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    boxes = np.concatenate([boxes, boxes + random.normal(0, 1, boxes.shape).astype(np.float32)])
    scores = random.random((len(boxes), len(NAMES))).astype(np.float32)
    width, height = SPEC.preprocess.width, SPEC.preprocess.height
    arguments = [len(boxes), len(NAMES), width, height, threshold]
    done = subprocess.run(
        [parser, *map(str, arguments)], input=boxes.tobytes() + scores.tobytes(), capture_output=True, check=True
    )
    found = np.array([list(map(float, line.split())) for line in done.stdout.decode().splitlines()])
    kept, score, classes = diou_nms(boxes, scores, DIoUNMS(**SPEC.postprocess.model_dump()))
    clipped = np.clip(kept, 0, [width, height, width, height]).astype(np.float32)
    seen = (clipped[:, 2:] > clipped[:, :2]).all(axis=1) & (score >= np.float32(threshold))
    assert 0 < seen.sum() <= SPEC.postprocess.max_detections
    np.testing.assert_array_equal(found[:, 0], classes[seen])
    np.testing.assert_allclose(found[:, 1:3], clipped[seen, :2], rtol=1e-6)
    np.testing.assert_allclose(found[:, 3:5], clipped[seen, 2:] - clipped[seen, :2], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[:, 5], score[seen], rtol=1e-7)


def test_outputs_of_other_sizes_are_refused(parser: Path) -> None:
    done = subprocess.run([parser, "1", "2", "96", "64", "0"], input=bytes(4 * 4 + 2 * 4), capture_output=True)
    assert done.returncode == 1 and b"not of the sizes in the specification" in done.stderr
