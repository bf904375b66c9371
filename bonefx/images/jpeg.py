"""The structure of a JPEG stream (ITU-T T.81, T.87), and what is left of one that is cut off.

Streams are walked from marker to marker before anything decodes them: that bounds what decoding costs, and
gives a clean copy without camera data, previews or bytes behind the picture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from struct import error as StructError
from struct import unpack_from
from typing import NamedTuple

import numpy as np

from bonefx.errors import ImageError

MAX_SCANS = 500
"""Each costs a pass over the whole picture, and can be 75 bytes of file."""
MAX_MISSING = 0.1
"""The share of the picture that may be missing at a stream's end."""

_MAX_SEGMENTS = 5000
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_LOSSLESS, _JPEG_LS = 0xC3, 0xF7
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), _JPEG_LS)
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1, 0xC9), (0xC2, 0xCA)
_NEXT_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""What ends compressed data: 0 is stuffed after 0xFF there, and D0 to D7 restart within them."""
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_ENDINGS = (b"\x12\x9a\x5c\xe7" * 16, b"\xe5\x3b\xa6\x71" * 16, b"\x55" * 64)
"""Made-up compressed data: where a picture changes with them, its own data have ended."""

DAMAGED = "This JPEG picture is damaged: {}. Save or export it again from where it came from."
CUT_OFF = (
    "This JPEG picture is cut off: {} of it is missing. Copy or export it again from where it came from."
)


class _Scan(NamedTuple):
    components: tuple[int, ...]
    first: int  # spectral selection: of coefficients
    last: int
    low: int  # successive approximation: the lowest bit it gives


@dataclass
class Jpeg:
    """A stream's frame header and scans.

    Attributes:
        process: the second byte of its frame's marker: 0xC0 baseline, 0xC3 lossless, 0xF7 JPEG-LS.
        precision: bits of a sample.
        components: id, horizontal and vertical sampling of each.
        transform: the colour transform of an Adobe marker; None without one.
        jfif: whether a JFIF marker says that three components are YCbCr.
        exif: the content of the first Exif segment, and `xmp` that of the first XMP segment.
        scans: how often the picture is gone over.
        clean: the stream from behind its start marker to before its end marker, without what does not
            decode, colour markers among it.
        whole: whether it has that marker.
    """

    process: int = 0
    precision: int = 0
    width: int = 0
    height: int = 0
    components: tuple[tuple[int, int, int], ...] = ()
    transform: int | None = None
    jfif: bool = False
    exif: bytes = b""
    xmp: bytes = b""
    scans: list[_Scan] = field(default_factory=list)
    clean: bytes = b""
    whole: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it is baseline, extended or progressive with 8 bits, which libjpeg-turbo decodes."""
        return self.precision == 8 and self.process in (*_SEQUENTIAL, *_PROGRESSIVE)

    @property
    def is_ycbcr(self) -> bool | None:
        """Whether three components are YCbCr by the stream's own word; None where it says nothing."""
        if self.jfif:  # goes first in libjpeg too
            return True
        if self.transform is not None:
            return self.transform != 0
        if [c for c, _, _ in self.components] in ([*b"RGB"], [*b"rgb"]):
            return False
        sampled = {(h, v) for _, h, v in self.components}
        return True if len(sampled) > 1 else None

    @property
    def work(self) -> int:
        """Bytes of samples to go through to decode it: each scan after the first of a component is a pass."""
        passes = max(len(self.scans) - len(self.components) + 1, 1) * (
            1 if self.whole else 1 + 2 * len(_ENDINGS)
        )
        return self.width * self.height * len(self.components) * passes

    @property
    def is_covered(self) -> bool:
        """Whether its scans, the last included, go over every bit of every component."""
        ids = {each[0] for each in self.components}
        if self.process not in _PROGRESSIVE:
            return ids <= {c for scan in self.scans for c in scan.components}
        need = {(c, k) for c in ids for k in range(64)}
        for scan in self.scans:
            if scan.low == 0:
                need -= {(c, k) for c in scan.components for k in range(scan.first, scan.last + 1)}
        return not need


def walk(data: bytes) -> Jpeg:
    """Go from marker to marker.

    Raises:
        ImageError: no frame header, or more segments or scans than a picture has.
    """
    jpeg, kept, at = Jpeg(), [], 2
    for _ in range(_MAX_SEGMENTS):
        found = _NEXT_MARKER.search(data, at)
        if not found or (found.start() + 4 > len(data) and data[found.start() + 1] != _EOI):
            break
        at, marker = found.start(), data[found.start() + 1]
        if marker == _EOI:
            jpeg.whole = True
            break
        if marker == _SOI:
            at += 2
            continue
        end = at + 2 + unpack_from(">H", data, at + 2)[0]
        segment = data[at:end]
        if end > len(data):
            break
        at = end
        if marker == _SOS:
            following = _NEXT_MARKER.search(data, end)
            at = following.start() if following else len(data)
        kept.append(_keep(jpeg, marker, segment) + data[end:at])
        if len(jpeg.scans) > MAX_SCANS:
            raise ImageError("This JPEG picture is built to take very long to read. Save it again as PNG.")
    else:
        raise ImageError("This JPEG picture has too many parts to be read here. Save it again as PNG.")
    if not jpeg.components:
        raise ImageError(DAMAGED.format("its beginning cannot be read"))
    jpeg.clean = b"".join(kept)
    return jpeg


def _keep(jpeg: Jpeg, marker: int, segment: bytes) -> bytes:
    """Note what a segment says, and return it as it is to be decoded: nothing of camera data or texts."""
    body = segment[4:]
    if marker in _FRAMES and not jpeg.components:
        _read_frame(jpeg, marker, body)
    elif marker == _SOS:
        return _read_scan(jpeg, segment)
    elif marker == 0xE0 and body.startswith(b"JFIF\0"):
        jpeg.jfif = True
    elif marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
        jpeg.transform = body[11]
    elif marker == 0xE1 and body.startswith(b"Exif\0\0") and not jpeg.exif:
        jpeg.exif = body
    elif marker == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/") and not jpeg.xmp:
        jpeg.xmp = body
    needless = (0xE0 <= marker <= 0xEF and marker != 0xE8) or marker == 0xFE
    return b"" if needless else segment  # 0xE8: the colour transform of JPEG-LS


def _read_frame(jpeg: Jpeg, marker: int, body: bytes) -> None:
    try:
        jpeg.precision, jpeg.height, jpeg.width, count = unpack_from(">BHHB", body)
        jpeg.process = marker
        jpeg.components = tuple(
            (body[6 + 3 * i], body[7 + 3 * i] >> 4, body[7 + 3 * i] & 15) for i in range(count)
        )
    except (StructError, IndexError):
        raise ImageError(DAMAGED.format("its beginning cannot be read")) from None


def _read_scan(jpeg: Jpeg, segment: bytes) -> bytes:
    """Note a scan. One of a sequential frame covers all coefficients, whatever its header says."""
    try:
        count = segment[4]
        components = tuple(segment[5 + 2 * i] for i in range(count))
        first, last, bits = segment[5 + 2 * count : 8 + 2 * count]
    except (IndexError, ValueError):
        raise ImageError(DAMAGED.format("the header of a scan cannot be read")) from None
    jpeg.scans.append(_Scan(components, first, last, bits & 15))
    if jpeg.process in _SEQUENTIAL:
        segment = segment[: 5 + 2 * count] + b"\0\x3f\0"
    return segment


def decode(
    jpeg: Jpeg, decoder: Callable[[bytes], np.ndarray], ycbcr: bool = True
) -> tuple[np.ndarray, float]:
    """Decode a stream that may lack its last bytes.

    Where the data end is found by decoding with made-up data behind them: what changes has no data of its
    own. The share is that of the picture's coding units (MCU) from there on, in the last scan.

    Args:
        decoder: from a whole stream to samples, (h, w) or (h, w, channels).
        ycbcr: whether three components are YCbCr and not RGB, which the decoder is told.

    Returns:
        The samples, 0 where none are left, and the share that is missing: 0 for a whole stream.

    Raises:
        ImageError: more than `MAX_MISSING` is missing.
    """
    start, end = b"\xff\xd8" + _adobe(jpeg, ycbcr), b"\xff\xd9"
    if jpeg.whole:
        return decoder(start + jpeg.clean + end), 0.0
    if not jpeg.is_covered:
        raise ImageError(CUT_OFF.format("a large part"))
    stream = start + jpeg.clean.rstrip(b"\0\xff")  # a download that broke off can be filled up
    shown = _tried(decoder, stream + end)
    if shown is None:
        raise ImageError(CUT_OFF.format("a part"))
    height, width = _unit(jpeg)
    others = (_tried(decoder, stream + ending + end) for ending in _endings(stream))
    top, left = _first_change(shown, others, height, width)
    rest = (shown.shape[1] - left) * min(height, shown.shape[0] - top)
    missing = (rest + shown.shape[1] * max(shown.shape[0] - top - height, 0)) / (
        shown.shape[0] * shown.shape[1]
    )
    if missing > MAX_MISSING:
        raise ImageError(CUT_OFF.format(f"{100 * missing:.0f} %"))
    if len(jpeg.scans) == 1:
        shown[top : top + height, left:] = 0
        shown[top + height :] = 0
    return shown, max(missing, 1e-6)


def _tried(decoder: Callable[[bytes], np.ndarray], stream: bytes) -> np.ndarray | None:
    try:
        return decoder(stream)
    except (ImageError, MemoryError):
        raise
    except Exception:  # a decoder's text may quote the file: it goes no further
        return None


def _endings(stream: bytes) -> tuple[bytes, ...]:
    """Made-up data, also behind the restart marker that would come next: up to it others are skipped."""
    restarts = len(_RESTART.findall(stream, stream.rindex(b"\xff\xda")))
    restart = bytes([0xFF, 0xD0 + restarts % 8]) if restarts else b""
    return tuple(dict.fromkeys(before + data for before in (b"", restart) for data in _ENDINGS))


def _unit(jpeg: Jpeg) -> tuple[int, int]:
    """Height and width in pixels of what is coded together (MCU; of lossless processes, a sample)."""
    size = 8 if jpeg.process in (*_SEQUENTIAL, *_PROGRESSIVE) else 1
    if len(jpeg.components) == 1:
        return size, size
    return size * max(v for _, _, v in jpeg.components), size * max(h for _, h, _ in jpeg.components)


def _first_change(
    shown: np.ndarray, others: Iterable[np.ndarray | None], height: int, width: int
) -> tuple[int, int]:
    """Top and left of the first coding unit in which pictures differ; one row below if none does, and the
    first of all if there are none.

    The last row and column of a unit do not count: upsampled colours mix them with their neighbours'.
    """
    down, across = -(-shown.shape[0] // height), -(-shown.shape[1] // width)
    changed = np.zeros((down * height, across * width), bool)
    compared = 0
    for other in others:
        if other is not None:
            differs = (shown != other).reshape(*shown.shape[:2], -1).any(axis=2)
            changed[: shown.shape[0], : shown.shape[1]] |= differs
            compared += 1
    if not compared:  # it cannot be told what is missing
        return 0, 0
    units = changed.reshape(down, height, across, width)
    places = np.flatnonzero(units[:, : max(height - 1, 1), :, : max(width - 1, 1)].any(axis=(1, 3)))
    first = int(places[0]) if places.size else down * across
    return first // across * height, first % across * width


def _adobe(jpeg: Jpeg, ycbcr: bool) -> bytes:
    """The marker that tells libjpeg what the components are; none where it is not needed."""
    if not jpeg.is_plain or len(jpeg.components) == 1:
        return b""
    transform = int(ycbcr) if len(jpeg.components) == 3 else jpeg.transform
    return b"" if transform is None else b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform])
