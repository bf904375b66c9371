"""How a camera was held: the orientation tag of Exif data (CIPA DC-008, 4.6.5) or of XMP."""

from __future__ import annotations

import re
from struct import error as StructError
from struct import unpack_from

import numpy as np

_TAG, _SHORT = 0x0112, 3
_XMP = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")


def read(exif: bytes, xmp: bytes = b"") -> int:
    """The orientation, 1 to 8; 1 (upright) where there is none or the data are damaged.

    Only this tag is looked at: camera data can be built to fill the memory of who reads them whole.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        if order:
            at = unpack_from(f"{order}I", exif, 4)[0]
            for entry in range(unpack_from(f"{order}H", exif, at)[0]):
                tag, kind, _, value = unpack_from(f"{order}HHIH", exif, at + 2 + 12 * entry)
                if tag == _TAG and kind == _SHORT:
                    return value if 1 <= value <= 8 else 1
    except StructError:
        pass
    found = _XMP.search(xmp[:1_000_000])
    return int(found[1]) if found else 1


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """A picture, (h, w) or (h, w, channels), turned and mirrored as its orientation asks."""
    if orientation >= 5:
        array = np.swapaxes(array, 0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)
