"""The elements of a DICOM file that describe its picture, found by walking over offsets (DICOM PS3.5, 7).

pydicom gets only these: a patient's name or number never leaves the bytes of the file, whatever fails
later, and what a file holds besides its picture costs nothing. The walk also steps over a private element
with a damaged value representation, after which pydicom loses its way.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from io import BytesIO
from struct import error as StructError
from struct import pack, unpack_from
from typing import NamedTuple

import pydicom.uid as uid
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import Tag

from bonefx.errors import ImageError

PIXEL_DATA = 0x7FE00010
_FUNCTIONAL_GROUPS = 0x52009229, 0x52009230  # shared, of each frame
_WANTED = {
    int(Tag(keyword))
    for keyword in (
        *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PlanarConfiguration"),
        *("PhotometricInterpretation", "PixelRepresentation", "BitsAllocated", "BitsStored", "HighBit"),
        *("PixelPaddingValue", "PixelPaddingRangeLimit"),
        *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
        *("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth"),
        *(
            name.format(c)
            for c in ("Red", "Green", "Blue")
            for name in (
                "{}PaletteColorLookupTableDescriptor",
                "{}PaletteColorLookupTableData",
                "Segmented{}PaletteColorLookupTableData",
            )
        ),
    )
} | set(_FUNCTIONAL_GROUPS)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_SHORT = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_UNDEFINED = 0xFFFFFFFF
_MAX_ELEMENTS = 100_000
_MAX_READS = 20_000
_MAX_INFLATED = 256 * 1024 * 1024

COMPLEX = "This DICOM file has too many parts to be read here. Export its image alone, as PNG."
CUT_OFF = "This DICOM file is cut off: its picture is not whole. Copy or export it again."
_NO_PICTURE = (
    "This DICOM file holds no picture: it may be a report, a plan or an index. Choose the file of an image."
)


class Elements(NamedTuple):
    """What describes the picture.

    Attributes:
        dataset: the elements but the pixels, for pydicom.
        syntax: how the pixels are encoded.
        pixels: the value of the Pixel Data element. What is missing at a file's end is missing here.
        vr: its value representation: bytes in words (OW) are swapped in big endian.
        fragments: start and end of each item in `pixels` after the offset table, if it is encapsulated.
        offsets: of each frame from the first fragment's item, as the basic offset table gives them.
        whole: whether the file holds all of Pixel Data.
    """

    dataset: Dataset
    syntax: uid.UID
    pixels: bytes
    vr: str
    fragments: tuple[tuple[int, int], ...]
    offsets: tuple[int, ...]
    whole: bool


class _Element(NamedTuple):
    tag: int
    vr: bytes
    start: int  # of its header
    value: int
    length: int


class _Stream(BytesIO):
    """Bytes that can be read in so many pieces only: pydicom makes an object of kilobytes for each."""

    pieces = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.pieces += 1
        if self.pieces > _MAX_READS:
            raise ImageError(COMPLEX)
        return super().read(size)


class _Walk:
    """Steps from element to element of one encoding."""

    def __init__(self, data: bytes, implicit: bool, little: bool) -> None:
        self.data, self.implicit, self.order = data, implicit, "<" if little else ">"
        self.steps = 0

    def header(self, at: int, implicit: bool | None = None) -> _Element:
        """The element at an offset.

        Raises:
            struct.error: the data end within its header.
        """
        self.steps += 1
        if self.steps > _MAX_ELEMENTS:
            raise ImageError(COMPLEX)
        group, number = unpack_from(self.order + "HH", self.data, at)
        tag = group << 16 | number
        if (self.implicit if implicit is None else implicit) or group == 0xFFFE:
            return _Element(tag, b"", at, at + 8, self._unpack("I", at + 4))
        vr = self.data[at + 4 : at + 6]
        if vr in _LONG:
            return _Element(tag, vr, at, at + 12, self._unpack("I", at + 8))
        if vr in _SHORT:
            return _Element(tag, vr, at, at + 8, self._unpack("H", at + 6))
        guesses = [(at + 8, "H", at + 6), (at + 12, "I", at + 8), (at + 8, "I", at + 4)]
        for value, kind, length_at in guesses:  # short, long, implicit: what leads to another element?
            if length_at + 4 <= len(self.data):
                length = self._unpack(kind, length_at)
                if self._plausible(value + length, tag):
                    return _Element(tag, vr, at, value, length)
        return _Element(tag, vr, at, at + 8, self._unpack("H", at + 6))

    def end(self, element: _Element) -> int:
        """Where an element ends: by its length, or after the delimiter that closes it.

        Raises:
            struct.error: the data end before.
        """
        if element.length != _UNDEFINED:
            return element.value + element.length
        at, open_ones = element.value, [self.implicit or element.vr == b"UN"]
        while open_ones:
            each = self.header(at, open_ones[-1])
            at = each.value
            if each.tag in (_ITEM_END, _SEQUENCE_END):
                open_ones.pop()
            elif each.length == _UNDEFINED:
                open_ones.append(open_ones[-1] or each.vr == b"UN")
            else:
                at += each.length
        return at

    def items(self, element: _Element) -> Iterator[_Element]:
        """The items of a sequence or of encapsulated pixels, as far as there are data.

        Raises:
            struct.error: the data end within one of undefined length.
        """
        at = element.value
        last = len(self.data) if element.length == _UNDEFINED else element.value + element.length
        while at + 8 <= min(last, len(self.data)):
            item = self.header(at)
            if item.tag != _ITEM:
                return
            yield item
            at = self.end(item)

    def _unpack(self, kind: str, at: int) -> int:
        return unpack_from(self.order + kind, self.data, at)[0]

    def _plausible(self, at: int, before: int) -> bool:
        if at + 8 > len(self.data):
            return at == len(self.data)
        group, number = unpack_from(self.order + "HH", self.data, at)
        vr = self.data[at + 4 : at + 6]
        return (group << 16 | number) > before and (group == 0xFFFE or vr in _SHORT or vr in _LONG)


def parse(data: bytes) -> Elements:
    """Find the elements of a file, with or without the DICOM header.

    Raises:
        ImageError: it holds no picture, is cut off before it, has too many parts, unpacks to more than
            256 MB, or its pixels are encoded in a way that is not known.
    """
    start = 132 if data[128:132] == b"DICM" else 0
    syntax, start = _syntax(data, start)
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        data, start = _inflate(data[start:]), 0
    explicit = data[start + 4 : start + 6] in _SHORT | _LONG  # what is there counts, not what is declared
    walk = _Walk(data, not explicit, syntax != uid.ExplicitVRBigEndian)
    try:
        found = _find(walk, start)
    except StructError:
        raise ImageError(CUT_OFF) from None
    pixels = found.pop(PIXEL_DATA, None)
    if pixels is None:
        raise ImageError(_NO_PICTURE)
    selected = b"".join(_compact(walk, element) for element in found.values())
    dataset = read_dataset(_Stream(selected), walk.implicit, walk.order == "<")
    if pixels.length == _UNDEFINED:
        return _encapsulated(walk, pixels, dataset, syntax)
    end = pixels.value + pixels.length
    vr = "OB" if pixels.vr == b"OB" else "OW"
    return Elements(dataset, syntax, data[pixels.value : end], vr, (), (), end <= len(data))


def _syntax(data: bytes, start: int) -> tuple[uid.UID, int]:
    """The transfer syntax, and where the elements after the file's header start."""
    walk, text = _Walk(data, implicit=False, little=True), b""
    try:
        while data[start : start + 2] == b"\2\0":
            element = walk.header(start)
            start = walk.end(element)
            if element.tag == 0x00020010:
                text = data[element.value : start]
    except StructError:
        raise ImageError(CUT_OFF) from None
    if not text:
        return _guess_syntax(data[start : start + 6]), start
    return uid.UID(re.sub(rb"[^0-9.]", b"", text).decode("ascii")), start


def _guess_syntax(head: bytes) -> uid.UID:
    """The encoding of a file without a header, by its first element: group 8, and a VR if explicit."""
    if not head[4:6].isalpha():
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRBigEndian if head[:1] == b"\0" else uid.ExplicitVRLittleEndian


def _inflate(deflated: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(deflated, _MAX_INFLATED)
    except zlib.error:
        raise ImageError("This DICOM file is damaged: its deflated part cannot be unpacked.") from None
    if inflater.unconsumed_tail:
        raise ImageError("This DICOM file unpacks to more than 256 MB. Export a smaller image.")
    return inflated


def _find(walk: _Walk, at: int) -> dict[int, _Element]:
    """The first of each wanted element, up to the pixels."""
    found: dict[int, _Element] = {}
    last = -1
    while at < len(walk.data):
        element = walk.header(at)
        if element.tag <= last:
            break  # elements rise: this is no element
        last = element.tag
        if element.tag in _WANTED:
            found[element.tag] = element
        if element.tag == PIXEL_DATA:
            found[element.tag] = element
            break
        at = walk.end(element)
        if at > len(walk.data):
            raise ImageError(CUT_OFF)
    return found


def _compact(walk: _Walk, element: _Element) -> bytes:
    """An element's bytes; of functional groups, which can be thousands, the first item alone."""
    if element.tag not in _FUNCTIONAL_GROUPS:
        return walk.data[element.start : walk.end(element)]
    first = next(walk.items(element), None)
    if first is None:
        return b""
    item = walk.data[first.start : walk.end(first)]
    head = walk.data[element.start : element.start + 4] + (b"" if walk.implicit else b"SQ\0\0")
    return head + pack(walk.order + "I", len(item)) + item


def _encapsulated(walk: _Walk, pixels: _Element, dataset: Dataset, syntax: uid.UID) -> Elements:
    """The fragments of compressed pixels (PS3.5, A.4), as many as the data hold."""
    data = walk.data
    items = [(item.value, item.value + item.length) for item in walk.items(pixels)]
    if not items:
        raise ImageError(CUT_OFF)
    (table, table_end), *fragments = items
    offsets = unpack_from(f"<{(min(table_end, len(data)) - table) // 4}I", data, table)
    end = max(end for _, end in items)
    return Elements(
        dataset,
        syntax,
        data[pixels.value : end],
        "OB",
        tuple((start - pixels.value, end - pixels.value) for start, end in fragments),
        offsets,
        end + 8 <= len(data),
    )
