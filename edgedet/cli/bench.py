"""`edgedet bench`: the latency of a model on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedet.cli import measuring
from edgedet.cli.options import AllowCodeOption, ForceOption, OperatorsOption
from edgedet.errors import EdgedetError

if TYPE_CHECKING:
    from edgedet.bench.layers.table import LayerTable
    from edgedet.bench.measure import Measurement
    from edgedet.bench.opening import Trust
    from edgedet.bench.protocol import Protocol
    from edgedet.bench.settings import Settings

OF_THE_PROTOCOL = (
    "iterations",
    "duration",
    "warm_up",
    "average_runs",
    "percentile",
    "shapes",
    "streams",
    "threads",
    "device",
    "cuda_graph",
    "spin_wait",
    "data_transfers",
    "end_to_end",
    "fps",
    "split",
)
OF_QUERIES = (
    "export_times",
    "dump_profile",
    "export_profile",
    "accuracy",
    "layers",
    "roofline",
    "source",
    "history",
    "streams",
    "fps",
)
OF_A_COMPARISON = ("max_slowdown", "time_limit", "fresh_processes")


def command(
    context: typer.Context,
    model: Annotated[Path | None, typer.Argument(help="Model file: .onnx, .engine or .pt.", show_default=False)] = None,
    iterations: measuring.IterationsOption = 10,
    duration: measuring.DurationOption = 3.0,
    warm_up: measuring.WarmUpOption = 200.0,
    average_runs: measuring.AverageRunsOption = 10,
    percentile: measuring.PercentileOption = "90,95,99",
    shapes: measuring.ShapesOption = None,
    streams: measuring.StreamsOption = 1,
    cuda_graph: measuring.CudaGraphOption = True,
    spin_wait: measuring.SpinWaitOption = False,
    data_transfers: measuring.DataTransfersOption = True,
    load_inputs: measuring.LoadInputsOption = None,
    export_times: Annotated[
        Path | None, typer.Option("--exportTimes", metavar="JSON", help="Write every query's times.")
    ] = None,
    dump_profile: Annotated[bool, typer.Option("--dumpProfile", help="Print the time of each layer.")] = False,
    export_profile: Annotated[
        Path | None, typer.Option("--exportProfile", metavar="JSON", help="Write the time of each layer.")
    ] = None,
    data: measuring.DataOption = None,
    split: measuring.SplitOption = None,
    image: measuring.ImageOption = None,
    threads: measuring.ThreadsOption = 1,
    device: measuring.DeviceOption = None,
    end_to_end: measuring.EndToEndOption = False,
    fps: measuring.FpsOption = None,
    accuracy: Annotated[bool, typer.Option("--accuracy", help="Evaluate the same file on --data, too.")] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Time each layer, with its work beside what the CPU can do.")
    ] = False,
    roofline: Annotated[
        Path | None, typer.Option("--roofline", metavar="PNG", help="Draw the layers below the CPU's roof.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option(metavar="ONNX", help="What an engine was built of, for the work of its layers.")
    ] = None,
    protocol: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Measure as it was measured in this result.")
    ] = None,
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result as JSON.")] = None,
    history: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Add a line to this history; without a model, draw its trends."),
    ] = None,
    vs: Annotated[
        Path | None, typer.Option("--vs", metavar="BASE", help="Is it faster or slower than this model?")
    ] = None,
    max_slowdown: measuring.MaxSlowdownOption = "3%",
    time_limit: measuring.TimeLimitOption = 120.0,
    fresh_processes: measuring.FreshProcessesOption = False,
    operators: OperatorsOption = None,
    force: ForceOption = False,
    allow_code: AllowCodeOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Measure latency as trtexec does, with everything that the figures depend on.

    With --vs BASE it says which of two models is faster, measured in turn; exit codes: 0 faster or the same, 1 slower,
    3 inconclusive.
    """
    if model is None:
        if history is None:
            raise EdgedetError("no model", fix="write edgedet bench MODEL, or edgedet bench --history FILE")
        if others := measuring.given_on_line(
            context, [name for name in context.params if name not in ("history", "as_json")]
        ):
            raise EdgedetError(f"{others}: there is no model to measure", fix="name a model")
        _show_history(history, as_json)
        return
    if vs is None and (others := measuring.given_on_line(context, OF_A_COMPARISON)):
        raise EdgedetError(f"{others}: there is nothing to compare with", fix="add --vs BASE")
    if vs is not None and (others := measuring.given_on_line(context, OF_QUERIES)):
        raise EdgedetError(f"a comparison does without {others}", where="--vs", fix="leave it out, or --vs")
    measuring.require_outputs(
        (export_times, export_profile, roofline, save, history), [model], "the model that is to be measured"
    )
    from edgedet.bench.opening import Trust

    trust = Trust(operators, force, allow_code)
    fed = measuring.chosen_input(data, split, image, load_inputs)
    recorded = None
    if protocol is None:
        settings = measuring.chosen_settings(
            iterations=iterations,
            duration=duration,
            warm_up=warm_up,
            average_runs=average_runs,
            percentiles=percentile,
            shape=shapes,
            streams=streams,
            threads=threads,
            device=device,
            cuda_graph=cuda_graph,
            spin_wait=spin_wait,
            data_transfers=data_transfers,
            end_to_end=end_to_end,
            fps=fps,
            input=fed,
        )
    else:
        from edgedet.bench.reproduce import read_protocol, settings_of

        if others := measuring.given_on_line(context, OF_THE_PROTOCOL):
            raise EdgedetError(f"the protocol says that already: {others}", where=protocol, fix="leave it out")
        recorded = read_protocol(protocol)
        settings = settings_of(recorded, fed)
    if accuracy and data is None:
        raise EdgedetError("there are no labels to evaluate with", where="--accuracy", fix="add --data DATA")
    if vs is not None:
        _compare(model, vs, settings, trust, max_slowdown, time_limit, fresh_processes, save=save, as_json=as_json)
        return
    from edgedet.bench.measure import measure

    measurement = measure(model, settings, trust)
    profile, failure = None, None
    if not measurement.result.interrupted:
        # Whatever becomes of the rest, what was measured is told.
        try:
            if accuracy and data is not None:
                found = _accuracy(model, data, settings.input.split, trust)
                measurement = _changed(measurement, {"map": found})
            if layers or dump_profile or export_profile is not None or roofline is not None:
                profile = _layers(model, settings, trust, source, export_profile, roofline)
                measurement = _changed(measurement, {"layers": profile.to_dict()})
        except KeyboardInterrupt:
            measurement = _changed(measurement, {"interrupted": True})
        except Exception as error:
            failure = error
    try:
        _written(measurement, export_times, save, history)
    finally:
        _show(measurement, recorded, profile if dump_profile else None, as_json)
    if failure is not None:
        raise failure
    if measurement.result.interrupted:
        raise KeyboardInterrupt


def _accuracy(model: Path, data: Path, split: str | None, trust: Trust) -> float:
    from functools import partial

    from edgedet.bench.accuracy import measured_maps
    from edgedet.cli import output

    track = partial(output.track, unit="batches")
    (found,), _, _ = measured_maps([model], data, split=split, trust=trust, track=track)
    return found


def _layers(
    model: Path, settings: Settings, trust: Trust, source: Path | None, export: Path | None, roofline: Path | None
) -> LayerTable:
    from edgedet.bench.layers.profile import profile_layers

    table = profile_layers(model, threads=settings.threads, device=settings.device, trust=trust, source=source)
    if export is not None:
        from edgedet.bench.layers.trtexec import profile_json
        from edgedet.files import write_text

        write_text(export, profile_json(table))
    if roofline is not None:
        from edgedet.bench.layers.plot import save_roofline

        save_roofline(table, roofline)
    return table


def _changed(measurement: Measurement, changes: dict[str, Any]) -> Measurement:
    from dataclasses import replace

    return replace(measurement, result=measurement.result.model_copy(update=changes))


def _written(measurement: Measurement, times: Path | None, save: Path | None, history: Path | None) -> None:
    if times is not None:
        from edgedet.bench.trtexec import export_times

        export_times(times, measurement.trace.queries)
    if save is not None:
        from edgedet.bench.result import write_result

        write_result(save, measurement.result)
    if history is not None and not measurement.result.interrupted:
        from edgedet.bench.history import append, entry_of

        append(history, entry_of(measurement.result))


def _show(measurement: Measurement, recorded: Protocol | None, profile: LayerTable | None, as_json: bool) -> None:
    from edgedet.bench.protocol import differences
    from edgedet.cli import output
    from edgedet.cli.bench_text import render

    result = measurement.result
    different = () if recorded is None else differences(recorded, result.protocol)
    record = {**result.model_dump(mode="json"), "protocol_differences": list(different)}
    output.emit(record, as_json, lambda _: render(measurement))
    if profile is not None and not as_json:
        from edgedet.bench.layers.trtexec import profile_text

        print(output.printable(profile_text(profile)))
    for difference in different:
        output.console().print(output.printable(f"not comparable with the protocol: {difference}"))


def _compare(
    head: Path,
    base: Path,
    settings: Settings,
    trust: Trust,
    max_slowdown: str,
    time_limit: float,
    fresh_processes: bool,
    *,
    save: Path | None,
    as_json: bool,
) -> None:
    from functools import partial

    from edgedet.bench.gate import run_gate
    from edgedet.cli import output
    from edgedet.cli.gate_text import finish

    found = run_gate(
        [base],
        [head],
        settings,
        max_slowdown=measuring.share(max_slowdown, "--max-slowdown"),
        time_limit=time_limit,
        fresh_processes=fresh_processes,
        trust=trust,
        track=partial(output.track, unit="steps"),
    )
    finish(found, save=save, as_json=as_json)


def _show_history(path: Path, as_json: bool) -> None:
    from edgedet.bench.history import read_history
    from edgedet.bench.trend import save_trend, trend_rows
    from edgedet.cli import output

    found = read_history(path)
    for fault in found.faults:
        output.console().print(output.printable(fault))
    if not found.entries:
        raise EdgedetError("holds no measurement", where=path, fix="add one: edgedet bench MODEL --history FILE")
    picture = path.with_name(f"{path.name}.png")
    save_trend(found, picture)
    rows = trend_rows(found)

    def show(record: dict[str, Any]) -> None:
        output.table(
            ["protocol", "model", "runs", "first, ms", "last, ms", "change", "what it is"],
            [
                [
                    row["protocol"],
                    row["model"],
                    row["runs"],
                    f"{row['first_ms']:.3f}",
                    f"{row['last_ms']:.3f}",
                    f"{row['change']:+.1%}",
                    row["told"],
                ]
                for row in record["trends"]
            ],
        )
        print(f"drawn: {output.printable(str(record['picture']))}")

    output.emit({"picture": picture, "trends": rows, "faults": list(found.faults)}, as_json, show)
