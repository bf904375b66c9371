"""From a file to results, one step at a time, so that the page can tell what it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bonefx import images, inference
from bonefx.detectors import MODELS, Registry
from bonefx.hub_client import Progress
from bonefx.ui.background import Tell, in_background
from bonefx.ui.examples import Example
from bonefx.ui.session import DOWNLOADS, Session, Workspace
from bonefx.ui.viewer import viewer_image


def open_image(path: Path, example: Example | None, old: Session, workspace: Workspace) -> Session:
    """Read a file and prepare what the browser shows of it.

    Raises:
        ImageError: the file cannot be read; the old session is as it was.
    """
    radiograph = images.read(path)
    folder = workspace.new_folder()
    (folder / DOWNLOADS).mkdir()
    if example is None:
        alt = f"The uploaded image, {radiograph.width} by {radiograph.height} pixels"
    else:
        alt = f"Synthetic phantom radiograph: {example.title}"
    record = viewer_image(radiograph, folder, alt)
    workspace.drop_results(old)
    return Session(path, folder, record, images.unlike_radiograph(radiograph), example)


def run_models(session: Session, registry: Registry) -> Iterator[str | Session]:
    """Run every model on the session's image, once, for all that the page shows.

    Yields:
        What is waited for, in words, several times a second even if nothing has changed, so that a
        caller can stop between two of them; last the session with its outcomes. Dropping the iterator
        cancels: a download stops, a forward pass that has begun ends unheard.

    Raises:
        ImageError: the file is gone or cannot be read any more.
    """

    def work(tell: Tell) -> None:
        def report(model_id: str, progress: Progress) -> None:
            tell(f"{MODELS[model_id].name}: {progress.text()}")

        radiograph = images.read(session.path)
        tell(inference.run(radiograph, list(inference.CHOICES), registry, report))

    words = "Starting"
    for news in in_background(work):
        if isinstance(news, tuple):
            yield replace(session, outcomes=news)
            return
        words = news or words
        yield words
