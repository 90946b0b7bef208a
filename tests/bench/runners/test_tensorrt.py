"""The runner of engines with TensorRT's double: what it computes, what it times, and what it leaves behind."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorrt_double.environment import VERSIONS, TensorRT, tensorrt

SLOW_NETWORK = json.dumps({"float": 20, "int8": 20, "slow": []})
"""Its convolution takes 20 ms in the double."""

PRELUDE = '''
import gc, json, os, time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from polygraphy import cuda as polygraphy_cuda
from tensorrt_double.double import MAGIC

from edgedet.bench.runners.tensorrt import TensorRTRunner, Zero
from edgedet.errors import EdgedetError
from edgedet.runtime.backends.tensorrt import TensorRTBackend
from edgedet.trt.engine import open_engine
from edgedet.trt.manifest import Profile

library = polygraphy_cuda.wrapper().handle
random = np.random.default_rng(0)
images = random.random((5, 3, 8, 8), np.float32)


def opened(batch=1):
    """A backend of a convolution with two outputs; a batch of None is free, from 1 to 4."""
    names, shape = ("images", "features", "scores"), [batch, 3, 8, 8]
    image, *outputs = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names)
    nodes = [
        helper.make_node("Conv", ["images", "weight"], ["features"], name="conv"),
        helper.make_node("Sigmoid", ["features"], ["scores"], name="sigmoid"),
    ]
    weight = numpy_helper.from_array(random.random((3, 3, 1, 1), np.float32), "weight")
    graph = helper.make_graph(nodes, "network", [image], outputs, [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    head = json.dumps({"profiles": [{"images": [[count, 3, 8, 8] for count in (1, 2, 4)]}]}).encode()
    engine = open_engine(MAGIC + head + b"\\n" + model.SerializeToString(), where=Path("m.engine"))
    options = SimpleNamespace(profile=Profile(smallest=1, best=2, largest=4))
    built_on = SimpleNamespace(gpu="Orin")
    manifest = SimpleNamespace(built_on=built_on, options=options, lowering="fp32", strongly_typed=False)
    return TensorRTBackend(engine, manifest)


def new_runner(backend, count=1, zero=None, **options):
    return TensorRTRunner(backend, {"images": images[:count]}, zero=zero or Zero.now(), **options)


def measured(runner, queries=5):
    """Queries, always two on their way."""
    found = []
    runner.submit()
    for _ in range(queries - 1):
        runner.submit()
        found.append(runner.collect())
    return [*found, runner.collect()]


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def times(query):
    return [query.h2d_start, query.h2d_end, query.compute_start, query.compute_end, query.d2h_start, query.d2h_end]


def refusal(function):
    try:
        function()
    except EdgedetError as error:
        return str(error)


def show(**values):
    print(json.dumps(values))
'''


@pytest.fixture(scope="module", params=VERSIONS)
def trt(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TensorRT]:
    """Each version in turn."""
    with tensorrt(request.param, tmp_path_factory.mktemp("tensorrt")) as found:
        yield found


@pytest.fixture(scope="module")
def trt10(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TensorRT]:
    """JetPack 6's."""
    with tensorrt("10.3.0", tmp_path_factory.mktemp("tensorrt")) as found:
        yield found


def shown(trt: TensorRT, code: str, folder: Path, **settings: str) -> dict[str, Any]:
    """What `code` shows, in a process where TensorRT's double and CUDA on the host stand ready."""
    script = folder / "script.py"
    script.write_text(PRELUDE + code)
    done = trt.run_script(script, cwd=folder, **settings)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_its_outputs_are_the_backends_in_every_mode(trt: TensorRT, tmp_path: Path) -> None:
    found = shown(
        trt,
        """
backend = opened()
expected = backend.run({"images": images[:1]})
results = {}
for transfers in (True, False):
    for cuda_graph in (True, False):
        runner = new_runner(backend, transfers=transfers, cuda_graph=cuda_graph)
        launched = library.host_cuda_launched_graphs()
        equal = []
        for _ in range(3):  # in the memory of one query, of the other, and of the first again
            runner.submit()
            runner.collect()
            equal.append(same(runner.outputs(), expected))
        launched = library.host_cuda_launched_graphs() - launched
        results[f"{transfers} {cuda_graph}"] = [equal, launched, runner.settings]
show(results=results, afterwards=same(backend.run({"images": images[:1]}), expected))
""",
        tmp_path,
    )
    assert found["afterwards"]
    assert len(found["results"]) == 4
    for name, (equal, launched, settings) in found["results"].items():
        transfers, cuda_graph = (word == "True" for word in name.split())
        assert equal == [True, True, True]
        assert launched == (3 if cuda_graph else 0)
        assert settings == {"transfers": transfers, "cuda_graph": cuda_graph, "spin": False, "depth": 2}


def test_the_stages_of_queries_follow_each_other(trt: TensorRT, tmp_path: Path) -> None:
    found = shown(
        trt,
        """
backend, zero = opened(), Zero.now()
time.sleep(0.1)
runner = new_runner(backend, zero=zero, stream_index=3, cuda_graph=True, spin=True)
before = zero.elapsed()
queries = measured(runner)
show(
    before=before,
    after=zero.elapsed(),
    spin=runner.settings["spin"],
    streams=[query.stream for query in queries],
    times=[times(query) for query in queries],
    enqueues=[(query.enqueue_start, query.enqueue_end) for query in queries],
    stages=[(query.h2d, query.compute, query.d2h, query.enqueue) for query in queries],
)
""",
        tmp_path,
        DOUBLE_SPEEDS=SLOW_NETWORK,
    )
    assert found["streams"] == [3] * 5 and found["spin"] is True
    assert 100 <= found["before"] <= found["enqueues"][0][0]
    apart = 50  # how far the zeros of both clocks may lie apart on a busy machine
    assert found["before"] - apart <= found["times"][0][0] and found["times"][-1][-1] <= found["after"]
    for enqueue, times in zip(found["enqueues"], found["times"], strict=True):
        assert enqueue == sorted(enqueue) and times == sorted(times)
    for (_, earlier), (later, _) in zip(found["enqueues"], found["enqueues"][1:], strict=False):
        assert earlier <= later
    for earlier, later in zip(found["times"], found["times"][1:], strict=False):
        assert earlier[3] <= later[2], "one network ran into the other"
    h2d, compute, d2h, enqueue = zip(*found["stages"], strict=True)
    assert min(compute) >= 19.9
    assert max(map(statistics.median, (h2d, d2h, enqueue))) < 19.9


def test_without_transfers_nothing_is_copied_until_the_outputs_are_asked_for(trt10: TensorRT, tmp_path: Path) -> None:
    found = shown(
        trt10,
        """
backend = opened()
runner = new_runner(backend, transfers=False)
before = library.host_cuda_copies()
queries = measured(runner)
during = library.host_cuda_copies() - before
runner.outputs()
show(
    during=during,
    asked=library.host_cuda_copies() - before - during,
    times=[times(query) for query in queries],
)
""",
        tmp_path,
        DOUBLE_SPEEDS=SLOW_NETWORK,
    )
    assert found["during"] == 0 and found["asked"] == 2
    for h2d_start, h2d_end, compute_start, compute_end, d2h_start, d2h_end in found["times"]:
        assert h2d_start == h2d_end == compute_start and d2h_start == d2h_end == compute_end
        assert compute_end - compute_start >= 19.9


def test_only_the_oldest_query_is_waited_for(trt10: TensorRT, tmp_path: Path) -> None:
    found = shown(
        trt10,
        """
runner = new_runner(opened())
found = [library.host_cuda_copies()]
runner.submit()
runner.submit()
found.append(library.host_cuda_copies())
for _ in range(2):
    runner.collect()
    found.append(library.host_cuda_copies())
show(copies=[count - found[0] for count in found[1:]])
""",
        tmp_path,
    )
    assert found["copies"] == [0, 3, 6]  # one input and two outputs a query


def test_no_more_queries_than_the_depth_are_on_their_way(trt10: TensorRT, tmp_path: Path) -> None:
    found = shown(
        trt10,
        """
runner = new_runner(opened())
nothing, outputs = refusal(runner.collect), refusal(runner.outputs)
for _ in range(runner.depth):
    runner.submit()
full = refusal(runner.submit)
runner.collect()
show(
    nothing=nothing,
    outputs=outputs,
    full=full,
    one_more=refusal(runner.submit),
    full_again=refusal(runner.submit),
    left=[refusal(runner.collect) for _ in range(3)],
)
""",
        tmp_path,
    )
    assert "no query is on its way" in found["nothing"]
    assert "no query was collected yet" in found["outputs"]
    assert "2 queries are on their way already" in found["full"] and found["full_again"] == found["full"]
    assert found["one_more"] is None
    assert found["left"] == [None, None, found["nothing"]]


def test_outputs_wait_for_a_later_query_in_the_same_memory(trt10: TensorRT, tmp_path: Path) -> None:
    found = shown(
        trt10,
        """
backend, zero = opened(), Zero.now()
expected = backend.run({"images": images[:1]})
results = []
for transfers in (True, False):
    runner = new_runner(backend, zero=zero, transfers=transfers)
    for _ in range(runner.depth):
        runner.submit()
    runner.collect()
    runner.submit()
    equal, there = same(runner.outputs(), expected), zero.elapsed()
    later = [runner.collect() for _ in range(runner.depth)]
    results.append([equal, there, later[-1].compute_end])
show(results=results)
""",
        tmp_path,
        DOUBLE_SPEEDS=SLOW_NETWORK,
    )
    for equal, there, computed in found["results"]:
        assert equal and computed <= there


def test_waiting_keeps_the_processor_busy_only_where_it_is_asked_to(trt10: TensorRT, tmp_path: Path) -> None:
    found = shown(
        trt10,
        """
backend, zero = opened(), Zero.now()
blocking = [library.host_cuda_blocking_events()]
for spin in (True, False):
    runner = new_runner(backend, zero=zero, spin=spin)
    blocking.append(library.host_cuda_blocking_events())
show(blocking=[count - blocking[0] for count in blocking[1:]], settings=runner.settings["spin"])
""",
        tmp_path,
    )
    assert found == {"blocking": [0, 12], "settings": False}  # both ends of three stages of two queries


@pytest.mark.parametrize("fails", [{"HOST_CUDA_NO_CAPTURE": "1"}, {"DOUBLE_FAILS": "capture"}], ids=["cuda", "engine"])
def test_what_cannot_be_captured_is_enqueued(trt10: TensorRT, tmp_path: Path, fails: dict[str, str]) -> None:
    found = shown(
        trt10,
        """
backend = opened()
expected = backend.run({"images": images[:1]})
runner = new_runner(backend, cuda_graph=True)
queries = measured(runner)
show(
    captured=runner.settings["cuda_graph"],
    graphs=library.host_cuda_launched_graphs(),
    same=same(runner.outputs(), expected),
    queries=len(queries),
)
""",
        tmp_path,
        **fails,
    )
    assert found == {"captured": False, "graphs": 0, "same": True, "queries": 5}


def test_runners_of_one_engine_do_not_disturb_each_other(trt: TensorRT, tmp_path: Path) -> None:
    found = shown(
        trt,
        """
backend, zero = opened(), Zero.now()
inputs = [{"images": images[place : place + 1]} for place in range(3)]
runners = [
    TensorRTRunner(backend, feeds, zero=zero, stream_index=place, cuda_graph=place == 1)
    for place, feeds in enumerate(inputs)
]
for _ in range(2):
    for runner in runners:
        runner.submit()
streams = [runner.collect().stream for runner in runners]
found = [runner.outputs() for runner in runners]
expected = [backend.run(feeds) for feeds in inputs]
show(
    streams=streams,
    equal=[same(one, other) for one, other in zip(found, expected, strict=True)],
    differ=not same(expected[0], expected[1]),
)
""",
        tmp_path,
    )
    assert found == {"streams": [0, 1, 2], "equal": [True, True, True], "differ": True}


def test_a_free_batch_is_run_where_contexts_share_a_profile(trt: TensorRT, tmp_path: Path) -> None:
    found = shown(
        trt,
        """
backend = opened(batch=None)
expected = backend.run({"images": images[:3]})
equal = []


def run():
    runner = new_runner(backend, count=3)
    measured(runner)
    equal.append(same(runner.outputs(), expected))


show(refusal=refusal(run), equal=equal, too_many=refusal(lambda: new_runner(backend, count=5)))
""",
        tmp_path,
    )
    if trt.version.startswith("8."):
        assert "in one context alone, and it is taken" in found["refusal"]
        assert found["too_many"] == found["refusal"]
    else:
        assert found["refusal"] is None and found["equal"] == [True]
        assert "TensorRT does not take 5 images at once" in found["too_many"]


def test_before_8_5_tensors_are_known_by_their_places(tmp_path: Path) -> None:
    with tensorrt("8.6.1", tmp_path / "tensorrt") as old:
        found = shown(
            old,
            """
backend = opened()
expected = backend.run({"images": images[:1]})
runner = new_runner(backend)
equal = []
for _ in range(runner.depth):
    runner.submit()
    runner.collect()
    equal.append(same(runner.outputs(), expected))
show(equal=equal)
""",
            tmp_path,
            DOUBLE_VERSION="8.2.5.1",
            DOUBLE_PLACES="1",
        )
        assert found == {"equal": [True, True]}
        assert old.recorded("execute_async_v2") and not old.recorded("execute_async_v3")


def test_what_fails_is_said(trt10: TensorRT, tmp_path: Path) -> None:
    found = shown(
        trt10,
        """
backend = opened()
runner = new_runner(backend)


def with_setting(name, value, function):
    os.environ[name] = value
    try:
        return refusal(function)
    finally:
        del os.environ[name]


def submitted_and_collected():
    runner.submit()
    runner.collect()


show(
    context=with_setting("DOUBLE_FAILS", "context", lambda: new_runner(backend)),
    warm=with_setting("DOUBLE_FAILS", "enqueue", lambda: new_runner(backend, cuda_graph=True)),
    memory=with_setting("HOST_CUDA_MEBIBYTES", "0", lambda: new_runner(backend)),
    shape=refusal(lambda: new_runner(backend, count=2)),
    missing=refusal(lambda: TensorRTRunner(backend, {}, zero=Zero.now())),
    waiting=with_setting("HOST_CUDA_ILLEGAL_ADDRESS", "1", submitted_and_collected),
    enqueue=with_setting("DOUBLE_FAILS", "enqueue", runner.submit),
)
""",
        tmp_path,
    )
    assert "TensorRT gives no further execution context" in found["context"]
    assert "TensorRT did not start the network" in found["warm"]
    assert "out of memory" in found["memory"]
    assert "float32 [2, 3, 8, 8], not float32 [1, 3, 8, 8]" in found["shape"]
    assert "the input images is missing" in found["missing"]
    assert "an illegal memory access was encountered (cudaEventSynchronize, error 700)" in found["waiting"]
    assert "TensorRT did not start the network" in found["enqueue"]


def test_nothing_is_left_on_the_device(trt: TensorRT, tmp_path: Path) -> None:
    found = shown(
        trt,
        """
backend, zero = opened(), Zero.now()
before = library.host_cuda_live_allocations()
runner = new_runner(backend, zero=zero, cuda_graph=True)
measured(runner)
during = library.host_cuda_live_allocations()
runner.submit()
del runner
gc.collect()
show(before=before, during=during, after=library.host_cuda_live_allocations())
""",
        tmp_path,
    )
    assert found["during"] > found["before"] == found["after"]
