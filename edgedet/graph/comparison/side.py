"""One of the two that are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto

from edgedet.errors import EdgedetError, unknown_value
from edgedet.graph.comparison.grid import Array
from edgedet.graph.comparison.onnx_values import OnnxValues
from edgedet.graph.comparison.torch_values import TorchValues
from edgedet.graph.comparison.values import Values
from edgedet.graph.gates import is_gated
from edgedet.graph.master import decoded
from edgedet.graph.metadata import SPEC_KEY, Gates, read_metadata, read_provenance, read_spec
from edgedet.graph.reading import read_onnx
from edgedet.graph.source import find_model
from edgedet.graph.verify import Outputs
from edgedet.models.detector import DetectionNetwork
from edgedet.models.quantized.collapsing import collapsed
from edgedet.runtime.backends.torch import TorchBackend
from edgedet.spec import Spec

Sizes = tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Side:
    """A file, opened.

    Attributes:
        path: the file, or what it is called in messages.
        values: its tensors.
        sizes: of its input; None where one is free.
        spec: how images go in; None where the file does not say.
        outputs: boxes and scores of its input as it is run in earnest, nothing looked at; None where it has none.
        gates: what a file made of gated convolutions; None where there were none, or the file does not say.
    """

    path: Path
    values: Values
    sizes: Sizes
    spec: Spec | None
    outputs: Callable[[Array], Outputs] | None
    gates: Gates | None = None


def open_sides(a: Path, b: Path) -> tuple[Side, Side]:
    """Opens two files; a checkpoint at the input and batch size of an ONNX file beside it, of the same bits.

    Raises:
        EdgedetError: one is missing, of another kind, broken, or has more than one input, or a checkpoint is beside a
            file with its gates.
    """
    opened: dict[Path, Side] = {path: onnx_side(read_onnx(path), path) for path in (a, b) if _suffix(path) == ".onnx"}
    beside = next(iter(opened.values()), None)
    for path in (a, b):
        if path not in opened:
            opened[path] = _checkpoint(path, beside)
    return opened[a], opened[b]


def onnx_side(model: ModelProto, path: Path) -> Side:
    """A graph, with the types of its tensors."""
    values = OnnxValues(model, path)
    shape = values.input.shape
    assert shape is not None
    sizes = tuple(size if isinstance(size, int) and size > 0 else None for size in shape)
    metadata = read_metadata(model)
    spec = read_spec(metadata, where=path) if SPEC_KEY in metadata else None
    provenance = read_provenance(metadata, where=path)
    gates = None if provenance is None else provenance.gates
    named = {point.name: point for point in values.points}
    if spec is None or not {"boxes", "scores"} <= named.keys():
        return Side(path, values, sizes, spec, None, gates)

    def outputs(images: Array) -> Outputs:
        found = values.run(images, [named["boxes"], named["scores"]])
        return found["boxes"], found["scores"]

    return Side(path, values, sizes, spec, outputs, gates)


def torch_side(detector: DetectionNetwork, spec: Spec, path: Path, *, batch: int = 1) -> Side:
    """A detector: its tensors folded as they are exported, its boxes and scores as it was trained."""
    backend = TorchBackend(decoded(detector, spec))

    def outputs(images: Array) -> Outputs:
        found = backend.run({"images": images})
        return found["boxes"], found["scores"]

    size = spec.preprocess
    values = TorchValues(detector, spec, batch=batch)
    return Side(path, values, (batch, 3, size.height, size.width), spec, outputs)


def _suffix(path: Path) -> str:
    if not path.is_file():
        raise EdgedetError("no such model file", where=path, fix="check the path")
    suffix = path.suffix.lower()
    if suffix not in (".onnx", ".pt"):
        raise unknown_value("kind of model file", suffix, [".onnx", ".pt"], where=path)
    return suffix


def _checkpoint(path: Path, beside: Side | None) -> Side:
    sizes = (None,) * 4 if beside is None or len(beside.sizes) != 4 else beside.sizes
    batch, *_, height, width = sizes
    size = None if height is None or width is None else (height, width)
    detector, spec = find_model(str(path), size=size)
    gates = "full" if beside is None or beside.gates is None else beside.gates
    if not is_gated(detector):
        return torch_side(detector, spec, path, batch=batch or 1)
    if gates == "gated":
        what = "its gates are no part of a traced network, so their tensors cannot be compared"
        fix = (
            "boxes and scores were when the file was written; compare a file of --gates full or high, or two with gates"
        )
        raise EdgedetError(what, where=path, fix=fix)
    return torch_side(collapsed(detector, gates), spec, path, batch=batch or 1)
