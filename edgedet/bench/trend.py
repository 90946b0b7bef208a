"""The trend of a history: one line for each model and protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedet.bench.history import Entry, History
from edgedet.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_INCHES = (9.0, 2.6)
MOST_PANELS = 12


def trends(history: History) -> dict[tuple[str, str], list[Entry]]:
    """The entries by protocol and model, those that were measured last first; entries in the order of time."""
    found: dict[tuple[str, str], list[Entry]] = {}
    for entry in sorted(history.entries, key=lambda entry: entry.measured_at):
        found.setdefault((entry.protocol_id, entry.model), []).append(entry)
    return dict(sorted(found.items(), key=lambda item: item[1][-1].measured_at, reverse=True))


def trend_rows(history: History) -> list[dict[str, Any]]:
    """What a table tells of each trend."""
    return [
        {
            "protocol": protocol,
            "model": model,
            "runs": len(entries),
            "first_ms": entries[0].median_ms,
            "last_ms": entries[-1].median_ms,
            "change": entries[-1].median_ms / entries[0].median_ms - 1,
            "told": told(entries[0]),
        }
        for (protocol, model), entries in trends(history).items()
    ]


def told(entry: Entry) -> str:
    """A protocol in a few words."""
    protocol = entry.protocol
    settings, size = protocol.settings, protocol.preprocess
    parts = [
        protocol.computer.board or protocol.computer.gpu or protocol.computer.cpu,
        protocol.backend,
        f"{size.width}x{size.height}",
        f"batch {protocol.batch}",
        f"{settings.threads} thread{'s' * (settings.threads != 1)}",
    ]
    if settings.streams > 1:
        parts.append(f"{settings.streams} streams")
    if settings.end_to_end:
        parts.append("end to end")
    if settings.fps is not None:
        parts.append(f"{settings.fps:g} images/s")
    return ", ".join(parts)


def save_trend(history: History, path: Path) -> None:
    """Draws a panel for each trend, the latest first, as a PNG file.

    Medians are a line, 99th percentiles dots above it; a hollow mark says that the machine was disturbed, a vertical
    line that another model file was measured from there on.
    """
    from matplotlib.figure import Figure

    shown = list(trends(history).values())[:MOST_PANELS]
    figure = Figure(figsize=(PANEL_INCHES[0], PANEL_INCHES[1] * len(shown)), layout="constrained")
    for axes, entries in zip(figure.subplots(len(shown), 1, squeeze=False)[:, 0], shown, strict=True):
        _draw(axes, entries)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _draw(axes: Axes, entries: Sequence[Entry]) -> None:
    places = range(len(entries))
    medians = [entry.median_ms for entry in entries]
    axes.plot(places, medians, color="#0072b2", linewidth=1.5)
    for place, entry in zip(places, entries, strict=True):
        fill = "white" if entry.disturbed else "#0072b2"
        axes.plot(place, entry.median_ms, "o", color="#0072b2", markerfacecolor=fill, markersize=5)
        if entry.p99_ms is not None:
            axes.plot(place, entry.p99_ms, ".", color="#d55e00", markersize=5)
        if place and entry.model_sha256 != entries[place - 1].model_sha256:
            axes.axvline(place - 0.5, color="#999999", linewidth=0.8, linestyle=":")
    title = "".join(char if char.isprintable() else "?" for char in f"{entries[-1].model}: {told(entries[-1])}")
    axes.set_title(title, fontsize=9, loc="left", parse_math=False)
    axes.set_ylabel("ms")
    axes.set_ylim(bottom=0)
    axes.set_xticks(list(places)[:: max(1, len(entries) // 8)])
    axes.set_xticklabels([f"{entries[place].measured_at:%d %b %H:%M}" for place in axes.get_xticks()], fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.annotate(
        f"median {medians[-1]:.3g} ms",
        (len(entries) - 1, medians[-1]),
        xytext=(6, -12),
        textcoords="offset points",
        fontsize=8,
        color="#0072b2",
        ha="right",
    )
