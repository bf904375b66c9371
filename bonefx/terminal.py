"""What a command says while it works, and how it is stopped."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STANDARD_OUTPUT = "Standard output"
"""What an error of `say` names as its file."""


class Stopped(Exception):
    """The person has asked for the end. `status` is the exit status that shells expect."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def replace_line(text: str = "") -> None:
    """Write a line on standard error that the next one replaces; nothing where that is no terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def say(text: str, end: str = "\n") -> None:
    """Write on standard output at once.

    Raises:
        OSError: it cannot be written, such as to a full disk; `filename` says so.
    """
    try:
        print(text, end=end, flush=True)
    except OSError as error:
        error.filename = STANDARD_OUTPUT
        raise


@contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """Ctrl-C, or SIGTERM, ends what is done within at its next check, so that nothing is left half done.

    Yields:
        The check, which raises `Stopped` once that was asked for. A second Ctrl-C does not wait for it.
    """
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        signal.signal(number, before[signal.Signals(number)])

    def check() -> None:
        if asked:
            raise Stopped(asked[0])

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, ask)
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
