"""What `edgedet eval` prints of a result."""

from __future__ import annotations

from typing import Any

from edgedet.cli.output import printable, table

SHOWN_CONFUSIONS = 10


def render(result: dict[str, Any], *, with_speed: bool) -> None:
    """COCO's metrics, then what else was asked for, then the files that were drawn."""
    _render_coco(result)
    if with_speed and result["speed_ms_per_image"] is not None:
        stages = result["speed_ms_per_image"]
        parts = ", ".join(f"{stage} {milliseconds:.2f} ms" for stage, milliseconds in stages.items())
        print(f"speed an image: {parts}; together {sum(stages.values()):.2f} ms")
    for name, render_part in _PARTS.items():
        if name in result:
            render_part(result[name])
    for path in result.get("pictures", ()):
        print(printable(f"drawn: {path}"))


def _render_coco(result: dict[str, Any]) -> None:
    rows = [[one["name"], one["objects"], _share(one["ap50"]), _share(one["ap"])] for one in result["classes"]]
    objects = sum(one["objects"] for one in result["classes"])
    rows.append(["all", objects, _share(result["map50"]), _share(result["map"])])
    table(["class", "objects", "AP50", "AP50-95"], rows, title=f"{result['images']} images")
    sizes = [
        [size, _share(result[f"map_{size}"]), _share(result[f"ar_{size}"])] for size in ("small", "medium", "large")
    ]
    table(["size of object", "AP50-95", "AR100"], sizes)
    print(
        f"AP75 {_share(result['map75'])}, "
        f"AR1 {_share(result['ar1'])}, AR10 {_share(result['ar10'])}, AR100 {_share(result['ar100'])}"
    )


def _render_voc(voc: dict[str, Any]) -> None:
    rows = [
        [one["name"], one["objects"], _share(one["ap_11_point"]), _share(one["ap_all_point"])] for one in voc["classes"]
    ]
    objects = sum(one["objects"] for one in voc["classes"])
    rows.append(["all", objects, _share(voc["map_11_point"]), _share(voc["map_all_point"])])
    table(["class", "objects", "AP, 11 points", "AP, all points"], rows, title=f"Pascal VOC, IoU {voc['iou']:g}")


def _render_f1(f1: dict[str, Any]) -> None:
    keys = ("threshold", "precision", "recall", "f1")
    rows = [
        [one["name"], *(None if one[key] is None else f"{one[key]:.{2 if key == 'threshold' else 4}f}" for key in keys)]
        for one in (*f1["classes"], f1["all"])
    ]
    table(["class", "best score threshold", "precision", "recall", "F1"], rows, title="highest F1 at IoU 0.5")


def _render_confusion(confusion: dict[str, Any]) -> None:
    """Each class in a line, and the most frequent confusions: the whole matrix of many classes fits no terminal."""
    names, counts = confusion["names"], confusion["counts"]
    background = len(names) - 1
    rows = []
    for place, name in enumerate(names[:background]):
        labelled = sum(row[place] for row in counts)
        right, missed = counts[place][place], counts[background][place]
        rows.append([name, right, labelled - right - missed, missed, counts[place][background]])
    title = f"confusion, scores above {confusion['score_threshold']:g}, IoU {confusion['iou_threshold']:g}"
    table(["labelled", "found", "as another class", "not found", "found in the background"], rows, title=title)
    pairs = [
        [names[column], names[row], counts[row][column]]
        for row in range(background)
        for column in range(background)
        if row != column and counts[row][column]
    ]
    if pairs:
        shown = sorted(pairs, key=lambda pair: -pair[2])[:SHOWN_CONFUSIONS]
        table(["labelled", "detected as", "times"], shown, title="most frequent confusions")


def _render_errors(errors: dict[str, Any]) -> None:
    from edgedet.evaluate.run import SCORE_THRESHOLD

    rows = [
        [one["name"], one["count"], None if one["ap50_gain"] is None else f"{one['ap50_gain']:.4f}"]
        for one in errors["causes"]
    ]
    table(["cause", "errors", "AP50 gained without"], rows, title=f"errors by cause, AP50 {_share(errors['ap50'])}")
    print(f"counted are all detections that AP counts, a model's down to a score of {SCORE_THRESHOLD:g}")


_PARTS = {"voc": _render_voc, "f1": _render_f1, "confusion": _render_confusion, "errors": _render_errors}


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
