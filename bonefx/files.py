"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write, which takes the place of `path` when the context ends without an error.

    Nobody finds half of it, and a failure (a full disk, Ctrl-C) leaves what was there before.

    Raises:
        OSError: it cannot be written; `filename` is `path`.
    """
    beside = path.with_name(f".{path.name}.partial")
    try:
        with beside.open("wb") as file:
            yield file
        os.replace(beside, path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError):  # after a write it knows no name, else that of the partial file
            error.filename, error.filename2 = str(path), None
        raise
