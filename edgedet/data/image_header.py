"""What an image file says of itself before any pixel is decoded: format, size, EXIF orientation.

Read from JPEG, PNG, BMP, WebP and TIFF headers, with every length that the file states checked against a bound,
so that a small file which claims to hold a huge image is refused before memory is spent on it.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from edgedet.errors import EdgedetError

FORMATS = ("JPEG", "PNG", "BMP", "WebP", "TIFF")
_MAX_SEGMENTS = 1000
_MAX_TAGS = 4096
_MAX_EXIF_BYTES = 1 << 20

_WIDTH_TAG, _HEIGHT_TAG, _ORIENTATION_TAG, _EXTRA_SAMPLES_TAG = 256, 257, 274, 338
_UNASSOCIATED_ALPHA = 2
_STANDALONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class ImageHeader:
    """The stored size of an image and how to turn it upright.

    Attributes:
        format: one of `FORMATS`.
        height: rows as stored in the file.
        width: columns as stored in the file.
        orientation: EXIF orientation, 1 to 8 (CIPA DC-008, tag 274); 1 where the file states none or nonsense.
        overwrites: `(offset, bytes)` to write over a TIFF so that decoders leave its pixels as they are stored:
            most turn the image whatever they are told, and multiply an alpha channel into the colours.
    """

    format: str
    height: int
    width: int
    orientation: int = 1
    overwrites: tuple[tuple[int, bytes], ...] = ()

    @property
    def upright_size(self) -> tuple[int, int]:
        """`(height, width)` once the orientation is applied; orientations 5 to 8 swap the sides."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


def read_header(stream: BinaryIO) -> ImageHeader:
    """The header of the image in a seekable binary `stream`.

    Raises:
        EdgedetError: the format is none of `FORMATS`, or the header is cut short or contradicts itself.
    """
    start = stream.read(12)
    stream.seek(0)
    try:
        if start.startswith(b"\xff\xd8"):
            header = _jpeg(stream)
        elif start.startswith(b"\x89PNG\r\n\x1a\n"):
            header = _png(stream)
        elif start.startswith(b"BM"):
            header = _bmp(stream)
        elif start[:4] == b"RIFF" and start[8:12] == b"WEBP":
            header = _webp(stream)
        elif start[:4] in (b"II*\0", b"MM\0*"):
            header = _tiff(stream)
        else:
            raise EdgedetError("empty file" if not start else f"not an image of a known format ({', '.join(FORMATS)})")
    except (struct.error, EOFError) as error:
        raise EdgedetError("truncated image: its header is cut short") from error
    if header.height < 1 or header.width < 1:
        raise EdgedetError(f"broken image: its header states {header.width}x{header.height} pixels")
    return header


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def _jpeg(stream: BinaryIO) -> ImageHeader:
    stream.seek(2)
    orientation = 1
    for _ in range(_MAX_SEGMENTS):
        marker = _jpeg_marker(stream)
        if marker in _STANDALONE_MARKERS:
            continue
        (length,) = struct.unpack(">H", _exactly(stream, 2))
        if marker in _FRAME_MARKERS:
            height, width = struct.unpack(">xHH", _exactly(stream, 5))
            return ImageHeader("JPEG", height, width, orientation)
        if marker in (0xD9, 0xDA) or length < 2:
            break
        if marker == 0xE1:
            payload = _exactly(stream, length - 2)
            if payload.startswith(b"Exif\0"):
                orientation = _exif_orientation(payload[6:])
        else:
            stream.seek(length - 2, os.SEEK_CUR)
    raise EdgedetError("broken image: a JPEG without a frame header")


def _jpeg_marker(stream: BinaryIO) -> int:
    """The next marker byte; any number of 0xFF may stand before it (ITU-T T.81, B.1.1.2)."""
    if _exactly(stream, 1) != b"\xff":
        raise EdgedetError("broken image: a JPEG segment does not start with a marker")
    for _ in range(_MAX_SEGMENTS):
        marker = _exactly(stream, 1)[0]
        if marker != 0xFF:
            return marker
    raise EdgedetError("broken image: a JPEG of fill bytes only")


def _png(stream: BinaryIO) -> ImageHeader:
    stream.seek(8)
    length, kind, width, height = struct.unpack(">I4sII", _exactly(stream, 16))
    if kind != b"IHDR" or length != 13:
        raise EdgedetError("broken image: a PNG that does not start with IHDR")
    stream.seek(9, os.SEEK_CUR)
    for _ in range(_MAX_SEGMENTS):
        chunk = stream.read(8)
        if len(chunk) < 8:
            break
        length, kind = struct.unpack(">I4s", chunk)
        if kind in (b"IDAT", b"IEND"):
            break
        if kind == b"eXIf" and length <= _MAX_EXIF_BYTES:
            return ImageHeader("PNG", height, width, _exif_orientation(_exactly(stream, length)))
        stream.seek(length + 4, os.SEEK_CUR)
    return ImageHeader("PNG", height, width)


def _bmp(stream: BinaryIO) -> ImageHeader:
    stream.seek(14)
    (length,) = struct.unpack("<I", _exactly(stream, 4))
    if length == 12:
        width, height = struct.unpack("<HH", _exactly(stream, 4))
    else:
        width, height = struct.unpack("<ii", _exactly(stream, 8))
    return ImageHeader("BMP", abs(height), width)


def _webp(stream: BinaryIO) -> ImageHeader:
    stream.seek(12)
    kind, _length, data = struct.unpack("<4sI10s", _exactly(stream, 18))
    if kind == b"VP8 ":
        width, height = struct.unpack("<6xHH", data)
        return ImageHeader("WebP", height & 0x3FFF, width & 0x3FFF)
    if kind == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return ImageHeader("WebP", (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1)
    if kind == b"VP8X":
        width = int.from_bytes(data[4:7], "little") + 1
        height = int.from_bytes(data[7:10], "little") + 1
        return ImageHeader("WebP", height, width, _webp_orientation(stream))
    raise EdgedetError("broken image: a WebP without an image chunk")


def _webp_orientation(stream: BinaryIO) -> int:
    stream.seek(30)
    for _ in range(_MAX_SEGMENTS):
        chunk = stream.read(8)
        if len(chunk) < 8:
            break
        kind, length = struct.unpack("<4sI", chunk)
        if kind == b"EXIF" and length <= _MAX_EXIF_BYTES:
            return _exif_orientation(stream.read(length).removeprefix(b"Exif\0\0"))
        stream.seek(length + length % 2, os.SEEK_CUR)
    return 1


def _tiff(stream: BinaryIO) -> ImageHeader:
    end = "<" if _exactly(stream, 4)[:2] == b"II" else ">"
    (offset,) = struct.unpack(end + "I", _exactly(stream, 4))
    stream.seek(offset)
    (count,) = struct.unpack(end + "H", _exactly(stream, 2))
    tags = _tags(_exactly(stream, 12 * min(count, _MAX_TAGS)), end)
    if _WIDTH_TAG not in tags or _HEIGHT_TAG not in tags:
        raise EdgedetError("broken image: a TIFF that states no size")
    orientation, orientation_entry = tags.get(_ORIENTATION_TAG, (1, 0))
    extra_samples, extra_entry = tags.get(_EXTRA_SAMPLES_TAG, (0, 0))
    overwrites = []
    if orientation != 1:
        overwrites.append((offset + 2 + orientation_entry + 8, struct.pack(end + "H", 1)))
    if extra_samples == _UNASSOCIATED_ALPHA:
        overwrites.append((offset + 2 + extra_entry + 8, struct.pack(end + "H", 0)))
    upright = orientation if 1 <= orientation <= 8 else 1
    return ImageHeader("TIFF", tags[_HEIGHT_TAG][0], tags[_WIDTH_TAG][0], upright, tuple(overwrites))


def _tags(entries: bytes, end: str) -> dict[int, tuple[int, int]]:
    """The whole-number tags of one TIFF directory: value, and position of the entry in `entries`."""
    tags = {}
    for position in range(0, len(entries) - 11, 12):
        tag, kind, count = struct.unpack_from(end + "HHI", entries, position)
        if count == 1 and kind in (3, 4):
            (value,) = struct.unpack_from(end + ("H" if kind == 3 else "I"), entries, position + 8)
            tags[tag] = (value, position)
    return tags


def _exif_orientation(data: bytes) -> int:
    """The orientation in an EXIF block (a TIFF without pixels); 1 where it is missing or the block is damaged."""
    try:
        end = {b"II": "<", b"MM": ">"}[data[:2]]
        (offset,) = struct.unpack_from(end + "I", data, 4)
        (count,) = struct.unpack_from(end + "H", data, offset)
    except (KeyError, struct.error):
        return 1
    entries = data[offset + 2 : offset + 2 + 12 * min(count, _MAX_TAGS)]
    orientation = _tags(entries, end).get(_ORIENTATION_TAG, (1, 0))[0]
    return orientation if 1 <= orientation <= 8 else 1
