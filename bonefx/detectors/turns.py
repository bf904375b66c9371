"""Who runs the models next: one at a time, and whoever waits at the page before the images of a batch."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain


class Turns:
    """A lock with two queues, each first come, first served.

    All cores are busy with one image: two at once would make both slower.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = False
        self._waiting: tuple[deque[object], ...] = (deque(), deque())

    @contextmanager
    def turn(self, patient: bool = False) -> Iterator[None]:
        """Wait for the turn, and have it while the context lasts.

        Args:
            patient: let all go first who are not, those too that come meanwhile.
        """
        ticket, queue = object(), self._waiting[patient]
        with self._changed:
            queue.append(ticket)
            try:
                self._changed.wait_for(lambda: not self._taken and self._next() is ticket)
            finally:
                queue.remove(ticket)
            self._taken = True
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()

    def _next(self) -> object:
        return next(chain(*self._waiting))
