"""What the lint of engines looks for.

A finding's nodes are those of the ONNX file, as a person knows a layer by; of a reformat they are its tensor.
"""

from __future__ import annotations

from edgedet.graph.lint.finding import WARNING, Rule

REFORMAT = Rule(
    "reformat",
    WARNING,
    "a layer that copies a tensor into another layout or type, and computes nothing",
    "edgedet build --optimization-level 5 tries more kernels, also such as fit together; where types differ, edgedet "
    "build --auto-precision, or edgedet quantize --keep-float N with another N, moves the border to a cheaper place",
)
UNFUSED_QUANTIZER = Rule(
    "unfused-quantizer",
    WARNING,
    "rounding that became part of no kernel: the tensor is read and written once more for it",
    "let all that reads the tensor read integers: edgedet quantize --keep-float N with a smaller N; where that costs "
    "accuracy, edgedet train --qat; edgedet build --auto-precision leaves layers float that are slower in integers",
)
FLOAT32_ISLAND = Rule(
    "float32-island",
    WARNING,
    "between layers of lower precision something computes in FP32: slower, and its tensors are converted or larger",
    "of a float model edgedet build --precision fp16, of a quantized one --precision int8; of layers that were kept "
    "float, edgedet quantize --keep-float N with a smaller N, and edgedet train --qat where that costs accuracy",
)
SLOW_INT8_DEPTHWISE = Rule(
    "slow-int8-depthwise",
    WARNING,
    "the depthwise convolution takes longer in INT8 than in the FP16 engine",
    "edgedet build --auto-precision leaves it FP16; or edgedet quantize --keep-float N with a larger N",
)
