"""Triton's configurations, read by its own schema, and the ensemble's models run as Triton runs them."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY
from deploy.conftest import NAMES, SPEC, Masters
from hypothesis import given
from hypothesis import strategies as st

from edgedet.deploy import triton
from edgedet.deploy.contents import Entry
from edgedet.deploy.golden import scene
from edgedet.deploy.model import Network, network_for
from edgedet.deploy.targets import load_target
from edgedet.errors import EdgedetError
from edgedet.runtime.load import load_detector
from edgedet.spec import spec_from_json

SCHEMA = REPOSITORY / "build/triton-schema/tritonclient/grpc/model_config_pb2.py"
CPU, ORIN = "x86-cpu", "jetson-orin-nano"


@pytest.fixture(scope="module")
def networks(masters: Masters) -> dict[str, Network]:
    return {
        CPU: network_for(masters.int8, load_target(CPU)),
        ORIN: network_for(masters.nms, load_target(ORIN)),
    }


@pytest.fixture(scope="module")
def schema() -> ModuleType:
    """NVIDIA's compiled `model_config.proto`, of the package `tritonclient`."""
    if not SCHEMA.is_file():
        pytest.skip("Triton's schema is not there: make triton-schema")
    spec = importlib.util.spec_from_file_location("model_config_pb2", SCHEMA)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parsed(schema: ModuleType, files: dict[str, Entry]) -> dict[str, Any]:
    """Every configuration, by the name of its folder, which must be its own."""
    from google.protobuf import text_format

    configs = {}
    for path, entry in files.items():
        if path.endswith("config.pbtxt"):
            config = text_format.Parse(entry.data.decode(), schema.ModelConfig())
            assert path == f"triton/{config.name}/config.pbtxt"
            configs[config.name] = config
    return configs


def shapes(tensors: Any) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tuple(tensor.dims) for tensor in tensors}


def test_a_network_for_onnx_runtime(schema: ModuleType, networks: dict[str, Network]) -> None:
    network = networks[CPU]
    files = triton.triton_files(network, load_target(CPU))
    config = parsed(schema, files)["edgedet"]
    assert (config.platform, config.max_batch_size) == ("onnxruntime_onnx", 0)
    assert shapes(config.input) == {"images": (1, 3, 64, 96)}
    assert shapes(config.output) == {"boxes": (1, -1, 4), "scores": (1, -1, len(NAMES))}
    assert {tensor.data_type for tensor in (*config.input, *config.output)} == {schema.TYPE_FP32}
    assert spec_from_json(config.parameters["edgedet"].string_value) == SPEC
    assert files["triton/edgedet/1/model.onnx"].data == network.data
    assert files["triton/edgedet/labels.txt"].data.decode().splitlines() == list(NAMES)


def test_a_network_with_nms_for_tensorrt(schema: ModuleType, networks: dict[str, Network]) -> None:
    files = triton.triton_files(networks[ORIN], load_target(ORIN))
    config = parsed(schema, files)["edgedet"]
    assert config.platform == "tensorrt_plan" and "triton/edgedet/1/model.onnx" not in files
    assert shapes(config.output) == {
        "num_dets": (1, 1),
        "det_boxes": (1, 20, 4),
        "det_scores": (1, 20),
        "det_classes": (1, 20),
    }
    types = {tensor.name: tensor.data_type for tensor in config.output}
    assert types["num_dets"] == types["det_classes"] == schema.TYPE_INT32
    assert config.instance_group[0].kind == schema.ModelInstanceGroup.KIND_GPU


def test_a_free_batch_is_batched_by_triton(schema: ModuleType, networks: dict[str, Network]) -> None:
    free = replace(networks[CPU], batch=None)
    config = parsed(schema, triton.triton_files(free, load_target(CPU)))["edgedet"]
    assert config.max_batch_size > 1 and config.HasField("dynamic_batching")
    assert shapes(config.input) == {"images": (3, 64, 96)}
    with pytest.raises(EdgedetError, match="an image at a time"):
        triton.triton_ensemble_files(free, load_target(CPU))


def test_the_ensembles_steps_fit_together(schema: ModuleType, networks: dict[str, Network]) -> None:
    for name, network in networks.items():
        configs = parsed(schema, triton.triton_ensemble_files(network, load_target(name)))
        ensemble = configs["edgedet_ensemble"]
        known = {tensor.name: tensor for tensor in ensemble.input}
        for step in ensemble.ensemble_scheduling.step:
            model = configs[step.model_name]
            inputs = {tensor.name: tensor for tensor in model.input}
            assert set(step.input_map) == set(inputs)
            for theirs, ours in step.input_map.items():
                assert (known[ours].data_type, known[ours].dims) == (inputs[theirs].data_type, inputs[theirs].dims)
            outputs = {tensor.name: tensor for tensor in model.output}
            assert set(step.output_map) == set(outputs)
            known |= {ours: outputs[theirs] for theirs, ours in step.output_map.items()}
        for tensor in ensemble.output:
            assert (known[tensor.name].data_type, known[tensor.name].dims) == (tensor.data_type, tensor.dims)


@given(st.text(max_size=60))
def test_any_text_is_read_back(text: str) -> None:
    from google.protobuf import text_format
    from google.protobuf.struct_pb2 import Value

    try:
        text.encode()
    except UnicodeEncodeError:
        return  # no specification holds a lone surrogate
    assert text_format.Parse(f"string_value: {triton.quoted(text)}", Value()).string_value == text


class PythonBackend(ModuleType):
    """What Triton's Python backend gives its models: tensors by name, and answers."""

    def __init__(self) -> None:
        super().__init__("triton_python_backend_utils")
        self.Tensor = lambda name, array: SimpleNamespace(name=name, as_numpy=lambda: array)
        self.TritonError = str
        self.InferenceResponse = lambda tensors=(), error=None: SimpleNamespace(tensors=tensors, error=error)
        self.get_input_tensor_by_name = lambda request, name: request[name]


def python_model(files: dict[str, Entry], name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A model of the Python backend, started with its configuration as Triton passes it."""
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", PythonBackend())
    module = ModuleType(name)
    exec(compile(files[f"triton/{name}/1/model.py"].data, name, "exec"), module.__dict__)  # noqa: S102
    network, inputs = files[f"triton/{name}/config.pbtxt"].data.decode(), []
    from google.protobuf import json_format, text_format

    schema = sys.modules["model_config_pb2_of_tests"]
    config = json_format.MessageToDict(
        text_format.Parse(network, schema.ModelConfig()), preserving_proto_field_name=True
    )
    inputs = [{**tensor, "dims": list(map(int, tensor["dims"]))} for tensor in config["input"]]
    model = module.TritonPythonModel()
    model.initialize({"model_name": name, "model_config": json.dumps({**config, "input": inputs})})
    return model


@pytest.mark.parametrize("nms", [False, True])
def test_the_ensemble_gives_what_the_runtime_gives(
    schema: ModuleType, masters: Masters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nms: bool
) -> None:
    monkeypatch.setitem(sys.modules, "model_config_pb2_of_tests", schema)
    network = network_for(masters.nms if nms else masters.int8, load_target(CPU))
    files = triton.triton_ensemble_files(network, load_target(CPU))
    before = python_model(files, "edgedet_preprocess", monkeypatch)
    behind = python_model(files, "edgedet_postprocess", monkeypatch)
    (tmp_path / "model.onnx").write_bytes(files["triton/edgedet/1/model.onnx"].data)
    detector = load_detector(tmp_path / "model.onnx", threads=1)
    utils = sys.modules["triton_python_backend_utils"]
    for image in (scene(120, 160, seed=1), scene(97, 31, seed=2), scene(1, 1, seed=3)):
        (prepared,) = before.execute([{"image": utils.Tensor("image", image)}])
        given = {tensor.name: tensor for tensor in prepared.tensors}
        outputs = detector.backend.run({"images": given["images"].as_numpy()})
        request = {name: utils.Tensor(name, value) for name, value in outputs.items()}
        (answer,) = behind.execute([{**request, "source_size": given["source_size"]}])
        found = {tensor.name: tensor.as_numpy() for tensor in answer.tensors}
        (expected,) = detector.detect([image])
        np.testing.assert_array_equal(found["detection_boxes"], expected.xyxy)
        np.testing.assert_array_equal(found["detection_scores"], expected.score)
        np.testing.assert_array_equal(found["detection_classes"], expected.class_id)
        assert found["detection_classes"].dtype == np.int32
    (refused,) = before.execute([{"image": utils.Tensor("image", np.zeros((4, 4), np.uint8))}])
    assert "an image must be uint8" in refused.error
