"""Reading image files: any common kind in, upright 8-bit BGR out, and an error that names the file where it is broken.

The rules, the same for training and for every runtime:

- greyscale and palette images become three channels;
- alpha is dropped, not composited (like OpenCV's `imread` and Pillow's `convert("RGB")`: no background is right);
- CMYK and YCCK JPEGs are converted without their colour profile;
- 16-bit samples keep their upper byte (`value >> 8`);
- the EXIF orientation is applied, so that boxes live in the image as people see it;
- of an animation or a stack of pages, the first image is read.
"""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edgedet.data.image_header import ImageHeader, read_header
from edgedet.errors import EdgedetError
from edgedet.files import MEBIBYTE, read_bytes

logger = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
MAX_BYTES = 256 * MEBIBYTE
MAX_PIXELS = 1 << 27

_TAIL_BYTES = 64

Image = NDArray[np.uint8]
Read = TypeVar("Read")


def read_image(path: Path) -> Image:
    """The image in a file, as uint8 BGR `[h, w, 3]`, upright (the module's docstring lists the rules).

    Raises:
        EdgedetError: missing, unknown format, truncated or broken, more than `MAX_BYTES` or `MAX_PIXELS`.
    """
    return decode_image(read_bytes(path, limit=MAX_BYTES), where=path)


def read_smaller_image(path: Path, side: int) -> tuple[Image, int]:
    """The image in a file as `read_image` gives it, or smaller, for who makes its longer side `side` pixels anyway.

    Decoding a JPEG at a half or a quarter of its size takes less time, and it needs less resizing; the pixels are
    nearly those of a resized one, so it is for training, not for what must be the same on every runtime.

    Returns:
        The image, whose sides are those of the whole one divided by a number and rounded up, and the number: 1, 2 or 4.

    Raises:
        EdgedetError: like `read_image`.
    """
    data = read_bytes(path, limit=MAX_BYTES)
    header = _header(io.BytesIO(data), path)
    times = max(header.height, header.width) / side if header.format == "JPEG" else 1
    reduction = max(one for one in _REDUCED if one <= max(times, 1))
    image = _image(data, header, path, reduction)
    # A lossless JPEG has no DCT to scale, and comes whole.
    return image, 1 if image.shape[:2] == header.upright_size else reduction


def tried(read: Callable[[], Read]) -> Read | None:
    """What `read` gives, or None and a warning in the log: one broken file does not end a long run."""
    try:
        return read()
    except EdgedetError as error:
        logger.warning("cannot be used: %s", error)
        return None


def try_read_image(path: Path) -> Image | None:
    """`read_image`, or None and a warning in the log."""
    return tried(lambda: read_image(path))


def decode_image(data: bytes, *, where: object = None) -> Image:
    """The image in the bytes of an image file; `where` names them in errors. Otherwise like `read_image`."""
    return _image(data, _header(io.BytesIO(data), where), where)


def _image(data: bytes, header: ImageHeader, where: object, reduction: int = 1) -> Image:
    if not _is_complete(data, header):
        raise _truncated(header, where)
    pixels = _decode(data, header, reduction)
    if pixels is None or pixels.ndim != 3 or pixels.dtype not in (np.uint8, np.uint16):
        raise EdgedetError(f"cannot be decoded: a broken or unusual {header.format}", where=where, fix=_FIX)
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    pixels = np.ascontiguousarray(_UPRIGHT[header.orientation](pixels[..., :3]))
    height, width = (-(-side // reduction) for side in header.upright_size)
    if pixels.shape not in ((*header.upright_size, 3), (height, width, 3)):
        raise EdgedetError("broken image: its pixels are not of the size its header states", where=where, fix=_FIX)
    return pixels


def image_size(path: Path) -> tuple[int, int]:
    """`(height, width)` of the upright image, from the file's header; no pixel is decoded.

    Raises:
        EdgedetError: missing, unknown format, broken header, or more than `MAX_PIXELS`.
    """
    try:
        with path.open("rb") as file:
            return _header(file, path).upright_size
    except OSError as error:
        raise _cannot_read(path, error) from error


def probe_image(path: Path) -> tuple[int, int]:
    """`image_size`, and for JPEG and PNG the certainty that the file was not cut short.

    The last bytes of a sound file settle it; only where data follows the image is the whole file read.
    """
    try:
        with path.open("rb") as file:
            header = _header(file, path)
            end = file.seek(0, io.SEEK_END)
            file.seek(max(0, end - _TAIL_BYTES))
            if not _ends_well(file.read(), header) and not _is_complete(read_bytes(path, limit=MAX_BYTES), header):
                raise _truncated(header, path)
    except OSError as error:
        raise _cannot_read(path, error) from error
    return header.upright_size


_FIX = "save the image again, or remove it from the dataset"


def _truncated(header: ImageHeader, where: object) -> EdgedetError:
    return EdgedetError(f"truncated image: the {header.format} ends too early", where=where, fix=_FIX)


def _cannot_read(path: Path, error: OSError) -> EdgedetError:
    return EdgedetError(f"cannot read the file ({error.strerror})", where=path, fix="check the path")


def _header(stream: BinaryIO, where: object) -> ImageHeader:
    try:
        header = read_header(stream)
    except EdgedetError as error:
        raise EdgedetError(error.what, where=where, fix=_FIX) from error
    if header.height * header.width > MAX_PIXELS:
        raise EdgedetError(
            f"the image states {header.width}x{header.height} pixels, more than the {MAX_PIXELS} that are decoded",
            where=where,
            fix="cut it into tiles or make it smaller",
        )
    return header


# A detector hardly tells these from resized images (`benchmarks/smaller_images.py`); an eighth was not measured.
_REDUCED = {1: 0, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}


def _decode(data: bytes, header: ImageHeader, reduction: int) -> NDArray | None:
    """OpenCV's decoder, with its own handling of orientation out of the way (versions and formats differ in it)."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION | _REDUCED[reduction]
    if header.overwrites:
        neutral = bytearray(data)
        for offset, value in header.overwrites:
            neutral[offset : offset + len(value)] = value
        data = bytes(neutral)
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def _is_complete(data: bytes, header: ImageHeader) -> bool:
    """Whether the file holds its end. Decoders fill what is missing with grey, so it is looked for here."""
    if header.format == "JPEG":
        return _jpeg_is_complete(data)
    if header.format == "PNG":
        return _png_is_complete(data)
    if header.format == "WebP":
        return len(data) >= 8 + struct.unpack_from("<I", data, 4)[0]
    return True


def _ends_well(tail: bytes, header: ImageHeader) -> bool:
    end = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xae\x42\x60\x82"}.get(header.format, b"")
    return tail.endswith(end)


def _jpeg_is_complete(data: bytes) -> bool:
    """Whether the end marker follows the start of the first scan.

    The segments before the scan are stepped over, because an embedded thumbnail has an end marker of its own.
    Inside a scan a 0xFF is always escaped, and what follows the image (a second picture, a maker's note) is no matter.
    """
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return False
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif 0xD0 <= marker <= 0xD8 or marker == 0x01:
            position += 2
        elif marker == 0xDA:
            return data.endswith(b"\xff\xd9") or data.find(b"\xff\xd9", position) >= 0
        else:
            position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    return False


def _png_is_complete(data: bytes) -> bool:
    position = 8
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        position += 12 + length
        if kind == b"IEND":
            return position <= len(data)
    return False


_UPRIGHT: dict[int, Callable[[NDArray], NDArray]] = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: image.transpose(1, 0, 2)[:, ::-1],
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: image.transpose(1, 0, 2)[::-1],
}
