"""Bundles as folders: written all or nothing, looked through without following a link, unpacked from archives."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgedet.deploy.archive import EPOCH, SUFFIX, digest_of, open_archive, write_archive
from edgedet.deploy.contents import (
    INSTALLED,
    MANIFEST,
    MANIFEST_LIMIT,
    MOST_BYTES,
    MOST_FILES,
    BundleManifest,
    Entry,
    Found,
    differences,
    read_bundle_manifest,
    require_safe,
)
from edgedet.errors import CheckFailedError, EdgedetError
from edgedet.files import MEBIBYTE, atomic_folder, read_bytes

NOT_A_BUNDLE = "give the folder or the .tar.zst that edgedet deploy wrote"


@dataclass(frozen=True)
class Checked:
    """A bundle that was looked through.

    Attributes:
        manifest: what it says of itself.
        faults: what is not as it says, in words.
    """

    manifest: BundleManifest
    faults: tuple[str, ...]


def write_bundle(path: Path, name: str, files: Mapping[str, Entry]) -> None:
    """Writes a bundle as an archive where `path` ends in `.tar.zst`, else as a folder; all or nothing.

    Raises:
        EdgedetError: it cannot be written, or a folder is there that is no bundle.
    """
    if path.name.endswith(SUFFIX):
        write_archive(path, name, files)
        return
    require_replaceable(path)
    with atomic_folder(path) as temporary:
        for file, entry in sorted(files.items()):
            _write_file(temporary / file, iter([entry.data]), executable=entry.executable)


def require_replaceable(path: Path) -> None:
    """Refuses a path where a folder stands that holds something else than a bundle.

    Raises:
        EdgedetError: it does.
    """
    if path.is_dir() and any(path.iterdir()) and not (path / MANIFEST).is_file():
        raise EdgedetError("the folder is there and is no bundle", where=path, fix="give another --out, or remove it")


def check_bundle(path: Path) -> Checked:
    """Holds all files of a folder or an archive to its manifest; what `install.sh` made is not looked at.

    Raises:
        EdgedetError: it is no bundle, cannot be read, or holds what no bundle holds, such as links.
    """
    if path.is_dir():
        found = dict(_survey_folder(path))
        data = read_bytes(path / MANIFEST, limit=MANIFEST_LIMIT) if MANIFEST in found else None
    else:
        found, data = _survey_archive(path)
    if data is None:
        raise EdgedetError(f"holds no {MANIFEST}", where=path, fix=NOT_A_BUNDLE)
    manifest = read_bundle_manifest(data, where=path)
    return Checked(manifest, tuple(differences(manifest, found)))


def require_sound(path: Path) -> BundleManifest:
    """The manifest of a bundle that is as it says.

    Raises:
        CheckFailedError: a file is missing, surplus or changed.
    """
    checked = check_bundle(path)
    if checked.faults:
        raise broken(path, checked)
    return checked.manifest


def broken(path: Path, checked: Checked) -> CheckFailedError:
    """The error that names the first faults of a bundle."""
    more = f"; and {len(checked.faults) - 5} more" if len(checked.faults) > 5 else ""
    return CheckFailedError(
        f"not as its manifest says: {'; '.join(checked.faults[:5])}{more}",
        where=path,
        fix="copy the bundle again, or make it again with edgedet deploy",
    )


def unpack(archive: Path, out: Path) -> BundleManifest:
    """Unpacks an archive into the folder `out`, if all of it is as its manifest says; else nothing is there.

    Raises:
        EdgedetError: the archive is refused, see `edgedet.deploy.archive.open_archive`, or `out` cannot be written.
        CheckFailedError: a file is not as the manifest says.
    """
    require_replaceable(out)
    with atomic_folder(out) as temporary:
        with open_archive(archive) as members:
            for member in members:
                _write_file(temporary / member.path, member.blocks, executable=member.executable)
        checked = check_bundle(temporary)
        if checked.faults:
            raise broken(archive, checked)
    return checked.manifest


def _write_file(path: Path, blocks: Iterator[bytes], *, executable: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        for block in blocks:
            file.write(block)
        os.fchmod(file.fileno(), 0o755 if executable else 0o644)
        file.flush()
        os.fsync(file.fileno())
    os.utime(path, (EPOCH, EPOCH))


def _survey_folder(folder: Path) -> Iterator[tuple[str, Found]]:
    files = total = 0
    for path in _files_below(folder, folder):
        name = path.relative_to(folder).as_posix()
        require_safe(name, where=folder)
        files, total = files + 1, total + path.lstat().st_size
        if files > MOST_FILES or total > MOST_BYTES:
            limit = f"{MOST_FILES} files or {MOST_BYTES // MEBIBYTE} MiB"
            raise EdgedetError(f"holds more than {limit}", where=folder, fix=NOT_A_BUNDLE)
        yield name, _found(path, folder)


def _files_below(folder: Path, top: Path) -> Iterator[Path]:
    """Plain files; a link or a device ends it."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        if entry.is_symlink() or not (entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)):
            what = "a link" if entry.is_symlink() else "a device or a pipe"
            raise EdgedetError(f"{path.relative_to(top)} is {what}, and bundles hold plain files alone", where=top)
        if entry.is_file(follow_symlinks=False):
            yield path
        elif path != top / INSTALLED:
            yield from _files_below(path, top)


def _found(path: Path, folder: Path) -> Found:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as file:
            executable = bool(os.fstat(file.fileno()).st_mode & stat.S_IXUSR)
            size, digest = digest_of(iter(lambda: file.read(MEBIBYTE), b""))
    except OSError as error:
        raise EdgedetError(f"cannot read {path.name} ({error.strerror})", where=folder) from error
    return Found(size, digest, executable)


def _survey_archive(path: Path) -> tuple[dict[str, Found], bytes | None]:
    found: dict[str, Found] = {}
    manifest: bytes | None = None
    if not path.is_file():
        raise EdgedetError("no such bundle", where=path, fix=NOT_A_BUNDLE)
    with open_archive(path) as members:
        for member in members:
            if member.path == MANIFEST:
                if member.size > MANIFEST_LIMIT:
                    raise EdgedetError(f"{MANIFEST} is larger than {MANIFEST_LIMIT // MEBIBYTE} MiB", where=path)
                manifest = b"".join(member.blocks)
                found[member.path] = Found(*digest_of(iter([manifest])), member.executable)
            else:
                found[member.path] = Found(*digest_of(member.blocks), member.executable)
    return found, manifest
