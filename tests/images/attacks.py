"""Small files that are built to cost much: each by a name, with what becomes of it."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image
from pydicom import uid

from tests.images.pictures import COLOUR, GREY, saved
from tests.images.test_dicom import dicom, jpeg_lossless
from tests.images.test_raster import chunk

SIDE = 7000  # 49 megapixels


def png(
    *chunks: bytes, width: int = 8, height: int = 8, bits: int = 8, colour: int = 0, interlaced: int = 0
) -> bytes:
    head = chunk(b"IHDR", struct.pack(">2I5B", width, height, bits, colour, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    """Zeros, packed, without holding them."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(min(1 << 20, count - at))) for at in range(0, count, 1 << 20)]
    return b"".join(parts) + packer.flush()


def tiff(entries: list[tuple[int, int, int, int]], tail: bytes = b"", following: int = 0) -> bytes:
    """A little-endian TIFF of these (tag, type, count, value or offset)."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return head + body + struct.pack("<I", following) + tail


def plain(width: int, height: int, **more: int) -> list[tuple[int, int, int, int]]:
    """The entries of a grey picture of 8 bits."""
    entries = {
        256: width,
        257: height,
        258: 8,
        259: 1,
        262: 1,
        277: 1,
        **{int(k[1:]): v for k, v in more.items()},
    }
    return [(tag, 4, 1, value) for tag, value in sorted(entries.items())]


def pages(count: int) -> bytes:
    """A TIFF of small pages, each of 16 by 16 pixels."""
    parts, at = [b"II*\0" + struct.pack("<I", 8)], 8
    for page in range(count):
        entries = plain(16, 16, t273=8, t278=16, t279=100)
        size = 2 + 12 * len(entries) + 4
        following = at + size if page + 1 < count else 0
        body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
        parts.append(struct.pack("<H", len(entries)) + body + struct.pack("<I", following))
        at += size
    return b"".join(parts) + bytes(300)


def strips(count: int) -> bytes:
    entries = plain(1, count, t278=1)
    at = 8 + 2 + 12 * (len(entries) + 2) + 4
    entries += [(273, 4, count, at), (279, 4, count, at + 4 * count)]
    return tiff(sorted(entries), bytes(8 * count))


def bmp(codes: bytes, side: int = SIDE) -> bytes:
    palette = bytes(range(256)) * 4
    start = 14 + 40 + len(palette)
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(codes), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", start + len(codes), 0, 0, start) + head + palette + codes


def jpeg_scans(count: int, side: int = SIDE) -> bytes:
    """A progressive JPEG that goes over a large picture again and again, with next to no data."""
    content = saved(GREY, "JPEG", progressive=True)
    frame = content.index(b"\xff\xc2")
    content = content[: frame + 5] + struct.pack(">HH", side, side) + content[frame + 9 :]
    first = content.index(b"\xff\xda")
    scan = content[first : content.index(b"\xff", first + 2)]
    return content[:-2] + (scan + b"\0") * count + b"\xff\xd9"


def jpeg_segments(count: int) -> bytes:
    content = saved(GREY, "JPEG")
    return content[:2] + b"\xff\xfe\0\x02" * count + content[2:]


def webp_frames(count: int) -> bytes:
    picture = saved(COLOUR[:8, :8], "WEBP", lossless=True)[12:]
    frame = struct.pack("<3s3s3s3s3sB", bytes(3), bytes(3), b"\7\0\0", b"\7\0\0", b"\x40\0\0", 0) + picture
    body = (
        b"VP8X"
        + struct.pack("<IB3x3s3s", 10, 2, b"\7\0\0", b"\7\0\0")
        + b"ANIM"
        + struct.pack("<IIH", 6, 0, 0)
    )
    body += (b"ANMF" + struct.pack("<I", len(frame)) + frame) * count
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def webp_large() -> bytes:
    return saved(Image.new("L", (16383, 3000)), "WEBP", lossless=True, method=0)


def jpeg_2000(side: int, tile: int, layers: int = 1) -> bytes:
    """A codestream (ITU-T T.800) of one component that ends after its headers."""
    size = struct.pack(">HH8IH3B", 41, 0, side, side, 0, 0, tile, tile, 0, 0, 1, 7, 1, 1)
    coding = struct.pack(">HBBHBBBBBB", 12, 0, 0, layers, 0, 5, 4, 4, 0, 1)
    quantised = struct.pack(">HB", 19, 0x40) + bytes([0x40] * 16)
    tile_part = struct.pack(">HHIBB", 10, 0, 0, 0, 1)
    return (
        b"\xff\x4f\xff\x51"
        + size
        + b"\xff\x52"
        + coding
        + b"\xff\x5c"
        + quantised
        + b"\xff\x90"
        + tile_part
        + b"\xff\x93"
        + bytes(100_000)
        + b"\xff\xd9"
    )


def lossless(side: int) -> bytes:
    """A lossless JPEG that claims to be large, with little data."""
    content = jpeg_lossless(np.zeros((8, 8), np.uint16))
    frame = content.index(b"\xff\xc3")
    content = content[: frame + 5] + struct.pack(">HH", side, side) + content[frame + 9 :]
    return content[:-2] + bytes(1000) + b"\xff\xd9"


def jpeg_ls(side: int, data: bytes) -> bytes:
    frame = struct.pack(">HBHHBBBB", 11, 16, side, side, 1, 1, 0x11, 0)
    scan = struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 0, 0)
    return b"\xff\xd8\xff\xf7" + frame + b"\xff\xda" + scan + data + b"\xff\xd9"


def large(syntax: uid.UID, frame: bytes, **tags) -> bytes:
    """A DICOM file of one frame that is as large as its stream claims."""
    tags = {"Rows": SIDE, "Columns": SIDE, **tags}
    return dicom(np.zeros((8, 8), np.uint16), syntax, [frame], **tags)


def sequence(items: int) -> bytes:
    """A DICOM file whose functional groups have so many items."""
    content = dicom(np.zeros((64, 64), np.uint16) + np.arange(64, dtype=np.uint16))
    at = content.index(b"\xe0\x7f\x10\0")
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    group = struct.pack("<HH2sHI", 0x5200, 0x9230, b"SQ", 0, 8 * items) + item * items
    return content[:at] + group + content[at:]


def rle(side: int) -> bytes:
    """Segments of runs as short as they can be: as many as the picture has samples."""
    segment = b"\x00\x00" * (side * side)
    return struct.pack("<16I", 2, 64, 64 + len(segment), *[0] * 13) + segment * 2
