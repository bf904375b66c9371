"""Work in a thread that is given up when it has been silent for too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from bonefx.errors import SourceError

_REPORT_SECONDS = 0.1  # between two reports of progress

P = TypeVar("P")  # progress
T = TypeVar("T")


class _Abandoned(Exception):
    """Ends a thread whose result nobody waits for any more."""


class _Worker(threading.Thread, Generic[P, T]):
    """Runs `work(report)` and keeps what it reports, returns or raises.

    A daemon: a thread stuck in the network must not keep the program from ending.
    """

    def __init__(self, work: Callable[[Callable[[P], None]], T]) -> None:
        super().__init__(name="hub", daemon=True)
        self.news = threading.Event()
        self.abandoned = threading.Event()
        self.latest: P | None = None
        self.outcome: tuple[T | None, BaseException | None] | None = None
        self._work = work
        self._reported = float("-inf")

    def run(self) -> None:
        try:
            self.outcome = (self._work(self._report), None)
        except BaseException as error:
            self.outcome = (None, error)
        self.news.set()

    def _report(self, progress: P) -> None:
        if self.abandoned.is_set():
            raise _Abandoned
        self.latest = progress
        if time.monotonic() - self._reported >= _REPORT_SECONDS:
            self._reported = time.monotonic()
            self.news.set()


def watch(
    work: Callable[[Callable[[P], None]], T],
    patience: float,
    explain: Callable[[BaseException], SourceError],
    progress: Callable[[P], None] = lambda progress: None,
) -> T:
    """What `work` returns, if it never goes `patience` seconds without a report.

    A socket's own timeout is not enough: it starts anew with every byte of a header, and knows nothing
    of name look-ups. `progress` is called in this thread, and its exceptions come out as they are.

    Raises:
        SourceError: `explain` of what `work` raised, or of TimeoutError.
    """
    worker = _Worker(work)
    worker.start()
    try:
        while True:
            if not worker.news.wait(patience):
                raise explain(TimeoutError())
            worker.news.clear()
            outcome = worker.outcome
            if worker.latest:
                progress(worker.latest)
            if outcome:
                break
    finally:
        worker.abandoned.set()
    result, error = outcome
    if error is not None:
        raise explain(error) from error
    return cast(T, result)
