"""A detector: images in, detections in the images' own pixels out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import Letterbox, areas
from edgedet.errors import EdgedetError
from edgedet.ops.diou_nms import DIoUNMS
from edgedet.ops.diou_nms.native import diou_nms
from edgedet.runtime.backend import NMS_OUTPUTS, Backend, Outputs, nms_shapes
from edgedet.runtime.preprocess import preprocess
from edgedet.runtime.results import Detections
from edgedet.spec import Spec


@dataclass(frozen=True)
class Timings:
    """How long the stages of one `detect` call took, in milliseconds, for all of its images together."""

    preprocess: float = 0.0
    inference: float = 0.0
    postprocess: float = 0.0

    @property
    def total(self) -> float:
        """The sum of the stages, in milliseconds."""
        return self.preprocess + self.inference + self.postprocess

    def to_dict(self) -> dict[str, float]:
        """Milliseconds by stage."""
        return asdict(self)


class Detector:
    """Obeys a specification on any backend: letterbox, inference, DIoU-NMS, boxes back in source pixels.

    Attributes:
        backend: runs the network.
        spec: how images go in and detections come out.
        has_nms: whether the model itself suppresses boxes, as its specification says.
        timings: of the last `detect`.
    """

    def __init__(self, backend: Backend, spec: Spec) -> None:
        self.backend = backend
        self.spec = spec
        self.has_nms = NMS_OUTPUTS[0] in {output.name for output in backend.outputs}
        self.timings = Timings()
        self._nms = DIoUNMS(**spec.postprocess.model_dump())
        self._batch = backend.inputs[0].shape[0]

    def with_postprocess(self, **changes: Any) -> Detector:
        """The same model with other post-processing (`score_threshold`, `iou_threshold`, ...); None changes nothing.

        Raises:
            EdgedetError: a value is out of its range, or is not the one of NMS inside the model.
        """
        spec = self.spec.with_postprocess(**changes)
        if self.has_nms and spec != self.spec:
            raise EdgedetError(
                f"the settings of NMS are inside the model: {self.spec.postprocess}",
                where=self.backend.name,
                fix="leave them, or export the model without --nms",
            )
        return Detector(self.backend, spec)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """The detections in each image.

        A model of a fixed batch size runs as often as needed; one of a free batch size runs once on all images.

        Args:
            images: uint8 `[h, w, 3]` BGR, of any sizes.
        """
        timings = [Timings()]
        found: list[Detections] = []
        for chunk in self._chunks(images):
            start = perf_counter()
            tensor, letterboxes = self.preprocess(chunk)
            prepared = perf_counter()
            outputs = self.run(tensor)
            inferred = perf_counter()
            found += self.postprocess(outputs, letterboxes)
            done = perf_counter()
            timings.append(
                Timings(*(1e3 * seconds for seconds in (prepared - start, inferred - prepared, done - inferred)))
            )
        self.timings = Timings(
            sum(part.preprocess for part in timings),
            sum(part.inference for part in timings),
            sum(part.postprocess for part in timings),
        )
        return found

    def preprocess(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], list[Letterbox]]:
        """The input tensor `[B, 3, H, W]` float32, and where each image lies in it.

        `B` is the model's batch size where that is fixed (surplus rows are zero), else the number of images.
        """
        size = self.spec.preprocess
        batch = self._batch or len(images)
        tensor = np.empty((batch, 3, size.height, size.width), np.float32)
        tensor[len(images) :] = 0
        return tensor, [preprocess(image, size, out=row)[1] for image, row in zip(images, tensor, strict=False)]

    def run(self, tensor: NDArray[np.float32]) -> Outputs:
        """The model's outputs for a tensor from `preprocess`."""
        outputs = self.backend.run({self.backend.inputs[0].name: tensor})
        if self.has_nms:
            self._require_detections(outputs, len(tensor))
        else:
            self._require_boxes_and_scores(outputs, len(tensor))
        return outputs

    def infer(self, tensor: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Boxes and scores, see `Outputs`, of a model without NMS."""
        outputs = self.run(tensor)
        return outputs["boxes"], outputs["scores"]

    def _require_boxes_and_scores(self, outputs: Outputs, batch: int) -> None:
        boxes, scores = outputs["boxes"], outputs["scores"]
        expected = (batch, scores.shape[1] if scores.ndim == 3 else -1)
        if boxes.shape != (*expected, 4) or scores.shape != (*expected, len(self.spec.class_names)):
            raise EdgedetError(
                f"the model gave boxes {list(boxes.shape)} and scores {list(scores.shape)}, "
                f"not [{batch}, N, 4] and [{batch}, N, {len(self.spec.class_names)}]",
                where=self.backend.name,
                fix="export it again with `edgedet export`",
            )

    def _require_detections(self, outputs: Outputs, batch: int) -> None:
        rows, classes = self._nms.max_detections, len(self.spec.class_names)
        counts, boxes, scores, class_ids = (outputs[name] for name in NMS_OUTPUTS)
        shapes = [counts.shape, boxes.shape, scores.shape, class_ids.shape]
        problem = None
        if shapes != nms_shapes(batch, rows):
            problem = f"{', '.join(NMS_OUTPUTS)} of {shapes}"
        elif counts.min(initial=0) < 0 or counts.max(initial=0) > rows:
            problem = f"counts from {counts.min()} to {counts.max()}, of {rows} rows"
        else:
            used = class_ids[np.arange(rows) < counts]
            if used.min(initial=0) < 0 or used.max(initial=0) >= classes:
                problem = f"classes from {used.min()} to {used.max()}, of {classes}"
        if problem is not None:
            fix = "export it again with `edgedet export --nms`"
            raise EdgedetError(f"the model gave {problem}", where=self.backend.name, fix=fix)

    def postprocess(self, outputs: Outputs, letterboxes: Sequence[Letterbox]) -> list[Detections]:
        """The detections of each image, from the network's outputs; rows beyond the images are left out.

        So are boxes of which nothing lies in the source image, as in the padding beside it.
        """
        found = []
        for row, letterbox in enumerate(letterboxes):
            kept, score, class_id = self._suppressed(outputs, row)
            xyxy = letterbox.to_source(kept)
            seen = areas(xyxy) > 0
            found.append(Detections(xyxy[seen], score[seen], class_id[seen], self.spec.class_names))
        return found

    def _suppressed(
        self, outputs: Outputs, row: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
        """Boxes in input pixels, scores and class ids of what is kept of one image."""
        if not self.has_nms:
            return diou_nms(outputs["boxes"][row], outputs["scores"][row], self._nms)
        count = int(outputs["num_dets"][row, 0])
        boxes, scores, class_ids = (outputs[name][row, :count] for name in NMS_OUTPUTS[1:])
        return boxes, scores, class_ids.astype(np.int64)

    def _chunks(self, images: Sequence[NDArray[np.uint8]]) -> Iterator[Sequence[NDArray[np.uint8]]]:
        size = self._batch or max(len(images), 1)
        return (images[start : start + size] for start in range(0, len(images), size))
