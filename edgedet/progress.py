"""How a long loop reports its progress without knowing who watches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Track(Protocol):
    """Wraps the items of a long loop: `for item in track(items, "training"): ...`.

    Where `items` has a length, the share done and the time left can be shown. A loop may be left early.
    """

    def __call__(self, items: Iterable[T], description: str) -> Iterable[T]: ...


def no_progress(items: Iterable[T], description: str) -> Iterable[T]:
    """The items as they are: nobody watches."""
    return items
