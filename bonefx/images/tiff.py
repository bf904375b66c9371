"""A TIFF file's first directory (TIFF 6.0), walked before Pillow and libtiff decode its picture.

They get a copy with one directory that holds only what describes samples: pages are counted by their
offsets, and neither a thousand of them nor millions of values cost anything.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from struct import error as StructError
from struct import pack, unpack_from
from typing import NamedTuple

import numpy as np

from bonefx.errors import ImageError
from bonefx.images.pixels import check_size

MAX_PAGES = 1000  # that are counted: a small file can claim millions
_MAX_STRIPS = 70_000  # as many as rows in the tallest picture that libtiff reads strip by strip
_MAX_VALUES = 3 * 65536  # of any other tag: a palette of 16 bits
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q", 13: "I", 18: "Q"}
ORIENTATION = 274
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIPS, _STRIP_SIZES, _SAMPLES, _ROWS_PER_STRIP, _PLANAR, _PREDICTOR = 273, 279, 277, 278, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_SIZES, _FORMAT = 322, 323, 324, 325, 339
_KEPT = {
    *(
        _WIDTH,
        _HEIGHT,
        _BITS,
        _COMPRESSION,
        _PHOTOMETRIC,
        266,
        _STRIPS,
        ORIENTATION,
        _SAMPLES,
        _ROWS_PER_STRIP,
    ),
    *(_STRIP_SIZES, _PLANAR, 292, 293, _PREDICTOR, 320, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_SIZES),
    *(332, 338, _FORMAT, 347, *range(512, 522), 529, 530, 531, 532),
}
_LISTS = _STRIPS, _STRIP_SIZES, _TILES, _TILE_SIZES
_PLAIN, _DEFLATE = (1,), (8, 32946)
_BOUNDED = (*_PLAIN, *_DEFLATE, 2, 3, 4, 5, 32773)  # CCITT, LZW, PackBits
_FLOAT = 3

CUT_OFF = "This TIFF file is cut off. Copy or export it again from where it came from."
_DAMAGED = "This TIFF file is damaged: {}. Save or export it again from where it came from."


class _Tag(NamedTuple):
    kind: int
    count: int  # type: ignore[assignment]  # a tuple has a method of this name
    value: int  # where its values are


@dataclass
class Tiff:
    """What a file says of its first picture.

    Attributes:
        pages: at least so many; `MAX_PAGES` are counted.
        bits: of a sample; `signed` and `real` whether it is a negative or a floating-point number.
        inverted: whether 0 is white.
        size: bytes to decode, the edges of tiles included.
        bounded: whether decoding takes no longer than those bytes ask for.
        clean: a file of this picture alone, for Pillow.
    """

    data: bytes
    order: str
    big: bool
    entries: dict[int, _Tag] = field(default_factory=dict)
    pages: int = 1
    width: int = 0
    height: int = 0
    bits: int = 1
    samples: int = 1
    signed: bool = False
    real: bool = False
    inverted: bool = False
    size: int = 0
    bounded: bool = True
    clean: bytes = b""

    def numbers(self, tag: int) -> tuple[int, ...]:
        """The values of a tag, none if it is missing."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _NUMBERS:
            return ()
        return unpack_from(f"{self.order}{entry.count}{_NUMBERS[entry.kind]}", self.data, entry.value)

    def number(self, tag: int, default: int) -> int:
        return next(iter(self.numbers(tag)), default)

    @property
    def is_recast(self) -> bool:
        """Whether it is grey of a type that Pillow knows in part: it is told another of the same size."""
        grey = self.samples == 1 and self.number(_PHOTOMETRIC, 1) in (0, 1)
        return grey and (self.bits in (16, 32) or (self.bits == 8 and self.signed))

    def as_meant(self, samples: np.ndarray) -> np.ndarray:
        """What Pillow decoded of a recast picture, in its own type."""
        if self.bits == 32 and self.order == ">" and self.number(_COMPRESSION, 1) not in _PLAIN:
            samples = samples.byteswap()  # libtiff has swapped them, and Pillow again
        samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
        return samples.view(f"{'f' if self.real else 'i' if self.signed else 'u'}{self.bits // 8}")


def walk(data: bytes) -> Tiff:
    """Read the first directory, and count the others.

    Raises:
        ImageError: cut off, damaged, too large, or of more parts than a picture has.
    """
    tiff = Tiff(data, "<" if data[:2] == b"II" else ">", False)
    try:
        tiff.big = unpack_from(f"{tiff.order}H", data, 2)[0] == 43
        start = unpack_from(tiff.order + ("Q" if tiff.big else "I"), data, 8 if tiff.big else 4)[0]
        following = _directory(tiff, start)
        tiff.pages = _count(tiff, start, following)
        _describe(tiff)
    except StructError:
        raise ImageError(CUT_OFF) from None
    tiff.clean = _rewrite(tiff)
    return tiff


def _shape(tiff: Tiff, at: int) -> tuple[int, int, int]:
    """Number of entries of a directory, where they start, and where the next one's offset is."""
    count = unpack_from(tiff.order + ("Q" if tiff.big else "H"), tiff.data, at)[0]
    first = at + (8 if tiff.big else 2)
    if count > 65535:
        raise ImageError(_DAMAGED.format("its directory cannot be"))
    return count, first, first + count * (20 if tiff.big else 12)


def _directory(tiff: Tiff, at: int) -> int:
    """Note the entries that describe samples; return the offset of the next directory."""
    _, first, end = _shape(tiff, at)
    width, head, wide = (20, "HHQ", 8) if tiff.big else (12, "HHI", 4)
    for entry in range(first, end, width):
        tag, kind, number = unpack_from(tiff.order + head, tiff.data, entry)
        if tag not in _KEPT or kind not in _SIZES or tag in tiff.entries or not number:
            continue
        if number > (_MAX_STRIPS if tag in _LISTS else _MAX_VALUES):
            raise ImageError("This TIFF file has too many parts to be read here. Save it again as PNG.")
        value, size = entry + width - wide, number * _SIZES[kind]
        if size > wide:
            value = unpack_from(tiff.order + ("Q" if tiff.big else "I"), tiff.data, value)[0]
        if value + size > len(tiff.data):
            raise ImageError(CUT_OFF)
        tiff.entries[tag] = _Tag(kind, number, value)
    return unpack_from(tiff.order + ("Q" if tiff.big else "I"), tiff.data, end)[0]


def _count(tiff: Tiff, start: int, following: int) -> int:
    """Pages, by going from offset to offset; a chain that breaks or turns back ends there."""
    seen = {start}
    while following and following not in seen and len(seen) < MAX_PAGES:
        try:
            end = _shape(tiff, following)[2]
            after = unpack_from(tiff.order + ("Q" if tiff.big else "I"), tiff.data, end)[0]
        except (StructError, ImageError):
            break
        seen.add(following)
        following = after
    return len(seen)


def _describe(tiff: Tiff) -> None:
    tiff.width, tiff.height = tiff.number(_WIDTH, 0), tiff.number(_HEIGHT, 0)
    check_size(tiff.width, tiff.height)
    tiff.samples, tiff.bits = tiff.number(_SAMPLES, 1), tiff.number(_BITS, 1)
    sample_format = tiff.number(_FORMAT, 1)
    tiff.signed, tiff.real = sample_format == 2, sample_format == _FLOAT
    tiff.inverted = tiff.number(_PHOTOMETRIC, 1) == 0
    tiff.bounded = tiff.number(_COMPRESSION, 1) in _BOUNDED
    width = tiff.number(_TILE_WIDTH, tiff.width)
    height = tiff.number(_TILE_HEIGHT, 0) or min(tiff.number(_ROWS_PER_STRIP, tiff.height), tiff.height)
    if not width or not height:
        raise ImageError(_DAMAGED.format("a part of its picture has no size"))
    parts = -(-tiff.width // width) * -(-tiff.height // height)
    _check_extent(tiff, width, height)
    tiff.size = parts * width * height * max(tiff.samples, 1) * max(tiff.bits, 8) // 8


def _check_extent(tiff: Tiff, width: int, height: int) -> None:
    """Refuse a file that ends within a strip or tile of this size: its copy for Pillow goes on behind."""
    offsets = tiff.numbers(_TILES) or tiff.numbers(_STRIPS)
    sizes = tiff.numbers(_TILE_SIZES) or tiff.numbers(_STRIP_SIZES)
    if tiff.number(_COMPRESSION, 1) in _PLAIN:  # as many bytes as their samples take, whatever is said
        channels = 1 if tiff.number(_PLANAR, 1) == 2 else tiff.samples
        row = -(-width * channels * tiff.bits // 8)
        down = -(-tiff.height // height)
        last = height if _TILES in tiff.entries else tiff.height - (down - 1) * height
        sizes = tuple(row * (last if (i + 1) % down == 0 else height) for i in range(len(offsets)))
    if any(offset + size > len(tiff.data) for offset, size in zip(offsets, sizes, strict=False)):
        raise ImageError(CUT_OFF)


def _rewrite(tiff: Tiff) -> bytes:
    """The file with one directory at its end, in which samples have a type that Pillow knows."""
    order, big = tiff.order, tiff.big
    entries = []
    for tag, (kind, count, value) in sorted(tiff.entries.items()):
        wide = 8 if big else 4
        size = count * _SIZES[kind]
        field_ = (
            tiff.data[value : value + size].ljust(wide, b"\0")
            if size <= wide
            else pack(order + ("Q" if big else "I"), value)
        )
        if tiff.is_recast and tag in (_FORMAT, _PHOTOMETRIC):
            continue
        entries.append((tag, kind, count, field_))
    if tiff.is_recast:
        known = 1 if tiff.bits < 32 else _FLOAT if tiff.number(_PREDICTOR, 1) == _FLOAT else 2
        for tag, number in ((_FORMAT, known), (_PHOTOMETRIC, 1)):
            entries.append((tag, 3, 1, pack(order + "H", number).ljust(8 if big else 4, b"\0")))
    body = b"".join(
        pack(order + ("HHQ" if big else "HHI"), *entry[:3]) + entry[3] for entry in sorted(entries)
    )
    at = len(tiff.data) + len(tiff.data) % 2
    head = pack(order + "HHHQ", 43, 8, 0, at) if big else pack(order + "HI", 42, at)
    number_of_entries = pack(order + ("Q" if big else "H"), len(entries))
    start = tiff.data[:2] + head
    return b"".join(
        (
            start,
            memoryview(tiff.data)[len(start) :],
            bytes(at - len(tiff.data)),
            number_of_entries,
            body,
            bytes(8 if big else 4),
        )
    )


def doubles(tiff: Tiff) -> np.ndarray:
    """The samples of a grey picture of 64-bit floating-point numbers, which Pillow does not read.

    Raises:
        ImageError: more than one channel, tiles, or compressed by anything but deflate.
    """
    compression, predictor = tiff.number(_COMPRESSION, 1), tiff.number(_PREDICTOR, 1)
    if (
        tiff.samples != 1
        or _STRIPS not in tiff.entries
        or compression not in (*_PLAIN, *_DEFLATE)
        or predictor != 1
    ):
        raise ImageError(
            "This TIFF file stores its samples in a way that is not read here. Save it as 16-bit PNG."
        )
    size = 8 * tiff.width * tiff.height
    rows = bytearray()
    for start, length in zip(tiff.numbers(_STRIPS), tiff.numbers(_STRIP_SIZES), strict=False):
        strip = tiff.data[start : start + length]
        if compression in _DEFLATE:
            strip = zlib.decompressobj().decompress(strip, size - len(rows) + 1)
        rows += strip
        if len(rows) >= size:
            break
    if len(rows) < size:
        raise ImageError(CUT_OFF)
    return np.frombuffer(bytes(rows[:size]), f"{tiff.order}f8").reshape(tiff.height, tiff.width)
