"""The first picture of a PNG, JPEG, WebP, BMP or TIFF file, by Pillow.

Each file is walked over first, which bounds what decoding it costs, and gives Pillow a file without anything
but its picture.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from struct import error as StructError
from struct import unpack_from
from typing import Any

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from bonefx.errors import ImageError
from bonefx.images import bmp, jpeg, png, tiff
from bonefx.images.orientation import read as read_orientation
from bonefx.images.orientation import upright
from bonefx.images.pixels import Picture, Plan, bands, check_size, missing_note, render, show, spread

_MAX_CHUNKS = 10_000  # of a WebP file
_RLE_COST = 30  # a byte of a run-length BMP costs as much as so many of a picture

_ADVICE = "Use a PNG, JPEG, WebP, BMP, TIFF or DICOM file."
_KINDS = (
    # first bytes (at 4 where the first four are a length), and what a person calls the file
    (0, b"%PDF", "a PDF document; save the image in it as PNG"),
    (0, b"PK\x03\x04", "a ZIP archive or an office document; take the image out of it"),
    (0, b"\x1f\x8b", "a compressed archive; unpack it"),
    (0, b"Rar!", "an archive; unpack it"),
    (0, b"7z\xbc\xaf", "an archive; unpack it"),
    (0, b"GIF8", "a GIF picture; save it as PNG"),
    (0, b"<svg", "an SVG drawing; save it as PNG"),
    (0, b"<?xml", "an XML or SVG file; save the image as PNG"),
    (4, b"ftyphe", "a HEIC photograph; save it as JPEG"),
    (4, b"ftypmif1", "a HEIC photograph; save it as JPEG"),
    (4, b"ftypavif", "an AVIF picture; save it as PNG"),
    (4, b"jP  ", "a JPEG 2000 picture; save it as PNG"),
    (4, b"ftyp", "a video; save one picture of it as PNG"),
    (8, b"AVI ", "a video; save one picture of it as PNG"),
    (0, b"\x1a\x45\xdf\xa3", "a video; save one picture of it as PNG"),
)


_UNREADABLE = (
    "This {} file is damaged, or stores its picture in a way that is not read here. Save it again as PNG."
)


def plan(data: bytes) -> Plan:
    """What decoding the first picture of a file costs, and how it is done.

    Raises:
        ImageError: too large, cut off, or of a kind that is not read here.
    """
    if data.startswith(png.START):
        return _png(png.walk(data))
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(jpeg.walk(data))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff(tiff.walk(data))
    if data[:2] == b"BM":
        return _bmp(data)
    for at, start, kind in _KINDS:
        if data[:64].lstrip().startswith(start, at):
            raise ImageError(f"This is {kind}, and try again.")
    raise ImageError(f"This is not an image that can be read here, or its beginning is damaged. {_ADVICE}")


def _opened(data: bytes, kind: str) -> ImageFile:
    try:
        return Image.open(BytesIO(data), formats=(kind,))
    except Exception:
        raise ImageError(_UNREADABLE.format(kind)) from None


def _png(file: png.Png) -> Plan:
    check_size(file.width, file.height)
    passes = 2 if file.bits == 16 and file.channels > 2 else 1

    def decode() -> Picture:
        notes = (f"first of {file.frames} frames",) if file.frames > 1 else ()
        if file.bits == 16 and file.channels == 2:
            samples = _grey_and_alpha(file.clean)
        else:
            samples = _samples(lambda: _opened(file.clean, "PNG"))
        return _turned(show(samples), read_orientation(file.exif, file.xmp), notes)

    return Plan(file.width * file.height * file.channels * max(file.bits, 8) // 8 * passes, decode)


def _grey_and_alpha(data: bytes) -> np.ndarray:
    """Both in 16 bits: Pillow keeps all of 8 bits of four channels, which it is told to find."""
    image = _opened(data, "PNG")
    image.tile = [_as_stored(tile, "RGBA") for tile in image.tile]
    return _array(image).view(">u2").astype(np.uint16)


def _jpeg(file: jpeg.Jpeg) -> Plan:
    check_size(file.width, file.height)
    if not file.is_plain:
        raise ImageError(_UNREADABLE.format("JPEG"))

    def decode() -> Picture:
        samples, missing = jpeg.decode(file, _jpeg_samples, file.is_ycbcr is not False)
        notes = (missing_note(missing),) if missing else ()
        return _turned(show(samples), read_orientation(file.exif, file.xmp), notes)

    return Plan(file.work, decode)


def _jpeg_samples(data: bytes) -> np.ndarray:
    return _samples(lambda: _opened(data, "JPEG"))


def _webp(data: bytes) -> Plan:
    chunks: dict[bytes, memoryview] = {}
    at = 12
    for _ in range(_MAX_CHUNKS):
        if at + 8 > len(data):
            break
        kind, length = unpack_from("<4sI", data, at)
        chunks.setdefault(kind, memoryview(data)[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
    else:
        raise ImageError("This WebP file has too many parts to be read here. Save it again as PNG.")
    if unpack_from("<I", data, 4)[0] + 8 > len(data):
        raise ImageError("This WebP file is cut off. Copy or export it again from where it came from.")
    width, height = _webp_size(chunks)
    check_size(width, height)

    def decode() -> Picture:
        image = _opened(data, "WEBP")
        frames: int = getattr(image, "n_frames", 1)
        notes = (f"first of {frames} frames",) if frames > 1 else ()
        exif, xmp = (bytes(chunks.get(kind, b"")) for kind in (b"EXIF", b"XMP "))
        return _turned(show(_samples(lambda: image)), read_orientation(exif, xmp), notes)

    return Plan(width * height * 4 * (3 if b"ANMF" in chunks else 1), decode)


def _webp_size(chunks: dict[bytes, memoryview]) -> tuple[int, int]:
    """By the first chunk that says it (RFC 9649): extended, lossless or lossy."""
    try:
        if b"VP8X" in chunks:
            sides = unpack_from("<HBHB", chunks[b"VP8X"], 4)
            return sides[0] + (sides[1] << 16) + 1, sides[2] + (sides[3] << 16) + 1
        if b"VP8L" in chunks:
            bits = unpack_from("<I", chunks[b"VP8L"], 1)[0]
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        width, height = unpack_from("<HH", chunks.get(b"VP8 ", b""), 6)
        return width & 0x3FFF, height & 0x3FFF
    except StructError:
        raise ImageError(_UNREADABLE.format("WebP")) from None


def _tiff(file: tiff.Tiff) -> Plan:
    def decode() -> Picture:
        more = " or more" if file.pages == tiff.MAX_PAGES else ""
        notes = (f"first of {file.pages}{more} pages",) if file.pages > 1 else ()
        if file.real and file.bits == 64:
            turn = file.number(tiff.ORIENTATION, 1)
            return _turned(_grey(tiff.doubles(file), file.inverted), turn, notes)
        with _muted_libtiff():
            samples = _samples(lambda: _opened(file.clean, "TIFF"))  # upright: Pillow turns them
        if file.is_recast:
            return _turned(_grey(file.as_meant(samples), file.inverted), 1, notes)
        return _turned(show(samples), 1, notes)

    return Plan(file.size if file.bounded else float("inf"), decode)


def _bmp(data: bytes) -> Plan:
    image = _opened(data, "BMP")
    check_size(*image.size)
    tile: Any = image.tile[0]
    runs = tile.codec_name == "bmp_rle"

    def decode() -> Picture:
        if runs:
            image.fp = BytesIO(bmp.unpack(data[tile.offset :], *image.size, half=tile.args[1]))
            image.tile = [tile._replace(codec_name="raw", offset=0, args=(image.mode, 0, tile.args[-1]))]
        return show(_samples(lambda: image))

    return Plan(image.width * image.height * 4 + (len(data) * _RLE_COST if runs else 0), decode)


def _grey(samples: np.ndarray, inverted: bool) -> Picture:
    shown, grey = render(samples, invert=inverted)
    return Picture(spread(shown), grey)


def _turned(picture: Picture, orientation: int, notes: tuple[str, ...]) -> Picture:
    rgb, grey, more = picture
    if orientation != 1:
        rgb = upright(rgb, orientation)
        grey = None if grey is None else upright(grey, orientation)
    return Picture(rgb, grey, notes + more)


def _samples(opened: Callable[[], ImageFile]) -> np.ndarray:
    """Grey, RGB or RGBA samples in as many bits as an image stores.

    Of 16 bits of colours Pillow keeps the upper 8. It unpacks them by their byte order: opened again and
    told the other order, it keeps the lower.
    """
    image = opened()
    stored = _stored(image)
    if stored[:-1] in ("RGB;16", "RGBA;16"):
        samples = _array(image, np.uint16)
        samples *= 256
        image = opened()
        order = {"B": "L", "L": "B", "N": "L" if sys.byteorder == "big" else "B"}[stored[-1]]
        image.tile = [_as_stored(tile, stored[:-1] + order) for tile in image.tile]
        return _array(image, np.uint16, samples)
    if not image.mode.startswith(("I", "F")):
        mode = "RGBA" if image.has_transparency_data else "L" if image.mode == "L" else "RGB"
        return _array(image.convert(mode))
    return _array(image)


def _array(image: Image.Image, kind: type | None = None, plus: np.ndarray | None = None) -> np.ndarray:
    """What `np.array` gives, added to `plus`, without its two copies on the way."""
    image.load()
    if plus is None:
        first = np.asarray(image.crop((0, 0, image.width, 1)))
        plus = np.zeros((image.height, *first.shape[1:]), kind or first.dtype)
    for rows in bands(image.height, plus[0].size):
        plus[rows] += np.asarray(image.crop((0, rows.start, image.width, rows.stop)))
    return plus


def _stored(image: ImageFile) -> str:
    """How samples lie in the file, in Pillow's words, if that is the same for all parts."""
    tiles: list[Any] = list(image.tile)
    modes = {tile.args if isinstance(tile.args, str) else tile.args[0] for tile in tiles}
    return modes.pop() if len(modes) == 1 else ""


def _as_stored(tile, mode: str):
    return tile._replace(args=mode if isinstance(tile.args, str) else (mode, *tile.args[1:]))


@contextmanager
def _muted_libtiff() -> Iterator[None]:
    """Keep libtiff from printing its complaints, which Pillow raises as errors anyway."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
