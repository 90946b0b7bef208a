"""What `edgedet inspect` tells of an engine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgedet.engine.inspect.depthwise import compared
from edgedet.engine.inspect.layers import Engine
from edgedet.engine.inspect.lint import lint_engine
from edgedet.engine.inspect.profile import read_profile, with_times
from edgedet.engine.inspect.reading import read_engine_information
from edgedet.engine.inspect.summary import Summary, summarize
from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, read_text
from edgedet.graph.lint.finding import Finding

TEXT_LIMIT = 64 * MEBIBYTE


@dataclass(frozen=True)
class Inspection:
    """An engine, looked into.

    Attributes:
        engine: its layers.
        summary: them, counted.
        findings: what costs time.
        compared: how many depthwise convolutions were held to those of an FP16 engine; None where none was given.
    """

    engine: Engine
    summary: Summary
    findings: tuple[Finding, ...]
    compared: int | None

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "detailed": self.engine.detailed,
            "milliseconds": self.engine.milliseconds,
            "ports": [{**asdict(port.tensor), "is_input": port.is_input} for port in self.engine.ports],
            "summary": asdict(self.summary),
            "layers": [{**asdict(layer), "precision": layer.precision} for layer in self.engine.layers],
            "compared": self.compared,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def inspect_layer_file(path: Path, *, profile: Path | None = None, against: Path | None = None) -> Inspection:
    """Looks into the engine whose layers `trtexec --exportLayerInfo` wrote; TensorRT is not needed.

    Args:
        path: that file.
        profile: what `trtexec --exportProfile` wrote for the same engine.
        against: the same of an FP16 engine of the same network.

    Raises:
        EdgedetError: a file is something else, or they do not go together.
    """
    engine = read_engine_information(read_text(path, limit=TEXT_LIMIT), where=path)
    if profile is not None:
        engine = with_times(engine, _read_profile_file(profile), where=profile)
    return _inspect(engine, against)


def inspect_engine_file(
    path: Path,
    *,
    profile: Path | None = None,
    against: Path | None = None,
    operators: Path | None = None,
    force: bool = False,
    allow_code: bool = False,
    profile_runs: int = 0,
) -> Inspection:
    """Looks into an engine, which TensorRT loads.

    Args:
        path: the plan; its manifest stands beside it.
        profile: what `trtexec --exportProfile` wrote for it; instead of running it.
        against: the same of an FP16 engine of the same network.
        operators: library of operators that it needs: code that is run. None looks where libraries are installed.
        force: load it though it was built for another machine, or was changed.
        allow_code: run the code that a version-compatible engine carries.
        profile_runs: run it so many times, on this machine, to time its layers.

    Raises:
        EdgedetError: the engine cannot be loaded, or a file is something else.
        ModuleNotFoundError: TensorRT's Python module is not installed.
    """
    from edgedet.engine.information import engine_information

    if profile is not None and profile_runs:
        fix = "give --profile or --profile-runs"
        raise EdgedetError("a profile is given, and another is asked for", where="--profile-runs", fix=fix)
    text, times = engine_information(
        path, operators=operators, force=force, allow_code=allow_code, profile_runs=profile_runs
    )
    engine = read_engine_information(text, where=path)
    if profile is not None:
        engine = with_times(engine, _read_profile_file(profile), where=profile)
    elif times is not None:
        engine = with_times(engine, times, where=path)
    return _inspect(engine, against)


def _inspect(engine: Engine, against: Path | None) -> Inspection:
    if against is None:
        return Inspection(engine, summarize(engine), tuple(lint_engine(engine)), None)
    if engine.milliseconds is None:
        fix = "add --profile FILE of this engine (trtexec --exportProfile=FILE), or of an .engine --profile-runs N"
        raise EdgedetError("there are no times to compare with these", where=against, fix=fix)
    float16_profile = _read_profile_file(against)
    findings = lint_engine(engine, float16_profile)
    return Inspection(engine, summarize(engine), tuple(findings), len(compared(engine, float16_profile)))


def _read_profile_file(path: Path) -> dict[str, float]:
    return read_profile(read_text(path, limit=TEXT_LIMIT), where=path)
