"""What the lint finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Rule:
    """What is looked for.

    Attributes:
        name: as it is printed.
        severity: `error` where the graph would be faster without its quantizers, else `warning`.
        why: what it costs.
        fix: what to do about it.
    """

    name: str
    severity: str
    why: str
    fix: str


FLOAT_CONVOLUTION = Rule(
    "float-convolution",
    ERROR,
    "ONNX Runtime makes floats of integer input and weights first, on this machine: slower than without quantizers",
    "quantize its result too, on a grid that ends where the activation behind it does: after ReLU at 0 (of a "
    "checkpoint: edgedet export --target ort-cpu)",
)
FLOAT_ISLAND = Rule(
    "float-island",
    WARNING,
    "between integers something computes in float: the tensor is converted there and back",
    "quantize its inputs and its result, or leave its neighbours float too",
)
TWO_QUANTIZERS = Rule(
    "two-quantizers",
    WARNING,
    "a tensor is quantized twice: each copy is converted and kept by itself",
    "let all readers share one quantizer",
)
CONCAT_SCALES = Rule(
    "concat-scales",
    WARNING,
    "what is concatenated lies on other grids than the result: each part is rounded anew instead of copied",
    "give the inputs and the result of a concatenation one scale and zero point",
)
DEPTHWISE_WIDTH = Rule(
    "depthwise-width",
    WARNING,
    "integer kernels for depthwise convolutions take 8 or more channels at a time; what is left over is slow",
    "choose a width that 8 divides",
)
SATURATING_SUMS = Rule(
    "saturating-sums",
    WARNING,
    "x86 CPUs without VNNI add products of unsigned activations and signed weights in pairs, in 16 bits, and cut off "
    "what does not fit: there the results are wrong",
    "quantize weights of convolutions that sum over channels to codes from -64 to 64 (reduce_range of ONNX Runtime's "
    "quantizer), or to uint8, which takes about as long as float",
)
RULES = (FLOAT_CONVOLUTION, FLOAT_ISLAND, TWO_QUANTIZERS, CONCAT_SCALES, DEPTHWISE_WIDTH, SATURATING_SUMS)


@dataclass(frozen=True)
class Finding:
    """One place where a rule does not hold.

    Attributes:
        rule: which.
        nodes: where, by the nodes' names.
        what: what is wrong there.
    """

    rule: Rule
    nodes: tuple[str, ...]
    what: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self.rule), "nodes": list(self.nodes), "what": self.what}
