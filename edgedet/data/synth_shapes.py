"""The outlines of the generated dataset's classes, as polygons in a unit circle."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
"""Corners `[n, 2]` as x, y; all within distance 1 of the origin."""


def _circle(corners: int, radius: float = 1.0) -> Polygon:
    angles = np.arange(corners) * (2 * np.pi / corners) - np.pi / 2
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _square() -> Polygon:
    """With sides along the axes, so that stretched it is a rectangle."""
    side = np.sqrt(0.5)
    return side * np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])


def _star() -> Polygon:
    outline = _circle(10)
    outline[1::2] *= 0.42
    return outline


def _cross() -> Polygon:
    arm, reach = 0.3, 0.95
    quarter = [(arm, -arm), (reach, -arm), (reach, arm)]
    turns = [np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) for a in np.arange(4) * np.pi / 2]
    return np.concatenate([np.array(quarter) @ turn for turn in turns])


def _crescent() -> Polygon:
    outer = np.linspace(np.pi * 0.3, np.pi * 1.7, 32)
    inner = outer[::-1]
    bow = np.stack([0.72 * np.cos(inner) + 0.42, 0.82 * np.sin(inner)], axis=1)
    return np.concatenate([np.stack([np.cos(outer), np.sin(outer)], axis=1), bow[1:-1]])


def _heart() -> Polygon:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y - 2.5], axis=1) / 17.5


def _arrow() -> Polygon:
    return np.array([(-0.95, -0.22), (0.1, -0.22), (0.1, -0.7), (0.98, 0), (0.1, 0.7), (0.1, 0.22), (-0.95, 0.22)])


def _bolt() -> Polygon:
    return np.array([(0.25, -0.96), (-0.55, 0.15), (-0.05, 0.15), (-0.25, 0.96), (0.55, -0.2), (0.05, -0.2)])


SHAPES: Mapping[str, Callable[[], tuple[Polygon, ...]]] = {
    "disc": lambda: (_circle(48, 0.95),),
    "triangle": lambda: (_circle(3),),
    "square": lambda: (_square(),),
    "star": lambda: (_star(),),
    "ring": lambda: (_circle(48, 0.95), _circle(48, 0.5)),
    "cross": lambda: (_cross(),),
    "crescent": lambda: (_crescent(),),
    "arrow": lambda: (_arrow(),),
    "heart": lambda: (_heart(),),
    "bolt": lambda: (_bolt(),),
}
"""Class names in label order, with their outlines: a second polygon is a hole."""
