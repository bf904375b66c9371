"""Work in a thread, followed from a generator that can be dropped at any moment."""

from __future__ import annotations

import contextvars
import html
import logging
import queue
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from bonefx.errors import UNEXPECTED, BoneFXError, log_frames

HEARTBEAT = 0.2
"""Seconds. Gradio ends a cancelled generator between two of its values only, so there must be some."""

Tell = Callable[[Any], None]

_UNTITLED = "Error"  # Gradio's title of an error that was given none

_log = logging.getLogger(__name__)


class _Dropped(Exception):
    """Nobody listens any more: the work ends at its next report."""


class _End:
    """The work is over, by an error or without one."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


def error_in_words(error: gr.Error) -> str:
    """What a Gradio error says, without markup: ZeroGPU's own come like this (quota used up, no GPU free)."""
    words = html.unescape(re.sub(r"<[^>]*>", " ", str(error.message)))
    title = "" if error.title == _UNTITLED else f"{error.title}: "
    return title + " ".join(words.split())


def in_background(work: Callable[[Tell], None]) -> Iterator[Any]:
    """Do some work in a thread.

    Args:
        work: is handed a function, and calls it with its news. Once the iterator has been dropped that call
            raises, which ends the work.

    Yields:
        The news, and None whenever there was none for a `HEARTBEAT`.

    Raises:
        BoneFXError: the work has failed.
    """
    news: queue.Queue[Any] = queue.Queue()
    dropped = threading.Event()

    def tell(item: Any) -> None:
        if dropped.is_set():
            raise _Dropped
        news.put(item)

    def run() -> None:
        try:
            work(tell)
        except Exception as error:
            news.put(_End(error))
        else:
            news.put(_End(None))

    # ZeroGPU finds the visitor's quota in the context of the request.
    threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True).start()
    try:
        while True:
            try:
                item = news.get(timeout=HEARTBEAT)
            except queue.Empty:
                item = None
            if not isinstance(item, _End):
                yield item
            elif item.error is None:
                return
            elif isinstance(item.error, BoneFXError):
                raise item.error
            elif isinstance(item.error, gr.Error):
                raise BoneFXError(error_in_words(item.error))
            else:
                log_frames(_log, item.error)
                raise BoneFXError(UNEXPECTED)
    finally:
        dropped.set()
