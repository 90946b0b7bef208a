"""Runs the rules on an engine."""

from __future__ import annotations

from collections.abc import Mapping

from edgedet.engine.inspect.conversions import reformats, unfused_quantizers
from edgedet.engine.inspect.depthwise import slow_int8_depthwise
from edgedet.engine.inspect.islands import float32_islands
from edgedet.engine.inspect.layers import Engine
from edgedet.graph.lint.finding import Finding


def lint_engine(engine: Engine, float16_profile: Mapping[str, float] | None = None) -> list[Finding]:
    """What costs an engine time.

    Args:
        engine: any; one that gives names alone has no findings.
        float16_profile: milliseconds by layer name, of an FP16 engine of the same network.
    """
    found = [*reformats(engine), *unfused_quantizers(engine), *float32_islands(engine)]
    if float16_profile is not None:
        found += slow_int8_depthwise(engine, float16_profile)
    return found
