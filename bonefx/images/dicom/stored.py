"""The stored values of the first frame: native, run lengths, JPEG, JPEG-LS or JPEG 2000."""

from __future__ import annotations

import re
from io import BytesIO
from itertools import pairwise
from struct import error as StructError
from struct import unpack_from
from typing import NamedTuple

import numpy as np
import pydicom.uid as uid
from libjpeg import decode as libjpeg_decode
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import convert_color_space, pixel_array

from bonefx.errors import ImageError
from bonefx.images import jpeg
from bonefx.images.dicom.elements import COMPLEX, CUT_OFF, Elements
from bonefx.images.pixels import check_size

_NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)
_SPECTRAL, _PROGRESSIVE = "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55"  # retired, and still found
_DCT = _SPECTRAL, _PROGRESSIVE, uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit
_JPEG = (*_DCT, uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEGLSNearLossless)
_JPEG_2000 = uid.JPEG2000Lossless, uid.JPEG2000
_MAX_FRAGMENTS = 50_000
_RLE_COST = 10  # pydicom unpacks it run by run: a byte costs as much as so many of a picture

DAMAGED = "This DICOM file is damaged: {}. Export it again from where it came from."
_UNKNOWN = (
    "This DICOM file is compressed in a way that is not read here (a video, or a maker's own format). "
    "Export it uncompressed or as JPEG 2000."
)


class Stored(NamedTuple):
    """One frame.

    Attributes:
        values: integers, (h, w) or RGB (h, w, 3), without the bits that are not the picture's.
        bits: that the tags say are used.
        padded: bool (h, w), where there is padding in place of a picture; None where there is none.
        missing: the share of the picture that its compressed stream lacks.
    """

    values: np.ndarray
    bits: int
    padded: np.ndarray | None = None
    missing: float = 0.0


class Layout(NamedTuple):
    """What the tags say of the pixels, with what is missing filled in."""

    rows: int
    columns: int
    samples: int
    photometric: str
    planar: int
    allocated: int
    stored: int
    high: int
    signed: bool
    frames: int


def layout(elements: Elements) -> Layout:
    """Read the tags of the image pixel module (PS3.3, C.7.6.3).

    Raises:
        ImageError: no size, or bits that cannot be.
    """
    tags = elements.dataset
    rows, columns = whole_number(tags, "Rows"), whole_number(tags, "Columns")
    if rows is None or columns is None:
        raise ImageError(DAMAGED.format("it does not say how large its picture is"))
    check_size(columns, rows)
    photometric = str(tags.get("PhotometricInterpretation") or "").strip(" \0").upper()
    grey = photometric.startswith("MONOCHROME") or photometric == "PALETTE COLOR"
    samples = whole_number(tags, "SamplesPerPixel") or (1 if grey or not photometric else 3)
    allocated = whole_number(tags, "BitsAllocated") or (8 if samples > 1 else 16)
    stored = whole_number(tags, "BitsStored") or allocated
    high = whole_number(tags, "HighBit")
    if not 1 <= stored <= allocated <= 32 or samples not in (1, 3):
        raise ImageError(DAMAGED.format("its number of bits or channels cannot be"))
    if high is None or not stored <= high + 1 <= allocated:
        high = stored - 1
    return Layout(
        rows,
        columns,
        samples,
        photometric or ("MONOCHROME2" if samples == 1 else "RGB"),
        whole_number(tags, "PlanarConfiguration") or 0,
        allocated,
        stored,
        high,
        whole_number(tags, "PixelRepresentation") == 1,
        max(whole_number(tags, "NumberOfFrames") or 1, 1),
    )


def whole_number(tags, keyword: str) -> int | None:
    """The first number of an element, its leading digits if it is text ("1A"); None if there is none."""
    element = tags.get_item(keyword)
    if element is None or element.value is None:
        return None
    if element.VR == "IS" or keyword == "NumberOfFrames":
        digits = re.match(rb"\s*\+?(\d{1,9})", bytes(element.value))
        return int(digits[1]) if digits else None
    value = tags.get(keyword)
    if isinstance(value, (list, tuple)) or hasattr(value, "append"):
        value = value[0] if value else None
    return value if isinstance(value, int) else None


def work(elements: Elements, tags: Layout) -> float:
    """Bytes of samples to go through; infinite if what decodes them has no bound."""
    size = tags.rows * tags.columns * tags.samples * max(tags.allocated, 8) // 8
    if elements.syntax in _NATIVE:
        return size
    if elements.syntax == uid.RLELossless:
        return size + _RLE_COST * len(elements.pixels)
    if elements.syntax not in _DCT:
        return float("inf")
    stream = jpeg.walk(_frame(elements, tags))
    return stream.work if stream.is_plain else float("inf")


def first_frame(elements: Elements, tags: Layout) -> Stored:
    """Decode the first frame.

    Raises:
        ImageError: the encoding is not read here, or the stream is damaged, cut off, or not as its tags say.
    """
    missing = 0.0
    if elements.syntax in _NATIVE:
        values, bits = _native(elements, tags), tags.allocated
    elif elements.syntax == uid.RLELossless:
        frame = _frame(elements, tags)
        _check_rle(frame, tags.rows * tags.columns)
        values, bits = _by_pydicom(elements, tags, encapsulate([frame])), tags.allocated
    elif elements.syntax in _JPEG:
        values, bits, missing = _jpeg(_frame(elements, tags), tags)
    elif elements.syntax in _JPEG_2000:
        values, bits = _jpeg_2000(_frame(elements, tags), tags)
    else:
        raise ImageError(_UNKNOWN)
    if values.ndim == 3:
        return Stored(values, min(tags.stored, 8 * values.itemsize), None, missing)
    used = min(tags.stored, bits)
    above = tags.high + 1 - tags.stored if tags.high < bits else 0
    own = _own_bits(values, used, above, tags.signed)
    return Stored(own, tags.stored, _padding(elements, values, own), missing)


def _padding(elements: Elements, words: np.ndarray, own: np.ndarray) -> np.ndarray | None:
    """Where padding lies (PS3.3, C.7.5.1.1.2): its value can have more bits than the picture's."""
    ends = [whole_number(elements.dataset, f"PixelPadding{end}") for end in ("Value", "RangeLimit")]
    first, last = (
        sorted((ends[0], ends[0] if ends[1] is None else ends[1])) if ends[0] is not None else (1, 0)
    )
    padded = (own >= first) & (own <= last)
    if first == last and not padded.any():
        padded = words == words.dtype.type(first % (1 << 8 * words.itemsize))
    return padded if padded.any() and not padded.all() else None


def _own_bits(words: np.ndarray, bits: int, shift: int, signed: bool) -> np.ndarray:
    """The picture's own bits of each word; others can hold an overlay (PS3.5, 8.1.1)."""
    size = 8 * words.itemsize
    words = words.astype(words.dtype.newbyteorder("="), copy=False).view(f"u{words.itemsize}")
    up = size - bits - shift
    if up:
        words = words << words.dtype.type(up)
    if signed:
        words = words.view(f"i{words.itemsize}")
    down = size - bits
    return words >> words.dtype.type(down) if down else words


def _native(elements: Elements, tags: Layout) -> np.ndarray:
    samples = tags.rows * tags.columns * tags.samples
    if tags.photometric == "YBR_FULL_422":
        samples = samples * 2 // 3
    if len(elements.pixels) < (samples * tags.frames * tags.allocated + 7) // 8:
        if not elements.whole:
            raise ImageError(CUT_OFF)
        raise ImageError(DAMAGED.format("it holds fewer pixels than its tags say"))
    length = (samples * tags.allocated + 7) // 8
    return _by_pydicom(elements, tags, elements.pixels[: length + length % 2])  # bytes can come in words


def _by_pydicom(elements: Elements, tags: Layout, pixels: bytes) -> np.ndarray:
    """Whole words, unsigned if they are grey; colours as RGB."""
    dataset = elements.dataset
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = elements.syntax
    dataset.Rows, dataset.Columns = tags.rows, tags.columns
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = tags.samples, tags.photometric
    if tags.samples > 1:
        dataset.PlanarConfiguration = tags.planar
    dataset.BitsAllocated = tags.allocated
    dataset.BitsStored = tags.stored if tags.samples > 1 else tags.allocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = 0
    dataset.NumberOfFrames = 1
    dataset.PixelData = pixels
    dataset["PixelData"].VR = "OB" if elements.syntax.is_encapsulated else elements.vr
    plugin = "pydicom" if elements.syntax == uid.RLELossless else ""
    return pixel_array(dataset, index=0, decoding_plugin=plugin)


def _frame(elements: Elements, tags: Layout) -> bytes:
    """The fragments of the first frame, joined (PS3.5, A.4)."""
    fragments = elements.fragments
    if len(fragments) > _MAX_FRAGMENTS:
        raise ImageError(COMPLEX)
    parts = [elements.pixels[start:end] for start, end in fragments]
    count = len(parts)
    if tags.frames > 1 and parts:
        second = next((offset for offset in elements.offsets if offset), None)
        if second is not None:
            count = sum(start - fragments[0][0] < second for start, _ in fragments)
        elif count == tags.frames:
            count = 1
        else:  # no table: a frame ends with an end marker
            count = next((i for i, part in enumerate(parts, 1) if b"\xff\xd9" in part[-16:]), count)
    return b"".join(parts[:count])


def _jpeg(frame: bytes, tags: Layout) -> tuple[np.ndarray, int, float]:
    """Values, the stream's precision, and the share that is missing."""
    stream = jpeg.walk(frame)
    _check_stream(stream.width, stream.height, tags)
    if len(stream.components) not in (1, 3):
        raise ImageError(DAMAGED.format("its number of bits or channels cannot be"))
    ycbcr = stream.is_ycbcr
    if ycbcr is None:
        ycbcr = tags.photometric.startswith("YBR")
    if stream.is_plain:
        values, missing = jpeg.decode(stream, _by_pillow, ycbcr)
        return values, stream.precision, missing
    values, missing = jpeg.decode(stream, lambda data: libjpeg_decode(data, 0))
    if values.ndim == 3 and tags.photometric in ("YBR_FULL", "YBR_FULL_422") and values.dtype == np.uint8:
        values = convert_color_space(values, "YBR_FULL", "RGB")
    return values, stream.precision, missing


def _by_pillow(data: bytes) -> np.ndarray:
    with Image.open(BytesIO(data), formats=("JPEG",)) as image:
        return np.array(image)


def _jpeg_2000(frame: bytes, tags: Layout) -> tuple[np.ndarray, int]:
    """Values and the stream's precision; colours as RGB."""
    try:
        start = frame.index(b"\xff\x4f\xff\x51")  # SOC, SIZ
        right, bottom, left, top = unpack_from(">4I", frame, start + 8)
        precision = frame[start + 42]
    except (ValueError, StructError, IndexError):
        raise ImageError(DAMAGED.format("its compressed picture has no beginning")) from None
    _check_stream(right - left, bottom - top, tags)
    signed, bits = precision >> 7, (precision & 0x7F) + 1
    with Image.open(BytesIO(frame), formats=("JPEG2000",)) as image:
        channels = len(image.getbands())
        if bits > 16 or (channels > 1 and bits > 8):
            raise ImageError(
                "This DICOM file holds colours of more than 8 bits, or grey of more than 16, as JPEG 2000, "
                "which are not read here. Export it uncompressed."
            )
        values = np.array(image)
    if channels > 1:
        values = values[..., :3]
        if tags.photometric in ("YBR_FULL", "YBR_FULL_422"):  # Pillow turns YBR_RCT and YBR_ICT into RGB
            values = convert_color_space(values, "YBR_FULL", "RGB")
        return values, bits
    values = values >> values.dtype.type(8 * values.itemsize - bits)  # Pillow fills the word
    if signed:
        values = values - values.dtype.type(1 << (bits - 1))
    return values, bits


def _check_stream(width: int, height: int, tags: Layout) -> None:
    if (width, height) != (tags.columns, tags.rows):
        raise ImageError(DAMAGED.format("its picture is not as large as its tags say"))


def _check_rle(frame: bytes, pixels: int) -> None:
    """Refuse segments that unpack to more than a plane of bytes (PackBits can grow 64-fold)."""
    if len(frame) < 64:
        raise ImageError(DAMAGED.format("its compressed picture has no beginning"))
    count = unpack_from("<I", frame)[0]
    ends = [*unpack_from(f"<{min(count, 15)}I", frame, 4), len(frame)]
    for at, end in pairwise(ends):
        size = 0
        while at + 1 < min(end, len(frame)):
            header = frame[at]
            size += 0 if header == 128 else header + 1 if header < 128 else 257 - header
            at += 1 if header == 128 else header + 2 if header < 128 else 2
            if size > pixels + 256:
                raise ImageError(DAMAGED.format("its compressed picture is larger than its tags say"))
