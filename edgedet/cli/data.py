"""`edgedet data`: check, convert, show and generate datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgedet.cli import output
from edgedet.errors import CheckFailedError, EdgedetError

app = typer.Typer(help="Check, convert, show and generate datasets.", no_args_is_help=True, rich_markup_mode=None)

Data = Annotated[
    Path, typer.Argument(metavar="DATA", help="Dataset: COCO, Pascal VOC or YOLO; a folder, .json or .yaml.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Format = Annotated[str, typer.Option(help="coco, voc or yolo.")]


DRAWS = 4


@app.command()
def check(
    data: Data,
    limit: Annotated[int, typer.Option(min=1, help="Lines shown for each kind of fault.")] = 20,
    json_: Json = False,
) -> None:
    """List faults by file and line or box; exit 1 if any."""
    from dataclasses import asdict

    from edgedet.data.check import check_dataset
    from edgedet.data.describe import describe
    from edgedet.data.find import read_dataset

    dataset = read_dataset(data)
    faults = check_dataset(dataset, output.track)
    result = {
        "root": dataset.root,
        "format": dataset.format,
        "classes": dataset.class_names,
        "splits": [asdict(split) for split in describe(dataset)],
        "faults": [asdict(fault) for fault in faults],
    }
    output.emit(result, json_, lambda shown: _render_check(shown, limit))
    if faults:
        raise CheckFailedError(
            f"{len(faults)} {'faults' if len(faults) > 1 else 'fault'}",
            where=dataset.root,
            fix="correct the annotations or leave them: training leaves bad boxes out and says so",
        )


@app.command()
def convert(
    data: Data,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder; images are copied into it.")],
    format: Format = "coco",
    json_: Json = False,
) -> None:
    """Write a dataset in another format."""
    from dataclasses import asdict

    from edgedet.data.convert import convert
    from edgedet.data.find import read_dataset

    conversion = convert(read_dataset(data), format, out, output.track)
    output.emit({"out": out, **asdict(conversion)}, json_, _render_written)


@app.command()
def show(
    data: Data,
    split: Annotated[str | None, typer.Option(help="Split to show.", show_default="the first, usually train")] = None,
    count: Annotated[int, typer.Option(min=1, max=200, help="Images, spread evenly over the split.")] = 20,
    out: Annotated[Path, typer.Option(help="Picture to write (.png, .jpg or .webp).")] = Path("sheet.png"),
    faults: Annotated[bool, typer.Option("--faults", help="Only images that `data check` finds fault with.")] = False,
    augment: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="What the network sees: a name of `edgedet recipes`, or YAML of training or augmentation.",
        ),
    ] = None,
    imgsz: Annotated[
        int | None,
        typer.Option(help="With --augment: side of the input, a multiple of 32. [default: the recipe's, or 320]"),
    ] = None,
    draws: Annotated[
        int | None, typer.Option(min=1, help=f"With --augment: how often each image is drawn. [default: {DRAWS}]")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="With --augment: of every random choice. [default: 0]")
    ] = None,
    json_: Json = False,
) -> None:
    """Write a contact sheet: images with boxes and names."""
    from edgedet.data.check import faulty_samples
    from edgedet.data.find import read_dataset, split_of
    from edgedet.data.sheet import contact_sheet, require_picture_name, save_sheet, spread

    if augment is None:
        _require_no_augmentation_options(imgsz=imgsz, draws=draws, seed=seed)
    dataset = read_dataset(data)
    require_picture_name(out, [sample for samples in dataset.splits.values() for sample in samples])
    split = split or next(iter(dataset.splits))
    samples = faulty_samples(dataset, split, output.track) if faults else split_of(dataset, split)
    title = f"{dataset.root.absolute().name}   {split}"
    if augment is None:
        shown = spread(samples, count)
        title += f"   {len(shown)} of {len(samples)} images"
        sheet = contact_sheet(shown, dataset.class_names, title=title, track=output.track)
        images = len(shown)
    else:
        from edgedet.data.sheet import augmented_sheet
        from edgedet.train.preview import augmented_images, read_recipe

        draws, seed = DRAWS if draws is None else draws, 0 if seed is None else seed
        recipe = read_recipe(augment, imgsz)
        drawn = augmented_images(samples, recipe, count=count, draws=draws, seed=seed, track=output.track)
        images = len(drawn) // draws
        title += f"   {images} images, {draws} times each   {augment}, seed {seed}"
        sheet = augmented_sheet(drawn, dataset.class_names, title=title, columns=draws, track=output.track)
    save_sheet(sheet, out)
    output.emit({"out": out, "split": split, "images": images}, json_, lambda result: print(result["out"]))


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder.")],
    images: Annotated[int, typer.Option(help="Images in the train, val and test splits together.")] = 300,
    classes: Annotated[int, typer.Option(help="Classes of objects, 1 to 10.")] = 5,
    size: Annotated[int, typer.Option(help="Side of the square images in pixels.")] = 320,
    format: Format = "coco",
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    json_: Json = False,
) -> None:
    """Write a generated dataset of overlapping shapes."""
    from dataclasses import asdict

    from edgedet.data.synth import synthesize

    written = synthesize(out, images=images, classes=classes, size=size, format=format, seed=seed, track=output.track)
    output.emit({"out": out, **asdict(written)}, json_, _render_written)


def _require_no_augmentation_options(**options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise EdgedetError(f"--{name} needs --augment", fix=f"add --augment RECIPE, or leave --{name} out")


def _render_check(result: dict[str, Any], limit: int) -> None:
    classes = result["classes"] if len(result["classes"]) <= 12 else ()
    output.table(
        ["split", "images", "background", "boxes", "ignored", *classes],
        [
            [
                split["name"],
                *(split[key] for key in ("images", "background", "boxes", "ignored")),
                *split["boxes_by_class"][: len(classes)],
            ]
            for split in result["splits"]
        ],
    )
    if not result["faults"]:
        print(f"{result['format']} dataset with {len(result['classes'])} classes: no faults")
        return
    from edgedet.data.faults import MEANINGS

    by_kind: dict[str, list[dict[str, str]]] = {}
    for fault in result["faults"]:
        by_kind.setdefault(fault["kind"], []).append(fault)
    for kind, faults in by_kind.items():
        rows = [(fault["where"], fault["split"], fault["message"]) for fault in faults[:limit]]
        output.table(["where", "split", "what"], rows, title=f"{kind}: {len(faults)} ({MEANINGS[kind]})")
        if len(faults) > limit:
            print(f"  and {len(faults) - limit} more (--limit {len(faults)} shows them)")


def _render_written(result: dict[str, Any]) -> None:
    splits = ", ".join(f"{split} {count}" for split, count in result["images"].items())
    print(f"{result['out']}: {result['format']}, images: {splits}; {result['boxes']} boxes")
    for note in result["notes"]:
        print(f"note: {note}")
