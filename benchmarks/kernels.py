"""The CUDA kernels on a GPU: held to references on random inputs, and timed beside torchvision and a copy of memory.

    make cuda && python benchmarks/kernels.py [--library build/cuda/libedgedet_cuda.so] [--rounds 50]
    python benchmarks/kernels.py --check                    no times
    compute-sanitizer --tool memcheck python benchmarks/kernels.py --check      and racecheck, synccheck

DIoU-NMS at 8400 boxes of 80 classes, batch 1 and 16, beside torchvision's batched_nms, which knows IoU alone: from all
scores on, and of the best 1000 candidates alone. Mish of 64 MB beside the time of copying them. Times by CUDA's events,
medians over rounds in which all take turns; edgedet also as a captured graph. Needs torch with CUDA; torchvision takes
part where it is installed. Without a GPU the checks run with --device cpu and the library that `make operators` builds
for the tests.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import torch
from cuda_timing import Run, medians
from protocol import print_protocol

from edgedet.ops.cuda import WORKSPACE_ALIGNMENT, CudaKernels, NMSProblem
from edgedet.ops.diou_nms import DIoUNMS, native
from edgedet.ops.mish.reference import mish as exact_mish

BOXES, CLASSES, CANDIDATES = 8400, 80, 1000
MISH_BYTES = 64 << 20
POISON = 0xA5
TYPES = {torch.float32: "float32", torch.float16: "float16"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=Path, default=Path("build/cuda/libedgedet_cuda.so"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    kernels = CudaKernels(arguments.library)
    check_nms(kernels, arguments.device)
    check_mish(kernels, arguments.device)
    if arguments.check:
        return
    print("microseconds")
    print("| images | kept | edgedet | as a graph | torchvision, from all scores | torchvision, of the best 1000 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for images in (1, 16):
        print(nms_row(kernels, images, arguments.rounds), flush=True)
    print("| Mish of 64 MB | GB/s | copying them, GB/s | share |\n| --- | --- | --- | --- |")
    for dtype in TYPES:
        print(mish_row(kernels, dtype, arguments.rounds), flush=True)
    packages = ["edgedet", "torch"] + (["torchvision"] if importlib.util.find_spec("torchvision") else [])
    properties = torch.cuda.get_device_properties(0)
    print_protocol(*packages, gpu=properties.name, sm=f"{properties.major}.{properties.minor}", rounds=arguments.rounds)


class NMS:
    """DIoU-NMS of one batch, its outputs and its workspace, full of poison."""

    def __init__(self, kernels: CudaKernels, boxes: torch.Tensor, scores: torch.Tensor, attributes: DIoUNMS) -> None:
        half = {"half_boxes": boxes.dtype == torch.float16, "half_scores": scores.dtype == torch.float16}
        self.problem = NMSProblem(*scores.shape, attributes, **half)
        self.kernels, self.boxes, self.scores = kernels, boxes, scores
        images, rows = len(boxes), attributes.max_detections
        shapes = ((images, 1), (images, rows, 4), (images, rows), (images, rows))
        types = (torch.int32, boxes.dtype, scores.dtype, torch.int32)
        self.outputs = [poisoned(shape, dtype, boxes.device) for shape, dtype in zip(shapes, types, strict=True)]
        workspace = kernels.workspace_bytes(self.problem)
        self.room = poisoned((workspace + WORKSPACE_ALIGNMENT,), torch.uint8, boxes.device)

    def run(self) -> None:
        first = self.room.data_ptr()
        outputs = tuple(output.data_ptr() for output in self.outputs)
        workspace = first + -first % WORKSPACE_ALIGNMENT
        inputs = self.boxes.data_ptr(), self.scores.data_ptr()
        self.kernels.diou_nms(self.problem, *inputs, outputs, workspace, stream_of(self.boxes))


def poisoned(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    made = torch.empty(shape, dtype=dtype, device=device)
    made.view(torch.uint8).fill_(POISON)
    return made


def stream_of(tensor: torch.Tensor) -> int:
    return torch.cuda.current_stream().cuda_stream if tensor.is_cuda else 0


def scene(seed: int, images: int, boxes: int, classes: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """As a detector gives them: clusters around objects, and few scores that are high."""
    rng = np.random.default_rng(seed)
    objects = rng.uniform(0, 640, (images, max(boxes // 20, 1), 2))
    chosen = rng.integers(objects.shape[1], size=(images, boxes, 1))
    centres = np.take_along_axis(objects, chosen, axis=1) + rng.normal(0, 5, (images, boxes, 2))
    sides = np.exp(rng.normal(3.5, 0.6, (images, boxes, 2)))
    corners = np.concatenate([centres - sides / 2, centres + sides / 2], axis=2).astype(np.float32)
    scores = rng.beta(0.2, 30, (images, boxes, classes)).astype(np.float32)
    return torch.from_numpy(corners).to(device), torch.from_numpy(scores).to(device)


def check_nms(kernels: CudaKernels, device: str) -> None:
    """The same detections as the CPU kernel, in the same order, of float32 and float16."""
    cases = [
        (1, BOXES, CLASSES, DIoUNMS(score_threshold=0.05)),
        (16, 1000, 3, DIoUNMS(score_threshold=0.0, iou_threshold=0.4, class_agnostic=True)),
        (2, BOXES, CLASSES, DIoUNMS(score_threshold=0.0, pre_nms_top_k=1000)),  # more than the list holds
        (1, 12_000, 1, DIoUNMS(score_threshold=0.0, pre_nms_top_k=12_000, max_detections=5000, beta=0.6)),
        (3, 0, 4, DIoUNMS()),
    ]
    for seed, (images, boxes, classes, attributes) in enumerate(cases):
        for dtype in TYPES:
            given = [tensor.to(dtype) for tensor in scene(seed, images, boxes, classes, device)]
            nms = NMS(kernels, given[0], given[1], attributes)
            nms.run()
            num_dets, *found = [output.cpu().numpy() for output in nms.outputs]
            host_boxes, host_scores = (tensor.float().cpu().numpy() for tensor in given)
            for image, count in enumerate(num_dets[:, 0]):
                expected = native.diou_nms(host_boxes[image], host_scores[image], attributes)
                for rows, wanted in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(rows[image, :count], wanted)
                    assert (rows[image, count:] == (-1 if rows.dtype == np.int32 else 0)).all()
    print(f"DIoU-NMS: {len(cases) * len(TYPES)} batches as the CPU kernel, box by box")


def check_mish(kernels: CudaKernels, device: str) -> None:
    """Within 5 units in the last place of float32 and one of float16, of float64."""
    for dtype, name in TYPES.items():
        x = torch.linspace(-80, 40, 1_000_003, dtype=torch.float64).to(dtype).to(device)
        found = poisoned(tuple(x.shape), dtype, x.device)
        kernels.mish(name, x.data_ptr(), found.data_ptr(), len(x), stream_of(x))
        exact = torch.from_numpy(exact_mish(x.double().cpu().numpy()))
        steps = 5 if dtype == torch.float32 else 1
        limits = torch.finfo(dtype)
        smallest = max(1.5e-36, limits.smallest_normal * limits.eps)
        torch.testing.assert_close(found.double().cpu(), exact, rtol=steps * limits.eps, atol=smallest)
    print("Mish: as float64 has it, to the last places")


def nms_row(kernels: CudaKernels, images: int, rounds: int) -> str:
    boxes, scores = scene(0, images, BOXES, CLASSES, "cuda")
    attributes = DIoUNMS(score_threshold=0.05, pre_nms_top_k=CANDIDATES)
    nms = NMS(kernels, boxes, scores, attributes)
    nms.run()
    runs = {"edgedet": nms.run, "graph": captured(nms.run)}
    runs.update(torchvision_runs(boxes, scores, attributes))
    times = medians(runs, rounds, warm_up=5)
    kept = nms.outputs[0].float().mean().item()
    cells = [f"{times[name]:.1f}" if name in times else "-" for name in ("edgedet", "graph", "all", "best")]
    return f"| {images} | {kept:.0f} | {' | '.join(cells)} |"


def torchvision_runs(boxes: torch.Tensor, scores: torch.Tensor, attributes: DIoUNMS) -> dict[str, Run]:
    """Image by image, as batched_nms takes them."""
    if not importlib.util.find_spec("torchvision"):
        return {}
    from torchvision.ops import batched_nms

    def best(image: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        flat = scores[image].flatten()
        values, indices = flat.topk(attributes.pre_nms_top_k)
        wanted = values > attributes.score_threshold
        values, indices = values[wanted], indices[wanted]
        return boxes[image][indices // scores.shape[2]], values, indices % scores.shape[2]

    def suppress(corners: torch.Tensor, values: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        return batched_nms(corners, values, classes, attributes.iou_threshold)[: attributes.max_detections]

    prepared = [best(image) for image in range(len(boxes))]
    return {
        "all": lambda: [suppress(*best(image)) for image in range(len(boxes))],
        "best": lambda: [suppress(*candidates) for candidates in prepared],
    }


def mish_row(kernels: CudaKernels, dtype: torch.dtype, rounds: int) -> str:
    x = torch.randn(MISH_BYTES // dtype.itemsize, device="cuda").to(dtype)
    result = torch.empty_like(x)

    def mish() -> None:
        kernels.mish(TYPES[dtype], x.data_ptr(), result.data_ptr(), len(x), stream_of(x))

    times = medians({"mish": mish, "copy": lambda: result.copy_(x)}, rounds, warm_up=5)
    mish_rate, copy_rate = (2 * MISH_BYTES / times[name] / 1e3 for name in ("mish", "copy"))
    return f"| {TYPES[dtype]} | {mish_rate:.0f} | {copy_rate:.0f} | {mish_rate / copy_rate:.2f} |"


def captured(run: Run) -> Run:
    """The same work as one CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


if __name__ == "__main__":
    main()
