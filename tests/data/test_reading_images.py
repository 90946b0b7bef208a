"""Any common image file comes out upright, 8-bit and BGR, as Pillow reads it; a broken one is an error naming it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from edgedet.data import images
from edgedet.data.images import decode_image, image_size, probe_image, read_image, read_smaller_image
from edgedet.errors import EdgedetError

ORIENTATION_TAG = 274
RNG = np.random.default_rng(0)
SMOOTH = np.asarray(cv2.resize(RNG.integers(0, 256, (6, 8, 3), np.uint8), (80, 60)), np.uint8)
"""A smooth picture of 60 rows and 80 columns, BGR: JPEG hardly changes it."""

NOISE = RNG.integers(0, 256, (60, 80, 3), np.uint8)


def pillow(bgr: np.ndarray = SMOOTH) -> Pillow.Image:
    return Pillow.fromarray(np.ascontiguousarray(bgr[..., ::-1]))


def saved(image: Pillow.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def as_pillow_reads(data: bytes) -> np.ndarray:
    image = ImageOps.exif_transpose(Pillow.open(io.BytesIO(data)))
    assert image is not None
    return np.asarray(image.convert("RGB"))[..., ::-1].astype(int)


def largest_difference(image: np.ndarray, expected: np.ndarray) -> int:
    assert image.dtype == np.uint8
    assert image.shape == expected.shape
    return int(np.abs(image.astype(int) - expected.astype(int)).max())


def with_orientation(format: str, orientation: int) -> bytes:
    exif = Pillow.Exif()
    exif[ORIENTATION_TAG] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    return saved(pillow(), format, exif=exif, **options)


class TestKinds:
    @pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_every_exif_orientation_is_applied(self, format: str, orientation: int, tmp_path: Path) -> None:
        data = with_orientation(format, orientation)
        path = tmp_path / "image"
        path.write_bytes(data)
        image = read_image(path)
        assert largest_difference(image, as_pillow_reads(data)) <= 1
        assert image_size(path) == image.shape[:2] == ((80, 60) if orientation >= 5 else (60, 80))

    @pytest.mark.parametrize("orientation", [0, 9, 65535])
    def test_a_nonsense_orientation_is_no_orientation(self, orientation: int) -> None:
        assert largest_difference(decode_image(with_orientation("PNG", orientation)), SMOOTH) == 0

    def test_orientation_of_16_bit_tiff(self) -> None:
        samples = RNG.integers(0, 65536, (60, 80), np.uint16)
        tags = ImageFileDirectory_v2()
        tags[ORIENTATION_TAG] = 6
        image = decode_image(saved(Pillow.fromarray(samples), "TIFF", tiffinfo=tags))
        assert np.array_equal(image[..., 0], np.rot90(samples, -1) >> 8)

    def test_big_endian_tiff_is_turned_too(self) -> None:
        entries = [(256, 3, 3), (257, 3, 2), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 200), (274, 3, 6)]
        entries += [(277, 3, 1), (278, 3, 2), (279, 4, 6)]
        directory = b"".join(
            struct.pack(">HHI", tag, kind, 1)
            + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
            for tag, kind, value in entries
        )
        data = b"MM\0*" + struct.pack(">IH", 8, len(entries)) + directory + struct.pack(">I", 0)
        data = data.ljust(200, b"\0") + bytes([10, 20, 30, 40, 50, 60])
        assert decode_image(data)[..., 0].tolist() == [[40, 10], [50, 20], [60, 30]]

    def test_grey(self) -> None:
        grey = Pillow.fromarray(SMOOTH[..., 0])
        for format in ("PNG", "BMP", "TIFF"):
            image = decode_image(saved(grey, format))
            assert largest_difference(image, np.repeat(SMOOTH[..., :1], 3, axis=2)) == 0
        data = saved(grey, "JPEG", quality=95)
        assert largest_difference(decode_image(data), as_pillow_reads(data)) <= 1

    @pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
    def test_alpha_is_dropped_and_touches_no_colour(self, format: str) -> None:
        rgba = Pillow.fromarray(np.dstack([SMOOTH[..., ::-1], NOISE[..., 0]]), "RGBA")
        options = {"lossless": True, "exact": True} if format == "WEBP" else {}
        assert largest_difference(decode_image(saved(rgba, format, **options)), SMOOTH) == 0

    def test_grey_with_alpha(self) -> None:
        image = decode_image(saved(Pillow.fromarray(np.dstack([SMOOTH[..., 0], NOISE[..., 0]]), "LA"), "PNG"))
        assert largest_difference(image, np.repeat(SMOOTH[..., :1], 3, axis=2)) == 0

    @pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF"])
    def test_palette(self, format: str) -> None:
        data = saved(pillow().quantize(16), format)
        assert largest_difference(decode_image(data), as_pillow_reads(data)) == 0

    def test_palette_with_transparency(self) -> None:
        data = saved(pillow().quantize(16), "PNG", transparency=3)
        assert largest_difference(decode_image(data), as_pillow_reads(data)) == 0

    @pytest.mark.parametrize("format", ["PNG", "TIFF"])
    def test_one_bit(self, format: str) -> None:
        data = saved(pillow().convert("1"), format)
        assert largest_difference(decode_image(data), as_pillow_reads(data)) == 0

    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_16_bit_keeps_the_upper_byte(self, suffix: str, channels: int) -> None:
        samples = RNG.integers(0, 65536, (60, 80, channels), np.uint16)
        data = cv2.imencode(suffix, samples)[1].tobytes()
        expected = np.repeat(samples >> 8, 3, axis=2) if channels == 1 else samples >> 8
        assert largest_difference(decode_image(data), expected) == 0

    def test_16_bit_rgba_png(self) -> None:
        samples = RNG.integers(0, 65536, (60, 80, 4), np.uint16)
        data = cv2.imencode(".png", samples)[1].tobytes()
        assert largest_difference(decode_image(data), samples[..., :3] >> 8) == 0

    def test_cmyk_jpeg(self) -> None:
        data = saved(pillow().convert("CMYK"), "JPEG", quality=95)
        assert largest_difference(decode_image(data), as_pillow_reads(data)) <= 3
        assert largest_difference(decode_image(data), SMOOTH) <= 12

    def test_ycck_jpeg(self) -> None:
        """Pillow writes CMYK only: the planes are converted here, and the Adobe marker says so."""
        cmy, black = pillow(255 - SMOOTH), Pillow.new("L", (80, 60), 40)
        y, cb, cr = ImageOps.invert(cmy).convert("YCbCr").split()
        planes = [ImageOps.invert(plane) for plane in (y, cb, cr)]
        data = saved(Pillow.merge("CMYK", [*planes, black]), "JPEG", quality=98)
        transform = data.index(b"Adobe") + 11
        data = data[:transform] + b"\x02" + data[transform + 1 :]
        assert largest_difference(decode_image(data), as_pillow_reads(data)) <= 4

    def test_bmp_of_either_row_order(self) -> None:
        bottom_up = saved(pillow(), "BMP")
        rows = SMOOTH.tobytes()
        top_down = bottom_up[:22] + struct.pack("<i", -60) + bottom_up[26:54] + rows
        assert largest_difference(decode_image(bottom_up), SMOOTH) == 0
        assert largest_difference(decode_image(top_down), SMOOTH) == 0

    def test_progressive_jpeg_with_thumbnail_and_trailing_bytes(self, tmp_path: Path) -> None:
        data = saved(pillow(NOISE), "JPEG", quality=90, progressive=True)
        thumbnail = saved(pillow().resize((16, 12)), "JPEG")
        segment = b"Exif\0\0" + thumbnail
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:] + b"maker's note"
        path = tmp_path / "image.jpg"
        path.write_bytes(data)
        assert largest_difference(read_image(path), as_pillow_reads(data)) <= 2
        assert probe_image(path) == (60, 80)

    @pytest.mark.parametrize("lossless", [True, False])
    @pytest.mark.parametrize("alpha", [True, False])
    def test_each_kind_of_webp_states_its_size(self, lossless: bool, alpha: bool, tmp_path: Path) -> None:
        image = Pillow.fromarray(np.dstack([SMOOTH, NOISE[..., 0]]), "RGBA") if alpha else pillow()
        path = tmp_path / "image.webp"
        image.save(path, "WEBP", lossless=lossless)
        assert image_size(path) == probe_image(path) == read_image(path).shape[:2] == (60, 80)


def jpeg_with_thumbnail() -> bytes:
    data = saved(pillow(NOISE), "JPEG", quality=90)
    segment = b"Exif\0\0" + saved(pillow().resize((16, 12)), "JPEG")
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


WHOLE_FILES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: saved(pillow(NOISE), "JPEG", quality=90),
    "progressive jpeg": lambda: saved(pillow(NOISE), "JPEG", quality=90, progressive=True),
    "jpeg with thumbnail": jpeg_with_thumbnail,
    "png": lambda: saved(pillow(NOISE), "PNG"),
    "webp": lambda: saved(pillow(NOISE), "WEBP"),
    "bmp": lambda: saved(pillow(NOISE), "BMP"),
    "tiff": lambda: saved(pillow(NOISE), "TIFF"),
}


class TestSmaller:
    """Decoded at a part of its size, an image shows what it shows as a whole one that is resized."""

    @staticmethod
    def difference(image: np.ndarray, whole: np.ndarray, reduction: int) -> float:
        """The mean one to a whole image that is resized, to whose right and bottom a part of a pixel is added."""
        below, right = (reduction * np.array(image.shape) - whole.shape)[:2]
        padded = cv2.copyMakeBorder(whole.astype(np.uint8), 0, below, 0, right, cv2.BORDER_REPLICATE)
        expected = cv2.resize(padded, image.shape[1::-1], interpolation=cv2.INTER_AREA)
        return float(np.abs(image.astype(int) - expected.astype(int)).mean())

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_it_is_upright(self, orientation: int, tmp_path: Path) -> None:
        path = tmp_path / "image"
        path.write_bytes(with_orientation("JPEG", orientation))
        image, reduction = read_smaller_image(path, 40)
        assert reduction == 2
        assert image.shape[:2] == ((40, 30) if orientation >= 5 else (30, 40))
        assert self.difference(image, as_pillow_reads(path.read_bytes()), reduction) < 2

    @pytest.mark.parametrize(
        ("side", "expected"), [(81, 1), (80, 1), (41, 1), (40, 2), (21, 2), (20, 4), (10, 4), (1, 4)]
    )
    def test_it_is_no_smaller_than_asked_for(self, side: int, expected: int, tmp_path: Path) -> None:
        path = tmp_path / "image.jpg"
        path.write_bytes(saved(pillow(), "JPEG", quality=98))
        image, reduction = read_smaller_image(path, side)
        assert reduction == expected
        assert max(image.shape) >= min(side, 80)
        assert self.difference(image, read_image(path), reduction) < (2 if reduction > 1 else 1e-9)

    @pytest.mark.parametrize("mode", ["L", "CMYK"])
    def test_sides_are_rounded_up(self, mode: str, tmp_path: Path) -> None:
        path = tmp_path / "image.jpg"
        pillow(SMOOTH[:57, :79]).convert(mode).save(path, quality=98)
        for side, reduction, shape in ((39, 2, (29, 40, 3)), (19, 4, (15, 20, 3))):
            image, found = read_smaller_image(path, side)
            assert (found, image.shape) == (reduction, shape)
            assert self.difference(image, read_image(path), reduction) < 2

    def test_what_the_decoder_does_not_scale_is_whole(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(images, "_REDUCED", dict.fromkeys((1, 2, 4), 0))
        path = tmp_path / "lossless.jpg"
        path.write_bytes(saved(pillow(), "JPEG"))
        image, reduction = read_smaller_image(path, 20)
        assert reduction == 1
        np.testing.assert_array_equal(image, read_image(path))

    @pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "BMP"])
    def test_other_formats_are_whole(self, format: str, tmp_path: Path) -> None:
        path = tmp_path / "image"
        path.write_bytes(saved(pillow(), format))
        image, reduction = read_smaller_image(path, 8)
        assert reduction == 1
        np.testing.assert_array_equal(image, read_image(path))

    def test_a_truncated_file_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "cut.jpg"
        path.write_bytes(saved(pillow(), "JPEG")[:-40])
        with pytest.raises(EdgedetError, match="truncated"):
            read_smaller_image(path, 20)


class TestBroken:
    @pytest.mark.parametrize("kind", WHOLE_FILES)
    @settings(max_examples=25, deadline=None)
    @given(share=st.floats(0, 1, exclude_max=True))
    def test_a_truncated_file_is_an_error_at_any_length(self, kind: str, share: float) -> None:
        whole = WHOLE_FILES[kind]()
        with pytest.raises(EdgedetError) as error:
            decode_image(whole[: int(share * (len(whole) - 1))], where="cut.jpg")
        assert "cut.jpg" in str(error.value)
        assert error.value.fix

    @pytest.mark.parametrize("kind", ["jpeg", "progressive jpeg", "jpeg with thumbnail", "png"])
    def test_what_is_missing_is_not_hidden_by_zeros(self, kind: str, tmp_path: Path) -> None:
        """An interrupted download often leaves a file of the full length."""
        whole = WHOLE_FILES[kind]()
        path = tmp_path / "image"
        path.write_bytes(whole[: len(whole) * 3 // 4].ljust(len(whole), b"\0"))
        for read in (read_image, probe_image):
            with pytest.raises(EdgedetError, match="truncated"):
                read(path)

    @pytest.mark.parametrize("kind", ["jpeg", "jpeg with thumbnail", "png"])
    def test_probing_tells_whole_from_cut(self, kind: str, tmp_path: Path) -> None:
        whole, path = WHOLE_FILES[kind](), tmp_path / "image"
        path.write_bytes(whole)
        assert probe_image(path) == (60, 80)
        path.write_bytes(whole[:-3])
        with pytest.raises(EdgedetError, match="truncated"):
            probe_image(path)

    @pytest.mark.parametrize("kind", WHOLE_FILES)
    @settings(max_examples=40, deadline=None)
    @given(data=st.data())
    def test_damage_gives_an_image_or_an_error(self, kind: str, data: st.DataObject) -> None:
        damaged = bytearray(WHOLE_FILES[kind]())
        for _ in range(data.draw(st.integers(1, 8))):
            position = data.draw(st.integers(0, min(len(damaged) - 1, 700)))
            damaged[position] = data.draw(st.integers(0, 255))
        try:
            image = decode_image(bytes(damaged))
        except EdgedetError:
            return
        assert image.dtype == np.uint8
        assert image.ndim == 3

    @settings(max_examples=200, deadline=None)
    @given(
        start=st.sampled_from([b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF....WEBP", b"II*\0", b"MM\0*", b""]),
        rest=st.binary(max_size=80),
    )
    def test_no_header_crashes_the_reader(self, start: bytes, rest: bytes) -> None:
        with pytest.raises(EdgedetError):
            decode_image(start + rest)

    def test_a_file_that_is_no_image(self, tmp_path: Path) -> None:
        path = tmp_path / "page.jpg"
        path.write_text("<html>404</html>")
        with pytest.raises(EdgedetError, match="not an image of a known format") as error:
            read_image(path)
        assert str(path) in str(error.value)

    def test_an_empty_file_a_folder_and_a_missing_file(self, tmp_path: Path) -> None:
        empty = tmp_path / "empty.png"
        empty.touch()
        with pytest.raises(EdgedetError, match="empty file"):
            read_image(empty)
        for path in (tmp_path, tmp_path / "missing.png"):
            for read in (read_image, image_size, probe_image):
                with pytest.raises(EdgedetError, match="cannot read"):
                    read(path)

    def test_a_wrong_checksum_in_a_png(self) -> None:
        data = bytearray(WHOLE_FILES["png"]())
        data[len(data) // 2] ^= 0xFF
        with pytest.raises(EdgedetError, match="cannot be decoded"):
            decode_image(bytes(data))

    def test_float_samples_are_refused(self) -> None:
        data = cv2.imencode(".tif", np.ones((4, 4), np.float32))[1].tobytes()
        with pytest.raises(EdgedetError, match="cannot be decoded"):
            decode_image(data)


def png_that_states(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(b"\0" * 1000), b"IEND"]
    body = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


class TestBounds:
    @pytest.mark.parametrize(
        "data",
        [
            png_that_states(100_000, 100_000),
            png_that_states(2**31 - 1, 2**31 - 1),
            b"BM" + struct.pack("<12xIii", 40, 60_000, -60_000),
            b"RIFF\xff\xff\xff\xffWEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff" * 6,
            b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 8, 65535, 65535, 3),
            b"II*\0" + struct.pack("<IHHHIIHHII", 8, 2, 256, 4, 1, 90_000, 257, 4, 1, 90_000),
        ],
        ids=["png", "png 2^31", "bmp", "webp", "jpeg", "tiff"],
    )
    def test_a_decompression_bomb_is_refused_by_its_header(self, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cv2, "imdecode", lambda *args: pytest.fail("decoded"))
        with pytest.raises(EdgedetError, match="more than the"):
            decode_image(data)

    def test_zero_pixels(self) -> None:
        with pytest.raises(EdgedetError, match="0x5 pixels"):
            decode_image(png_that_states(0, 5))

    def test_a_large_file_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(images, "MAX_BYTES", 1000)
        path = tmp_path / "image.png"
        path.write_bytes(WHOLE_FILES["png"]())
        with pytest.raises(EdgedetError, match="larger than"):
            read_image(path)

    def test_an_endless_chain_of_directories_or_chunks_ends(self) -> None:
        chunk = struct.pack(">I4sI", 0, b"teXt", 0)
        with pytest.raises(EdgedetError):
            decode_image(png_that_states(5, 5)[:33] + chunk * 50_000)


def test_real_images_read_alike_with_opencv(bccd: Path) -> None:
    for path in sorted((bccd / "JPEGImages").glob("*.jpg"))[:5]:
        assert np.array_equal(read_image(path), cv2.imread(str(path)))
        assert image_size(path) == probe_image(path) == (480, 640)
