"""Image files: one, a folder of them, or those that match a pattern."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from glob import has_magic, iglob
from itertools import islice
from pathlib import Path

from edgedet.data.images import SUFFIXES, read_image
from edgedet.errors import EdgedetError
from edgedet.runtime.sources.frame import Frame, StreamCounts, VideoInfo

MAX_FILES = 1_000_000


class ImageSource:
    """Image files in order (`edgedet.runtime.sources.Source`).

    An unreadable file among several is skipped and noted in `skipped`; one given alone, or all of them, is an error.

    Args:
        files: the files.
        root: the folder that frame names are relative to.
    """

    video: VideoInfo | None = None
    counts: StreamCounts | None = None

    def __init__(self, files: Iterable[Path], root: Path) -> None:
        self.files = tuple(files)
        self.skipped: list[str] = []
        self._root = root

    def named_files(self) -> Iterator[tuple[Path, str]]:
        """Each file, and the name of its frame."""
        return ((path, path.relative_to(self._root).as_posix()) for path in self.files)

    def __iter__(self) -> Iterator[Frame]:
        for index, (path, name) in enumerate(self.named_files()):
            try:
                image = read_image(path)
            except EdgedetError as error:
                if len(self.files) == 1:
                    raise
                self.skipped.append(f"{path}: {error.what}")
                continue
            yield Frame(image, name, index)
        if len(self.skipped) == len(self.files):
            raise EdgedetError(
                f"none of the {len(self.files)} images could be read; the first: {self.skipped[0]}",
                where=self._root,
                fix="`edgedet data check` lists what is wrong with the images of a dataset",
            )


def image_file(path: Path) -> ImageSource:
    """One image file."""
    return ImageSource([path], path.parent)


def image_folder(folder: Path) -> ImageSource:
    """The images in a folder (not in folders below it), in natural order."""
    files = _images(folder.iterdir(), folder)
    if not files:
        raise EdgedetError(
            f"the folder holds no image ({', '.join(SUFFIXES)})",
            where=folder,
            fix=f"to take the folders below it too, give the pattern '{folder}/**/*'",
        )
    return ImageSource(files, folder)


def image_pattern(pattern: str) -> ImageSource:
    """The images that match a shell pattern (`*`, `?`, `[abc]`, `**` for folders of any depth), in natural order."""
    # Unlike Path.glob, it takes absolute patterns and passes over hidden files, as a shell does.
    matches = iglob(pattern, recursive=True)  # noqa: PTH207
    files = _images((Path(name) for name in matches), pattern)
    if not files:
        raise EdgedetError(
            f"the pattern matches no image ({', '.join(SUFFIXES)})", where=pattern, fix="check it with `ls`"
        )
    return ImageSource(files, _fixed_part(pattern))


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """Sorts `frame2` before `frame10`."""
    parts = re.split(r"(\d+)", path.as_posix())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]


def _images(paths: Iterable[Path], where: object) -> list[Path]:
    files = list(islice(filter(_is_image, paths), MAX_FILES + 1))
    if len(files) > MAX_FILES:
        raise EdgedetError(f"more than {MAX_FILES} images", where=where, fix="take them in parts")
    return sorted(files, key=natural_key)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _fixed_part(pattern: str) -> Path:
    """The folder that every match of the pattern lies in."""
    fixed = Path(pattern).parent
    while has_magic(str(fixed)):
        fixed = fixed.parent
    return fixed
