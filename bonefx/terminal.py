"""What a command says while it works."""

from __future__ import annotations

import sys


def replace_line(text: str = "") -> None:
    """Write a line on standard error that the next one replaces; nothing where that is no terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
