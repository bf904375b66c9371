"""A PNG file's own chunks (PNG, third edition), walked before Pillow decodes them.

Pillow gets a clean copy: a text or a colour profile of any size, or one that unpacks without end, is no
reason to refuse a picture, and a file of a million chunks is refused before any of them is read.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from struct import pack, unpack_from

from bonefx.errors import ImageError

START = b"\x89PNG\r\n\x1a\n"
_MAX_CHUNKS = 50_000
_MAX_TEXT = 1_000_000
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_DAMAGED = "This PNG file is damaged: {}. Save or export it again from where it came from."
_CUT_OFF = "This PNG file is cut off: its end is missing. Copy or export it again from where it came from."


@dataclass
class Png:
    """What a file says of its picture.

    Attributes:
        channels: 1, grey or with a palette, to 4; `bits` of a sample.
        frames: of an animation, its still picture included.
        exif: camera data; `xmp` the same in XML.
        clean: a file of this picture alone.
    """

    width: int = 0
    height: int = 0
    bits: int = 8
    channels: int = 1
    frames: int = 1
    exif: bytes = b""
    xmp: bytes = b""
    clean: bytes = b""


def walk(data: bytes) -> Png:
    """Go from chunk to chunk.

    Raises:
        ImageError: cut off, damaged, or of more chunks than a picture has.
    """
    png, kept, pixels, at = Png(), [START], [], len(START)
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(data):
            raise ImageError(_CUT_OFF)
        length, kind = unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise ImageError(_CUT_OFF)
        body = memoryview(data)[at + 8 : end - 4]
        sound = zlib.crc32(body, zlib.crc32(kind)) == unpack_from(">I", data, end - 4)[0]
        if kind[:1].isupper() and not sound:
            raise ImageError(_DAMAGED.format("a part of it is not what its checksum says"))
        if kind == b"IEND":
            break
        if kind == b"IDAT":
            pixels.append(body)
        elif kind in (b"IHDR", b"PLTE", b"tRNS") and sound:
            kept.append(data[at:end])
        if kind == b"IHDR" and length >= 13:
            png.width, png.height, png.bits, colour = unpack_from(">IIBB", body)
            png.channels = _CHANNELS.get(colour, 4)
        elif sound:
            _note(png, kind, body, bool(pixels))
        at = end
    else:
        raise ImageError("This PNG file has too many parts to be read here. Save it again.")
    if not pixels:
        raise ImageError(_DAMAGED.format("it has no picture"))
    kept += [_chunk(b"IDAT", b"".join(pixels)), _chunk(b"IEND", b"")]
    png.clean = b"".join(kept)
    return png


def _chunk(kind: bytes, body: bytes) -> bytes:
    return pack(">I", len(body)) + kind + body + pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def _note(png: Png, kind: bytes, body: memoryview, after_pixels: bool) -> None:
    """What a chunk beside the picture says: how many frames there are, how the camera was held."""
    if kind == b"acTL" and len(body) >= 8:
        png.frames = 1 + unpack_from(">I", body)[0]
    elif kind == b"fcTL" and not after_pixels:  # the still picture is the first of them
        png.frames = max(png.frames - 1, 1)
    elif kind == b"eXIf":
        png.exif = bytes(body[:_MAX_TEXT])
    elif kind == b"iTXt" and bytes(body[:18]) == b"XML:com.adobe.xmp\0":
        png.xmp = bytes(body[:_MAX_TEXT])
    elif kind in (b"tEXt", b"zTXt") and bytes(body[:22]) == b"Raw profile type exif\0" and not png.exif:
        png.exif = _raw_profile(kind, bytes(body[22:]))


def _raw_profile(kind: bytes, text: bytes) -> bytes:
    """Camera data as ImageMagick keeps them: a name, a length and hexadecimal digits in lines."""
    try:
        if kind == b"zTXt":
            text = zlib.decompressobj().decompress(text[1:], _MAX_TEXT)
        return bytes.fromhex("".join(text[:_MAX_TEXT].decode("ascii").split()[2:]))
    except (zlib.error, ValueError):
        return b""
