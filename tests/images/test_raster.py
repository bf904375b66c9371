"""PNG, JPEG, WebP, BMP, TIFF and arrays: every depth, and every way in which a file can be bad."""

from __future__ import annotations

import io
import re
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from bonefx import images
from bonefx.errors import ImageError
from tests.images.pictures import COLOUR, DEEP, GREY, RNG, grey_rgb, saved, windowed


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(samples: np.ndarray, size: tuple[int, int] | None = None) -> bytes:
    """A PNG of 16-bit samples (Pillow writes no colour ones), perhaps claiming another size."""
    height, width = samples.shape[:2]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[samples.shape[2] if samples.ndim == 3 else 1]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">2I5B", *(size or (width, height)), 16, kind, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(
    samples: np.ndarray, order: str = "<", photometric: int = 1, deflated: bool = False, strips: int = 1
) -> bytes:
    """A TIFF of samples of any type (Pillow writes few)."""
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    parts = [part.astype(part.dtype.newbyteorder(order)).tobytes() for part in np.split(samples, strips)]
    if deflated:
        parts = [zlib.compress(part) for part in parts]
    tags = {  # type (3 short, 4 long) and values by tag; offsets of strips are filled in below
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8 * samples.itemsize] * channels),
        259: (3, [8 if deflated else 1]),
        262: (3, [photometric]),
        273: (4, [0] * strips),
        277: (3, [channels]),
        278: (4, [height // strips]),
        279: (4, [len(part) for part in parts]),
        339: (3, [{"u": 1, "i": 2, "f": 3}[samples.dtype.kind]] * channels),
    }
    start = 8 + 2 + 12 * len(tags) + 4
    sizes = [struct.calcsize(f"{len(values)}{'HI'[kind - 3]}") for kind, values in tags.values()]
    first = start + sum(size for size in sizes if size > 4)
    tags[273] = 4, [first + sum(len(part) for part in parts[:i]) for i in range(strips)]
    entries, values_behind = b"", b""
    for tag, (kind, values) in tags.items():
        value = struct.pack(f"{order}{len(values)}{'HI'[kind - 3]}", *values)
        if len(value) > 4:
            values_behind += value
            value = struct.pack(f"{order}I", start + len(values_behind) - len(value))
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + value.ljust(4, b"\0")
    mark = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HIH", 42, 8, len(tags))
    return mark + entries + bytes(4) + values_behind + b"".join(parts)


def run_lengths(indices: np.ndarray, half: bool) -> bytes:
    """A BMP in which each row is one run of its first index and then plain ones, as BI_RLE4 or BI_RLE8."""
    codes = b""
    for row in indices[::-1].tolist():
        plain = row[2:]
        both = [(a << 4) + b for a, b in zip(plain[::2], plain[1::2], strict=True)] if half else plain
        codes += (
            bytes([2, row[0] * 17 if half else row[0], 0, len(plain), *both]) + bytes(len(both) % 2) + b"\0\0"
        )
    palette = b"".join(bytes([17 * i, 0, 255 - 17 * i, 0]) for i in range(16))
    height, width = indices.shape
    start = 14 + 40 + len(palette)
    head = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, 4 if half else 8, 2 if half else 1, len(codes), 0, 0, 16, 0
    )
    return (
        b"BM" + struct.pack("<IHHI", start + len(codes) + 2, 0, 0, start) + head + palette + codes + b"\0\1"
    )


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

    @pytest.mark.parametrize("photometric", [1, 0])
    @pytest.mark.parametrize("deflated", [False, True])
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize(
        "samples",
        [
            (GREY.astype(int) - 128).astype(np.int8),
            DEEP.astype(np.int16) - 900,
            DEEP,
            DEEP.astype(np.uint32) * 1_000_000 + 2**31,
            DEEP.astype(np.int32) * 100_000 - 2**30,
            DEEP.astype(np.float32) / 7e4 - 0.5,
            DEEP.astype(np.float64) * 1e200,
        ],
        ids=lambda samples: str(samples.dtype),
    )
    def test_grey_tiff_of_every_type(self, read, samples, order, deflated, photometric):
        radiograph = read(tiff(samples, order, photometric, deflated, strips=4))
        expected = windowed(samples.astype(float))
        expected = expected if photometric else 255 - expected
        assert np.abs(radiograph.rgb - expected[..., None]).max() <= 1
        lightest = (samples if photometric else -samples.astype(float)).argmax()
        assert radiograph.grey.flat[lightest] == radiograph.grey.max()

    @pytest.mark.parametrize("half", [False, True])
    def test_run_lengths_in_a_bmp(self, read, half):
        indices = np.repeat(np.arange(30) % 16, 24).reshape(30, 24)
        indices[:, 2:] = (indices[:, 2:] + np.arange(22)) % 16
        content = run_lengths(indices, half)
        expected = np.array(
            Image.open(io.BytesIO(content)).convert("RGB")
        )  # Pillow's own, slow and unbounded
        assert np.array_equal(read(content).rgb, expected)
        assert len(np.unique(expected[..., 0])) == 16

    def test_grey_and_alpha_of_16_bits(self, read):
        content = png(np.dstack([DEEP, np.full_like(DEEP, 65535)]))
        radiograph = read(content)
        assert np.array_equal(radiograph.grey, DEEP)
        half = read(png(np.dstack([DEEP * 16, np.full_like(DEEP, 32768)])))
        assert np.array_equal(half.grey, ((DEEP * 16).astype(int) * 32768 + 32767) // 65535)

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (saved(np.dstack([COLOUR, 0 * GREY]), "PNG"), COLOUR),
            (saved(np.dstack([COLOUR, 0 * GREY]), "WEBP", lossless=True, exact=True), COLOUR),
            (saved(np.dstack([GREY, 0 * GREY]), "PNG"), grey_rgb(GREY)),
            (saved(np.full_like(GREY, 9), "PNG", transparency=9), np.full_like(COLOUR, 9)),
        ],
    )
    def test_alpha_that_is_0_everywhere_hides_nothing(self, read, content, expected):
        radiograph = read(content)
        assert np.array_equal(radiograph.rgb, expected)
        assert "transparent all over: shown without its transparency" in radiograph.notes

    @pytest.mark.parametrize("content", [saved(0 * GREY + 77, "PNG"), saved(0 * DEEP + 777, "TIFF")])
    def test_one_grey_is_said(self, read, content):
        assert read(content).notes == ("the picture is all of one grey: there is nothing to see in it",)
        assert images.from_array(0 * GREY).notes == read(content).notes

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


class TestCutJpeg:
    """What is missing at its end is measured in the picture, not in the file."""

    TALL = np.kron(RNG.integers(40, 200, (50, 20)), np.ones((16, 16))).astype(np.uint8)
    """Blocks that differ: 800 by 320."""

    @pytest.mark.parametrize(
        ("picture", "options"),
        [
            (TALL, {}),
            (TALL, {"restart_marker_rows": 2}),
            (np.dstack([TALL, TALL[::-1], TALL // 2]), {}),
            (np.dstack([TALL, TALL[::-1], TALL // 2]), {"subsampling": 0}),
            (np.dstack([TALL, TALL[::-1], TALL // 2]), {"keep_rgb": True}),
        ],
    )
    @pytest.mark.parametrize("lost", [0.001, 0.03, 0.08, 0.3, 0.9])
    def test_what_is_left_is_shown(self, read, picture, options, lost):
        content = saved(picture, "JPEG", quality=90, **options)
        start = content.rindex(b"\xff\xda")
        kept = content[: len(content) - 2 - int(lost * (len(content) - start))]
        if lost > 0.1:
            with pytest.raises(ImageError, match=r"cut off: \d+ % of it is missing"):
                read(kept)
            return
        whole, radiograph = read(content), read(kept)
        rows = (radiograph.rgb != whole.rgb).any(axis=(1, 2))
        assert not rows[: int(800 * (1 - lost) - 40)].any()  # the blocks cost nearly the same all over
        (note,) = radiograph.notes
        said = re.fullmatch(
            "the file is cut off: (less than 1|about [0-9]+) % of the picture is missing at its end", note
        )
        assert abs(float(said[1].split()[-1]) / 100 - lost) < 0.03
        if lost > 0.01:
            assert (radiograph.rgb[-1] == 0).all()

    @pytest.mark.parametrize("tail", [b"", bytes(1000)])  # a download that broke off can be filled with zeros
    def test_the_end_mark_alone(self, read, tail):
        radiograph = read(saved(self.TALL, "JPEG", quality=90)[:-2] + tail)
        assert radiograph.notes == (
            "the file is cut off: less than 1 % of the picture is missing at its end",
        )
        assert np.abs(radiograph.rgb[..., 0].astype(int) - self.TALL).max() < 30

    def test_progressive(self, read):
        """Its last scan, a refinement, may lack its end; without whole scans before it, it is refused."""
        content = saved(self.TALL, "JPEG", quality=90, progressive=True)
        last = content.rindex(b"\xff\xda")
        radiograph = read(content[: last + (len(content) - last) * 95 // 100])
        assert "cut off" in radiograph.notes[0]
        assert np.abs(radiograph.rgb[..., 0].astype(int) - self.TALL).max() < 30
        for kept in range(20, last, last // 20):
            with pytest.raises(ImageError):
                read(content[:kept])


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
            # cut off, each where its decoder would say so in its own way
            (saved(GREY, "PNG")[:-40], "cut off"),
            (saved(COLOUR, "WEBP")[:-40], "cut off"),
            (saved(COLOUR, "BMP")[:-40], "cut off"),
            (tiff(DEEP)[:-40], "cut off"),
            (tiff(DEEP.astype(float))[:-40], "cut off"),
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
