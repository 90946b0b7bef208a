"""What one check finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

OK, MISSING, WARNING, BROKEN = "ok", "missing", "warning", "broken"

GIBIBYTE = 1 << 30

REPORT_IT = "report it with the output of edgedet doctor --json"


@dataclass(frozen=True)
class Check:
    """How one thing is.

    Attributes:
        name: the thing.
        state: `ok`, `missing` (not installed, which may be as it should), `warning` (works, but for some uses) or
            `broken`.
        detail: what was found.
        fix: what to do about it; None where there is nothing to do.
    """

    name: str
    state: str
    detail: str
    fix: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)
