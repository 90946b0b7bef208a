"""The layers of a model with their times, work and bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgedet.bench.layers.peak import Peak
from edgedet.engine.inspect.formats import UNKNOWN

NUMBERED = re.compile(r"(?:_nchwc|_token_\d+)+$")
"""What ONNX Runtime lengthens names by; the numbers are others in each model."""

INFLATED = 1.2
"""Layers that add up to so many times a run that is not profiled are not to be taken at their word."""


@dataclass(frozen=True)
class Layer:
    """What a runtime runs and times as one.

    Attributes:
        name: as the runtime calls it.
        kind: what it computes, in the runtime's words: `QLinearConv`, `Reformat`.
        milliseconds: of one run, the median.
        mean_ms: of one run, the mean.
        macs: multiply-accumulates of the nodes that it stands for; None where they are not known.
        bytes: read and written, weights too; None where the sizes are not known.
        precision: the type that it reads: one of `edgedet.engine.inspect.formats.DATATYPES`' values, or `unknown`.
        provider: what ran it: ONNX Runtime's provider, or `TensorRT`.
        nodes: of the ONNX file, that it stands for, products first; empty where the runtime inserted it, or took it
            from the body of a function; None where the nodes are not known.
        shape: of its first output; None where it is not known.
        share: of the time of all layers, from 0 to 1.
        peak_share: the time that it would take at the device's measured peak, by its time. Above 1 where its tensors
            lie in a cache: the peak's bandwidth is the memory's. None where work, bytes or the peak are not known.
    """

    name: str
    kind: str
    milliseconds: float
    mean_ms: float
    macs: int | None = None
    bytes: int | None = None
    precision: str = UNKNOWN
    provider: str = ""
    nodes: tuple[str, ...] | None = None
    shape: tuple[int, ...] | None = None
    share: float | None = None
    peak_share: float | None = None

    @property
    def label(self) -> str:
        """What a person knows it by, the same in each model: its first node, else its name without numbers."""
        return self.nodes[0] if self.nodes else NUMBERED.sub("", self.name)

    @property
    def inserted(self) -> bool:
        """Whether it stands for no node of the graph: the runtime added it."""
        return self.nodes == ()

    @property
    def achieved_gmacs(self) -> float | None:
        """Thousand million multiply-accumulates a second; None where there are none, or no time passed."""
        return self.macs / self.milliseconds / 1e6 if self.macs and self.milliseconds else None

    @property
    def bytes_per_second(self) -> float | None:
        """Bytes read and written a second; None where they are not known, or no time passed."""
        return self.bytes / self.milliseconds * 1e3 if self.bytes is not None and self.milliseconds else None

    @property
    def macs_per_byte(self) -> float | None:
        """The arithmetic intensity; None where there are no multiply-accumulates or no bytes."""
        return self.macs / self.bytes if self.macs and self.bytes else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            **asdict(self),
            "label": self.label,
            "inserted": self.inserted,
            "achieved_gmacs": self.achieved_gmacs,
            "bytes_per_second": self.bytes_per_second,
        }


@dataclass(frozen=True)
class LayerTable:
    """All layers of a model, measured together.

    Attributes:
        runtime: the runtime, its version and where it runs.
        layers: in the order in which they run.
        runs: how many were measured.
        total_ms: the layers' medians, added up.
        whole_run_ms: the median of a run that is not profiled, from inputs on the host to outputs on the host.
        graph_macs: of the whole graph as it was exported; None where it is not known.
        peak: of the device; None where it was not measured.
        notes: what is missing, and why.
    """

    runtime: str
    layers: tuple[Layer, ...]
    runs: int
    total_ms: float
    whole_run_ms: float
    graph_macs: int | None
    peak: Peak | None
    notes: tuple[str, ...] = ()

    @property
    def unaccounted_macs(self) -> int | None:
        """Multiply-accumulates of the graph that no layer stands for; None where the graph's are not known."""
        return None if self.graph_macs is None else self.graph_macs - sum(layer.macs or 0 for layer in self.layers)

    def costliest_first(self) -> list[Layer]:
        """The layers, what takes longest first."""
        return sorted(self.layers, key=lambda layer: -layer.milliseconds)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            **asdict(self),
            "layers": [layer.to_dict() for layer in self.layers],
            "unaccounted_macs": self.unaccounted_macs,
        }


def layer_table(
    runtime: str,
    layers: Sequence[Layer],
    *,
    runs: int,
    whole_run_ms: float,
    graph_macs: int | None = None,
    peak: Peak | None = None,
    notes: Sequence[str] = (),
) -> LayerTable:
    """The table of layers, with the shares of each; the arguments are the table's attributes."""
    total = sum(layer.milliseconds for layer in layers)
    told = list(notes)
    shared = tuple(
        replace(layer, share=layer.milliseconds / total if total else None, peak_share=_peak_share(layer, peak))
        for layer in layers
    )
    table = LayerTable(runtime, shared, runs, total, whole_run_ms, graph_macs, peak)
    if table.unaccounted_macs:
        told.append(f"{table.unaccounted_macs} of {graph_macs} multiply-accumulates belong to no layer")
    if total > INFLATED * whole_run_ms:
        told.append(
            f"profiling takes time itself: the layers add up to {total:.3g} ms, a run without it takes "
            f"{whole_run_ms:.3g} ms; short layers look longer than they are"
        )
    return replace(table, notes=tuple(told))


def _peak_share(layer: Layer, peak: Peak | None) -> float | None:
    if peak is None or layer.macs is None or layer.bytes is None or not layer.milliseconds:
        return None
    attainable = peak.attainable_ms(layer.macs, layer.bytes, layer.precision)
    return None if attainable is None else attainable / layer.milliseconds
