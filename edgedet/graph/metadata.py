"""What an exported file says of itself, under the keys that edgedet and other tools read."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Literal

from onnx import ModelProto, helper

from edgedet import __version__
from edgedet.config import Digest, Frozen, parse
from edgedet.errors import EdgedetError
from edgedet.spec import Spec, spec_from_json

SPEC_KEY = "edgedet"
PROVENANCE_KEY = "edgedet_provenance"
RANDOM_WEIGHTS = "random weights, for latency only"


Gates = Literal["full", "high", "gated"]
"""What became of gated convolutions: plain ones of their whole input, or of its high bits alone; or themselves."""


class Provenance(Frozen):
    """What a file was made of, and for.

    Attributes:
        target: one of `edgedet.graph.targets.TARGETS`.
        checkpoint_sha256: of the checkpoint file; None for a model by name.
        calibration_sha256: of the images that the quantizers were calibrated on; None where there are none.
        gates: of a checkpoint with gated convolutions; None where it had none.
    """

    target: str
    checkpoint_sha256: Digest | None = None
    calibration_sha256: Digest | None = None
    gates: Gates | None = None


def with_metadata(model: ModelProto, spec: Spec, *, batch: int) -> ModelProto:
    """A copy of `model` with `metadata(spec, batch=batch)` in its `metadata_props`, and edgedet as its producer."""
    result = ModelProto()
    result.CopyFrom(model)
    result.producer_name, result.producer_version = "edgedet", __version__
    result.graph.name = spec.model
    helper.set_model_props(result, metadata(spec, batch=batch))
    return result


def metadata(spec: Spec, *, batch: int) -> dict[str, str]:
    """The metadata of a detector.

    `edgedet` is the whole specification as JSON. The other keys are those of Ultralytics' exports, which other tools
    read: `names` (a Python dict in text), `imgsz` (`[height, width]`), `stride`, `task`, `batch`, `description`,
    `version`. Tools round image sizes up to a multiple of `stride`, so it is the coarsest that divides this file's.
    """
    size = spec.preprocess
    return {
        SPEC_KEY: spec.to_json(),
        "names": repr(dict(enumerate(spec.class_names))),
        "stride": str(max((s for s in spec.strides if size.height % s == size.width % s == 0), default=1)),
        "imgsz": str([size.height, size.width]),
        "task": spec.task,
        "batch": str(batch),
        "description": f"edgedet {spec.model}" + (f", {RANDOM_WEIGHTS}" if spec.random_weights else ""),
        "version": __version__,
    }


def with_provenance(model: ModelProto, provenance: Provenance) -> ModelProto:
    """A copy of `model` that says what it was made of."""
    result = ModelProto()
    result.CopyFrom(model)
    helper.set_model_props(result, read_metadata(model) | {PROVENANCE_KEY: provenance.model_dump_json()})
    return result


def read_provenance(values: Mapping[str, str], *, where: object = None) -> Provenance | None:
    """What metadata says that a file was made of; None where it says nothing.

    Raises:
        EdgedetError: what it says cannot be understood.
    """
    if PROVENANCE_KEY not in values:
        return None
    try:
        plain = json.loads(values[PROVENANCE_KEY])
    except (ValueError, RecursionError) as error:
        raise EdgedetError(f"its metadata {PROVENANCE_KEY!r} is not valid JSON", where=where) from error
    if not isinstance(plain, dict):
        raise EdgedetError(f"its metadata {PROVENANCE_KEY!r} is not a JSON object", where=where)
    return parse(Provenance, plain, where=where)


def read_metadata(model: ModelProto) -> dict[str, str]:
    """The `metadata_props` of a model."""
    return {entry.key: entry.value for entry in model.metadata_props}


def read_spec(values: Mapping[str, str], *, where: object = None) -> Spec:
    """The specification in metadata, validated, with the keys for other tools held to it.

    Raises:
        EdgedetError: a key is missing, cannot be parsed or says something else than the specification.
    """
    if SPEC_KEY not in values:
        raise EdgedetError(
            f"its metadata has no {SPEC_KEY!r}", where=where, fix="export it again with `edgedet export`"
        )
    spec = spec_from_json(values[SPEC_KEY], where=where)
    for key, expected in {
        "names": dict(enumerate(spec.class_names)),
        "imgsz": [spec.preprocess.height, spec.preprocess.width],
    }.items():
        if _literal(values.get(key, "")) != expected:
            raise EdgedetError(f"its metadata {key!r} does not agree with its specification", where=where)
    return spec


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
