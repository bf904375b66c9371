"""Python's garbage collector, out of the way while much is made that stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """For imports and the like: they make hundreds of thousands of objects, and hardly any garbage.

    By itself the collector looks through them several times on the way, which takes a tenth of the time.
    Where several threads have it paused, it works again as soon as the first of them is ready.
    """
    working = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if working:
            gc.enable()
