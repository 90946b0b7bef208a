"""What the runs were measured with, protocol beside protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from edgedet.bench.history import entry_of
from edgedet.bench.protocol import compared_values, differences
from edgedet.bench.report.markup import listed, paragraph, table
from edgedet.bench.report.runs import Run
from edgedet.bench.trend import told


def protocol_words(group: Sequence[Run]) -> str:
    """The protocol of runs in a few words."""
    return told(entry_of(group[0].result))


def differences_markup(first: Sequence[Run], group: Sequence[Run]) -> str:
    """In what a protocol differs from the first one's; nothing where it is the first."""
    found = differences(first[0].result.protocol, group[0].result.protocol)
    if not found:
        return ""
    return paragraph("Not to be compared with protocol 1, which differs (there, here):") + listed(found)


def protocol_table(groups: Sequence[Sequence[Run]]) -> str:
    """A row for each value, a column for each protocol; rows that differ are marked."""
    columns = [dict(_flat("", compared_values(group[0].result.protocol))) for group in groups]
    keys = dict.fromkeys(key for column in columns for key in column)
    rows = [(key, *(column.get(key, "") for column in columns)) for key in keys]
    said = [row for row in rows if any(row[1:])]
    marked = [place for place, row in enumerate(said) if len(set(row[1:])) > 1]
    return table(["value", *(f"protocol {number}" for number in range(1, len(columns) + 1))], said, marked=marked)


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Values by their names with dots; what nobody said is empty."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(f"{name}.{key}" if name else str(key), item)
    elif isinstance(value, list):
        yield name, ", ".join(map(str, value))
    else:
        yield name, "" if value is None else str(value)
