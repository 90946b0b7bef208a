"""Gated 1x1 convolutions on a GPU, beside one dense 8-bit pass, and cuDNN and cuBLAS of the same layer.

    make cuda && python benchmarks/gating_cuda.py [--library build/cuda/libedgedet_cuda.so] [--json gating_cuda.json]
    python benchmarks/gating_cuda.py --check          no times
    python benchmarks/gating_cuda.py --check --device cpu --library build/native/libedgedet_cuda_on_host.so

The distinct dense 1x1 convolutions of backbones and necks, as benchmarks/gating.py finds them, those of the most
products first, float16 in and out, with random weights and codes of 8 bits, 4 of them gated. Thresholds open the gate
at the share of tiles or positions asked for, scattered at random. Columns: all gates closed, which is one dense 8-bit
pass and the decision; the shares, of which 100 % decides, and updates everything; `dense`, where no gate can be closed:
both passes in one kernel, nothing decided. Of PyTorch, cuDNN's convolution in float16 (channels first and last), and
torch._int_mm, which is the 8-bit product alone, of codes that are ready, to int32. `floor` is what the bytes of x, y
and the weights take at the rate at which this GPU copies 256 MB.

Each is a captured graph of several runs, timed by CUDA's events; all take turns, medians over rounds. It ends after
about --seconds, with the layers that it got through. Before, every share of small layers is held to the reference.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cuda_timing import Run, medians, timed
from gating import SHARES, Shape, shapes_of
from numpy.typing import NDArray
from protocol import print_protocol

from edgedet.errors import EdgedetError
from edgedet.ops.gated_conv.cuda import ALIGNMENT, CudaGatedConv, GatedLayer
from edgedet.ops.gated_conv.definition import GatedConv, Granularity
from edgedet.ops.gated_conv.reference import gated_conv, split

X_SCALE, WEIGHT_SCALE = 2.0**-6, 2.0**-8
COPIED_BYTES = 256 << 20
RUNS = 20
"""In a graph: one run alone is near the resolution of events."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path, default=Path("build/cuda/libedgedet_cuda.so"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", nargs="+", default=["shufflenetv2_0.5x", "mobilenetv2_0.5"])
    parser.add_argument("--most", type=int, default=6, help="shapes of a model")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=40, help="after which no further layer is begun")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no GPU with CUDA: --check --device cpu runs the kernels on the host")
    kernels = CudaGatedConv(arguments.library)
    check(kernels, arguments.device)
    if arguments.check:
        return
    if arguments.device != "cuda":
        raise SystemExit("times are of a GPU: without one, give --check")
    bench(kernels, arguments)


def bench(kernels: CudaGatedConv, arguments: argparse.Namespace) -> None:
    start, before = time.monotonic(), clocks()
    rate = copy_rate()
    columns = ["closed", *(f"{share:.0%}" for share in SHARES), "dense", "cuDNN", "cuDNN last", "_int_mm"]
    print(f"microseconds; copies run at {rate / 1e9:.0f} GB/s")
    print(f"| layer | gate | {' | '.join([*columns, 'floor', 'dense / 10%'])} |\n|{' --- |' * (len(columns) + 4)}")
    rows: list[dict[str, Any]] = []
    left_out = 0
    for model in arguments.models:
        for shape in shapes_of(model)[: arguments.most]:
            if time.monotonic() - start > arguments.seconds:
                left_out += 1
                continue
            for granularity in ("tile", "pixel"):
                runs = runs_of(kernels, shape, granularity, arguments.batch)
                medians_of_graphs = medians(runs, arguments.rounds, warm_up=2)
                times = {name: microseconds / RUNS for name, microseconds in medians_of_graphs.items()}
                times["floor"] = floor_bytes(shape, arguments.batch) / rate * 1e6
                rows.append({"model": model, **shape._asdict(), "gate": granularity, "microseconds": times})
                name = f"{shape.inputs} to {shape.outputs}, {shape.height}x{shape.width}"
                cells = [f"{times[key]:.1f}" if key in times else "-" for key in (*columns, "floor")]
                print(
                    f"| {name} | {granularity} | {' | '.join(cells)} | {times['dense'] / times['10%']:.2f} |",
                    flush=True,
                )
    if left_out:
        print(f"{left_out} layers left out: there was no time for them")
    properties = torch.cuda.get_device_properties(0)
    gpu = {
        "name": properties.name,
        "sm": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "cuda": torch.version.cuda,
        "clocks_before": before,
        "clocks_after": clocks(),
    }
    settings = {"batch": arguments.batch, "rounds": arguments.rounds, "runs_in_a_graph": RUNS}
    print_protocol("edgedet", "torch", **gpu, **settings)
    if arguments.json is not None:
        result = {"gpu": gpu, "settings": settings, "copy_bytes_per_second": rate, "layers": rows}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def clocks() -> str:
    """What nvidia-smi says of the clocks, temperature and power; empty where it is not, as on Jetsons."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    fields = "clocks.sm,clocks.mem,clocks.max.sm,temperature.gpu,power.draw,pstate"
    command = [tool, f"--query-gpu={fields}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


class OnDevice:
    """A layer with its images, result and workspace on the device."""

    def __init__(self, kernels: CudaGatedConv, layer: GatedLayer, x: torch.Tensor) -> None:
        self.kernels, self.x = kernels, x
        self.packed = kernels.pack(layer, x.shape, half=x.dtype == torch.float16)
        self.weights, self.first = aligned(torch.from_numpy(self.packed.values), x.device)
        self.y = torch.full(layer.result_shape(x.shape), torch.nan, dtype=x.dtype, device=x.device)
        self.workspace = torch.full((self.packed.workspace_bytes + 1,), 165, dtype=torch.uint8, device=x.device)

    def run(self) -> None:
        addresses = (self.first, self.x.data_ptr(), self.y.data_ptr(), self.workspace.data_ptr())
        stream = torch.cuda.current_stream().cuda_stream if self.x.is_cuda else 0
        self.kernels.run(self.packed, *addresses, stream=stream)


def aligned(values: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, int]:
    """The bytes on the device, and where they start: as the kernels need them."""
    room = torch.zeros(len(values) + ALIGNMENT, dtype=torch.uint8, device=device)
    start = -room.data_ptr() % ALIGNMENT
    room[start : start + len(values)] = values.to(device)
    return room, room.data_ptr() + start


def runs_of(kernels: CudaGatedConv, shape: Shape, granularity: Granularity, batch: int) -> dict[str, Run]:
    rng = np.random.default_rng(0)
    codes, weights = scene(shape, batch, rng)
    x = torch.from_numpy((codes * X_SCALE).astype(np.float16)).cuda()
    runs: dict[str, Run] = {}
    for name, share in {"closed": 0.0, **{f"{share:.0%}": share for share in SHARES}, "dense": None}.items():
        layer = layer_of(share, granularity, codes, weights)
        runs[name] = OnDevice(kernels, layer, x).run
    graphs = {name: captured(run) for name, run in runs.items()}
    for name, run in of_pytorch(x, codes, weights).items():
        try:
            graphs[name] = captured(run)
        except RuntimeError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return graphs


def of_pytorch(x: torch.Tensor, codes: NDArray[Any], weights: NDArray[Any]) -> dict[str, Run]:
    """The same layer in float16; and the product of 8-bit codes, where PyTorch has it for the sizes."""
    dense = torch.from_numpy((weights * WEIGHT_SCALE).astype(np.float16)).cuda()
    x_last, dense_last = (tensor.to(memory_format=torch.channels_last) for tensor in (x, dense))
    runs: dict[str, Run] = {
        "cuDNN": lambda: torch.nn.functional.conv2d(x, dense),
        "cuDNN last": lambda: torch.nn.functional.conv2d(x_last, dense_last),
    }
    rows = torch.from_numpy(codes.transpose(0, 2, 3, 1).reshape(-1, codes.shape[1]) // 2).to(torch.int8).cuda()
    columns = torch.from_numpy(weights[:, :, 0, 0].astype(np.int8)).cuda().t()
    try:
        torch._int_mm(rows, columns)
    except (RuntimeError, AttributeError):  # sizes that are no multiples of 8, few rows, or an old PyTorch
        return runs
    runs["_int_mm"] = lambda: torch._int_mm(rows, columns)
    return runs


def scene(shape: Shape, batch: int, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    codes = rng.integers(0, 256, (batch, shape.inputs, shape.height, shape.width))
    return codes, rng.integers(-64, 65, (shape.outputs, shape.inputs, 1, 1))


def layer_of(
    share: float | None, granularity: Granularity, codes: NDArray[Any], weights: NDArray[Any], tile: int = 8
) -> GatedLayer:
    """Open at a share of the tiles or positions, by its first channel alone; None: no gate can be closed.

    At 100 % the threshold lies just below the least, so that there is a decision.
    """
    gate = GatedConv(lowest=0, highest=255, granularity=granularity, tile=tile)
    thresholds = np.full(len(weights), np.inf, np.float32)
    if share is None:
        thresholds[:] = -np.inf
    elif share > 0:
        high, _ = split(gate, codes)
        predicted = np.einsum("bchw,c->bhw", high, weights[0, :, 0, 0])
        strongest = strongest_of_units(predicted, tile if granularity == "tile" else 1)
        bound = strongest.min() - 1 if share == 1 else np.quantile(strongest, 1 - share)
        thresholds[0] = bound * X_SCALE * WEIGHT_SCALE
    ones = np.ones(len(weights), np.float32)
    return GatedLayer(gate, weights.astype(np.int8), X_SCALE, WEIGHT_SCALE * ones, thresholds, ones, 0 * ones)


def strongest_of_units(predicted: NDArray[Any], side: int) -> NDArray[Any]:
    """The largest prediction of each tile, of `[B, H, W]`."""
    down, across = (np.arange(0, size, side) for size in predicted.shape[1:])
    strongest: NDArray[Any] = np.maximum.reduceat(np.maximum.reduceat(predicted, down, axis=1), across, axis=2)
    return strongest


def check(kernels: CudaGatedConv, device: str) -> None:
    """The values of the reference, for all shares, of small layers: by one kernel, and by two."""
    rng = np.random.default_rng(1)
    count = 0
    for shape in (Shape(24, 16, 24, 40), Shape(200, 136, 5, 7)):
        codes, weights = scene(shape, 2, rng)
        for dtype in (torch.float32, torch.float16):
            x = torch.from_numpy(codes * X_SCALE).to(dtype).to(device)
            for granularity in ("element", "pixel", "tile"):
                for share in (0.0, *SHARES, None):
                    layer = layer_of(share, granularity, codes, weights)
                    on_device = OnDevice(kernels, layer, x)
                    on_device.run()
                    thresholds = layer.thresholds.astype(np.float64) / (X_SCALE * WEIGHT_SCALE)
                    sums, _ = gated_conv(layer.gate, codes, weights, thresholds, layer.signs)
                    wanted = torch.from_numpy((sums * (X_SCALE * WEIGHT_SCALE)).astype(np.float32)).to(dtype)
                    if not torch.equal(on_device.y.cpu(), wanted):
                        what = f"{granularity}, {share}, {dtype}: not what the reference gives"
                        raise EdgedetError(f"a gated convolution of {shape}, {what}")
                    count += 1
    print(f"{count} layers as the reference has them, value by value")


def floor_bytes(shape: Shape, batch: int) -> int:
    """Of x and y in float16, and of the weights: what has to be moved at least."""
    pixels = batch * shape.height * shape.width
    return 2 * pixels * (shape.inputs + shape.outputs) + shape.inputs * shape.outputs


def copy_rate() -> float:
    """Bytes read and written in a second."""
    x = torch.zeros(COPIED_BYTES, dtype=torch.uint8, device="cuda")
    y = torch.empty_like(x)
    microseconds = statistics.median(timed(lambda: y.copy_(x)) for _ in range(10))
    return 2 * COPIED_BYTES / microseconds * 1e6


def captured(run: Run) -> Run:
    """Several runs as one CUDA graph."""
    run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(RUNS):
            run()
    return graph.replay


if __name__ == "__main__":
    main()
