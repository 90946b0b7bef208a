"""`edgedet jetson`: a board's power mode, clocks and state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgedet.bench.machine.tegrastats_line import TegrastatsSample

app = typer.Typer(help="Prepare and watch a Jetson.", no_args_is_help=True, rich_markup_mode=None)

COLUMNS = "{:>9} {:>13} {:>11} {:>5} {:>5} {:>10} {:>13} {:>7}"
HEADINGS = ("time", "RAM MiB", "swap MiB", "CPU %", "GPU %", "GPU MHz", "hottest °C", "watts")


@app.command("prepare")
def prepare_command(
    mode: Annotated[
        str | None, typer.Option(help="Power mode, by its name on this board.", show_default="the MAXN of the board")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Run the commands.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the commands that set the power mode and pin the clocks of this board."""
    from edgedet.cli.output import console, emit, printable
    from edgedet.doctor import prepare

    preparation = prepare.prepare(mode)
    emit(preparation.to_dict(), as_json, _print_preparation)
    if apply:
        prepare.apply(preparation)
        console().print(printable(f"done: {preparation.wanted}, clocks pinned"))


@app.command("monitor")
def monitor_command(
    interval: Annotated[int, typer.Option(min=50, max=3_600_000, metavar="MS", help="Milliseconds a sample.")] = 1000,
    samples: Annotated[int | None, typer.Option(min=1, help="Stop after so many.", show_default="never")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a sample.")] = False,
) -> None:
    """Print what this board's tegrastats says, sample by sample."""
    from contextlib import closing, suppress
    from functools import partial
    from itertools import islice

    from edgedet.bench.machine.monitor import monitor
    from edgedet.cli.output import emit

    with suppress(KeyboardInterrupt), closing(monitor(interval)) as found:
        for number, sample in enumerate(islice(found, samples)):
            record = {**sample.model_dump(), "total_watts": sample.total_watts}
            emit(record, as_json, partial(_print_sample, sample, number == 0))


def _print_preparation(result: dict[str, Any]) -> None:
    from edgedet.cli.output import printable

    jetpack = "an unknown JetPack" if result["jetpack"] is None else f"JetPack {result['jetpack']}"
    print(printable(f"# {result['board'] or 'a Jetson'}, {jetpack}, L4T {result['l4t']}"))
    print(printable(f"# modes: {', '.join(mode['name'] for mode in result['modes'])}"))
    for step in result["steps"]:
        print(printable(f"{' '.join(step['command'])}  # {step['reason']}"))
    if not result["steps"]:
        print(printable(f"# nothing to do: {result['wanted']}, clocks pinned"))
    if result["undo"] is not None:
        print(printable(f"# back: {result['undo']}, and a restart for the clocks"))


def _print_sample(sample: TegrastatsSample, is_first: bool, _: dict[str, Any]) -> None:
    from edgedet.cli.output import printable

    if is_first:
        print(COLUMNS.format(*HEADINGS))
    hottest = max(sample.celsius, key=lambda name: sample.celsius[name], default=None)
    cells = (
        "-" if sample.moment is None else sample.moment.partition(" ")[2],
        _share(sample.ram_used_mib, sample.ram_total_mib),
        _share(sample.swap_used_mib, sample.swap_total_mib),
        "-" if sample.cpu_percent is None else f"{sample.cpu_percent:.0f}",
        "-" if sample.gpu_percent is None else str(sample.gpu_percent),
        "-" if not sample.gpu_megahertz else str(max(sample.gpu_megahertz)),
        "-" if hottest is None else f"{hottest} {sample.celsius[hottest]:.1f}",
        "-" if sample.total_watts is None else f"{sample.total_watts:.2f}",
    )
    print(printable(COLUMNS.format(*cells)), flush=True)


def _share(used: int | None, total: int | None) -> str:
    return "-" if used is None else f"{used}/{total}"
