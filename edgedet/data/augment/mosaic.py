"""Four images joined at a random point (YOLOv4, Bochkovskiy et al., 2020)."""

from __future__ import annotations

import numpy as np

from edgedet.data.augment.geometric import AffineTransform, translation


def tile_placements(
    size: float, sides: list[tuple[float, float]], rng: np.random.Generator
) -> list[tuple[AffineTransform, tuple[float, float, float, float]]]:
    """Where four tiles lie on a canvas of `2 * size`: their shift, and the quarter (x1, y1, x2, y2) that shows them.

    The tiles meet at a point drawn from the middle half of the canvas; each is cropped at its quarter's edges.

    Args:
        size: side of the final image in pixels.
        sides: height and width of each tile.
        rng: source of the meeting point.
    """
    centre_x, centre_y = rng.uniform(0.5 * size, 1.5 * size, size=2)
    placements = []
    for tile, (height, width) in enumerate(sides):
        left, top = tile % 2 == 0, tile < 2
        shift = translation(centre_x - width if left else centre_x, centre_y - height if top else centre_y)
        quarter = (
            0.0 if left else centre_x,
            0.0 if top else centre_y,
            centre_x if left else 2 * size,
            centre_y if top else 2 * size,
        )
        placements.append((shift, quarter))
    return placements
