"""Types and layouts of tensors, from the words that TensorRT describes them with."""

from __future__ import annotations

import re
from collections.abc import Mapping

UNKNOWN = "unknown"
FP32, INT8 = "FP32", "INT8"

DATATYPES: Mapping[str, str] = {
    "fp64": "FP64",
    "double": "FP64",
    "fp32": FP32,
    "float32": FP32,
    "float": FP32,
    "fp16": "FP16",
    "float16": "FP16",
    "half": "FP16",
    "bf16": "BF16",
    "bfloat16": "BF16",
    "fp8": "FP8",
    "fp4": "FP4",
    "int64": "INT64",
    "int32": "INT32",
    "int16": "INT16",
    "int8": INT8,
    "int4": "INT4",
    "uint8": "UINT8",
    "bool": "BOOL",
}
"""Names of types by the words that stand for them, in lower case."""

BELOW_FP32 = frozenset({"FP16", "BF16", "FP8", "FP4", INT8, "INT4"})
COMPUTED_IN = BELOW_FP32 | {FP32, "FP64"}
"""What values of a network are held in; the other types hold indices, sizes and conditions."""

CHANNELS = {"two": 2, "four": 4, "eight": 8, "sixteen": 16, "thirty-two": 32}


def datatype_of(text: str) -> str:
    """The type in a description: `FP16` of `Channel major FP16 format where channel % 8 == 0`, and of `Half`."""
    for word in re.findall(r"[a-z]+[0-9]*", text.lower()):
        if word in DATATYPES:
            return DATATYPES[word]
    return UNKNOWN


def layout_of(text: str) -> str:
    """The layout in a description, as TensorRT's `TensorFormat` names it; empty where there is none.

    `HWC8` of `Channel major FP16 format where channel % 8 == 0`: each pixel's channels lie together, padded to a
    multiple of 8. `CHW32` of `Thirty-two wide channel vectorized row major Int8 format`: planes of 32 channels.
    """
    text = text.lower()
    if named := re.search(r"\(k([a-z][a-z0-9_]*)\)", text):
        return named[1].upper()
    depth = "D" if "3 spatial dimensions" in text else ""
    if wide := re.search(r"(two|four|eight|sixteen|thirty-two) wide channel", text):
        return f"C{depth}HW{CHANNELS[wide[1]]}"
    if "channel major" in text:
        multiple = re.search(r"channel (?:%|==) ([0-9]+)", text)
        return f"{depth}HWC{multiple[1] if multiple else ''}"
    return "LINEAR" if "row major" in text else ""
