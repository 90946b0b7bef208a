"""Frames with their detections drawn, as files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.errors import EdgedetError
from edgedet.files import atomic_path, require_writable_folder, write_bytes
from edgedet.runtime.results import Detections
from edgedet.runtime.sources import Frame, Source, SourceLostError
from edgedet.runtime.sources.frame import VideoInfo

WRITTEN_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")

Draw = Callable[[Frame, Detections], None]


def drawn_files(source: Source, folder: Path) -> AbstractContextManager[Draw]:
    """A function that draws each frame of the source into `folder`.

    Images keep their names relative to the source (kinds that few programs read get `.png` added). A video becomes
    one `.mp4`, written when the block ends; also when it ends by an interrupt or by the loss of a camera, with the
    frames up to there.

    Raises:
        EdgedetError: the folder cannot be written, or a drawn file would replace one that is read.
    """
    require_writable_folder(folder)
    if source.video is None:
        return _drawn_images(source.files, folder)
    target = folder / f"{Path(source.video.name).stem if source.files else source.video.name}.mp4"
    _refuse_source(target, _resolved(source.files))
    return _drawn_video(target, source.video)


@contextmanager
def _drawn_images(sources: tuple[Path, ...], folder: Path) -> Iterator[Draw]:
    inputs = _resolved(sources)

    def draw(frame: Frame, detections: Detections) -> None:
        target = image_target(folder, frame.name)
        _refuse_source(target, inputs)
        encoded = cv2.imencode(target.suffix.lower(), detections.plot(frame.image))[1]
        write_bytes(target, encoded.tobytes())

    yield draw


@contextmanager
def _drawn_video(target: Path, video: VideoInfo) -> Iterator[Draw]:
    stop: BaseException | None = None
    with atomic_path(target) as temporary:
        writer = _VideoWriter(temporary, video.frames_per_second)
        try:
            yield lambda frame, detections: writer.write(detections.plot(frame.image))
        except (KeyboardInterrupt, GeneratorExit, SourceLostError) as error:
            stop = error
        finally:
            writer.release()
        if writer.frames == 0:
            raise stop or EdgedetError("no frame was written", where=target)
        _require_playable(temporary, target)
    if stop is not None:
        raise stop


class _VideoWriter:
    """An MPEG-4 file of frames of one size, opened when the first one tells the size."""

    def __init__(self, path: Path, frames_per_second: float) -> None:
        self.frames = 0
        self._path = path
        self._frames_per_second = frames_per_second
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def write(self, image: NDArray[np.uint8]) -> None:
        if self._writer is None:
            self._size = (image.shape[1], image.shape[0])
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._path), codec, self._frames_per_second, self._size)
            if not self._writer.isOpened():
                raise EdgedetError("this OpenCV cannot write MPEG-4 video", fix="pip install opencv-python-headless")
        if image.shape[1::-1] != self._size:
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
        self._writer.write(image)
        self.frames += 1

    def release(self) -> None:
        if self._writer is not None:
            self._writer.release()


def image_target(folder: Path, name: str) -> Path:
    """Where the drawn image of that name (relative, with `/`) goes: always inside `folder`."""
    path = folder.joinpath(*(part for part in PurePosixPath(name).parts if part not in ("..", "/")))
    return path if path.suffix.lower() in WRITTEN_SUFFIXES else path.with_name(f"{path.name}.png")


def _resolved(sources: Iterable[Path]) -> set[Path]:
    return {path.resolve() for path in sources}


def _refuse_source(target: Path, sources: set[Path]) -> None:
    if target.resolve() in sources:
        raise EdgedetError("would replace the source by its drawing", where=target, fix="choose another --out folder")


def _require_playable(path: Path, target: Path) -> None:
    """OpenCV does not say when writing fails, e.g. on a full disk: the file is then without its index."""
    capture = cv2.VideoCapture(str(path))
    playable = capture.isOpened()
    capture.release()
    if not playable:
        raise EdgedetError("the video could not be written completely", where=target, fix="check the space on the disk")
