"""What a detector found in one image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from edgedet.errors import EdgedetError


@dataclass(frozen=True)
class Detection:
    """One detected object.

    Attributes:
        xyxy: corners in pixels of the source image.
        score: confidence, 0 to 1.
        class_id: index into the detector's class names.
        name: the class's name.
    """

    xyxy: tuple[float, float, float, float]
    score: float
    class_id: int
    name: str


@dataclass(frozen=True, eq=False)
class Detections:
    """The detections of one image, best first. Iterating gives `Detection`s.

    An integer index gives one `Detection`; a slice, a mask or an index array gives `Detections`:
    `found[found.score > 0.5]`.

    Attributes:
        xyxy: `[n, 4]` float32, corners in pixels of the source image.
        score: `[n]` float32, confidence, 0 to 1.
        class_id: `[n]` int64, index into `names`.
        names: the names of all of the detector's classes.
    """

    xyxy: NDArray[np.float32]
    score: NDArray[np.float32]
    class_id: NDArray[np.int64]
    names: tuple[str, ...]

    @property
    def name(self) -> list[str]:
        """The class name of each detection."""
        return [self.names[index] for index in self.class_id]

    def __len__(self) -> int:
        return len(self.score)

    def __iter__(self) -> Iterator[Detection]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Detection: ...

    @overload
    def __getitem__(self, index: slice | NDArray[Any] | list[int]) -> Detections: ...

    def __getitem__(self, index: int | slice | NDArray[Any] | list[int]) -> Detection | Detections:
        if isinstance(index, (int, np.integer)):
            x1, y1, x2, y2 = self.xyxy[index].tolist()
            class_id = int(self.class_id[index])
            return Detection((x1, y1, x2, y2), float(self.score[index]), class_id, self.names[class_id])
        return Detections(self.xyxy[index], self.score[index], self.class_id[index], self.names)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Plain records `{xyxy, score, class_id, name}`, ready for JSON."""
        return [
            {"xyxy": list(found.xyxy), "score": found.score, "class_id": found.class_id, "name": found.name}
            for found in self
        ]

    def plot(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A copy of `image` (uint8 `[h, w, 3]` BGR) with the boxes, names and scores drawn."""
        from edgedet.data.draw import draw_boxes

        return draw_boxes(image, self.xyxy, self.class_id, self.names, scores=self.score)

    def to_supervision(self) -> Any:
        """The same as a `supervision.Detections`; needs the `supervision` package."""
        try:
            import supervision
        except ImportError as error:
            raise EdgedetError("the supervision package is missing", fix="pip install supervision") from error
        return supervision.Detections(
            xyxy=self.xyxy.copy(),
            confidence=self.score.copy(),
            class_id=self.class_id.copy(),
            data={"class_name": np.array(self.name, dtype=np.str_)},
        )
