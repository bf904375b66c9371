"""Python in processes of their own: as an ordinary user, and stopped by a signal."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_DROP_FROM_BOUNDING_SET = 24  # prctl(2)
_READ_ANYTHING = (1, 2)  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


def environment(**more: str) -> Mapping[str, str]:
    """This process's, without the Hub, with this package."""
    return {**os.environ, "BONEFX_HUB": "off", "PYTHONPATH": os.pathsep.join(sys.path), **more}


def without_root_rights(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run Python as a user who reads only what permissions say, which root does not otherwise."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=_drop if os.geteuid() == 0 else None,
        **options,
    )


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Nobody may read the path meanwhile."""
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        yield
    finally:
        path.chmod(mode)


def _drop() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in _READ_ANYTHING:
        if libc.prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "the right to read anything cannot be given up")
