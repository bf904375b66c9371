"""Files and arrays to `Radiograph`: the one way in for pictures.

What a file is, its content says, never its name. One file is decoded at a time: memory stays bounded,
and Python's warning filters, which are switched meanwhile, belong to the whole process.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import unpack_from

import numpy as np

from bonefx.errors import ImageError
from bonefx.images import raster
from bonefx.images.pixels import MAX_PIXELS, Picture, check_size, show
from bonefx.images.plausible import unlike_radiograph

__all__ = ["MAX_BYTES", "MAX_PIXELS", "Radiograph", "from_array", "read", "unlike_radiograph"]

MAX_BYTES = 64 * 1024 * 1024

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
    laid over black, EXIF rotation applied, and of several frames the first taken, with a note.

    Raises:
        ImageError: missing, not such an image, damaged, cut off, over `MAX_PIXELS` or over `MAX_BYTES`.
            Its text never quotes the file's content.
    """
    data = _load(path)
    with _ONE_AT_A_TIME, _silence():
        try:
            picture = _decode(data)
        except ImageError:
            raise
        except Exception:
            picture = None  # the error is raised outside: a decoder's text may quote a patient's tag
    if picture is None:
        raise ImageError("This image file is damaged or cut off. Export it again from where it came from.")
    return Radiograph(picture.rgb, picture.grey, Path(path).name, picture.notes)


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
    return Radiograph(picture.rgb, picture.grey, name)


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


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the decoders from warning and logging: what they say can quote the file."""
    loggers = [logging.getLogger(name) for name in ("PIL", "pydicom", "pylibjpeg")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _decode(data: bytes) -> Picture:
    if not _is_dicom(data):
        return raster.decode(data)
    from bonefx.images import dicom  # pydicom takes half a second to import, and few need it

    return dicom.decode(data)


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
