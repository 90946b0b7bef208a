"""How a model is measured: what a person chose, and what reproduces a measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgedet.bench.statistics import PERCENTILES
from edgedet.config import Digest, Frozen
from edgedet.spec import Side

Batch = Annotated[int, Field(ge=1, le=1024)]
CPU = "cpu"
"""`Settings.device`; so is None, but for engines."""

Percentage = Annotated[float, Field(ge=0, le=100)]


class Input(Frozen):
    """What the model is fed.

    Attributes:
        kind: images of a `dataset`, one `image`, a `generated` one with texture at all scales, or a `tensor` as the
            network takes it.
        path: of the first, second and last.
        split: of a dataset; None means `val`, or the only one.
        images: how many of a dataset's are used, at most.
        sha256: of all that is read, in order; None before it was read.
    """

    kind: Literal["dataset", "image", "generated", "tensor"] = "generated"
    path: Path | None = None
    split: str | None = None
    images: Annotated[int, Field(ge=1, le=1000)] = 16
    sha256: Digest | None = None

    @model_validator(mode="after")
    def _has_a_path(self) -> Input:
        if (self.path is None) != (self.kind == "generated"):
            raise ValueError(f"an input of the kind {self.kind} has {'no' if self.path else 'a'} path")
        return self


class Settings(Frozen):
    """How a model is measured. What trtexec has too means the same there.

    Attributes:
        iterations: fewest queries of each stream; at a camera's rate the fewest images that come.
        duration: seconds that queries are run for, at least.
        warm_up: milliseconds of queries before, which are not counted.
        average_runs: queries over which the trace is averaged.
        percentiles: of the latencies, in percent.
        shape: of the network's input, `[B, 3, H, W]`; None means the model's own, with a batch of 1 where that is free.
        streams: queries at once.
        threads: of each stream, on as many cores.
        device: `cpu`, `cuda`, or another of ONNX Runtime's providers; an engine runs where it was built.
        cuda_graph, spin_wait, data_transfers: of engines: whether the network is launched as one, whether the host
            spins while it waits, and whether inputs and outputs are copied with each query.
        end_to_end: time images from their files to detections, not the network alone.
        fps: images come at this rate, as of a camera; None means that the next query begins when one has ended.
        input: what the model is fed.
    """

    iterations: Annotated[int, Field(ge=1, le=10_000_000)] = 10
    duration: Annotated[float, Field(ge=0, le=86_400)] = 3.0
    warm_up: Annotated[float, Field(ge=0, le=600_000)] = 200.0
    average_runs: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    percentiles: tuple[Percentage, ...] = PERCENTILES
    shape: tuple[Batch, Literal[3], Side, Side] | None = None
    streams: Annotated[int, Field(ge=1, le=64)] = 1
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    device: str | None = None
    cuda_graph: bool = True
    spin_wait: bool = False
    data_transfers: bool = True
    end_to_end: bool = False
    fps: Annotated[float, Field(gt=0, le=10_000)] | None = None
    input: Input = Input()

    @model_validator(mode="after")
    def _has_one_camera(self) -> Settings:
        if self.fps is not None and self.streams > 1:
            raise ValueError("images at a camera's rate are one stream")
        return self
