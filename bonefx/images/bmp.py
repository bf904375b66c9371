"""The run lengths of a BMP file (BI_RLE8, BI_RLE4), which Pillow unpacks slowly and without a limit."""

from __future__ import annotations

from bonefx.errors import ImageError

_END_OF_LINE, _END_OF_PICTURE, _JUMP = 0, 1, 2


def unpack(codes: bytes, width: int, height: int, half: bool) -> bytes:
    """The palette index of each pixel, in the file's order of rows; 0 where the codes say nothing.

    Args:
        half: whether an index has 4 bits and not 8.

    Raises:
        ImageError: the codes end before the picture.
    """
    rows = bytearray(width * height)
    x = y = at = 0
    while y < height:
        if at + 2 > len(codes):
            raise ImageError("This BMP file is cut off. Copy or export it again from where it came from.")
        count, value = codes[at], codes[at + 1]
        at += 2
        if count:
            indices = bytes((value >> 4, value & 15) if half else (value,)) * count
        elif value == _END_OF_LINE:
            x, y = 0, y + 1
            continue
        elif value == _END_OF_PICTURE:
            break
        elif value == _JUMP:
            right, down = codes[at : at + 2].ljust(2, b"\0")
            x, y, at = min(x + right, width), y + down, at + 2
            continue
        else:
            count, size = value, (value + 1) // 2 if half else value
            indices = codes[at : at + size]
            if half:
                indices = bytes(index for both in indices for index in (both >> 4, both & 15))
            at += size + size % 2
        indices = indices[: min(count, width - x)]
        rows[y * width + x : y * width + x + len(indices)] = indices
        x += len(indices)
    return bytes(rows)
