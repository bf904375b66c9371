"""The first frame of a DICOM file, shown as its tags say.

Only the tags that describe pixels are read: a patient's name or number never leaves the bytes of the
file, whatever fails later.
"""

from __future__ import annotations

import zlib
from io import BytesIO
from itertools import pairwise
from struct import unpack_from
from typing import TYPE_CHECKING

import numpy as np
import pydicom.uid as uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset
from pydicom.pixels import apply_color_lut, pixel_array
from pydicom.tag import Tag

from bonefx.errors import ImageError
from bonefx.images.pixels import MAX_SCANS, Picture, check_size, render, spread

if TYPE_CHECKING:
    from bonefx.images.pixels import Curve

# Which of pydicom's decoders reads what. Named, so that a package which happens to be installed cannot
# change a picture. Pillow's are those of libjpeg-turbo and OpenJPEG; the rest needs pylibjpeg.
_DECODERS = {
    uid.ImplicitVRLittleEndian: "",
    uid.ExplicitVRLittleEndian: "",
    uid.ExplicitVRBigEndian: "",
    uid.DeflatedExplicitVRLittleEndian: "",
    uid.RLELossless: "pydicom",
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEGExtended12Bit: "pylibjpeg",
    uid.JPEGLossless: "pylibjpeg",
    uid.JPEGLosslessSV1: "pylibjpeg",
    uid.JPEGLSLossless: "pylibjpeg",
    uid.JPEGLSNearLossless: "pylibjpeg",
    uid.JPEG2000Lossless: "pillow",
    uid.JPEG2000: "pillow",
}
_FIRST, _PIXEL_DATA = 0x00080000, 0x7FE00010
_TAGS = [
    Tag(keyword)
    for keyword in (
        *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration"),
        *("PhotometricInterpretation", "PixelRepresentation", "BitsAllocated", "BitsStored", "HighBit"),
        *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
        *("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth"),
        *(
            f"{c}PaletteColorLookupTable{part}"
            for c in ("Red", "Green", "Blue")
            for part in ("Descriptor", "Data")
        ),
        *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData"),
    )
]
_MAX_INFLATED = 256 * 1024 * 1024
_MAX_READS = 100_000
_MAX_FRAGMENTS = 50_000

_COMPLEX = "This DICOM file has too many parts to be read here. Export its image alone, as PNG."
_DAMAGED = "This DICOM file is damaged: {}. Export it again from where it came from."


class _Stream(BytesIO):
    """Bytes that can be read in so many pieces only: pydicom makes an object of kilobytes for each."""

    pieces = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.pieces += 1
        if self.pieces > _MAX_READS:
            raise ImageError(_COMPLEX)
        return super().read(size)


def decode(data: bytes) -> Picture:
    """Decode the first frame and window it.

    Modality LUT or rescale, then the first VOI LUT or else the first window, then MONOCHROME1 is
    inverted (DICOM PS3.3 C.11.1, C.11.2, C.7.6.3.1.2). Samples of more than 8 bits without a window
    get the percentile window; 8-bit ones are shown as stored.

    Raises:
        ImageError: too large, not a picture, or compressed in a way that is not read here.
        Exception: whatever pydicom or a decoder makes of a damaged file; its text may quote the file.
    """
    dataset = _parse(data)
    if "PixelData" not in dataset:
        raise ImageError(
            "This DICOM file holds no whole picture: it is cut off, or it is a report, a plan or an index. "
            "Choose the file of an image."
        )
    rows, columns = dataset.Rows, dataset.Columns
    check_size(columns, rows)
    syntax = dataset.file_meta.TransferSyntaxUID
    frames = int(dataset.get("NumberOfFrames") or 1)
    if syntax.is_encapsulated:
        _check_frame(dataset, syntax, frames)
    stored = pixel_array(dataset, index=0, decoding_plugin=_DECODERS[syntax])

    notes = (f"first of {frames} frames",) if frames > 1 else ()
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
        return Picture(_eight_bits(stored, 8 * stored.dtype.itemsize), None, notes)
    if stored.ndim == 3:
        return Picture(_eight_bits(stored, dataset.BitsStored), None, notes)
    shown, grey = render(
        stored, _modality(dataset), _voi(dataset), invert=dataset.PhotometricInterpretation == "MONOCHROME1"
    )
    return Picture(spread(shown), grey if dataset.BitsStored > 8 else None, notes)


def _parse(data: bytes) -> Dataset:
    """The pixels' tags, by hand in place of `dcmread`, which inflates without a limit."""
    stream = _Stream(data)
    stream.seek(132 if data[128:132] == b"DICM" else 0)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    syntax = meta.get("TransferSyntaxUID") or _guess_syntax(data[stream.tell() : stream.tell() + 6])
    if syntax not in _DECODERS:
        raise ImageError(
            "This DICOM file is compressed in a way that is not read here (a video, or a maker's own "
            "format). Export it uncompressed or as JPEG 2000."
        )
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        stream = _Stream(_inflate(stream.read()))
    dataset = read_dataset(
        stream,
        syntax.is_implicit_VR,
        syntax.is_little_endian,
        stop_when=lambda tag, vr, length: tag > _PIXEL_DATA or tag < _FIRST,
        specific_tags=_TAGS,
    )
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def _guess_syntax(head: bytes) -> uid.UID:
    """The encoding of a file without a header, by its first element: group 8, and a VR if explicit."""
    if not head[4:6].isalpha():
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRBigEndian if head[0] == 0 else uid.ExplicitVRLittleEndian


def _inflate(deflated: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(deflated, _MAX_INFLATED)
    if inflater.unconsumed_tail:
        raise ImageError("This DICOM file unpacks to more than 256 MB. Export a smaller image.")
    return inflated


def _check_frame(dataset: Dataset, syntax: uid.UID, frames: int) -> None:
    """Compare what the first compressed frame says of itself with the tags, before it is decoded."""
    if dataset.PixelData.count(b"\xfe\xff\x00\xe0") > _MAX_FRAGMENTS:
        raise ImageError(_COMPLEX)
    offsets = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    frame = get_frame(
        dataset.PixelData, 0, number_of_frames=frames, extended_offsets=offsets if all(offsets) else None
    )
    if syntax == uid.RLELossless:
        _check_rle(frame, dataset.Rows * dataset.Columns)
        return
    if syntax in uid.JPEG2000TransferSyntaxes:
        start = frame.index(b"\xff\x4f\xff\x51")  # SOC, SIZ
        right, bottom, left, top = unpack_from(">4I", frame, start + 8)
        size = right - left, bottom - top
    else:
        if frame.count(b"\xff\xda") > MAX_SCANS or frame.rstrip(b"\x00\xff")[-2:] != b"\xff\xd9":
            raise ImageError(_DAMAGED.format("its compressed picture is cut off or malformed"))
        size = _jpeg_size(frame)
    if size != (dataset.Columns, dataset.Rows):
        raise ImageError(_DAMAGED.format("its picture is not as large as its tags say"))


def _jpeg_size(frame: bytes) -> tuple[int, int]:
    """Width and height from the frame header (SOF0 to SOF15, or SOF55 of JPEG-LS)."""
    at = 2
    while True:
        marker, length = unpack_from(">HH", frame, at)
        if marker == 0xFFF7 or (0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC)):
            height, width = unpack_from(">HH", frame, at + 5)
            return width, height
        at += 2 + length


def _check_rle(frame: bytes, pixels: int) -> None:
    """Refuse segments that unpack to more than a plane of bytes (PackBits can grow 64-fold)."""
    count = unpack_from("<I", frame)[0]
    ends = [*unpack_from(f"<{min(count, 15)}I", frame, 4), len(frame)]
    for at, end in pairwise(ends):
        size = 0
        while at + 1 < end:
            header = frame[at]
            size += 0 if header == 128 else header + 1 if header < 128 else 257 - header
            at += 1 if header == 128 else header + 2 if header < 128 else 2
            if size > pixels + 256:
                raise ImageError(_DAMAGED.format("its compressed picture is larger than its tags say"))


def _eight_bits(colours: np.ndarray, bits: int) -> np.ndarray:
    return (colours >> max(bits - 8, 0)).astype(np.uint8, order="C")


def _modality(dataset: Dataset) -> Curve | None:
    if dataset.get("ModalityLUTSequence"):
        return _lut(dataset.ModalityLUTSequence[0])[0]
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None or intercept is None:
        return None
    return lambda stored: stored * (float(slope) or 1.0) + float(intercept)


def _voi(dataset: Dataset) -> Curve | None:
    """Brightness by the first VOI LUT, else by the first window; None where there is neither."""
    if dataset.get("VOILUTSequence"):
        curve, bits = _lut(dataset.VOILUTSequence[0])
        return lambda meaning: curve(meaning) / (2**bits - 1)
    window = _window(dataset)
    if window is None:
        if dataset.BitsStored > 8:
            return None
        modality = _modality(dataset) or (lambda stored: stored)
        low, high = np.sort(modality(np.array([0.0, 2**dataset.BitsStored - 1])))
        return lambda meaning: (meaning - low) / (high - low)
    centre, width = window
    function = dataset.get("VOILUTFunction") or "LINEAR"
    if function == "SIGMOID":
        return lambda meaning: 1 / (1 + np.exp(np.clip(-4 * (meaning - centre) / width, -700, 700)))
    if function != "LINEAR_EXACT":
        centre, width = centre - 0.5, max(width - 1, 1e-6)
    return lambda meaning: (meaning - centre) / width + 0.5


def _window(dataset: Dataset) -> tuple[float, float] | None:
    """Centre and width of the first window; None where they are missing or no numbers."""
    try:
        centre, width = (
            float(np.atleast_1d(dataset.get(keyword))[0]) for keyword in ("WindowCenter", "WindowWidth")
        )
    except (TypeError, ValueError, IndexError):
        return None
    return (centre, width) if width > 0 and np.isfinite(centre) else None


def _lut(item: Dataset) -> tuple[Curve, int]:
    """A lookup table of a Modality or VOI LUT Sequence, and the bits of its entries (PS3.3 C.11.1.1.1)."""
    count, first, bits = item.LUTDescriptor
    count = count or 65536
    entries = item.LUTData
    if isinstance(entries, bytes):
        words = "<u2" if item.original_encoding[1] else ">u2"
        entries = np.frombuffer(entries, words if len(entries) >= 2 * count else "u1")
    table = np.asarray(entries, dtype=np.float64)[:count]
    return lambda values: table[np.clip(values - first, 0, len(table) - 1).astype(np.intp)], bits
