"""From what a user wrote to a source."""

from __future__ import annotations

from glob import has_magic
from pathlib import Path

from edgedet.data import images as image_files
from edgedet.errors import EdgedetError, unknown_value
from edgedet.runtime.sources import video
from edgedet.runtime.sources.frame import Source
from edgedet.runtime.sources.images import image_file, image_folder, image_pattern


def open_source(text: str) -> Source:
    """The source that `text` names.

    An existing file or folder is taken first, then a camera number (`0`), an address (`rtsp://...`, `http://...`),
    and a pattern (`photos/**/*.jpg`). A file that is no image by its suffix is opened as a video.

    Raises:
        EdgedetError: nothing is there, or it cannot be opened.
    """
    if not text:
        raise EdgedetError("no source named", fix="name a file, folder, pattern, camera number or address")
    path = Path(text)
    if path.is_dir():
        return image_folder(path)
    if path.is_file():
        return image_file(path) if path.suffix.lower() in image_files.SUFFIXES else video.video_file(path)
    if text.isascii() and text.isdecimal():
        return video.camera(int(text))
    scheme, separator, _ = text.partition("://")
    if separator:
        if scheme.lower() not in video.SCHEMES:
            raise unknown_value("scheme", scheme, video.SCHEMES, where=video.without_credentials(text))
        return video.stream(text)
    if has_magic(text):
        return image_pattern(text)
    raise EdgedetError(
        "no such source: it is no file, folder, pattern (*, ?, **), camera number or address (rtsp://, http://)",
        where=text,
        fix="check the path",
    )
