"""Memory that nobody needs any more goes back to the system. On other systems than Linux nothing happens."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h

_OPTIONS = (
    # A large tensor that is freed goes back at once, and so does what is free at the end of a heap. Smaller
    # ones are needed several times in a detection: each time anew would take longer than computing with them.
    (_M_MMAP_THRESHOLD, 5 << 20),
    (_M_TRIM_THRESHOLD, 32 << 20),
    # Heaps for all threads together; by itself glibc has eight for every core.
    (_M_ARENA_MAX, 2),
)

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_glibc = _libc if hasattr(_libc, "mallopt") else None


def spare() -> None:
    """Have freed tensors go back, from now on and whichever thread frees them.

    By itself glibc keeps hundreds of megabytes of a large network's tensors.
    """
    if _glibc is not None:
        for option, value in _OPTIONS:
            _glibc.mallopt(option, value)


def trim() -> None:
    """Give back all that is free now."""
    if _glibc is not None:
        _glibc.malloc_trim(0)


def release(file: Path) -> None:
    """Give back what a file takes that is mapped for reading. Whoever reads it again, reads the file."""
    if _libc is None:
        return
    with contextlib.suppress(OSError):  # no /proc
        for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
            addresses, permissions, *_, path = line.split(maxsplit=5)
            if path == str(file.resolve()) and permissions.startswith("r--"):
                start, end = (int(address, 16) for address in addresses.split("-"))
                _libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)
