"""Reading with a bound, writing all or nothing, and hashing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from edgedet.errors import EdgedetError

MEBIBYTE = 1 << 20


def read_bytes(path: Path, *, limit: int) -> bytes:
    """The file's bytes; refuses a missing file and one of more than `limit` bytes."""
    try:
        with path.open("rb") as file:
            data = _read_up_to(file, limit + 1)
    except OSError as error:
        raise EdgedetError(f"cannot read the file ({error.strerror})", where=path, fix="check the path") from error
    except ValueError as error:
        raise EdgedetError(f"not a file name ({error})", where=path, fix="check the path") from error
    if len(data) > limit:
        raise EdgedetError(f"larger than {limit / MEBIBYTE:.3g} MiB, the most that is read", where=path)
    return data


def _read_up_to(file: BinaryIO, count: int) -> bytes:
    """In blocks: `read(count)` takes memory for `count` bytes, however few there are."""
    data = bytearray()
    while len(data) < count and (block := file.read(min(MEBIBYTE, count - len(data)))):
        data += block
    return bytes(data)


def read_text(path: Path, *, limit: int) -> str:
    """The file as UTF-8 text (a byte order mark is dropped); bounded like `read_bytes`."""
    try:
        return read_bytes(path, limit=limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EdgedetError(f"not UTF-8 text (byte {error.start})", where=path, fix="save it as UTF-8") from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed onto it when the block ends without an exception.

    The previous file survives an exception, a full disk and a kill. Parent folders are made.
    The temporary name ends like `path`, because writers such as OpenCV choose the format by it.
    """
    if "\0" in str(path):
        raise EdgedetError("not a file name (embedded null byte)", where=path)
    temporary: Path | None = None
    try:
        if path.exists() and not path.is_file():
            # As root, a rename would put a plain file in the place of /dev/null.
            raise EdgedetError("not a plain file", where=path, fix="name a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:32]}.", suffix=f".tmp{path.suffix}", dir=path.parent)
        temporary = Path(name)
        os.fchmod(handle, 0o666 & ~_umask())
        os.close(handle)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`, renamed onto it when the block ends without an exception.

    A folder that is there already gives way at the end only: it survives an exception and a full disk. Whether it may
    be replaced is the caller's to decide. A kill between the two renames leaves it beside, under a name that begins
    with a dot.
    """
    temporary: Path | None = None
    old: Path | None = None
    try:
        if path.exists() and (path.is_symlink() or not path.is_dir()):
            raise EdgedetError("not a folder", where=path, fix="name a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name[:32]}.", suffix=".tmp", dir=path.parent))
        temporary.chmod(0o777 & ~_umask())
        yield temporary
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name[:32]}.", suffix=".old", dir=path.parent))
            path.replace(old)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        if temporary is not None and old is not None and not path.exists():
            with suppress(OSError):
                old.replace(path)
        for left in (temporary, old):
            if left is not None:
                shutil.rmtree(left, ignore_errors=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` to `path`, all or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8 to `path`, all or nothing."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON to `path`, all or nothing."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def sha256_file(path: Path) -> str:
    """The SHA-256 of the file's bytes, as hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(MEBIBYTE):
            digest.update(block)
    return digest.hexdigest()


def require_output(path: Path, suffix: str | None = None) -> None:
    """Finds out before long work, not after it, that a file, of that kind where one is given, cannot be written."""
    if suffix is not None and path.suffix != suffix:
        raise EdgedetError(f"the file to write ends in {suffix}", where=path, fix=f"name it {path.name}{suffix}")
    if path.is_dir():
        raise EdgedetError("the path is a folder", where=path, fix="name a file")
    require_writable_folder(path.parent)


def require_writable_folder(path: Path) -> None:
    """Makes `path` and proves that a file can be written in it, before long work starts."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise _cannot_write(path, error) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _cannot_write(path: Path, error: OSError) -> EdgedetError:
    fix = {
        errno.ENOSPC: "free some space on that disk, or write elsewhere",
        errno.EDQUOT: "free some of your quota, or write elsewhere",
        errno.EACCES: "choose an output path you may write to",
        errno.EPERM: "choose an output path you may write to",
        errno.EROFS: "that file system is read-only: choose another output path",
        errno.ENOTDIR: "a part of the path is a file, not a folder: choose another output path",
        errno.EEXIST: "a part of the path is a file, not a folder: choose another output path",
        errno.EISDIR: "the path is a folder: name a file",
    }.get(error.errno or 0, "check the path")
    return EdgedetError(f"cannot write ({error.strerror or error})", where=path, fix=fix)
