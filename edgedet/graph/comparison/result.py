"""What a comparison finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgedet.errors import CheckFailedError
from edgedet.graph.verify import Agreement

SHOWN_NODES = 4


@dataclass(frozen=True)
class TensorDifference:
    """How far a tensor of B is from A's.

    Attributes:
        name: in A.
        name_in_b: in B.
        computed_by: the nodes of A between it and the tensors that were compared before it.
        error: the distance to what A computes of B's own tensors before it, of the worst image.
        tolerance: what `error` is held to.
        unit: of `error` and `tolerance`, and of `accumulated`: `steps` of the coarser grid of the two, or `share` of
            the tensor's largest value.
        quantile: of the values that `error` is of; 1 means the one that is most beyond its tolerance.
        accumulated: the distance to what A computes of the images, in 99.9 % of the values of the worst image.
    """

    name: str
    name_in_b: str
    computed_by: tuple[str, ...]
    error: float
    tolerance: float
    unit: str
    quantile: float
    accumulated: float

    @property
    def diverges(self) -> bool:
        """Whether it is beyond its tolerance."""
        return not self.error <= self.tolerance


@dataclass(frozen=True)
class Comparison:
    """What differs between A and B.

    Attributes:
        a: A's file.
        b: B's file.
        engines: what computed A and B.
        source: what they were compared on.
        images: how many those were; of noise none.
        tensors: those that both compute, in A's order.
        only_in_a: tensors of A that B has not.
        only_in_b: tensors of B that A has not.
        agreement: how far boxes and scores differ; None where one has none.
    """

    a: str
    b: str
    engines: tuple[str, str]
    source: str
    images: int
    tensors: tuple[TensorDifference, ...]
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]
    agreement: Agreement | None

    @property
    def first(self) -> TensorDifference | None:
        """The first tensor beyond its tolerance, in A's order."""
        return next((tensor for tensor in self.tensors if tensor.diverges), None)

    @property
    def agrees(self) -> bool:
        """Whether everything is within its tolerance."""
        return self.first is None and (self.agreement is None or self.agreement.holds)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        plain = asdict(self)
        plain["tensors"] = [{**asdict(tensor), "diverges": tensor.diverges} for tensor in self.tensors]
        plain["agreement"] = None if self.agreement is None else self.agreement.to_dict()
        first = None if self.first is None else self.first.name
        return {**plain, "first": first, "agrees": self.agrees}


def require_no_divergence(comparison: Comparison) -> None:
    """Refuses two that differ.

    Raises:
        CheckFailedError: they do; the message names the first tensor beyond its tolerance.
    """
    if comparison.agrees:
        return
    raise CheckFailedError(f"does not compute what {comparison.a} does: {finding(comparison)}", where=comparison.b)


def finding(comparison: Comparison) -> str:
    """What the comparison found, in words."""
    first, agreement = comparison.first, comparison.agreement
    if first is not None:
        which = "in its worst value" if first.quantile == 1 else f"or more in {1 - first.quantile:.1%} of its values"
        more = sum(tensor.diverges for tensor in comparison.tensors) - 1
        others = f"; {more} more diverge by themselves" if more else ""
        if agreement is not None and agreement.holds:
            others += "; boxes and scores agree all the same: of one name, tensors may have channels in another order"
        return (
            f"{first.name} diverges first: {told(first.error, first.unit)} {which} "
            f"(tolerance {first.tolerance:.3g}), computed by {_listed(first.computed_by)}{others}"
        )
    if agreement is None or agreement.holds:
        return f"none of {len(comparison.tensors)} tensors diverges"
    return (
        f"boxes differ by {agreement.box_error:.3g} px (tolerance {agreement.tolerance.box:g}), scores by "
        f"{agreement.score_error:.3g} (tolerance {agreement.tolerance.score:g}), though no tensor diverges by itself: "
        "either rounding adds up to this, or what was not looked at differs (fusions, folding)"
    )


def _listed(nodes: tuple[str, ...]) -> str:
    return " + ".join(nodes[-SHOWN_NODES:]) if nodes else "a quantizer"


def told(error: float, unit: str) -> str:
    """A distance in words."""
    if not np.isfinite(error):
        return "not finite"
    return f"{error:.3g} steps off" if unit == "steps" else f"{error:.2g} of its largest value off"
