"""Bundles as `.tar.zst`: the same files give the same bytes, and nothing in an archive is trusted.

The archive is plain POSIX ustar with files alone, below one folder. Reading takes the headers one by one instead of
handing the archive to `tarfile`: links, devices and extended headers (whose size an archive chooses) end the reading
before anything is done for them.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from edgedet.deploy.contents import MOST_BYTES, MOST_FILES, Entry, require_safe
from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, atomic_path

SUFFIX = ".tar.zst"
LEVEL = 19
EPOCH = 315_532_800
"""1980-01-01: every file's time; `make` and zip tools take it, and nothing of when a bundle was made is in it."""

BLOCK = tarfile.BLOCKSIZE
COPY_AGAIN = "copy it again, or make it again with edgedet deploy"


def write_archive(path: Path, name: str, files: Mapping[str, Entry]) -> None:
    """Writes files below the folder `name`, all or nothing.

    Raises:
        EdgedetError: the disk is full, or a path is too long for ustar.
        ModuleNotFoundError: there is no Zstandard.
    """
    zstd = zstandard()
    data = zstd.compress(_tar(name, files), level=LEVEL)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _tar(name: str, files: Mapping[str, Entry]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, entry in sorted(files.items()):
            member = tarfile.TarInfo(f"{name}/{path}")
            member.size, member.mtime = len(entry.data), EPOCH
            member.mode = 0o755 if entry.executable else 0o644
            tar.addfile(member, io.BytesIO(entry.data))
    return buffer.getvalue()


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Attributes:
        path: below the archive's one folder.
        size: in bytes.
        executable: whether it is a program.
        blocks: its bytes, to be read before the next member is asked for.
    """

    path: str
    size: int
    executable: bool
    blocks: Iterator[bytes]


@contextmanager
def open_archive(path: Path) -> Iterator[Iterator[Member]]:
    """The files of an archive, one after another.

    Raises:
        EdgedetError: it cannot be read, or holds what no bundle holds: a link, a device, a path outside of its folder,
            a name twice, or more than `MOST_FILES` files or `MOST_BYTES` bytes.
        ModuleNotFoundError: there is no Zstandard.
    """
    zstd = zstandard()
    try:
        with path.open("rb") as file, zstd.ZstdFile(file) as plain:
            yield _members(_Bounded(plain, path), path)
    except OSError as error:
        raise EdgedetError(f"cannot be read ({error.strerror or error})", where=path, fix="check the path") from error
    except (zstd.ZstdError, EOFError) as error:
        raise EdgedetError("not a Zstandard archive, or cut off", where=path, fix=COPY_AGAIN) from error


class _Bounded:
    """Reads exactly what is asked for, and not beyond `MOST_BYTES` in all: some kilobytes may stand for gigabytes."""

    def __init__(self, file: BinaryIO, where: Path) -> None:
        self._file, self._where, self._left = file, where, MOST_BYTES

    def read(self, count: int) -> bytes:
        if count > self._left:
            raise EdgedetError(f"unpacks to more than {MOST_BYTES // MEBIBYTE} MiB", where=self._where)
        self._left -= count
        data = bytearray()
        while len(data) < count:
            block = self._file.read(count - len(data))
            if not block:
                raise EdgedetError("the archive is cut off", where=self._where, fix=COPY_AGAIN)
            data += block
        return bytes(data)


def _members(stream: _Bounded, where: Path) -> Iterator[Member]:
    seen: set[str] = set()
    top: str | None = None
    while (header := stream.read(BLOCK)) != bytes(BLOCK):
        member = _header(header, where)
        folder, _, name = member.name.partition("/")
        require_safe(member.name, where=where)
        if not name or folder != (top or folder):
            raise EdgedetError(f"{member.name!r} is not in the bundle's one folder", where=where)
        if name in seen:
            raise EdgedetError(f"holds {name!r} twice", where=where)
        if len(seen) >= MOST_FILES:
            raise EdgedetError(f"holds more than {MOST_FILES} files", where=where)
        top = folder
        seen.add(name)
        blocks = _blocks(stream, member.size)
        yield Member(name, member.size, bool(member.mode & 0o100), blocks)
        for _ in blocks:  # what was not read
            pass


def _header(header: bytes, where: Path) -> tarfile.TarInfo:
    """One header; only that of a plain file."""
    try:
        member = tarfile.TarInfo.frombuf(header, "ascii", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError, ValueError) as error:
        raise EdgedetError("not a tar archive, or a broken one", where=where, fix=COPY_AGAIN) from error
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        kinds = {
            tarfile.SYMTYPE: "a link",
            tarfile.LNKTYPE: "a link",
            tarfile.CHRTYPE: "a device",
            tarfile.BLKTYPE: "a device",
            tarfile.FIFOTYPE: "a pipe",
            tarfile.DIRTYPE: "a folder by itself",
        }
        kind = kinds.get(member.type, "an extended header")
        fix = "take no bundle from this source, or make it again with edgedet deploy"
        raise EdgedetError(f"{member.name!r} is {kind}, and bundles hold plain files alone", where=where, fix=fix)
    if not 0 <= member.size <= MOST_BYTES:
        raise EdgedetError(f"{member.name!r} is said to have {member.size} bytes", where=where)
    return member


def _blocks(stream: _Bounded, size: int) -> Iterator[bytes]:
    """The bytes of a file; then its padding is stepped over."""
    left = size
    while left:
        data = stream.read(min(left, MEBIBYTE))
        left -= len(data)
        yield data
    stream.read(-size % BLOCK)


def digest_of(blocks: Iterator[bytes]) -> tuple[int, str]:
    """How many bytes they are, and their SHA-256."""
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


def zstandard() -> Any:
    """Python's module, from 3.14 on, or the same for older ones.

    Raises:
        ModuleNotFoundError: neither is installed.
    """
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ModuleNotFoundError:
        from backports import zstd
    return zstd
