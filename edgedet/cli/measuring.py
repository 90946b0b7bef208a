"""Options of measurements, in the words of trtexec where it has them, and what they are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedet.errors import EdgedetError

if TYPE_CHECKING:
    from edgedet.bench.settings import Input, Settings

IterationsOption = Annotated[int, typer.Option("--iterations", min=1, help="Fewest queries.")]
DurationOption = Annotated[float, typer.Option("--duration", min=0, help="Fewest seconds of queries.")]
WarmUpOption = Annotated[float, typer.Option("--warmUp", min=0, help="Milliseconds of queries before, not counted.")]
AverageRunsOption = Annotated[int, typer.Option("--avgRuns", min=1, help="Queries that the trace is averaged over.")]
PercentileOption = Annotated[
    str, typer.Option("--percentile", metavar="P1,P2,...", help="Percentiles of the latency, in percent.")
]
ShapesOption = Annotated[
    str | None,
    typer.Option("--shapes", metavar="images:BxCxHxW", help="Shape of the input.", show_default="the model's own"),
]
StreamsOption = Annotated[int, typer.Option("--streams", "--infStreams", min=1, help="Queries at once.")]
CudaGraphOption = Annotated[
    bool, typer.Option("--useCudaGraph/--noCudaGraph", help="Launch an engine's network as one.")
]
SpinWaitOption = Annotated[
    bool, typer.Option("--useSpinWait/--noSpinWait", help="Keep the processor busy while it waits for the GPU.")
]
DataTransfersOption = Annotated[
    bool,
    typer.Option("--includeDataTransfers/--noDataTransfers", help="Copy an engine's input and outputs each time."),
]
LoadInputsOption = Annotated[
    str | None,
    typer.Option("--loadInputs", metavar="images:FILE", help="Raw float32 values of the input.", show_default=False),
]
DataOption = Annotated[
    Path | None, typer.Option(metavar="DATA", help="Dataset whose images it is fed.", show_default="a generated image")
]
SplitOption = Annotated[str | None, typer.Option(help="Which list of the dataset.", show_default="val")]
ImageOption = Annotated[Path | None, typer.Option(help="One image that it is fed.", show_default="a generated one")]
ThreadsOption = Annotated[int, typer.Option(min=1, help="Threads of each stream, on as many cores.")]
DeviceOption = Annotated[
    str | None,
    typer.Option(help="cpu, cuda, or another provider of this ONNX Runtime by name.", show_default="cpu"),
]
EndToEndOption = Annotated[
    bool, typer.Option("--end-to-end", help="Time images from their files to detections, not the network alone.")
]
FpsOption = Annotated[
    float | None,
    typer.Option(min=0.001, metavar="RATE", help="Images come at a camera's rate.", show_default="one after the other"),
]
MaxSlowdownOption = Annotated[
    str, typer.Option("--max-slowdown", metavar="PERCENT", help="How much slower it may be than its base.")
]
TimeLimitOption = Annotated[
    float, typer.Option("--time-limit", min=1, metavar="SECONDS", help="Longest comparison, where nothing is decided.")
]
FreshProcessesOption = Annotated[
    bool, typer.Option("--fresh-processes", help="Compare in processes that begin anew, not all in this one.")
]


def chosen_input(data: Path | None, split: str | None, image: Path | None, load_inputs: str | None) -> Input:
    """What the options say that the model is fed.

    Raises:
        EdgedetError: they say more than one thing.
    """
    from edgedet.bench.settings import Input

    given = [name for name, value in (("--data", data), ("--image", image), ("--loadInputs", load_inputs)) if value]
    if len(given) > 1:
        raise EdgedetError(f"{' and '.join(given)} each say what the model is fed", fix="give one of them")
    if split is not None and data is None:
        raise EdgedetError("names a list of no dataset", where="--split", fix="add --data DATA")
    if data is not None:
        return Input(kind="dataset", path=data, split=split)
    if image is not None:
        return Input(kind="image", path=image)
    if load_inputs is not None:
        return Input(kind="tensor", path=_named_file(load_inputs))
    return Input()


def chosen_settings(**values: Any) -> Settings:
    """The settings; `shape` and `percentiles` as they stand on the command line.

    Raises:
        EdgedetError: a value is out of its range, or does not fit another.
    """
    from edgedet.bench.settings import Settings
    from edgedet.config import parse

    if values.get("fps") is not None and values.get("streams", 1) > 1:
        fix = "leave --fps or --streams out"
        raise EdgedetError("images at a camera's rate are one stream", where="--fps", fix=fix)
    return parse(
        Settings,
        {**values, "shape": _shape(values["shape"]), "percentiles": _percentiles(values["percentiles"])},
        where="options",
    )


def share(text: str, option: str) -> float:
    """`3%` or `3` as .03.

    Raises:
        EdgedetError: it is something else.
    """
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%?", text.strip())
    if found is None or not 0 < float(found[1]) <= 100:
        raise EdgedetError(f"{text!r} is no percentage above 0", where=option, fix=f"write {option} 3%")
    return float(found[1]) / 100


def _percentiles(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        fix = "write --percentile 90,95,99"
        raise EdgedetError(f"{text!r} are no percentages", where="--percentile", fix=fix) from error


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    found = re.fullmatch(r"'?([\w.-]+)'?:([0-9]{1,6}(?:x[0-9]{1,6}){3})", text)
    if found is None or found[1] != "images":
        fix = "write --shapes images:1x3x320x320"
        raise EdgedetError(f"{text!r} is no shape of the input images", where="--shapes", fix=fix)
    return tuple(map(int, found[2].split("x")))


def _named_file(text: str) -> Path:
    name, colon, path = text.partition(":")
    if not colon or name.strip("'") != "images" or not path:
        fix = "write --loadInputs images:FILE"
        raise EdgedetError(f"{text!r} names no file for the input images", where="--loadInputs", fix=fix)
    return Path(path)


def given_on_line(context: typer.Context, names: Sequence[str]) -> str:
    """Those of the options that stand on the command line, as they are written there."""
    written = {option.name: option.opts[0] for option in context.command.params}
    sources = {name: context.get_parameter_source(name) for name in names}
    return ", ".join(
        written[name] for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"
    )


def require_outputs(paths: Sequence[Path | None], given: Sequence[Path], what: str) -> None:
    """Finds out before long work, not after it, that its result cannot be written.

    Args:
        paths: of the files to write; None is none.
        given: the files that are read, which none of these may be.
        what: the latter are to the one who gave them.

    Raises:
        EdgedetError: one cannot be written, or is given.
    """
    from edgedet.files import require_output

    read = [path.resolve() for path in given]
    for path in paths:
        if path is None:
            continue
        if path.resolve() in read:
            raise EdgedetError(f"is {what}", where=path, fix="name another file to write")
        require_output(path)
