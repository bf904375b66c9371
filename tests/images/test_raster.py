"""PNG, JPEG, WebP, BMP, TIFF and arrays: every depth, and every way in which a file can be bad."""

from __future__ import annotations

import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from bonefx import images
from bonefx.errors import ImageError
from tests.images.pictures import COLOUR, DEEP, GREY, grey_rgb, saved, windowed


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(samples: np.ndarray, size: tuple[int, int] | None = None) -> bytes:
    """A PNG of 16-bit samples (Pillow writes no colour ones), perhaps claiming another size."""
    height, width = samples.shape[:2]
    kind = {2: 0, 3: 2, 4: 6}[samples.shape[2] if samples.ndim == 3 else 2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">2I5B", *(size or (width, height)), 16, kind, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(samples: np.ndarray, order: str = "<", photometric: int = 1) -> bytes:
    """An uncompressed TIFF of 16-bit samples in one strip."""
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    pixels = samples.astype(f"{order}u2").tobytes()
    depths = struct.pack(f"{order}{channels}H", *[16] * channels)
    start = 8 + 2 + 9 * 12 + 4
    tags = [  # tag, type (3 short, 4 long), count, value
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, start if channels > 2 else 16),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, start + len(depths)),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(pixels)),
    ]
    entries = b"".join(
        struct.pack(
            f"{order}HHI" + ("HH" if kind == 3 and count == 1 else "I"), tag, kind, count, value, *pad
        )
        for tag, kind, count, value in tags
        for pad in [(0,) if kind == 3 and count == 1 else ()]
    )
    mark = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HIH", 42, 8, len(tags))
    return mark + entries + struct.pack(f"{order}I", 0) + depths + pixels


class TestRaster:
    @pytest.mark.parametrize(
        ("content", "expected", "tolerance"),
        [
            # what it is, what is shown, and by how much it may differ
            (saved(GREY, "PNG"), grey_rgb(GREY), 0),
            (saved(COLOUR, "PNG"), COLOUR, 0),
            (saved(COLOUR, "BMP"), COLOUR, 0),
            (saved(COLOUR, "WEBP", lossless=True), COLOUR, 0),
            (saved(GREY, "TIFF", compression="tiff_lzw"), grey_rgb(GREY), 0),
            (saved(COLOUR, "TIFF", compression="jpeg", quality=95), COLOUR, 24),
            (saved(GREY, "JPEG", quality=95), grey_rgb(GREY), 4),
            (saved(GREY, "JPEG", quality=95, progressive=True), grey_rgb(GREY), 4),
            # a palette; 1 bit
            (saved(Image.fromarray(GREY).convert("P"), "PNG"), grey_rgb(GREY), 0),
            (saved(Image.fromarray(GREY > 100), "PNG"), grey_rgb(np.uint8(255) * (GREY > 100)), 0),
            (
                saved(Image.fromarray(GREY > 100), "TIFF", compression="group4"),
                grey_rgb(np.uint8(255) * (GREY > 100)),
                0,
            ),
            # alpha goes over black: beside grey, beside colour, and as one transparent grey level
            (saved(np.dstack([GREY, np.full_like(GREY, 128)]), "PNG"), grey_rgb(GREY) * (128 / 255), 1),
            (saved(np.where(GREY > 99, GREY, 9), "PNG", transparency=9), grey_rgb(GREY * (GREY > 99)), 0),
            (saved(np.dstack([COLOUR, 255 - GREY]), "PNG"), COLOUR * (1 - GREY[..., None] / 255), 1),
            # CMYK, of which black is the fourth
            (saved(Image.fromarray(GREY).convert("CMYK"), "TIFF"), grey_rgb(GREY), 1),
            (saved(Image.fromarray(COLOUR).convert("CMYK"), "JPEG", quality=95), COLOUR, 24),
        ],
    )
    def test_eight_bits_are_shown_as_they_are(self, read, content, expected, tolerance):
        radiograph = read(content)
        assert radiograph.rgb.shape == expected.shape
        assert radiograph.rgb.dtype == np.uint8
        assert np.abs(radiograph.rgb.astype(float) - expected).max() <= tolerance
        assert radiograph.grey is None
        assert radiograph.notes == ()

    @pytest.mark.parametrize(
        ("content", "samples"),
        [
            (saved(DEEP, "PNG"), DEEP),
            (saved(DEEP, "TIFF", compression="tiff_deflate"), DEEP),
            (tiff(DEEP), DEEP),
            (tiff(DEEP, order=">"), DEEP),
            (tiff(DEEP, photometric=0), DEEP.max() - DEEP),  # low is white
            (png(np.dstack([DEEP] * 3)), DEEP),  # grey, stored as colour
            (tiff(np.dstack([DEEP] * 3), photometric=2), DEEP),
            (tiff(np.dstack([DEEP] * 3), order=">", photometric=2), DEEP),
            (png(np.dstack([DEEP] * 3 + [np.full_like(DEEP, 65535)])), DEEP),
        ],
    )
    def test_sixteen_bits_are_windowed_and_kept(self, read, content, samples):
        radiograph = read(content)
        assert np.abs(radiograph.rgb - windowed(samples)[..., None]).max() <= 1
        assert radiograph.grey.dtype == np.uint16
        assert np.array_equal(radiograph.grey, samples)

    def test_sixteen_bits_of_colour_share_one_window(self, read):
        samples = np.dstack([DEEP, DEEP // 2, DEEP.max() - DEEP])
        radiograph = read(png(samples))
        assert np.abs(radiograph.rgb - windowed(samples)).max() <= 1
        assert radiograph.grey is None

    def test_what_differs_shows_even_where_nearly_all_is_one_value(self, read):
        samples = np.zeros((60, 80), np.uint16)
        samples[0, :2] = 250, 500
        assert read(saved(samples, "PNG")).rgb[0, :3, 0].tolist() == [128, 255, 0]

    @pytest.mark.parametrize(
        "values",
        [
            DEEP.astype(np.int32) - 1000,  # negative
            DEEP.astype(np.int32) * 100_000,  # more than 16 bits
            DEEP.astype(np.float32) / 7e4 - 0.5,
            np.where(DEEP.max() == DEEP, np.nan, DEEP.astype(np.float32)),
        ],
    )
    def test_32_bit_tiff(self, read, values):
        radiograph = read(saved(values, "TIFF"))
        finite = np.nan_to_num(values.astype(float), nan=np.nanmin(values))
        assert np.abs(radiograph.rgb - windowed(finite)[..., None]).max() <= 1
        order = np.argsort(finite, axis=None)
        assert (np.diff(radiograph.grey.ravel()[order].astype(int)) >= 0).all()

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
    @pytest.mark.parametrize(
        ("orientation", "turned"),
        [
            (1, lambda a: a),
            (2, np.fliplr),
            (3, lambda a: np.rot90(a, 2)),
            (4, np.flipud),
            (5, lambda a: np.transpose(a, (1, 0, 2))),
            (6, lambda a: np.rot90(a, -1)),
            (7, lambda a: np.rot90(np.transpose(a, (1, 0, 2)), 2)),
            (8, np.rot90),
        ],
    )
    def test_exif_rotation(self, read, kind, orientation, turned):
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture = grey_rgb(GREY)
        picture[:20, :20] = 255  # a corner that tells all eight apart
        radiograph = read(saved(picture, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {})))
        expected = turned(picture)
        assert (radiograph.width, radiograph.height) == (expected.shape[1], expected.shape[0])
        assert np.abs(radiograph.rgb.astype(int) - expected).mean() < 3

    def test_sixteen_bits_are_turned_with_their_samples(self, read):
        exif = Image.Exif()
        exif[0x0112] = 6
        radiograph = read(saved(DEEP, "PNG", exif=exif))
        assert np.array_equal(radiograph.grey, np.rot90(DEEP, -1))

    def test_damaged_exif_does_not_cost_the_picture(self, read):
        content = saved(GREY, "JPEG", quality=95, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01garbage")
        assert np.abs(read(content).rgb[..., 0].astype(int) - GREY).max() <= 4

    @pytest.mark.parametrize(
        ("kind", "note"),
        [("PNG", "first of 3 frames"), ("WEBP", "first of 3 frames"), ("TIFF", "first of 3 pages")],
    )
    def test_the_first_of_several_pictures(self, read, kind, note):
        others = [Image.fromarray(255 - COLOUR), Image.fromarray(COLOUR // 2)]
        options = {} if kind == "TIFF" else {"lossless": True, "duration": 100}
        radiograph = read(saved(COLOUR, kind, save_all=True, append_images=others, **options))
        assert np.array_equal(radiograph.rgb, COLOUR)
        assert radiograph.notes == (note,)

    def test_content_decides_and_not_the_name(self, read):
        radiograph = read(saved(COLOUR, "PNG"), name="wrist.dcm")
        assert np.array_equal(radiograph.rgb, COLOUR)
        assert radiograph.name == "wrist.dcm"


def no_image(kind: bytes) -> bytes:
    return kind + bytes(range(256)) * 4


def zeroed(content: bytes) -> bytes:
    """With the first of its compressed samples lost; libtiff prints what it thinks of that."""
    return content[:10] + bytes(40) + content[50:]


class TestBadFiles:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "empty"),
            (b"hello, this is no image" * 50, "not an image"),
            (bytes(1000), "not an image"),
            (saved(GREY, "PNG")[:20], "cut off"),  # within the header
            (no_image(b"%PDF-1.7"), "PDF"),
            (no_image(b"PK\x03\x04"), "ZIP"),
            (no_image(b'<svg xmlns="http://www.w3.org/2000/svg">'), "SVG"),
            (no_image(b'\n <?xml version="1.0"?><svg/>'), "SVG"),
            (no_image(b"\0\0\0\x20ftypheic"), "HEIC"),
            (no_image(b"\0\0\0\x20ftypisom"), "video"),
            (no_image(b"RIFF\0\0\0\0AVI "), "video"),
            (saved(GREY, "GIF"), "GIF"),
            (saved(GREY, "JPEG2000"), "JPEG 2000"),
            # damaged
            (saved(GREY, "PNG").replace(b"IDAT", b"IDAT\xff", 1), "damaged"),
            (saved(DEEP, "PNG").replace(b"IEND", b"IENX"), "damaged"),
            (zeroed(saved(GREY, "TIFF", compression="tiff_deflate")), "damaged"),
            (zeroed(saved(GREY, "TIFF", compression="jpeg")), "damaged"),
            # larger than is accepted, by the header alone: there is next to no data behind it
            (png(DEEP, size=(8000, 7000)), "8000 × 7000"),
            (png(DEEP, size=(100_000, 100_000)), "pixels"),
            (png(DEEP, size=(0, 60)), "no pixels"),
        ],
    )
    def test_what_is_wrong_is_said(self, read, content, words):
        with pytest.raises(ImageError, match=words):
            read(content)

    @pytest.mark.parametrize(
        "content",
        [
            saved(GREY, "PNG"),
            saved(DEEP, "PNG"),
            saved(COLOUR, "WEBP"),
            saved(COLOUR, "WEBP", lossless=True),
            saved(COLOUR, "BMP"),
            saved(DEEP, "TIFF"),
            *(saved(GREY, "TIFF", compression=c) for c in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")),
        ],
    )
    def test_a_file_that_is_cut_off_is_never_half_a_picture(self, read, content):
        for kept in range(0, len(content) - 4, max(1, len(content) // 40)):
            with pytest.raises(ImageError):
                read(content[:kept])

    def test_a_tiff_whose_last_tags_are_cut_off(self, read):
        """Its samples are all there, but what they mean may not be."""
        with pytest.raises(ImageError, match="cut off"):
            read(saved(GREY, "TIFF", compression="tiff_lzw")[:-3])

    @pytest.mark.parametrize(
        ("name", "words"),
        [("missing.png", "no file"), (".", "folder"), ("a\0b", "opened"), ("x" * 999, "opened")],
    )
    def test_paths_that_are_no_file(self, tmp_path, name, words):
        with pytest.raises(ImageError, match=words):
            images.read(tmp_path / name)

    def test_a_large_file_is_not_even_opened(self, tmp_path):
        path = tmp_path / "large.png"
        with path.open("wb") as file:
            file.truncate(images.MAX_BYTES + 1)
        with pytest.raises(ImageError, match="64 MB"):
            images.read(path)

    def test_eight_at_once_leave_the_warning_filters_alone(self, tmp_path):
        path = tmp_path / "grey.tif"
        path.write_bytes(saved(GREY, "TIFF"))
        filters, seen = list(warnings.filters), []
        threads = [threading.Thread(target=lambda: seen.append(images.read(path))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(np.array_equal(radiograph.rgb, grey_rgb(GREY)) for radiograph in seen)
        assert len(seen) == 8
        assert warnings.filters == filters


class TestFromArray:
    @pytest.mark.parametrize(
        ("array", "rgb", "grey"),
        [
            (GREY, grey_rgb(GREY), None),
            (COLOUR, COLOUR, None),
            (COLOUR[..., ::-1], COLOUR[..., ::-1], None),  # a view with a negative stride
            (np.dstack([COLOUR, np.zeros_like(GREY)]), COLOUR, None),  # all transparent
            (np.dstack([COLOUR, np.full_like(GREY, 255)]), COLOUR, None),
            (DEEP, np.rint(windowed(DEEP)).astype(np.uint8)[..., None].repeat(3, 2), DEEP),
        ],
    )
    def test_shapes(self, array, rgb, grey):
        radiograph = images.from_array(array, name="mine")
        assert np.array_equal(radiograph.rgb, rgb)
        assert radiograph.rgb.flags.c_contiguous
        assert (radiograph.grey is None) == (grey is None)
        assert grey is None or np.array_equal(radiograph.grey, grey)
        assert not np.shares_memory(radiograph.rgb, array)
        assert radiograph.name == "mine"

    @pytest.mark.parametrize(
        ("array", "words"),
        [
            (GREY.astype(float), "float64"),
            (GREY.astype(bool), "bool"),
            (None, "object"),
            (GREY[0], "height, width"),
            (GREY[..., None], "height, width"),
            (np.zeros((2, 2, 2, 3), np.uint8), "height, width"),
            (np.zeros((0, 5), np.uint8), "no pixels"),
            (np.broadcast_to(np.uint8(0), (8000, 7000)), "8000"),
        ],
    )
    def test_what_is_refused(self, array, words):
        with pytest.raises(ImageError, match=words):
            images.from_array(array)
