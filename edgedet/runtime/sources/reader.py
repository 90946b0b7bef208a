"""A thread that reads a camera or stream into a bounded queue."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgedet.config import Frozen
from edgedet.errors import EdgedetError
from edgedet.runtime.sources.capture import read_image
from edgedet.runtime.sources.device import Device
from edgedet.runtime.sources.frame import Frame, SourceLostError, StreamCounts

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
"""Seconds between attempts: twice as long each time."""

HANGING_SECONDS = 30.0
"""So much longer than it may be silent a driver may take to say so: OpenCV waits 10 seconds for V4L2 and 30 for
GStreamer, whatever it is asked."""

WAITING_SECONDS = 0.5
"""How often one who waits for a frame looks whether the thread still lives."""

SECONDS_TO_END = 2.0


class LiveSettings(Frozen):
    """How a camera or stream is read.

    Attributes:
        queue: frames that wait at most; where one more comes, the oldest is dropped.
        reconnect_seconds: how long a lost source is tried to be opened again; 0 does not try.
        silence_seconds: without a frame for so long, it counts as lost.
    """

    queue: int = Field(default=1, ge=1, le=1000)
    reconnect_seconds: float = Field(default=30.0, ge=0, le=86400 * 7)
    silence_seconds: float = Field(default=10.0, gt=0, le=3600)


def back_off() -> Iterator[float]:
    """Seconds to wait before each attempt: .5, 1, 2, 4, 8, 8, ..."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)


class FrameReader:
    """Reads on, whether or not somebody takes the frames.

    Args:
        device: opened again where it is lost.
        capture: of it, opened; the reader releases it.
        settings: how.
    """

    def __init__(self, device: Device, capture: cv2.VideoCapture, settings: LiveSettings) -> None:
        self._device, self._capture, self._settings = device, capture, settings
        self._frames: deque[Frame] = deque()
        self._counts = StreamCounts()
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._failure: BaseException | None = None
        self._answer_due = time.monotonic() + HANGING_SECONDS
        self._thread = threading.Thread(target=self._run, name=f"reads {device.name}", daemon=True)

    @property
    def counts(self) -> StreamCounts:
        """So far."""
        with self._changed:
            return self._counts

    def start(self) -> None:
        """Begins to read."""
        self._await_answer(self._settings.silence_seconds)
        self._thread.start()

    def take(self) -> Frame:
        """The oldest frame that waits, or the next one that comes.

        Raises:
            SourceLostError: it was lost, and did not come back in time; frames that waited were taken before.
            EdgedetError: it never gave a frame.
        """
        with self._changed:
            while not self._frames:
                if self._failure is not None:
                    raise self._failure
                if time.monotonic() > self._answer_due:
                    raise SourceLostError(
                        f"{self._device.title} hangs: its driver has not answered for a long time",
                        fix="see what `dmesg` says, and plug it in again",
                    )
                self._changed.wait(WAITING_SECONDS)
            return replace(self._frames.popleft(), counts=self._counts)

    def stop(self) -> None:
        """Ends it; a read that hangs is left alone, and releases the capture when it ends."""
        self._stopped.set()
        self._thread.join(SECONDS_TO_END)

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                image = self._read()
                if image is None:
                    image = self._image_after_loss()
                if image is not None:
                    self._put(image)
        except BaseException as failure:
            with self._changed:
                self._failure = failure
                self._changed.notify_all()
        finally:
            self._capture.release()

    def _read(self) -> NDArray[np.uint8] | None:
        self._await_answer(self._settings.silence_seconds)
        return read_image(self._capture)

    def _put(self, image: NDArray[np.uint8]) -> None:
        with self._changed:
            counts = self._counts
            self._frames.append(Frame(image, self._device.name, counts.read))
            is_full = len(self._frames) > self._settings.queue
            if is_full:
                self._frames.popleft()
            self._counts = replace(counts, read=counts.read + 1, dropped=counts.dropped + is_full)
            self._changed.notify_all()

    def _image_after_loss(self) -> NDArray[np.uint8] | None:
        """The first image after the source came back; None where nobody waits for it any more."""
        if self._counts.read == 0:
            fix = "check that it plays elsewhere"
            raise EdgedetError(f"no frame of {self._device.title} can be decoded", fix=fix)
        self._capture.release()
        lost = time.monotonic()
        limit = self._settings.reconnect_seconds
        if limit > 0:
            logger.warning("%s gives no frames; trying for up to %g s to open it again", self._device.title, limit)
        attempts = 0
        for pause in back_off():
            left = lost + limit - time.monotonic()
            if left <= 0:
                break
            self._await_answer(pause + 2 * self._settings.silence_seconds)
            if self._stopped.wait(min(pause, left)):
                return None
            attempts += 1
            image = self._opened_again()
            if image is not None:
                self._note_return(time.monotonic() - lost)
                return image
        tried = f" and did not come back in {limit:g} s, {attempts} attempts" if limit > 0 else ""
        raise SourceLostError(
            f"{self._device.title} gives no frames any more{tried}",
            fix="check its cable or its sender; --reconnect SECONDS tries longer to open it again",
        )

    def _opened_again(self) -> NDArray[np.uint8] | None:
        """Its first image: what opens need not give one."""
        self._capture = self._device.open(self._settings.silence_seconds)
        image = read_image(self._capture) if self._capture.isOpened() else None
        if image is None:
            self._capture.release()
        return image

    def _note_return(self, away: float) -> None:
        with self._changed:
            counts = self._counts
            self._counts = replace(
                counts, reconnections=counts.reconnections + 1, lost_seconds=counts.lost_seconds + away
            )
        logger.warning("%s is back after %.1f s", self._device.title, away)

    def _await_answer(self, seconds: float) -> None:
        """From now on, so long is no hanging."""
        self._answer_due = time.monotonic() + seconds + HANGING_SECONDS
