"""`edgedet sweep`: many trainings with other settings, to find the best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedet.cli import output
from edgedet.errors import CheckFailedError

SHOWN_TRIALS = 10


def command(
    data: Annotated[Path, typer.Argument(help="Dataset: COCO, Pascal VOC or YOLO.", show_default=False)],
    space: Annotated[
        Path,
        typer.Option(
            metavar="YAML",
            help="Maps settings of `edgedet train` to {low, high, log}, {low, high, step} or {choices: [...]}.",
            show_default=False,
        ),
    ],
    config: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="The settings of all trials: YAML, or a name of `edgedet recipes`.",
            show_default="those of `edgedet train`",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="How many the study is to have in the end.")] = 20,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Database of the study; several machines may share it.",
            show_default="sqlite:///OUT/sweep.db",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Of the study in the database.")] = "sweep",
    out: Annotated[Path, typer.Option(help="Folder of the trials' runs.")] = Path("runs/sweep"),
    prune: Annotated[
        bool, typer.Option("--prune/--no-prune", help="End trials early that are below the median.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Find settings by many trainings; the same command goes on with a study that was stopped.

    A trial is a run of `edgedet train`, in OUT/trial-NNNN; what counts is its best mAP50-95 on the validation split.
    """
    from edgedet.cli.training import TerminalReporter
    from edgedet.recipes import load_recipe
    from edgedet.train.sweep.run import sweep

    reporter = TerminalReporter()
    try:
        result = sweep(
            {**load_recipe(config), "data": str(data)},
            space,
            out,
            trials=trials,
            storage=storage or f"sqlite:///{out / 'sweep.db'}",
            name=name,
            prune=prune,
            where=config,
            reporter=reporter,
        )
    except KeyboardInterrupt:
        reporter.message("the study is kept: the same command goes on with it")
        raise
    output.emit(result.to_dict(), as_json, _render)
    if result.best is None:
        raise typer.Exit(CheckFailedError.exit_code)


def _render(result: dict[str, Any]) -> None:
    trials = {one["number"]: one for one in result["trials"]}
    shown = [trials[number] for number in result["ranked"][:SHOWN_TRIALS]]
    settings = list(dict.fromkeys(name for one in shown for name in one["settings"]))
    rows = [
        [
            one["number"],
            one["state"],
            f"{one['value']:.4f}",
            *(_short(one["settings"].get(name)) for name in settings),
            None if one["seconds"] is None else f"{one['seconds'] / 60:.1f}",
        ]
        for one in shown
    ]
    if rows:
        output.table(["trial", "state", "mAP50-95", *settings, "minutes"], rows, title="best trials")
    if result["importances"]:
        shares = [[name, f"{share:.2f}"] for name, share in result["importances"].items()]
        output.table(["setting", "importance"], shares)
    for one in result["trials"]:
        if one["state"] == "failed":
            print(output.printable(f"trial {one['number']} failed: {one['error']}"))
    refused = [one for one in result["trials"] if one["state"] == "refused"]
    if refused:
        reasons = ", ".join(dict.fromkeys(one["error"] for one in refused))
        print(output.printable(f"drawn again, as their settings do not go together: {len(refused)} ({reasons})"))
    print(f"picture: {result['folder']}/sweep.png")
    if result["best"] is None:
        print("no trial was completed")
    else:
        print(f"best: {result['best_folder']}/best.pt, with the settings in config.yaml beside it")
        print(f"next: edgedet export {result['best_folder']}/best.pt")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
