"""Files and arrays to `Radiograph`: the one way in for pictures.

What a file is, its content says, never its name. One file is decoded here at a time, and one in the process
for costly ones: memory stays bounded, and Python's warning filters, which are switched meanwhile, belong to
the whole process.
"""

from __future__ import annotations

import math
import os
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from struct import unpack_from

import numpy as np

from bonefx.errors import ImageError
from bonefx.images import raster
from bonefx.images.pixels import MAX_PIXELS, Picture, Plan, check_size, show
from bonefx.images.plausible import unlike_radiograph
from bonefx.quiet import silenced

__all__ = ["MAX_BYTES", "MAX_PIXELS", "Radiograph", "from_array", "read", "unlike_radiograph"]

MAX_BYTES = 64 * 1024 * 1024

_MAX_WORK = 64_000_000
"""Bytes of samples that are gone through in this process: half a second or less."""
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, eq=False)
class Radiograph:
    """A picture as the models see it.

    Attributes:
        rgb: uint8 (h, w, 3), upright and windowed.
        grey: uint16 (h, w) where the source has more than 8 bits, else None; larger is brighter as
            shown, before any window. For a viewer's own window.
        name: the file's base name.
        notes: for the person: "first of 3 frames".
    """

    rgb: np.ndarray
    grey: np.ndarray | None
    name: str
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        return self.rgb.shape[1]

    @property
    def height(self) -> int:
        return self.rgb.shape[0]


def read(path: str | Path) -> Radiograph:
    """Read an image file: PNG, JPEG, WebP, BMP, TIFF or DICOM.

    16-bit samples are windowed from the 0.5 to the 99.5 percentile, a DICOM as its tags say; alpha is
    laid over black, EXIF rotation applied, and of several frames the first taken, with a note. A JPEG
    that lacks its last bytes is read, with a note, if no more than a tenth of the picture is missing.

    What a file costs is bounded: its parts are counted before they are read, and what that does not bound
    is decoded in a process of its own, which ends after some seconds or when it takes too much memory.

    Raises:
        ImageError: missing, not such an image, damaged, cut off, over `MAX_PIXELS` or `MAX_BYTES`, too
            much work. Its text never quotes the file's content.
    """
    data = _load(path)
    picture = _decode(data)
    return Radiograph(picture.rgb, picture.grey, Path(path).name, _notes(picture))


def from_array(array: np.ndarray, name: str = "array") -> Radiograph:
    """A picture that is already decoded.

    Args:
        array: uint8 or uint16, (h, w) grey, (h, w, 3) RGB or (h, w, 4) RGB with alpha. 16 bits are
            windowed as in `read`. It is copied.
        name: what to call it.

    Raises:
        ImageError: another type or shape, no pixels, or more than `MAX_PIXELS`.
    """
    array = np.asarray(array)
    if array.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"An image array must be uint8 or uint16, not {array.dtype}. Convert it first.")
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,), (4,)):
        raise ImageError(
            f"An image array must be (height, width), or that with 3 or 4 channels, not {array.shape}."
        )
    check_size(array.shape[1], array.shape[0])
    picture = show(np.array(array, order="C"))
    return Radiograph(picture.rgb, picture.grey, name, _notes(picture))


def _load(path: str | Path) -> bytes:
    """The bytes of a regular file of at most `MAX_BYTES`, by a check before and one after opening."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ImageError("This is a folder. Choose a file in it.")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("This is a device or a pipe, not a file. Choose a file.")
        if status.st_size > MAX_BYTES:
            raise ImageError(_too_large())
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ImageError("There is no file of this name. Check the path.") from None
    except (OSError, ValueError):  # not permitted, a name that is too long or holds a NUL
        raise ImageError("This file cannot be opened. Check its name and who may read it.") from None
    if not data:
        raise ImageError("This file is empty. Export it again from where it came from.")
    if len(data) > MAX_BYTES:  # it grew since
        raise ImageError(_too_large())
    return data


def _too_large() -> str:
    return f"This file is larger than {MAX_BYTES // 1024**2} MB. Make the image smaller or compress it."


def _decode(data: bytes) -> Picture:
    """Here, or in a process of its own if it can be too much work."""
    picture = decode_here(data, _MAX_WORK)
    if picture is None:
        from bonefx.images import apart

        picture = apart.decode(data)
    return picture


def decode_here(data: bytes, limit: float = math.inf) -> Picture | None:
    """Decode a file in this process, if that is no more than so many bytes of samples; else None.

    Raises:
        ImageError: as `read`, or it takes more memory than there is.
    """
    with _ONE_AT_A_TIME, silenced("PIL", "pydicom", "pylibjpeg"):
        try:
            plan = _plan(data)
            return plan.decode() if plan.work <= limit else None
        except ImageError:
            raise
        except MemoryError:
            error = "Reading this image takes more memory than there is. Make it smaller, or save it as PNG."
        except Exception as raised:
            state = "cut off" if "truncated" in str(raised) else "damaged"  # Pillow's word
            error = f"This image file is {state}. Export it again from where it came from."
    raise ImageError(error)  # outside: a decoder's own text may quote a patient's tag


def _plan(data: bytes) -> Plan:
    if not _is_dicom(data):
        return raster.plan(data)
    from bonefx.images import dicom  # pydicom takes a while to import, and few need it

    return dicom.plan(data)


def _notes(picture: Picture) -> tuple[str, ...]:
    if picture.rgb.min() == picture.rgb.max():
        return (*picture.notes, "the picture is all of one grey: there is nothing to see in it")
    return picture.notes


def _is_dicom(data: bytes) -> bool:
    """Whether it has the DICOM prefix, or starts with a plausible element of group 2 or 8 without one."""
    if data[128:132] == b"DICM":
        return True
    if len(data) < 132:
        return False
    vr = data[4:6]
    for order in "<>":
        group, element = unpack_from(f"{order}HH", data)
        if group in (2, 8) and element <= 0x20:
            explicit = vr.isalpha() and vr.isupper()
            return explicit or (order == "<" and int.from_bytes(data[4:8], "little") <= 256)
    return False
