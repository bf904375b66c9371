"""Folders on disk that all processes of a user share: each appears whole or not at all, and old ones go.

A folder is written under another name first. The cache of the settings may be read-only, or there may be
none: then a folder of this user's own among the temporary files takes its place.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

KEPT = 12
"""Folders kept: those that were used last."""

UNUSED_DAYS = 60

_UNFINISHED = ".unfinished-"
_UNFINISHED_DAYS = 1  # by then nobody writes it any more: its process was stopped


def find(cache: Path, name: str) -> Iterator[Path]:
    """The folders of this name that there are, in the order of preference, each marked as used."""
    for base in _bases(cache):
        folder = base / name
        if folder.is_dir() and _ours(base):
            with contextlib.suppress(OSError):  # a cache that can only be read is a cache too
                os.utime(folder)
            yield folder


def store(cache: Path, name: str, write: Callable[[Path], None], whole: Callable[[Path], bool]) -> Path:
    """Keep what `write` puts into a folder, and let go of what has not been used for long.

    Args:
        cache: the cache of the settings.
        name: of the folder.
        write: writes into the folder that it is given.
        whole: whether a folder that is there holds what `write` would have written.

    Raises:
        OSError: no folder can be written, or the disk is full.
    """
    base = writable(cache)
    if base is None:
        raise OSError(f"neither {cache} nor the folder for temporary files can be written")
    folder = base / name
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=base))
    try:
        write(unfinished)
        if not whole(folder):  # another process may have been faster
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # or be so right now: its result is as good
                os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    _forget_the_unused(base)
    if not whole(folder):
        raise OSError(f"{folder} could not be written")
    return folder


def shared(cache: Path, name: str) -> Path | None:
    """A folder of this name that somebody else fills, marked as used; None where nothing can be written."""
    base = writable(cache)
    if base is None:
        return None
    folder = base / name
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        os.utime(folder)
        _forget_the_unused(base)
    return folder if folder.is_dir() else None


def writable(cache: Path) -> Path | None:
    """The folder in which something can be kept, made if need be for this user alone; None if none can."""
    for base in _bases(cache):
        with contextlib.suppress(OSError):
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=base).close()
            if _ours(base):
                return base
    return None


def _bases(cache: Path) -> list[Path]:
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return [cache.expanduser(), Path(tempfile.gettempdir()) / f"bonefx-{user}-{cache.name}"]


def _ours(base: Path) -> bool:
    # Anybody may have put a folder of this name among the temporary files.
    return not hasattr(os, "getuid") or base.stat().st_uid in (os.getuid(), 0)


def _forget_the_unused(base: Path) -> None:
    now = time.time()
    whole: dict[Path, float] = {}
    for folder in base.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process does the same
            used = folder.stat().st_mtime
            if not folder.name.startswith(_UNFINISHED):
                whole[folder] = used
            elif used < now - _UNFINISHED_DAYS * 86_400:
                shutil.rmtree(folder, ignore_errors=True)
    for place, folder in enumerate(sorted(whole, key=whole.__getitem__, reverse=True)):
        if place >= KEPT or whole[folder] < now - UNUSED_DAYS * 86_400:
            shutil.rmtree(folder, ignore_errors=True)
