"""What the page remembers of one visitor: detections and file paths, never pixels."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from bonefx.inference import Outcome
from bonefx.ui.examples import Example

KEPT_MINUTES = 60
"""How long an upload and what was made of it stay on the server, at the most."""

DOWNLOADS = "downloads"
"""A folder in the session's own, there from its beginning: a folder is as old as its newest entry, and what
is downloaded must not make it younger."""


@dataclass(frozen=True)
class Session:
    """One visitor's image and its results.

    Attributes:
        path: the uploaded file or the example; None before the first image.
        folder: what the browser fetches of it, downloads too; ours to delete.
        image: the viewer's record of the image.
        warning: for the person, when the image is plainly no radiograph.
        example: set when the image is one of ours.
        outcomes: one a model and one of the consensus; empty until the models have run.
    """

    path: Path | None = None
    folder: Path | None = None
    image: dict[str, Any] | None = None
    warning: str | None = None
    example: Example | None = None
    outcomes: tuple[Outcome, ...] = ()

    def outcome(self, model_id: str) -> Outcome | None:
        """The outcome of a model, if it has run."""
        return next((outcome for outcome in self.outcomes if outcome.model == model_id), None)


class Workspace:
    """The folder of all sessions, inside Gradio's cache so that Gradio serves what lies in it.

    A session's folder has a random name: only who was given an address can fetch from it.
    """

    def __init__(self) -> None:
        cache = Path(get_upload_folder())
        cache.mkdir(parents=True, exist_ok=True)
        self.root = Path(tempfile.mkdtemp(prefix="bonefx-", dir=cache))
        atexit.register(shutil.rmtree, self.root, ignore_errors=True)

    def new_folder(self) -> Path:
        """An empty folder for one image. Sweeps those that have had their time."""
        self._sweep()
        return Path(tempfile.mkdtemp(dir=self.root))

    def forget(self, session: Session | None) -> Session:
        """Delete the files of a session: those made here and the upload itself, never an example."""
        if session is not None:
            self.drop_results(session)
            if session.path is not None and session.example is None:
                session.path.unlink(missing_ok=True)
        return Session()

    def drop_results(self, session: Session) -> None:
        """Delete what was made of an image that makes way for another; Gradio's cache ages the upload."""
        if session.folder is not None:
            shutil.rmtree(session.folder, ignore_errors=True)

    def _sweep(self) -> None:
        # Sessions whose browser vanished: their state may outlive the time that the page promises.
        limit = time.time() - KEPT_MINUTES * 60
        for folder in self.root.iterdir():
            if folder.stat().st_mtime < limit:
                shutil.rmtree(folder, ignore_errors=True)
