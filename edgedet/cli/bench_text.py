"""What `edgedet bench` prints of a measurement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from edgedet.cli.output import printable, table

if TYPE_CHECKING:
    from edgedet.bench.measure import Measurement
    from edgedet.bench.protocol import Protocol
    from edgedet.bench.result import Result

SHOWN_LAYERS = 15


def render(measurement: Measurement) -> None:
    """trtexec's report, then what trtexec does not know: stages, layers, the machine, the protocol."""
    from edgedet.bench.trtexec import summary_lines

    result = measurement.result
    for line in summary_lines(result, measurement.trace, now=datetime.now()):
        print(line)
    if result.stages is not None:
        render_stages(result)
    if result.layers is not None:
        render_layers(result.layers)
    for line in told(result):
        print(printable(line))
    print("protocol:")
    for line in protocol_lines(result.protocol):
        print(printable(f"  {line}"))


def render_stages(result: Result) -> None:
    """The stages of a detection."""
    assert result.stages is not None
    percentages = list(result.latency.percentiles)
    rows = [
        [
            name,
            *(
                f"{value:.3f}"
                for value in (found.median, *found.percentiles.values(), found.mean, found.min, found.max)
            ),
        ]
        for name, found in result.stages.items()
    ]
    table(["stage, ms", "median", *(f"p{value:g}" for value in percentages), "mean", "min", "max"], rows)


def render_layers(layers: Any) -> None:
    """The layers that take longest."""
    costly = sorted(layers["layers"], key=lambda layer: -layer["milliseconds"])
    rows = [
        [
            layer["label"],
            layer["kind"],
            layer["precision"],
            f"{layer['milliseconds']:.4f}",
            _percent(layer["share"]),
            _number(layer["macs"], 1e6),
            _number(layer["bytes"], 1e3),
            _number(layer["achieved_gmacs"], 1),
            _percent(layer["peak_share"]),
        ]
        for layer in costly[:SHOWN_LAYERS]
    ]
    headers = ["layer", "kind", "reads", "ms", "time", "MMAC", "kB", "GMAC/s", "of peak"]
    left = f", {len(costly) - SHOWN_LAYERS} more" if len(costly) > SHOWN_LAYERS else ""
    table(headers, rows, title=f"{len(costly)} layers, {layers['total_ms']:.3g} ms together{left}")
    for note in layers["notes"]:
        print(printable(f"note: {note}"))


def told(result: Result) -> Iterator[str]:
    """The rest of the figures, in sentences."""
    yield f"throughput: {result.images_per_second:.1f} images/s"
    pace = result.pace
    if pace is not None:
        yield (
            f"at {pace.fps:g} images/s: {pace.frames} images, {pace.missed} missed their deadlines, {pace.dropped} "
            f"dropped; from coming to result {pace.latency.median:.3f} ms (median)"
        )
    if result.map is not None:
        yield f"mAP50-95: {result.map:.4f}"
    if result.memory is not None:
        since = ", or before" if result.memory.since_process_began else ""
        yield f"memory: {result.memory.peak_resident_bytes / 1e6:.0f} MB at most{since}"
    if result.power is not None and result.joules_per_image is not None:
        power, millijoules = result.power, 1e3 * result.joules_per_image
        yield f"power: {power.watts:.2f} W ({power.covers}, {power.source}), {millijoules:.3g} mJ an image"
    if result.board is not None:
        yield f"board: {result.board.text()}"
    for disturbance in result.disturbances:
        yield f"disturbed: {disturbance.what}"
    if result.interrupted:
        yield "interrupted: these are the figures until then"


def protocol_lines(protocol: Protocol) -> Iterator[str]:
    """A protocol, field by field; what nobody said is left out."""
    values = protocol.model_dump(mode="json")
    for group in ("settings", "computer", "clocks", "software", "backend_settings", "preprocess"):
        listed = values.pop(group)
        fed = listed.pop("input", None)
        if any(map(_says, listed.values())):
            yield f"{group}: {_listed(listed)}"
        if fed is not None:
            if fed["kind"] != "dataset":
                del fed["images"]
            yield f"input: {_listed(fed)}"
    for key, value in values.items():
        if _says(value):
            yield f"{key}: {_plain(value)}"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_plain(value)}" for key, value in values.items() if _says(value))


def _says(value: object) -> bool:
    return value is not None and value != [] and value != {}


def _plain(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f} %"


def _number(value: float | None, unit: float) -> str | None:
    return None if value is None else f"{value / unit:.3g}"
