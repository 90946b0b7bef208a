"""The tensors of a checkpoint, computed by PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import fx

from edgedet.graph.comparison.points import Point, points_of
from edgedet.graph.comparison.segments import Segments
from edgedet.graph.master import named, tidied, traced
from edgedet.graph.naming import traced_from
from edgedet.models.detector import DetectionNetwork
from edgedet.spec import Spec

Array = NDArray[Any]


class TorchValues:
    """A detector (`edgedet.graph.comparison.values.Values`), as it is traced for export: folded.

    Its points are those of its master graph, which PyTorch's exporter says the traced tensors of.

    Args:
        detector: left as it is.
        spec: its specification.
        batch: images at a time.
    """

    def __init__(self, detector: DetectionNetwork, spec: Spec, *, batch: int = 1) -> None:
        self.engine = f"torch {torch.__version__}"
        program = traced(detector, spec, batch=batch)
        master = tidied(program.model_proto, spec, batch=batch)
        graph = ir.from_proto(master).graph
        self._traced = traced_from(named(program.model_proto))
        points = points_of(graph)
        self.points = tuple(point for point in points if point.name in self._traced)
        self.before = Segments(graph, points)
        assert program.exported_program is not None
        self._module = program.exported_program.module()

    def run(self, images: Array, wanted: Sequence[Point]) -> dict[str, Array]:
        """As PyTorch computes it."""
        return self._interpret(images, {self._traced[point.name]: point.name for point in wanted}, {}).seen

    def recompute(self, images: Array, given: Mapping[str, Array]) -> dict[str, Array]:
        """What each given point is before it is rounded, computed of the others as they are given."""
        wanted = {self._traced[name]: name for name in given}
        return self._interpret(images, wanted, given).unrounded

    def _interpret(self, images: Array, wanted: Mapping[str, str], given: Mapping[str, Array]) -> _Interpreter:
        interpreter = _Interpreter(self._module, wanted, given)
        with torch.inference_mode():
            interpreter.run(torch.from_numpy(np.ascontiguousarray(images, np.float32)))
        return interpreter


class _Interpreter(fx.Interpreter):
    """Notes what nodes give, and puts what is given in its place.

    Args:
        module: the traced network.
        wanted: names of points by those of nodes.
        given: values by the names of points.
    """

    def __init__(self, module: fx.GraphModule, wanted: Mapping[str, str], given: Mapping[str, Array]) -> None:
        super().__init__(module)
        self.seen: dict[str, Array] = {}
        self.unrounded: dict[str, Array] = {}
        self._wanted, self._given = wanted, given

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        name = self._wanted.get(n.name)
        if name is None:
            return result
        unrounded = result
        if n.target is torch.ops.edgedet.fake_quantize.default:
            unrounded = self.fetch_args_kwargs_from_env(n)[0][0]
        self.seen[name], self.unrounded[name] = result.numpy(), unrounded.numpy()
        return torch.from_numpy(self._given[name].astype(np.float32)) if name in self._given else result
