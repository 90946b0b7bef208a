"""A double of the few TensorRT objects that edgedet and Polygraphy touch, over a real Python module of TensorRT.

The module is NVIDIA's own of some version: its enums, loggers and monitors are real. Only what would need libnvinfer is
put into its place, and a member that the real class of that version does not have is taken from the double too: code
that uses what a version does not have fails here as it would there. A "plan" is the ONNX model with what was asked of
the builder, and ONNX Runtime computes it, on what `host_cuda` calls a device.

The environment says where calls are recorded (DOUBLE_RECORD) and what fails (DOUBLE_FAILS).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto
from polygraphy import cuda

from edgedet.runtime.backends.onnxruntime import open_session

MAGIC = b"a plan of the double\n"
KNOWN_DOMAINS = ("", "ai.onnx")
HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
opened: list[str] = []
"""Libraries of plugins that the process's registry holds."""

NUMPY = {TensorProto.FLOAT: "FLOAT", TensorProto.INT32: "INT32", TensorProto.FLOAT16: "HALF"}
LAYERS = {
    "Conv": "CONVOLUTION",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
    "Concat": "CONCATENATION",
    "Reshape": "SHUFFLE",
    "Transpose": "SHUFFLE",
    "Add": "ELEMENTWISE",
    "Sub": "ELEMENTWISE",
    "Mul": "ELEMENTWISE",
    "Div": "ELEMENTWISE",
    "Relu": "ACTIVATION",
    "Sigmoid": "ACTIVATION",
}


def record(what: str, **values: Any) -> None:
    """One line of JSON for each call."""
    if path := os.environ.get("DOUBLE_RECORD"):
        with Path(path).open("a") as file:
            file.write(json.dumps({"what": what, **values}, default=str) + "\n")


def fails(how: str) -> bool:
    return how in os.environ.get("DOUBLE_FAILS", "").split(",")


def install(trt: Any) -> None:
    """Puts the double's classes into a module."""
    doubles = _doubles(trt)
    for name in ("Builder", "OnnxParser", "Runtime", "ICudaEngine", "IExecutionContext"):
        setattr(trt, name, doubles[name])
    trt.init_libnvinfer_plugins = lambda logger, namespace: True
    registry = doubles["IPluginRegistry"]()
    trt.get_plugin_registry = lambda: registry


class HostMemory(bytes):
    """As `tensorrt.IHostMemory`: bytes, freed at the end of a block."""

    def __enter__(self) -> HostMemory:
        return self

    def __exit__(self, *_: object) -> None: ...


def _like(real: Any) -> Callable[[type], type]:
    """Takes from a double what the real class does not have."""

    def check(double: type) -> type:
        for name in [name for name in vars(double) if not name.startswith("_") and not hasattr(real, name)]:
            delattr(double, name)
        double._real = real
        return double

    return check


class _Strict:
    """Refuses attributes that the real class does not have, as its own does."""

    _real: Any

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_") and not hasattr(self._real, name):
            raise AttributeError(f"{self._real.__name__} has no attribute {name}")
        object.__setattr__(self, name, value)


def _doubles(trt: Any) -> dict[str, Any]:
    @_like(trt.IPluginRegistry)
    class Registry:
        def load_library(self, plugin_path: str) -> object:
            record("load_library", path=plugin_path)
            if fails("no-plugins") or plugin_path in opened:  # it has these plugins already
                return None
            opened.append(plugin_path)
            return plugin_path

        def deregister_library(self, handle: object) -> None:
            opened.remove(str(handle))

    @_like(trt.ITensor)
    class Tensor:
        is_shape_tensor = False

        def __init__(self, name: str, shape: tuple[int, ...], dtype: Any) -> None:
            self.name, self.shape, self.dtype = name, shape, dtype

    @_like(trt.ILayer)
    class Layer(_Strict):
        precision_is_set = False
        precision = None

        def __init__(self, name: str, kind: str) -> None:
            self.name, self.type = name, getattr(trt.LayerType, kind)
            self.num_outputs = 1
            self._output_types: Any = None

        def set_output_type(self, index: int, dtype: Any) -> None:
            self._output_types = (index, dtype)

        def get_output(self, index: int) -> Any:
            return Tensor(f"{self.name}_output", (1,), trt.DataType.FLOAT)

    @_like(trt.INetworkDefinition)
    class Network:
        def __init__(self, flags: int) -> None:
            self._flags = flags
            self._layers: list[Any] = []
            self._model = ModelProto()

        num_layers = property(lambda self: len(self._layers))
        num_inputs = property(lambda self: len(self._model.graph.input))

        def get_layer(self, index: int) -> Any:
            return self._layers[index]

        def __len__(self) -> int:
            return len(self._layers)

        def __getitem__(self, index: int) -> Any:
            return self._layers[index]

        def get_input(self, index: int) -> Any:
            value = self._model.graph.input[index]
            return Tensor(value.name, _shape(value), trt.DataType.FLOAT)

        def get_flag(self, flag: Any) -> bool:
            return bool(self._flags & 1 << int(flag))

    @_like(trt.IOptimizationProfile)
    class Profile:
        def __init__(self) -> None:
            self._shapes: dict[str, list[list[int]]] = {}

        def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
            self._shapes[input] = [list(min), list(opt), list(max)]

    @_like(trt.ITimingCache)
    class TimingCache:
        def __init__(self, data: bytes) -> None:
            self._data = data

        def serialize(self) -> HostMemory:
            return HostMemory(self._data + b"measured")

        def combine(self, input_cache: Any, ignore_mismatch: bool) -> bool:
            return True

    @_like(trt.IBuilderConfig)
    class Config(_Strict):
        DLA_core = -1
        default_device_type = trt.DeviceType.GPU
        int8_calibrator = None
        builder_optimization_level = 3
        profiling_verbosity = None
        hardware_compatibility_level = None
        progress_monitor = None
        plugins_to_serialize: tuple[str, ...] = ()
        engine_capability = None
        max_aux_streams = None

        def __init__(self) -> None:
            self._flags: set[str] = set()
            self._pools: dict[str, int] = {}
            self._profiles: list[Any] = []
            self._cache: Any = None

        num_optimization_profiles = property(lambda self: len(self._profiles))

        def set_flag(self, flag: Any) -> None:
            self._flags.add(flag.name)

        def clear_flag(self, flag: Any) -> None:
            self._flags.discard(flag.name)

        def get_flag(self, flag: Any) -> bool:
            return flag.name in self._flags

        def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
            self._pools[pool.name] = pool_size

        def get_memory_pool_limit(self, pool: Any) -> int:
            return self._pools.get(pool.name, 0)

        def add_optimization_profile(self, profile: Any) -> int:
            self._profiles.append(profile)
            return len(self._profiles) - 1

        def get_tactic_sources(self) -> int:
            return 0

        def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
            foreign = serialized_timing_cache.startswith(b"foreign")
            return None if foreign else TimingCache(bytes(serialized_timing_cache))

        def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
            if cache is None:
                raise TypeError("set_timing_cache(): incompatible function arguments")
            self._cache = cache
            return True

        def get_timing_cache(self) -> Any:
            return self._cache

        def can_run_on_DLA(self, layer: Any) -> bool:  # noqa: N802
            return layer.type == trt.LayerType.CONVOLUTION

        def _plain(self) -> dict[str, Any]:
            level = self.hardware_compatibility_level
            return {
                "flags": sorted(self._flags),
                "pools": self._pools,
                "profiles": [profile._shapes for profile in self._profiles],
                "timing_cache": len(self._cache._data),
                "optimization_level": self.builder_optimization_level,
                "hardware": None if level is None else level.name,
                "verbosity": getattr(self.profiling_verbosity, "name", None),
                "dla_core": self.DLA_core,
                "device": self.default_device_type.name,
                "plugins_to_serialize": list(self.plugins_to_serialize),
                "monitored": getattr(self, "progress_monitor", None) is not None,
            }

    @_like(trt.Builder)
    class Builder:
        num_DLA_cores = 2  # noqa: N815

        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def create_network(self, flags: int = 0) -> Any:
            return Network(flags)

        def create_builder_config(self) -> Any:
            return Config()

        def create_optimization_profile(self) -> Any:
            return Profile()

        def build_serialized_network(self, network: Any, config: Any) -> HostMemory | None:
            named = trt.NetworkDefinitionCreationFlag.__members__.items()
            asked = {
                **config._plain(),
                "version": trt.__version__,
                "network": [name for name, flag in named if network._flags & 1 << int(flag)],
                "float32": [
                    layer.name
                    for layer in network
                    if getattr(layer, "precision", None) == trt.float32 and layer._output_types == (0, trt.float32)
                ],
            }
            record("build", **asked)
            if not self._advance(getattr(config, "progress_monitor", None)):
                return None
            if fails("out-of-memory"):
                message = "Requested amount of GPU memory (5368709120 bytes) could not be allocated: out of memory"
                self._logger.log(trt.ILogger.Severity.ERROR, message)
                return None
            if fails("build"):
                self._logger.log(trt.ILogger.Severity.ERROR, "Could not find any implementation for node conv1")
                return None
            head = MAGIC + json.dumps(asked, default=str).encode() + b"\n"
            return HostMemory(head + network._model.SerializeToString())

        def _advance(self, monitor: Any) -> bool:
            if monitor is None:
                return True
            monitor.phase_start("Building Engine", None, 2)
            monitor.phase_start("Tactic Selection", "Building Engine", 3)
            for step in range(3):
                if fails("interrupt"):
                    os.kill(os.getpid(), signal.SIGINT)
                if not monitor.step_complete("Tactic Selection", step):
                    return False
            monitor.phase_finish("Tactic Selection")
            monitor.phase_finish("Building Engine")
            return True

    @_like(trt.OnnxParser)
    class Parser:
        def __init__(self, network: Any, logger: Any) -> None:
            self._network = network
            self._errors: list[str] = []

        num_errors = property(lambda self: len(self._errors))

        def get_error(self, index: int) -> str:
            return self._errors[index]

        def parse_from_file(self, model: str) -> bool:
            return self.parse(Path(model).read_bytes())

        def parse(self, model: bytes) -> bool:
            self._network._model = found = onnx.load_model_from_string(model)
            for place, node in enumerate(found.graph.node):
                if (node.domain not in KNOWN_DOMAINS and not opened) or fails("parse"):
                    self._errors.append(
                        f"In node {place} with name: {node.name} and operator: {node.op_type} (importFallbackPlugin): "
                        "UNSUPPORTED_NODE: Plugin not found"
                    )
                    return False
                self._network._layers.append(Layer(node.name, LAYERS.get(node.op_type, "ELEMENTWISE")))
            return True

    @_like(trt.Runtime)
    class Runtime(_Strict):
        engine_host_code_allowed = False
        DLA_core = -1

        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
            record("deserialize", bytes=len(serialized_engine), code=self.engine_host_code_allowed, dla=self.DLA_core)
            if not serialized_engine.startswith(MAGIC) or fails("deserialize"):
                message = "Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed"
                self._logger.log(trt.ILogger.Severity.ERROR, message)
                return None
            return Engine(serialized_engine)

    @_like(trt.ICudaEngine)
    class Engine:
        num_optimization_profiles = 1
        device_memory_size = 1 << 20
        device_memory_size_v2 = 1 << 20

        def __init__(self, plan: bytes) -> None:
            asked, _, model = plan.removeprefix(MAGIC).partition(b"\n")
            self._asked = json.loads(asked)
            self._model = onnx.load_model_from_string(model)
            self._tensors = {value.name: value for value in (*self._model.graph.input, *self._model.graph.output)}
            self._names = list(self._tensors)
            self._inputs = {value.name for value in self._model.graph.input}
            self._contexts: weakref.WeakSet[Any] = weakref.WeakSet()

        num_io_tensors = property(lambda self: len(self._names))
        num_bindings = property(lambda self: len(self._names))

        def create_execution_context(self) -> Any:
            return None if fails("context") else Context(self)

        def create_engine_inspector(self) -> Any:
            return Inspector(self)

        def get_tensor_name(self, index: int) -> str:
            return self._names[index]

        get_binding_name = get_tensor_name

        def get_binding_index(self, name: str) -> int:
            return self._names.index(name)

        def get_tensor_mode(self, name: str) -> Any:
            return trt.TensorIOMode.INPUT if name in self._inputs else trt.TensorIOMode.OUTPUT

        def binding_is_input(self, index: int) -> bool:
            return self._names[index] in self._inputs

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return _shape(self._tensors[name])

        def get_binding_shape(self, index: int) -> tuple[int, ...]:
            return self.get_tensor_shape(self._names[index])

        def get_tensor_dtype(self, name: str) -> Any:
            return getattr(trt.DataType, NUMPY[self._tensors[name].type.tensor_type.elem_type])

        def get_binding_dtype(self, index: int) -> Any:
            return self.get_tensor_dtype(self._names[index])

        def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
            return self._asked["profiles"][profile_index][name]

        def get_profile_shape(self, profile_index: int, binding: int) -> list[list[int]]:
            return self._asked["profiles"][profile_index][self._names[binding]]

    # Before 8.5 there are no tensors by name, and no module of that age to be had: the environment makes this one so.
    if os.environ.get("DOUBLE_PLACES"):
        for name in ("num_io_tensors", "get_tensor_name", "get_tensor_mode", "get_tensor_profile_shape"):
            delattr(Engine, name)

    @_like(trt.IExecutionContext)
    class Context:
        profiler = None

        def __init__(self, engine: Any) -> None:
            self._engine = engine
            self._session = open_session(_computable(engine._model).SerializeToString(), Path("plan"))
            self._shapes = {name: engine.get_tensor_shape(name) for name in engine._inputs}
            self._addresses: dict[str, int] = {}
            self._functions: list[Any] = []
            self._known: dict[bytes, list[np.ndarray]] = {}
            # Before 9 a context has a profile to itself where sizes are free, and only the first gets one at once.
            alone = int(trt.__version__.split(".")[0]) < 9 and any(-1 in shape for shape in self._shapes.values())
            self._profile = -1 if alone and engine._contexts else 0
            engine._contexts.add(self)

        active_optimization_profile = property(lambda self: self._profile)

        def set_input_shape(self, name: str, shape: Any) -> bool:
            if self._profile < 0:
                return False
            smallest, _, largest = self._engine._asked["profiles"][0][name]
            if not all(low <= size <= high for low, size, high in zip(smallest, shape, largest, strict=True)):
                return False
            self._shapes[name] = tuple(shape)
            return True

        def set_binding_shape(self, binding: int, shape: Any) -> bool:
            return self.set_input_shape(self._engine._names[binding], shape)

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            batch = next(iter(self._shapes.values()))[0]
            return tuple(batch if size < 0 else size for size in self._engine.get_tensor_shape(name))

        def get_binding_shape(self, binding: int) -> tuple[int, ...]:
            return self.get_tensor_shape(self._engine._names[binding])

        def set_tensor_address(self, name: str, memory: int) -> bool:
            self._addresses[name] = memory
            return memory % 256 == 0

        def execute_async_v2(self, bindings: list[int], stream_handle: int) -> bool:
            record("execute_async_v2")
            self._addresses = dict(zip(self._engine._names, bindings, strict=True))
            return self._enqueue(stream_handle)

        def execute_async_v3(self, stream_handle: int) -> bool:
            record("execute_async_v3")
            return self._enqueue(stream_handle)

        def _enqueue(self, stream: int) -> bool:
            capturing = ctypes.c_int()
            cuda.wrapper().handle.cudaStreamIsCapturing(ctypes.c_void_p(stream), ctypes.byref(capturing))
            if fails("enqueue") or (fails("capture") and capturing.value):
                return False
            shapes, addresses = dict(self._shapes), dict(self._addresses)
            outputs = {name: self.get_tensor_shape(name) for name in self._engine._names if name not in shapes}
            function = HOST_FUNCTION(lambda _: self._compute(shapes, outputs, addresses))
            self._functions.append(function)
            handle = cuda.wrapper().handle
            return handle.cudaLaunchHostFunc(ctypes.c_void_p(stream), function, None) == 0

        def _compute(self, shapes: dict[str, Any], outputs: dict[str, Any], addresses: dict[str, int]) -> None:
            feeds = {name: self._view(name, shape, addresses).copy() for name, shape in shapes.items()}
            for name, result in zip(outputs, self._results(list(outputs), feeds), strict=True):
                self._view(name, outputs[name], addresses)[:] = result + 9 if fails("numbers") else result
            milliseconds = _milliseconds(self._engine._model)
            time.sleep(sum(milliseconds.values()) / 1e3)
            for node in self._engine._model.graph.node if self.profiler is not None else ():
                self.profiler.report_layer_time(node.name, milliseconds.get(node.name, 0.0 if milliseconds else 0.01))

        def _results(self, outputs: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            """Where times are told, the same is not computed twice: that would take time too."""
            if not os.environ.get("DOUBLE_SPEEDS"):
                return self._session.run(outputs, feeds)
            key = b"".join(array.tobytes() for array in feeds.values())
            if key not in self._known:
                self._known[key] = self._session.run(outputs, feeds)
            return self._known[key]

        def _view(self, name: str, shape: tuple[int, ...], addresses: dict[str, int]) -> np.ndarray:
            value = self._engine._tensors[name].type.tensor_type.elem_type
            dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value))
            count = int(np.prod(shape))
            buffer = (ctypes.c_char * (count * dtype.itemsize)).from_address(addresses[name])
            return np.frombuffer(buffer, dtype).reshape(shape)

    @_like(trt.EngineInspector)
    class Inspector:
        execution_context = None

        def __init__(self, engine: Any) -> None:
            self._engine = engine

        def get_engine_information(self, format: Any) -> str:
            split = trt.__version__.startswith("11.")

            def tensor(name: str) -> dict[str, Any]:
                kind = {"Format": "Row major linear FP32", "Datatype": "FP32"}
                joined = {"Format/Datatype": "Row major linear FP32"}
                return {"Name": name, "Dimensions": [1], **(kind if split else joined)}

            layers = [
                {
                    "Name": node.name,
                    "LayerType": LAYERS.get(node.op_type, "ELEMENTWISE").capitalize(),
                    "Inputs": [tensor(name) for name in node.input[:1]],
                    "Outputs": [tensor(name) for name in node.output],
                    "TacticName": "",
                }
                for node in self._engine._model.graph.node
            ]
            ports = [
                {"Name": name, "IOMode": "Input" if name in self._engine._inputs else "Output", "DataType": "FP32"}
                for name in self._engine._names
            ]
            return json.dumps(
                {"Layers": layers, **({"I/O Tensors": ports} if split else {"Bindings": self._engine._names})}
            )

    return {
        "Builder": Builder,
        "OnnxParser": Parser,
        "Runtime": Runtime,
        "ICudaEngine": Engine,
        "IExecutionContext": Context,
        "IPluginRegistry": Registry,
    }


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(size.dim_value if size.HasField("dim_value") else -1 for size in value.type.tensor_type.shape.dim)


def _milliseconds(model: ModelProto) -> dict[str, float]:
    """What convolutions shall take, by DOUBLE_SPEEDS: JSON with `float`, `int8`, and blocks that are slow in INT8."""
    speeds = json.loads(os.environ.get("DOUBLE_SPEEDS", "{}"))
    if not speeds:
        return {}
    quantized = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    found = {}
    for node in model.graph.node:
        if node.op_type == "Conv":
            is_int8 = node.input[1] in quantized
            found[node.name] = speeds["int8" if is_int8 else "float"]
            if is_int8 and node.name.startswith(tuple(speeds["slow"])):
                found[node.name] = 4 * speeds["float"]
    return found


def _computable(model: ModelProto) -> ModelProto:
    """With the function of the operator whose plugin TensorRT would call."""
    from edgedet.ops.diou_nms.body import function_body
    from edgedet.ops.diou_nms.definition import DOMAIN

    result = ModelProto()
    result.CopyFrom(model)
    if any(node.domain == DOMAIN for node in model.graph.node):
        result.functions.append(function_body(next(entry.version for entry in model.opset_import if not entry.domain)))
    return result
