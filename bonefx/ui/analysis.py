"""From a file to results, one step at a time, so that the page can tell what it waits for."""

from __future__ import annotations

import contextvars
import logging
import queue
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bonefx import images, inference
from bonefx.detectors import MODELS, Registry
from bonefx.errors import BoneFXError
from bonefx.hub_client import Progress
from bonefx.ui.examples import Example
from bonefx.ui.session import Session, Workspace
from bonefx.ui.viewer import viewer_image

_HEARTBEAT = 0.2  # seconds
_log = logging.getLogger(__name__)


class _Cancelled(Exception):
    """The visitor has cancelled: whatever runs for nobody ends at its next report."""


def open_image(path: Path, example: Example | None, old: Session, workspace: Workspace) -> Session:
    """Read a file and prepare what the browser shows of it.

    Raises:
        ImageError: the file cannot be read; the old session is as it was.
    """
    radiograph = images.read(path)
    folder = workspace.new_folder()
    if example is None:
        alt = f"The uploaded image, {radiograph.width} by {radiograph.height} pixels"
    else:
        alt = f"Synthetic phantom radiograph: {example.title}"
    record = viewer_image(radiograph, folder, alt)
    workspace.drop_results(old)
    return Session(path, folder, record, images.unlike_radiograph(radiograph), example)


def run_models(session: Session, registry: Registry) -> Iterator[str | Session]:
    """Run every model on the session's image.

    Yields:
        What is waited for, in words, several times a second even if nothing has changed, so that a
        caller can stop between two of them; last the session with its outcomes. Dropping the iterator
        cancels: a download stops, a forward pass that has begun ends unheard.

    Raises:
        ImageError: the file is gone or cannot be read any more.
    """
    news: queue.Queue[str | tuple | Exception] = queue.Queue()
    cancelled = threading.Event()

    def report(model_id: str, progress: Progress) -> None:
        if cancelled.is_set():
            raise _Cancelled
        news.put(f"{MODELS[model_id].name}: {progress.text()}")

    def work() -> None:
        try:
            radiograph = images.read(session.path)
            news.put(inference.run(radiograph, list(MODELS), registry, report))
        except _Cancelled:
            return
        except Exception as error:
            news.put(error)

    # ZeroGPU finds the visitor's quota in the context of the request.
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), daemon=True).start()
    words = "Starting"
    try:
        while True:
            try:
                item = news.get(timeout=_HEARTBEAT)
            except queue.Empty:
                item = words
            while isinstance(item, str) and not news.empty():
                item = news.get()  # only the newest word matters
            if isinstance(item, BoneFXError):
                raise item
            if isinstance(item, Exception):
                _log.error("the models could not be run", exc_info=item)
                raise BoneFXError("Something unexpected went wrong; the server's log has the details.")
            if isinstance(item, tuple):
                yield replace(session, outcomes=item)
                return
            words = item
            yield words
    finally:
        cancelled.set()
