"""Files of others are opened only if they are files; ours are written whole or not at all."""

from __future__ import annotations

import os
import stat
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from bonefx.errors import SourceError


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A path to write; what is there takes the place of `path` when the context ends without an error.

    Nobody finds half of it, two processes that write the same file leave one of theirs, and a failure (a full
    disk, Ctrl-C) leaves what was there before.

    Raises:
        OSError: it cannot be written; `filename` is `path`.
    """
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield beside
        os.replace(beside, path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError):  # after a write it knows no name, else that of the partial file
            error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write, as of `replaced`."""
    with replaced(path) as beside, beside.open("wb") as file:
        yield file


def add_member(archive: zipfile.ZipFile, name: str, content: bytes, stored: bool = False) -> None:
    """Write a file into a ZIP archive, with a fixed date: the same content gives the same archive.

    Args:
        archive: to write to.
        name: of the file in it.
        content: of the file.
        stored: leave it as it is; it is compressed otherwise.
    """
    kind = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    archive.writestr(zipfile.ZipInfo(name), content, compress_type=kind)


def open_regular(path: Path, limit: int) -> BinaryIO:
    """Open a file for reading, if it is a regular file (or a link to one) of at most `limit` bytes.

    A pipe would be waited for without end, and a device has no end.

    Raises:
        SourceError: it is something else, too large, or cannot be read.
    """
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise SourceError(f"{path.name} is no regular file.")
        if found.st_size > limit:
            megabytes = limit / 1e6
            raise SourceError(f"{path.name} is too large: at most {megabytes:,.10g} MB are read.")
        return path.open("rb")
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # a name with a NUL
        raise SourceError(f"{path.name!r} is no name of a file.") from error
