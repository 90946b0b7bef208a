"""Everything that depends on TensorRT's version, and nothing else does.

Sources: NVIDIA's release notes and migration guides of 10 and 11, headers and trtexec's sources of 8.2.1 to 11.1, the
Python modules of 8.6.1, 10.3.0, 10.16.1 and 11.4.0; `tests/contract` holds what is used here to those modules.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from edgedet.errors import EdgedetError
from edgedet.ops.library import require_for_this_machine

FP32, FP16, INT8 = "fp32", "fp16", "int8"
PRECISIONS = (FP32, FP16, INT8)

AMPERE_PLUS, SAME_COMPUTE_CAPABILITY = "ampere-plus", "same-compute-capability"
HARDWARE_LEVELS: Mapping[str, str] = {AMPERE_PLUS: "AMPERE_PLUS", SAME_COMPUTE_CAPABILITY: "SAME_COMPUTE_CAPABILITY"}
"""Names in `tensorrt.HardwareCompatibilityLevel`."""

TRTEXEC_HARDWARE_LEVELS: Mapping[str, str] = {
    AMPERE_PLUS: "ampere+",
    SAME_COMPUTE_CAPABILITY: "sameComputeCapability",
}

DTYPES: Mapping[str, str] = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
}
"""NumPy's names of types, by those in `tensorrt.DataType` (whose own `nptype` fails in 8.x with NumPy 1.24 to 1.26)."""

NEWER_OR_WITHOUT = "use a newer TensorRT (on a Jetson: a newer JetPack), or leave the option out"


@dataclass(frozen=True, order=True)
class Version:
    """A version of TensorRT; of its fourth number nothing depends."""

    major: int
    minor: int = 0
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> Version:
        """Of `10.3`, `10.3.0` or `10.3.0.30`.

        Raises:
            EdgedetError: the text is none.
        """
        numbers = re.fullmatch(r"(\d{1,3})\.(\d{1,3})(?:\.(\d{1,3}))?(?:\.\w{1,9})?", text, re.ASCII)
        if numbers is None:
            raise EdgedetError(f"{text!r} is no version of TensorRT", fix="write it like 10.3 or 10.3.0")
        return cls(int(numbers[1]), int(numbers[2]), int(numbers[3] or 0))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


OLDEST, OLDEST_BUILDER = Version(8, 2), Version(8, 5)
"""The oldest that plans are run on, and that this program builds with: Polygraphy needs it."""


def module() -> Any:
    """The Python module `tensorrt`.

    Raises:
        ModuleNotFoundError: it is not installed.
        EdgedetError: it cannot be loaded, or is too old.
    """
    try:
        found = import_module("tensorrt")
    except ModuleNotFoundError as error:
        if error.name != "tensorrt":
            raise EdgedetError(f"TensorRT cannot be loaded ({error})", fix="install it again") from error
        raise
    except Exception as error:  # whatever a broken installation raises
        raise EdgedetError(f"TensorRT cannot be loaded ({error})", fix="install it again") from error
    if not hasattr(found, "__version__"):  # Python takes any folder of that name for the module
        raise EdgedetError("what is imported as tensorrt is not TensorRT", fix="rename the folder of that name")
    version = Version.parse(found.__version__)
    if version < OLDEST:
        raise EdgedetError(f"TensorRT {version} is too old: {OLDEST} is the oldest", fix="install a newer one")
    return found


def installed() -> Version:
    """The version of the installed Python module; raises as `module` does."""
    return Version.parse(module().__version__)


def is_strongly_typed(version: Version, *, asked: bool = False) -> bool:
    """Whether a network's own types say what it computes in: always from 11 on, from 10.12 where it is asked for.

    Raises:
        EdgedetError: it is asked for where it is not fully there (NVIDIA's migration guide: before 10.12).
    """
    if asked and version < Version(10, 12):
        raise EdgedetError(f"strong typing is complete from TensorRT 10.12 on, this is {version}", fix="leave it out")
    return asked or version.major >= 11


def lowering(version: Version, precision: str, *, strongly_typed: bool) -> str:
    """The target of `edgedet.graph.targets` that a network of a precision is built from.

    Weakly typed, float16 is a permission to the builder and not a type; so the file for it is float32.
    """
    if precision == FP32 or (precision == FP16 and not strongly_typed):
        return "fp32"
    if precision == FP16:
        return "fp16"
    if strongly_typed:
        return "trt11"
    return "trt10" if version.major >= 10 else "trt8"


def reads_opset_17(version: Version) -> bool:
    """Whether the parser reads ONNX beyond opset 13."""
    return version >= Version(8, 4)


def registry_opens_libraries(version: Version) -> bool:
    """Whether the registry opens libraries of plugins; before 8.6, a library that is opened registers its own."""
    return version >= Version(8, 6)


def knows_tensors_by_name(version: Version) -> bool:
    """Whether an engine is run by its tensors' names, as the C++ runner does, instead of by their places."""
    return version >= Version(8, 5)


def has_progress_monitor(version: Version) -> bool:
    """Whether the builder reports its progress."""
    return version >= Version(9)


def require_buildable(version: Version) -> None:
    """Refuses versions whose builder only trtexec drives."""
    if version < OLDEST_BUILDER:
        raise EdgedetError(
            f"TensorRT {version} is built with by trtexec alone: Polygraphy needs {OLDEST_BUILDER}",
            fix="print the command: edgedet build MODEL --emit-trtexec",
        )


def require_compatibility(version: Version, *, version_compatible: bool, hardware: str | None) -> None:
    """Refuses engines for other versions or GPUs where the builder makes none."""
    if (version_compatible or hardware is not None) and version < Version(8, 6):
        raise EdgedetError(f"compatible engines come with TensorRT 8.6, this is {version}", fix=NEWER_OR_WITHOUT)
    if hardware == SAME_COMPUTE_CAPABILITY and version < Version(10, 9):
        raise EdgedetError(f"{hardware} comes with TensorRT 10.9, this is {version}", fix=NEWER_OR_WITHOUT)


def require_optimization_level(version: Version) -> None:
    """Refuses the builder's level of optimization where it has none."""
    if version < Version(8, 6):
        raise EdgedetError(f"levels of optimization come with TensorRT 8.6, this is {version}", fix=NEWER_OR_WITHOUT)


def require_dla(version: Version) -> None:
    """Refuses DLA where there is none (NVIDIA's release notes of 11.0 to 11.4.1)."""
    if Version(10, 7, 99) < version < Version(11, 4, 1):
        raise EdgedetError(
            f"TensorRT {version} has no DLA: it is in 8.x to 10.7, and on AGX Orin in 11.4.1 and later",
            fix="leave --dla out",
        )


def precision_flags(precision: str, *, strongly_typed: bool) -> dict[str, bool]:
    """Arguments of Polygraphy's CreateConfig that permit low precisions; strongly typed networks take none.

    INT8 permits FP16 too: else whatever is not quantized would stay float32.
    """
    if strongly_typed:
        return {}
    return {"fp16": precision in (FP16, INT8), "int8": precision == INT8}


def holds_precisions(precision: str, *, strongly_typed: bool) -> bool:
    """Whether layers must be told to stay float32, as the builder is free to take lower precisions."""
    return precision != FP32 and not strongly_typed


def can_hold_precisions(version: Version) -> bool:
    """Whether trtexec takes --layerPrecisions; Polygraphy always can, where it builds."""
    return version >= Version(8, 4)


def hardware_level(trt: Any, level: str | None) -> Any:
    """The member of `tensorrt.HardwareCompatibilityLevel`; None where none is asked for."""
    return None if level is None else getattr(trt.HardwareCompatibilityLevel, HARDWARE_LEVELS[level])


def hold_in_float32(trt: Any, network: Any, nodes: Collection[str]) -> set[str]:
    """Tells the layers that ONNX nodes became to compute in float32. Returns the nodes of which a layer was found.

    The parser calls a node's first layer as the node, and further ones with a number behind. Constants, shapes and
    integers have no such precision, and concatenations copy. Without its output's type a layer might still give less
    (`ILayer::setPrecision` in NvInfer.h).
    """
    held = set()
    without = {trt.LayerType.CONSTANT, trt.LayerType.CONCATENATION, trt.LayerType.SHAPE}
    for place in range(network.num_layers):
        layer = network.get_layer(place)
        named = [node for node in (layer.name, re.sub(r"_\d+$", "", layer.name)) if node in nodes]
        floats = [
            output
            for output in range(layer.num_outputs)
            if layer.get_output(output).dtype in (trt.float32, trt.float16)
        ]
        if named and layer.type not in without and floats:
            layer.precision = trt.float32
            for output in floats:
                layer.set_output_type(output, trt.float32)
            held.add(named[0])
    return held


def device_memory_bytes(engine: Any) -> int | None:
    """What running takes beside the weights; the older property is of 32 bits, and gone in 11."""
    size = getattr(engine, "device_memory_size_v2", None) or getattr(engine, "device_memory_size", None)
    return None if size is None else int(size)


def workspace_flag(version: Version, mebibytes: int) -> str:
    """trtexec's option for the workspace."""
    option = "--memPoolSize=workspace:" if version >= Version(8, 4) else "--workspace="
    return f"{option}{mebibytes}"


def trtexec_flags(
    version: Version,
    precision: str,
    *,
    strongly_typed: bool,
    float32_layers: Mapping[str, str],
    on_dla: bool = False,
    operators: str | None = None,
    serialize_operators: bool = False,
) -> list[str]:
    """trtexec's options whose names or presence depend on the version, but for the workspace's.

    Layers are held by exact names there; `hold_in_float32` finds further layers of a node too.

    Args:
        version: of trtexec.
        precision: the lowest computed in.
        strongly_typed: whether the network's types decide.
        float32_layers: names of layers to hold, and the types of their outputs as trtexec writes them.
        on_dla: whether a layer that cannot be held is taken as it is.
        operators: library of plugins.
        serialize_operators: put it into the plan too.
    """
    flags = []
    if strongly_typed and version.major < 11:
        flags.append("--stronglyTyped")
    flags += [f"--{name}" for name, used in precision_flags(precision, strongly_typed=strongly_typed).items() if used]
    if float32_layers and can_hold_precisions(version):
        flags.append(f"--precisionConstraints={'prefer' if on_dla else 'obey'}")
        flags.append("--layerPrecisions=" + ",".join(f"{name}:fp32" for name in float32_layers))
        flags.append("--layerOutputTypes=" + ",".join(f"{name}:{types}" for name, types in float32_layers.items()))
    if operators is not None:
        flags.append(f"{'--dynamicPlugins' if registry_opens_libraries(version) else '--plugins'}={operators}")
    if serialize_operators:
        flags.append(f"--setPluginsToSerialize={operators}")
    flags.append("--skipInference" if version >= Version(8, 6) else "--buildOnly")
    return flags


_opened: dict[Path, Any] = {}
"""Libraries of plugins by their paths. TensorRT's registry is the process's, and refuses a plugin that it has."""


def load_operators(trt: Any, path: Path) -> None:
    """Opens a library of plugins, which runs code in it; it stays open, and is opened once.

    Raises:
        EdgedetError: it cannot be opened.
    """
    if path.resolve() in _opened:
        return
    require_for_this_machine(path)
    try:
        if registry_opens_libraries(Version.parse(trt.__version__)):
            handle: Any = trt.get_plugin_registry().load_library(str(path.resolve()))
        else:
            handle = ctypes.CDLL(str(path.resolve()))
    except (OSError, RuntimeError, TypeError) as error:
        fix = f"see what edgedet doctor --plugins {path} says"
        raise EdgedetError(f"TensorRT cannot open it ({error})", where=path, fix=fix) from error
    if handle is None:
        fix = "build it for this TensorRT (make cuda), and open no other library with the same plugins"
        raise EdgedetError("TensorRT takes no plugins from it", where=path, fix=fix)
    _opened[path.resolve()] = handle


def close_operators(trt: Any, path: Path) -> None:
    """Takes a library's plugins from the registry, so that a plan that carries the library can bring its own."""
    trt.get_plugin_registry().deregister_library(_opened.pop(path.resolve()))


@dataclass(frozen=True)
class IOTensor:
    """An input or output of an engine.

    Attributes:
        name: of the tensor.
        is_input: else it is an output.
        shape: sizes; None where a profile leaves them free.
        dtype: NumPy's name of its elements' type, e.g. `float32`.
    """

    name: str
    is_input: bool
    shape: tuple[int | None, ...]
    dtype: str


def io_tensors(trt: Any, engine: Any) -> tuple[IOTensor, ...]:
    """The inputs and outputs of an engine; by name from 8.5 on, before by place."""
    if not names_tensors(trt):
        return tuple(
            _io_tensor(
                engine.get_binding_name(place),
                engine.binding_is_input(place),
                engine.get_binding_shape(place),
                engine.get_binding_dtype(place),
            )
            for place in range(engine.num_bindings)
        )
    names = [engine.get_tensor_name(place) for place in range(engine.num_io_tensors)]
    return tuple(
        _io_tensor(
            name,
            engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
            engine.get_tensor_shape(name),
            engine.get_tensor_dtype(name),
        )
        for name in names
    )


def _io_tensor(name: str, is_input: bool, shape: Sequence[int], dtype: Any) -> IOTensor:
    if dtype.name not in DTYPES:
        raise EdgedetError(
            f"{name} is of type {dtype.name}", fix=f"build an engine whose tensors are of {', '.join(DTYPES)}"
        )
    return IOTensor(name, bool(is_input), tuple(None if size < 0 else int(size) for size in shape), DTYPES[dtype.name])


def names_tensors(trt: Any) -> bool:
    """Whether inputs and outputs are known by their names, instead of by their places."""
    return knows_tensors_by_name(Version.parse(trt.__version__))


def largest_batch(trt: Any, engine: Any, name: str) -> int:
    """The most images that an engine of a free batch size takes at once, by its first profile."""
    if names_tensors(trt):
        shapes = engine.get_tensor_profile_shape(name, 0)
    else:
        shapes = engine.get_profile_shape(0, engine.get_binding_index(name))
    return int(shapes[2][0])


class Enqueuer:
    """Puts runs of one execution context on a stream; by name from 8.5 on, before by place."""

    def __init__(self, trt: Any, engine: Any, context: Any) -> None:
        self._engine, self._context = engine, context
        self._named = names_tensors(trt)
        self._bindings = [] if self._named else [0] * engine.num_bindings

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """Whether the engine takes the shape."""
        if self._named:
            return bool(self._context.set_input_shape(name, shape))
        return bool(self._context.set_binding_shape(self._engine.get_binding_index(name), shape))

    def output_shape(self, name: str) -> tuple[int, ...]:
        """For the input shapes that are set."""
        if self._named:
            return tuple(self._context.get_tensor_shape(name))
        return tuple(self._context.get_binding_shape(self._engine.get_binding_index(name)))

    def set_address(self, name: str, address: int) -> bool:
        """Whether the engine takes the device's address for a tensor."""
        if self._named:
            return bool(self._context.set_tensor_address(name, address))
        self._bindings[self._engine.get_binding_index(name)] = address
        return True

    def enqueue(self, stream: int) -> bool:
        """Whether the run was put on the stream."""
        if self._named:
            return bool(self._context.execute_async_v3(stream))
        return bool(self._context.execute_async_v2(self._bindings, stream))
