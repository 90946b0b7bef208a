"""Runs a detector's ONNX file on ONNX Runtime. Neither torch nor the onnx package is needed."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edgedet.errors import EdgedetError, unknown_value
from edgedet.files import MEBIBYTE, read_bytes, read_text
from edgedet.ops.library import require_for_this_machine
from edgedet.runtime.backend import NMS_OUTPUTS, TensorInfo, nms_shapes
from edgedet.spec import Spec, spec_from_json

METADATA_KEY = "edgedet"
NO_OPERATOR = re.compile(r"edgedet:EdgeDet\w+\(-?\d+\) is not a registered")
MODEL_LIMIT = 512 * MEBIBYTE
METADATA_LIMIT = 4 * MEBIBYTE
PROFILE_LIMIT = 512 * MEBIBYTE
"""ONNX Runtime notes a million events at most; one of a kernel takes less than a kibibyte in most networks."""

EXPORT_AGAIN = "export it with `edgedet export model.pt`"

# How protobuf writes the key under which a tensor names its external data file (its length, 8, may be padded).
EXTERNAL_DATA_KEY = re.compile(rb"\x0a(\x08|\x88\x80*\x00)location")
SPINNING = "session.intra_op.allow_spinning"
KEEP_QUANTIZERS = "session.disable_quant_qdq"
INT32_OUTPUTS = ("num_dets", "det_classes")
SUFFIX_OF_PROVIDERS = "ExecutionProvider"
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""Those always known; others of this ONNX Runtime are called by what stands before their suffix: `openvino`."""

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
}

Shape = tuple[int | None, ...]


class OnnxRuntimeBackend:
    """A loaded ONNX file (`edgedet.runtime.backend.Backend`)."""

    def __init__(self, session: ort.InferenceSession, device: str) -> None:
        self.name = f"onnxruntime {ort.__version__} ({device})"
        options = session.get_session_options()
        self.settings: Mapping[str, Any] = {
            "graph_optimization": options.graph_optimization_level.name,
            "execution": options.execution_mode.name,
            "intra_op_threads": options.intra_op_num_threads,
            "allow_spinning": options.get_session_config_entry(SPINNING),
            "keep_quantizers": options.get_session_config_entry(KEEP_QUANTIZERS),
            **{f"provider_{key}": value for key, value in _options_of_provider(session).items()},
        }
        self.inputs = tuple(_tensor_info(tensor) for tensor in session.get_inputs())
        self.outputs = tuple(_tensor_info(tensor) for tensor in session.get_outputs())
        self._session = session
        self._on_cpu = device == "cpu"
        self._output_names = [tensor.name for tensor in self.outputs]

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs by name, for the inputs by name."""
        try:
            results = self._session.run(self._output_names, dict(feeds))
        except Exception as error:  # ONNX Runtime's exceptions share no base class below Exception
            raise cannot_run(error) from error
        return dict(zip(self._output_names, results, strict=True))

    def bind(self, feeds: Mapping[str, NDArray[Any]]) -> Callable[[], object]:
        """A call that runs the model on these inputs; its outputs go to the same memory each time.

        On the CPU nothing is copied; for another provider ONNX Runtime copies with each call, as `run` does.
        """
        if self._on_cpu:
            return self._bind_memory(feeds)
        return lambda: self.run(feeds)

    def _bind_memory(self, feeds: Mapping[str, NDArray[Any]]) -> Callable[[], object]:
        outputs = self.run(feeds)
        binding = self._session.io_binding()
        values = [ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(feeds[info.name])) for info in self.inputs]
        for info, value in zip(self.inputs, values, strict=True):
            binding.bind_ortvalue_input(info.name, value)
        for name in self._output_names:
            value = ort.OrtValue.ortvalue_from_numpy(outputs[name])
            binding.bind_ortvalue_output(name, value)
        # The public method looks after graphs captured on other devices first: microseconds of Python, which also push
        # the network out of the caches.
        run, bound = self._session._sess.run_with_iobinding, binding._iobinding

        def call() -> None:
            try:
                run(bound, None)
            except Exception as error:  # as in `run`
                raise cannot_run(error) from error

        return call


def load(
    path: Path, *, threads: int | None = None, device: str | None = None, operators: Path | None = None
) -> tuple[OnnxRuntimeBackend, Spec]:
    """The backend and the specification in an ONNX file that edgedet exported.

    Args:
        path: the file; it must hold its weights itself.
        threads: threads for inference; None: one for each physical core.
        device: `cpu` (None is the same), `cuda`, or another provider of this ONNX Runtime, as `openvino`.
        operators: library of edgedet's operators for ONNX Runtime (`make operators`): code that is run. None: a file's
            operators are computed by their function bodies.

    Raises:
        EdgedetError: the file is missing, too large, broken, not one of edgedet's, or the device is not there.
    """
    data = read_bytes(path, limit=MODEL_LIMIT)
    if EXTERNAL_DATA_KEY.search(data):
        raise EdgedetError("keeps weights in other files, which are not followed", where=path, fix=EXPORT_AGAIN)
    device = device or "cpu"
    session = open_session(data, path, threads=threads, device=device, operators=operators)
    spec = _read_spec(session, path)
    backend = OnnxRuntimeBackend(session, device)
    _require_interface(backend, spec, path)
    return backend, spec


def open_session(
    data: bytes,
    path: Path,
    *,
    threads: int | None = None,
    device: str = "cpu",
    optimize: bool = True,
    keep_quantizers: bool = False,
    operators: Path | None = None,
) -> ort.InferenceSession:
    """A session on the bytes of an ONNX file.

    Args:
        data: the bytes.
        path: named where something is wrong.
        threads, device, operators: see `load`.
        optimize, keep_quantizers: see `session_options`; quantizers are kept too where there is no session otherwise.
    """
    available = ort.get_available_providers()
    known = {**PROVIDERS, **{name.removesuffix(SUFFIX_OF_PROVIDERS).lower(): name for name in available}}
    if device not in known:
        raise unknown_value("device", device, known)
    provider = known[device]
    if provider not in available:
        raise EdgedetError(f"this ONNX Runtime has no {provider}", fix="pip install onnxruntime-gpu, or use the cpu")
    options = session_options(threads, optimize=optimize, keep_quantizers=keep_quantizers)
    otherwise = session_options(threads, optimize=optimize, keep_quantizers=True)
    if operators is not None:
        _register(options, operators)
        _register(otherwise, operators)
    try:
        session = _start(data, provider, options, otherwise)
    except Exception as error:  # ONNX Runtime's exceptions share no base class below Exception
        if operators is None and NO_OPERATOR.search(str(error)):
            raise EdgedetError(
                "made for TensorRT's plugins: an operator of edgedet is in it, and its function is not",
                where=path,
                fix="give the library of operators (make operators): --operators libedgedet_onnxruntime.so",
            ) from error
        raise EdgedetError(
            f"not a model that ONNX Runtime can load ({_reason(error)})",
            where=path,
            fix=f"the file may be truncated or of another kind: copy it again, or {EXPORT_AGAIN}",
        ) from error
    if session.get_providers()[0] != provider:
        raise EdgedetError(f"{provider} did not start", where=path, fix="check the CUDA installation, or use the cpu")
    return session


def _start(
    data: bytes, provider: str, options: ort.SessionOptions, otherwise: ort.SessionOptions
) -> ort.InferenceSession:
    """A session; one that keeps quantizers as nodes of their own if there is none otherwise.

    ONNX Runtime makes integer kernels of float16 quantizers too, and then refuses them, as they take float32 alone.
    """
    try:
        return ort.InferenceSession(data, options, providers=[provider])
    except Exception:  # ONNX Runtime's exceptions share no base class below Exception
        return ort.InferenceSession(data, otherwise, providers=[provider])


def _register(options: ort.SessionOptions, operators: Path) -> None:
    require_for_this_machine(operators)
    try:
        options.register_custom_ops_library(str(operators.resolve()))
    except Exception as error:  # as above
        raise EdgedetError(
            f"not a library of operators that ONNX Runtime {ort.__version__} can load ({_reason(error)})",
            where=operators,
            fix="build it for this machine: make operators",
        ) from error


def session_options(threads: int | None, *, optimize: bool = True, keep_quantizers: bool = False) -> ort.SessionOptions:
    """The settings that every session has.

    Args:
        threads: for computing; None means one for each core.
        optimize: whether the graph is run as ONNX Runtime optimizes it, or node by node as it is.
        keep_quantizers: whether quantizers stay nodes of their own, which leaves no integer kernels.
    """
    options = ort.SessionOptions()
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads or 0
    # With two or more threads the idle ones would spin for tens of milliseconds after every run and take the cores
    # that decoding, preprocessing and NMS need next: on two busy cores that doubled the time of a detection.
    options.add_session_config_entry(SPINNING, "0")
    options.add_session_config_entry(KEEP_QUANTIZERS, str(int(keep_quantizers)))
    # Should a file name others in a way that `load` does not see, they are looked for where nothing can be.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    options.log_severity_level = 4  # failures are raised; they need not be printed too
    return options


def profile_runs(
    data: bytes,
    feeds: Mapping[str, NDArray[Any]] | None = None,
    *,
    runs: int = 1,
    threads: int | None = None,
    operators: Path | None = None,
) -> list[Any]:
    """What ONNX Runtime notes of its kernels while it runs an ONNX file on the CPU, as trace events.

    Args:
        data: the file's bytes.
        feeds: the inputs by name; None means zeros, one where a size is free.
        runs: how often the file is run.
        threads, operators: see `load`.

    Returns:
        ONNX Runtime's own records: `name`, `cat`, `ts` and `dur` in microseconds, `args`.

    Raises:
        EdgedetError: ONNX Runtime cannot run the file, or a name in it breaks the profile.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = [session_options(threads, keep_quantizers=keep) for keep in (False, True)]
        for options in settings:
            options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
            if operators is not None:
                _register(options, operators)
        try:
            session = _start(data, PROVIDERS["cpu"], *settings)
            inputs = _zeros(session) if feeds is None else dict(feeds)
            for _ in range(runs):
                session.run(None, inputs)
            written = Path(session.end_profiling())
        except Exception as error:  # as in `open_session`
            raise cannot_run(error) from error
        try:
            events = json.loads(read_text(written, limit=PROFILE_LIMIT))
        except ValueError as error:
            fix = "rename the nodes whose names hold quotes, backslashes or line ends"
            raise EdgedetError(f"ONNX Runtime's profile is not valid JSON ({str(error)[:100]})", fix=fix) from error
    return events if isinstance(events, list) else []


def _zeros(session: ort.InferenceSession) -> dict[str, NDArray[Any]]:
    return {
        tensor.name: np.zeros(
            [size if isinstance(size, int) and size > 0 else 1 for size in tensor.shape],
            DTYPES.get(tensor.type, np.float32),
        )
        for tensor in session.get_inputs()
    }


def _options_of_provider(session: ort.InferenceSession) -> dict[str, str]:
    """Of the one that was asked for; the CPU has none."""
    found: dict[str, str] = session.get_provider_options().get(session.get_providers()[0], {})
    return found


def _read_spec(session: ort.InferenceSession, path: Path) -> Spec:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise EdgedetError("an ONNX model, but not one that edgedet exported", where=path, fix=EXPORT_AGAIN)
    if len(text) > METADATA_LIMIT:
        raise EdgedetError(f"its metadata is larger than {METADATA_LIMIT // MEBIBYTE} MiB", where=path)
    return spec_from_json(text, where=path)


def _require_interface(backend: OnnxRuntimeBackend, spec: Spec, path: Path) -> None:
    """Refuses a model whose inputs and outputs are not those that its specification promises."""
    size, classes, rows = spec.preprocess, len(spec.class_names), spec.postprocess.max_detections
    expected_inputs: dict[str, Shape] = {"images": (None, 3, size.height, size.width)}
    expected_outputs: dict[str, Shape] = {"boxes": (None, None, 4), "scores": (None, None, classes)}
    if NMS_OUTPUTS[0] in {tensor.name for tensor in backend.outputs}:
        expected_outputs = dict(zip(NMS_OUTPUTS, nms_shapes(None, rows), strict=True))
    for kind, tensors, expected in (
        ("input", backend.inputs, expected_inputs),
        ("output", backend.outputs, expected_outputs),
    ):
        found = {tensor.name: tensor for tensor in tensors}
        if set(found) != set(expected):
            raise _interface_error(path, f"its {kind}s are {_listed(found)}, not {_listed(expected)}")
        for name, shape in expected.items():
            dtype = np.dtype(np.int32 if name in INT32_OUTPUTS else np.float32)
            if found[name].dtype != dtype or not _fits(found[name].shape, shape):
                actual = f"{found[name].dtype} {_shape(found[name].shape)}"
                raise _interface_error(path, f"its {kind} {name} is {actual}, not {dtype} {_shape(shape)}")


def _fits(shape: Shape, expected: Shape) -> bool:
    return len(shape) == len(expected) and all(
        size is None or wanted is None or size == wanted for size, wanted in zip(shape, expected, strict=True)
    )


def _interface_error(path: Path, what: str) -> EdgedetError:
    return EdgedetError(f"the model does not match its own specification: {what}", where=path, fix=EXPORT_AGAIN)


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "none"


def _shape(shape: Shape) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def cannot_run(error: Exception) -> EdgedetError:
    """ONNX Runtime's error as one that a person can act on."""
    return EdgedetError(f"ONNX Runtime could not run the model ({_reason(error)})", fix=EXPORT_AGAIN)


def _tensor_info(tensor: Any) -> TensorInfo:
    shape = tuple(size if isinstance(size, int) and size > 0 else None for size in tensor.shape)
    return TensorInfo(tensor.name, shape, np.dtype(DTYPES.get(tensor.type, np.object_)))


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].split(" : ")[-1][:200]
