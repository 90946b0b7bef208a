"""What is in a bundle: files by their paths, and the manifest that says so."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from edgedet import __version__
from edgedet.config import Digest, Frozen, parse
from edgedet.deploy.targets import Target
from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
INSTALLED = "installed"
"""The folder that `install.sh` writes to, and nothing else does: it is no part of a bundle."""

MOST_FILES, MOST_BYTES = 4096, 4096 * MEBIBYTE
LONGEST_PATH = 200
MANIFEST_LIMIT = 4 * MEBIBYTE

Text = Annotated[str, Field(max_length=4096)]


@dataclass(frozen=True)
class Entry:
    """A file to be put into a bundle.

    Attributes:
        data: its bytes.
        executable: whether it is a program.
    """

    data: bytes
    executable: bool = False


class BundledFile(Frozen):
    """A file of a bundle, as the manifest lists it.

    Attributes:
        path: below the bundle's folder, with slashes.
        size: in bytes.
        sha256: of its bytes.
        executable: whether it is a program.
    """

    path: Annotated[str, Field(max_length=LONGEST_PATH)]
    size: Annotated[int, Field(ge=0)]
    sha256: Digest
    executable: bool = False


class BundleManifest(Frozen):
    """What a bundle is, and what is in it.

    Attributes:
        version: of this format.
        edgedet: version of this program.
        name: of the bundle's folder.
        target: what it is for.
        model: name of the detector.
        model_sha256: of the file that it was made of.
        checkpoint_sha256, calibration_sha256: of what that file says it was made of.
        lowering: what the network was lowered for.
        quantized: whether it computes in INT8.
        has_nms: whether the network suppresses boxes itself.
        random_weights: whether it is for latency alone.
        golden_detections: how many there are in all golden images: without any the self-test proves inputs alone.
        files: all of them but the manifest, sorted.
    """

    version: Literal[1] = 1
    edgedet: Text = __version__
    name: Text
    target: Target
    model: Text
    model_sha256: Digest
    checkpoint_sha256: Digest | None = None
    calibration_sha256: Digest | None = None
    lowering: Text
    quantized: bool
    has_nms: bool
    random_weights: bool
    golden_detections: Annotated[int, Field(ge=0)] = 0
    files: Annotated[tuple[BundledFile, ...], Field(max_length=MOST_FILES)] = ()


def with_sums(files: Mapping[str, Entry]) -> dict[str, Entry]:
    """The files and, for boards without Python, their SHA-256 as `sha256sum -c` reads them."""
    lines = [f"{hashlib.sha256(entry.data).hexdigest()}  {path}\n" for path, entry in sorted(files.items())]
    return {**files, SUMS: Entry("".join(lines).encode())}


def with_manifest(files: Mapping[str, Entry], manifest: BundleManifest) -> dict[str, Entry]:
    """The files, and the manifest that lists them.

    Raises:
        EdgedetError: they are more, or longer named, than a bundle may have.
    """
    for path in files:
        require_safe(path)
    listed = tuple(
        BundledFile(
            path=path,
            size=len(entry.data),
            sha256=hashlib.sha256(entry.data).hexdigest(),
            executable=entry.executable,
        )
        for path, entry in sorted(files.items())
    )
    if len(listed) > MOST_FILES:
        raise EdgedetError(f"{len(listed)} files, and a bundle has {MOST_FILES} at most")
    complete = manifest.model_copy(update={"files": listed})
    return {**files, MANIFEST: Entry((complete.model_dump_json(indent=2) + "\n").encode())}


def read_bundle_manifest(data: bytes, *, where: object) -> BundleManifest:
    """The manifest in the bytes of its file.

    Raises:
        EdgedetError: it is broken, or names a file outside of the bundle or one file twice.
    """
    try:
        values = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise EdgedetError(f"{MANIFEST} is not valid JSON", where=where, fix="copy the bundle again") from error
    if not isinstance(values, dict):
        raise EdgedetError(f"{MANIFEST} is not a JSON object", where=where, fix="copy the bundle again")
    manifest = parse(BundleManifest, values, where=f"{where}/{MANIFEST}")
    paths = [file.path for file in manifest.files]
    for path in paths:
        require_safe(path, where=where)
    if len(set(paths)) != len(paths):
        raise EdgedetError(f"{MANIFEST} lists a file twice", where=where)
    return manifest


def require_safe(path: str, *, where: object = None) -> None:
    """Refuses a path that could lead out of the folder that it is put into, or drive a terminal or a shell.

    Raises:
        EdgedetError: it is absolute, goes up, is too long, or has characters that edgedet's bundles never have.
    """
    parts = path.split("/")
    named = re.fullmatch(r"[A-Za-z0-9_.+/-]+", path, re.ASCII) is not None
    if not named or len(path) > LONGEST_PATH or any(part in ("", ".", "..") for part in parts) or parts[0][0] == "-":
        raise EdgedetError(
            f"a path that no bundle has: {path[:LONGEST_PATH]!r}", where=where, fix="take no bundle from this source"
        )


@dataclass(frozen=True)
class Found:
    """A file as it was found in a folder or an archive."""

    size: int
    sha256: str
    executable: bool


def differences(manifest: BundleManifest, found: Mapping[str, Found]) -> Iterator[str]:
    """What is not as the manifest says, each in words: missing, surplus and changed files."""
    listed = {file.path: file for file in manifest.files}
    for path, file in listed.items():
        here = found.get(path)
        if here is None:
            yield f"{path} is missing"
        elif here.size != file.size:
            yield f"{path} has {here.size} bytes instead of {file.size}"
        elif here.sha256 != file.sha256:
            yield f"{path} was changed: its SHA-256 is not the manifest's"
        elif file.executable and not here.executable:
            yield f"{path} is no longer executable"
    for path in found:
        if path not in listed and path != MANIFEST:
            yield f"{path} is not in the manifest"
