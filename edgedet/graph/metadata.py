"""What an exported file says of itself, under the keys that edgedet and other tools read."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from onnx import ModelProto, helper

from edgedet import __version__
from edgedet.errors import EdgedetError
from edgedet.spec import Spec, spec_from_json

SPEC_KEY = "edgedet"
RANDOM_WEIGHTS = "random weights, for latency only"


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
