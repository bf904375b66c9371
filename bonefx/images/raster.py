"""The first picture of a PNG, JPEG, WebP, BMP or TIFF file, by Pillow."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bonefx.errors import ImageError
from bonefx.images.jpeg import MAX_SCANS
from bonefx.images.pixels import Picture, check_size, render, show, spread

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
_MAX_PAGES = 1000  # that are counted: a small file can claim millions
_WHITE_IS_ZERO = 0  # TIFF PhotometricInterpretation, tag 262

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


def decode(data: bytes) -> Picture:
    """Decode the first picture of a file, upright.

    Raises:
        ImageError: too large, or of a kind that is not read here.
        Exception: whatever Pillow makes of a damaged file.
    """
    is_tiff = data[:2] in (b"II", b"MM")
    if is_tiff:  # Pillow only warns of a directory that is cut off
        warnings.filterwarnings("error", message="Truncated File Read|Corrupt EXIF data")
    with _muted_libtiff() if is_tiff else nullcontext():
        image = _open(data)
        notes = _count(image)
        inverted = is_tiff and image.tag_v2.get(262) == _WHITE_IS_ZERO
        low_bytes = _low_bytes(image, data)
        image.load()
        _turn_upright(image)
        if low_bytes is not None:
            _turn_upright(low_bytes)
            rgb, grey, _ = show(np.asarray(image) * np.uint16(256) + np.asarray(low_bytes))
        elif image.mode.startswith(("I", "F")):
            shown, grey = render(np.array(image), invert=inverted)
            rgb = spread(shown)
        else:
            rgb, grey = _rgb(image), None
    return Picture(rgb, grey, notes)


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


def _open(data: bytes) -> Image.Image:
    """Read the header, and check what can be checked without decoding."""
    try:
        image = Image.open(BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        for at, start, kind in _KINDS:
            if data[:64].lstrip().startswith(start, at):
                raise ImageError(f"This is {kind}, and try again.") from None
        raise ImageError(
            f"This is not an image that can be read here, or its beginning is damaged. {_ADVICE}"
        ) from None
    except Image.DecompressionBombError:
        raise ImageError(
            "This picture has far more pixels than are accepted. Make it smaller and try again."
        ) from None
    check_size(*image.size)
    if image.format == "PNG":  # its checksums are not looked at on decoding
        with Image.open(BytesIO(data), formats=("PNG",)) as copy:
            copy.verify()
    if image.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > MAX_SCANS:
        raise ImageError("This JPEG file is built to take very long to read. Save it again as PNG.")
    return image


def _count(image: Image.Image) -> tuple[str, ...]:
    """A note on how many pictures the file has. A phone's JPEG with a depth map (MPO) counts as one."""
    if image.format == "TIFF":
        pages = 1
        while image.is_animated and pages < _MAX_PAGES:
            try:
                image.seek(pages)
            except EOFError:
                break
            pages += 1
        image.seek(0)
        more = " or more" if pages == _MAX_PAGES else ""
        return (f"first of {pages}{more} pages",) if pages > 1 else ()
    frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
    return (f"first of {frames} frames",) if frames > 1 else ()


def _low_bytes(image: Image.Image, data: bytes) -> Image.Image | None:
    """The lower 8 bits of a colour image of 16 bits, of which Pillow keeps the upper 8; else None.

    Pillow unpacks such samples by their byte order; told the other order, it keeps the other byte.
    """
    modes = {tile.args if isinstance(tile.args, str) else tile.args[0] for tile in image.tile}
    if len(modes) != 1 or (mode := modes.pop())[:-1] not in ("RGB;16", "RGBA;16"):
        return None
    order = {"B": "L", "L": "B", "N": "L" if sys.byteorder == "big" else "B"}[mode[-1]]
    other = Image.open(BytesIO(data), formats=_FORMATS)
    other.tile = [
        tile._replace(
            args=mode[:-1] + order if isinstance(tile.args, str) else (mode[:-1] + order, *tile.args[1:])
        )
        for tile in other.tile
    ]
    other.load()
    return other


def _turn_upright(image: Image.Image) -> None:
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # damaged camera data is no reason to refuse a picture
        return


def _rgb(image: Image.Image) -> np.ndarray:
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return np.array(image.convert("RGB"))
