"""The backend itself: memory on the device, streams, graphs, batches, and engines whose tensors have no names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tensorrt_double.environment import TensorRT, tensorrt

PRELUDE = '''
import ctypes, gc, json, sys
from pathlib import Path

import numpy as np
from polygraphy import cuda as polygraphy_cuda

from edgedet.errors import EdgedetError
from edgedet.runtime.backends.tensorrt import load
from edgedet.trt import cuda

library = polygraphy_cuda.wrapper().handle
backend, spec = load(Path(sys.argv[1]))
images = np.random.default_rng(0).random((9, 3, 64, 64), np.float32)


class OnDevice:
    """As an array of PyTorch, CuPy or PyCUDA."""

    def __init__(self, array, **changes):
        self.memory = cuda.DeviceMemory(array.nbytes + 512)
        ctypes.memmove(self.memory.address, array.ctypes.data, array.nbytes)
        data = (self.memory.address, False)
        interface = {"shape": array.shape, "typestr": array.dtype.str, "data": data, "version": 3}
        self.__cuda_array_interface__ = interface | changes


def on_host(array):
    interface = array.__cuda_array_interface__
    count = int(np.prod(interface["shape"])) * np.dtype(interface["typestr"]).itemsize
    data = (ctypes.c_char * count).from_address(interface["data"][0])
    return np.frombuffer(data, interface["typestr"]).reshape(interface["shape"]).copy()


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def refusal(function):
    try:
        function()
    except EdgedetError as error:
        return str(error)


def show(**values):
    print(json.dumps(values))
'''


def in_process(trt: TensorRT, engine: Path, code: str, folder: Path, **settings: str) -> dict[str, Any]:
    """What `code` shows of `backend`, in a process where TensorRT's double and CUDA on the host stand ready."""
    script = folder / "script.py"
    script.write_text(PRELUDE + code)
    done = trt.run_script(script, engine, cwd=folder, **settings)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def built(trt: TensorRT, model: Path, folder: Path, *options: str) -> Path:
    done = trt.run("build", model, "--precision", "fp32", "--out", folder / "m.engine", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "m.engine"


@pytest.fixture(scope="module")
def engine(trt10: TensorRT, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(trt10, models / "float.onnx", tmp_path_factory.mktemp("fixed"))


@pytest.fixture(scope="module")
def free(trt10: TensorRT, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(trt10, models / "free.onnx", tmp_path_factory.mktemp("free"), "--batches", "2:2:4")


def test_arrays_on_the_device_are_read_where_they_are(trt10: TensorRT, engine: Path, tmp_path: Path) -> None:
    shown = in_process(
        trt10,
        engine,
        """
one = images[:1]
expected = backend.run({"images": one})
again = backend.run({"images": one})
copies = library.host_cuda_copies()
found = {name: on_host(array) for name, array in backend.run_on_device({"images": OnDevice(one)}).items()}
copies = library.host_cuda_copies() - copies
other = backend.run({"images": images[1:2]})
show(
    same=same(expected, found) and same(expected, again),
    copies=copies,
    graphs=library.host_cuda_launched_graphs(),
    host_still_right=not same(other, expected) and same(backend.run({"images": one}), expected),
)
""",
        tmp_path,
    )
    assert shown == {"same": True, "copies": 0, "graphs": 1, "host_still_right": True}


def test_on_a_stream_of_the_caller_nothing_is_waited_for(trt10: TensorRT, engine: Path, tmp_path: Path) -> None:
    shown = in_process(
        trt10,
        engine,
        """
one = images[:1]
expected = backend.run({"images": one})
backend.run({"images": images[3:4]})
stream = cuda.Stream()
source = OnDevice(one, stream=stream.handle)
outputs = backend.run_on_device({"images": source}, stream=stream.handle)
before = {name: on_host(array) for name, array in outputs.items()}
stream.synchronize()
after = {name: on_host(array) for name, array in outputs.items()}
show(before=same(before, expected), after=same(after, expected))
""",
        tmp_path,
    )
    assert shown == {"before": False, "after": True}


def test_arrays_that_do_not_suit_are_refused(trt10: TensorRT, engine: Path, tmp_path: Path) -> None:
    shown = in_process(
        trt10,
        engine,
        """
one = images[:1]
address = OnDevice(one)
shifted = dict(data=(address.memory.address + 4, False))
show(
    numpy=refusal(lambda: backend.run_on_device({"images": one})),
    strided=refusal(lambda: backend.run_on_device({"images": OnDevice(one, strides=(4, 4, 4, 4))})),
    shifted=refusal(lambda: backend.run_on_device({"images": OnDevice(one, **shifted)})),
    double=refusal(lambda: backend.run_on_device({"images": OnDevice(one.astype(np.float64))})),
    wide=refusal(lambda: backend.run_on_device({"images": OnDevice(images[:2])})),
    missing=refusal(lambda: backend.run_on_device({})),
    host=refusal(lambda: backend.run({"images": images[:1, :, :32]})),
    contiguous=refusal(lambda: backend.run_on_device({"images": OnDevice(one, strides=(49152, 16384, 256, 4))})),
)
""",
        tmp_path,
    )
    assert "ndarray for images is no array on the device" in shown["numpy"]
    assert "not contiguous" in shown["strided"]
    assert "does not start at a multiple of 256 bytes" in shown["shifted"]
    assert "the input images is float64 [1, 3, 64, 64], not float32 [1, 3, 64, 64]" in shown["double"]
    assert "float32 [2, 3, 64, 64]" in shown["wide"]
    assert "the input images is missing" in shown["missing"]
    assert "float32 [1, 3, 32, 64]" in shown["host"]
    assert shown["contiguous"] is None


def test_any_number_of_images_is_run_in_batches_that_the_engine_takes(
    trt10: TensorRT, free: Path, tmp_path: Path
) -> None:
    shown = in_process(
        trt10,
        free,
        """
pairs = [backend.run({"images": images[start : start + 2]}) for start in (0, 2, 4, 6)]
whole = backend.run({"images": images})
expected = {name: np.concatenate([pair[name] for pair in pairs]) for name in whole}
counts = [backend.run({"images": images[:count]}) for count in (1, 2, 3, 4, 5, 9, 1)]
show(
    whole=same({name: array[:8] for name, array in whole.items()}, expected),
    shapes=[len(found["boxes"]) for found in counts],
    parts=all(same(found, {name: array[: len(found[name])] for name, array in whole.items()}) for found in counts),
    device=refusal(lambda: backend.run_on_device({"images": OnDevice(images[:1])})),
    on_device=same(
        {name: on_host(array) for name, array in backend.run_on_device({"images": OnDevice(images[:3])}).items()},
        {name: array[:3] for name, array in whole.items()},
    ),
    afterwards=same(backend.run({"images": images}), whole),
)
""",
        tmp_path,
    )
    assert shown["shapes"] == [1, 2, 3, 4, 5, 9, 1]
    assert "1 images at once; the engine takes 2 to 4" in shown["device"]
    assert shown["whole"] and shown["parts"] and shown["on_device"] and shown["afterwards"]


def test_nothing_is_left_on_the_device(trt10: TensorRT, free: Path, tmp_path: Path) -> None:
    shown = in_process(
        trt10,
        free,
        """
for count in (2, 3, 4, 2, 3, 4):
    backend.run({"images": images[:count]})
during = library.host_cuda_live_allocations()
backend = None
gc.collect()
show(during=during, after=library.host_cuda_live_allocations())
""",
        tmp_path,
    )
    assert shown["during"] > 0 and shown["after"] == 0


def test_layers_are_timed_without_a_graph(trt10: TensorRT, engine: Path, tmp_path: Path) -> None:
    shown = in_process(
        trt10,
        engine,
        """
one = images[:1]
expected = [backend.run({"images": one}) for _ in range(3)][-1]
graphs = library.host_cuda_launched_graphs()
times = backend.layer_times({"images": one}, runs=5)
show(
    graphs=library.host_cuda_launched_graphs() - graphs,
    layers=len(times),
    afterwards=same(backend.run({"images": one}), expected),
)
""",
        tmp_path,
    )
    assert shown["graphs"] == 0 and shown["layers"] > 50 and shown["afterwards"]


def test_before_8_5_tensors_are_known_by_their_places(
    models: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    with tensorrt("8.6.1", tmp_path_factory.mktemp("tensorrt")) as old:
        _by_places(old, models, tmp_path)


def _by_places(old: TensorRT, models: Path, tmp_path: Path) -> None:
    engine = built(old, models / "free.onnx", tmp_path, "--batches", "1:2:4")
    code = """
show(outputs={name: array.tolist() for name, array in backend.run({"images": images[:3]}).items()})
"""
    expected = in_process(old, engine, code, tmp_path)
    old.record.unlink()
    manifest = tmp_path / "m.engine.json"
    manifest.write_text(manifest.read_text().replace('"tensorrt": "8.6.1"', '"tensorrt": "8.2.5"'))
    found = in_process(old, engine, code, tmp_path, DOUBLE_VERSION="8.2.5.1", DOUBLE_PLACES="1")
    assert found == expected
    assert old.recorded("execute_async_v2") and not old.recorded("execute_async_v3")


def test_an_engine_is_looked_into_and_timed(trt: TensorRT, models: Path, tmp_path: Path) -> None:
    engine = built(trt, models / "float.onnx", tmp_path)
    done = trt.run("inspect", engine, "--profile-runs", "3", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["detailed"] is True and shown["milliseconds"] > 0
    assert {layer["precision"] for layer in shown["layers"]} == {"FP32"}
    assert {port["name"] for port in shown["ports"]} == {"images", "boxes", "scores"}
    for_people = trt.run("inspect", engine, cwd=tmp_path)
    assert for_people.returncode == 0 and "Convolution" in for_people.stdout
    refused = trt.run("inspect", engine, "--json", cwd=tmp_path, HOST_CUDA_CAPABILITY="9.0")
    assert refused.returncode == 2 and "compute capability" in refused.stderr
