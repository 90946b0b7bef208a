"""What edgedet uses of TensorRT is there, in NVIDIA's own Python modules of four versions, and its branches lie where
theirs do. Nothing can be built by these modules: that the code before and behind the calls is right is not shown here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorrt_double import double
from tensorrt_double.environment import VERSIONS, TensorRT, tensorrt

from edgedet.errors import EdgedetError
from edgedet.trt import versions
from edgedet.trt.versions import Version

USED = {
    "Builder": "create_network create_builder_config create_optimization_profile build_serialized_network "
    "num_DLA_cores",
    "INetworkDefinition": "num_layers get_layer num_inputs get_input",
    "ILayer": "name type num_outputs get_output",
    "ITensor": "name dtype shape",
    "IBuilderConfig": "set_flag clear_flag get_flag set_memory_pool_limit add_optimization_profile profiling_verbosity "
    "builder_optimization_level hardware_compatibility_level default_device_type DLA_core can_run_on_DLA "
    "plugins_to_serialize create_timing_cache set_timing_cache get_timing_cache",
    "ITimingCache": "serialize combine",
    "OnnxParser": "parse parse_from_file num_errors get_error",
    "Runtime": "deserialize_cuda_engine engine_host_code_allowed DLA_core",
    "ICudaEngine": "create_execution_context create_engine_inspector num_io_tensors get_tensor_name get_tensor_mode "
    "get_tensor_shape get_tensor_dtype get_tensor_profile_shape",
    "IExecutionContext": "set_input_shape get_tensor_shape set_tensor_address execute_async_v3 profiler "
    "active_optimization_profile",
    "EngineInspector": "execution_context get_engine_information",
    "IPluginRegistry": "load_library deregister_library",
    "ILogger": "log Severity",
    "IProfiler": "report_layer_time",
    "BuilderFlag": "TF32 GPU_FALLBACK VERSION_COMPATIBLE",
    "MemoryPoolType": "WORKSPACE",
    "ProfilingVerbosity": "DETAILED",
    "LayerType": "CONSTANT CONCATENATION SHAPE",
    "LayerInformationFormat": "JSON",
    "TensorIOMode": "INPUT OUTPUT",
    "HardwareCompatibilityLevel": "AMPERE_PLUS",
    "DeviceType": "DLA",
    "DataType": "FLOAT HALF INT32",
}
"""Used in every version from 8.6 on."""

BY_VERSION = {
    "BuilderFlag.FP16": "permits low precisions",
    "BuilderFlag.INT8": "permits low precisions",
    "BuilderFlag.OBEY_PRECISION_CONSTRAINTS": "permits low precisions",
    "ILayer.precision": "permits low precisions",
    "ILayer.set_output_type": "permits low precisions",
    "IBuilderConfig.progress_monitor": "reports progress",
    "IProgressMonitor.step_complete": "reports progress",
    "HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY": "same compute capability",
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": "strong typing",
}
"""Used where edgedet's own rule for a version says so."""

PRESENT = """
import json
names = {names!r}
def has(path):
    value = tensorrt
    for part in path.split('.'):
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True
print(json.dumps({{name: has(name) for name in names}}))
"""

DOCUMENTED = """
import json
print(json.dumps({{name: getattr(getattr(tensorrt, name.split('.')[0]), name.split('.')[1], None).__doc__
                  for name in {names!r}}}))
"""


@pytest.fixture(scope="module", params=VERSIONS)
def trt(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TensorRT]:
    with tensorrt(request.param, tmp_path_factory.mktemp("tensorrt")) as found:
        yield found


def present(trt: TensorRT, names: list[str], folder: Path) -> dict[str, bool]:
    return trt.python(PRESENT.format(names=names), cwd=folder)


def test_everything_used_in_every_version_is_there(trt: TensorRT, tmp_path: Path) -> None:
    names = [f"{owner}.{member}" for owner, members in USED.items() for member in members.split()]
    names += ["init_libnvinfer_plugins", "get_plugin_registry", "float32", "float16"]
    found = present(trt, names, tmp_path)
    assert [name for name, there in found.items() if not there] == []


def test_branches_lie_where_the_modules_differ(trt: TensorRT, tmp_path: Path) -> None:
    version = Version.parse(trt.version)
    rules = {
        "permits low precisions": versions.holds_precisions("int8", strongly_typed=versions.is_strongly_typed(version)),
        "reports progress": versions.has_progress_monitor(version),
        "same compute capability": _allowed(
            lambda: versions.require_compatibility(
                version, version_compatible=False, hardware=versions.SAME_COMPUTE_CAPABILITY
            )
        ),
        "strong typing": version.major >= 10,
    }
    found = present(trt, list(BY_VERSION), tmp_path)
    assert found == {name: rules[rule] for name, rule in BY_VERSION.items()}


def test_what_older_versions_are_run_by_is_there_in_8_and_gone_later(trt: TensorRT, tmp_path: Path) -> None:
    names = [
        "ICudaEngine.num_bindings",
        "ICudaEngine.get_binding_name",
        "ICudaEngine.get_binding_index",
        "ICudaEngine.binding_is_input",
        "ICudaEngine.get_binding_shape",
        "ICudaEngine.get_binding_dtype",
        "ICudaEngine.get_profile_shape",
        "IExecutionContext.set_binding_shape",
        "IExecutionContext.get_binding_shape",
        "IExecutionContext.execute_async_v2",
    ]
    assert set(present(trt, names, tmp_path).values()) == {trt.version.startswith("8.")}


def test_one_of_the_two_sizes_of_device_memory_is_there(trt: TensorRT, tmp_path: Path) -> None:
    names = ["ICudaEngine.device_memory_size", "ICudaEngine.device_memory_size_v2"]
    assert any(present(trt, names, tmp_path).values())


def test_arguments_of_the_double_are_those_of_the_modules(trt: TensorRT, tmp_path: Path) -> None:
    wanted = _parameters()
    documented = trt.python(DOCUMENTED.format(names=list(wanted)), cwd=tmp_path)
    different = {
        name: (parameters, documented[name])
        for name, parameters in wanted.items()
        if documented[name] is not None and not _takes(documented[name], parameters)
    }
    assert different == {}


def test_polygraphy_takes_the_module_and_fails_at_the_first_factory(trt: TensorRT, tmp_path: Path) -> None:
    code = (
        "import json\nfrom polygraphy.backend.trt import create_network\n"
        "try:\n    create_network()\nexcept TypeError as error:\n    print(json.dumps(str(error)))\n"
    )
    assert "factory function returned nullptr" in trt.python(code, cwd=tmp_path)


def _allowed(check: Any) -> bool:
    try:
        check()
    except EdgedetError:
        return False
    return True


DOUBLED = {
    "Builder": "Builder",
    "OnnxParser": "Parser",
    "Runtime": "Runtime",
    "IBuilderConfig": "Config",
    "ICudaEngine": "Engine",
    "IExecutionContext": "Context",
    "IPluginRegistry": "Registry",
}


def _parameters() -> dict[str, list[str]]:
    """The names of the arguments of the double's methods, by those of TensorRT's, read from its source."""
    source = inspect.getsource(double)
    found = {}
    for real, name in DOUBLED.items():
        body = re.split(r"\n    (?:class|@|def|return|#)", source.split(f"    class {name}")[1])[0]
        for method, arguments in re.findall(r"\n        def ([a-z]\w*)\(self(?:, )?([^)]*)\)", body):
            found[f"{real}.{method}"] = [part.split(":")[0].strip() for part in arguments.split(",") if part.strip()]
    return found


def _takes(document: str, parameters: list[str]) -> bool:
    """Whether an overload of pybind11's signature has these arguments, perhaps among others; `arg0` is any name."""
    for signature in re.findall(r"\(self: [^,)]*(?:, )?(.*)\) -> ", document):
        names = re.findall(r"(?:^|, )(\w+): ", signature)
        unnamed = all(re.fullmatch(r"arg\d", name) for name in names)
        if (unnamed and len(names) == len(parameters)) or set(parameters) <= set(names):
            return True
    return False
