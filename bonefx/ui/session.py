"""What the page remembers of one visitor: detections and file paths, never pixels."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bonefx.errors import RequestError
from bonefx.results import Outcome
from bonefx.ui.examples import Example
from bonefx.ui.storage import storage

DOWNLOADS = "downloads"
"""A folder in the session's own, for what the visitor takes away."""


@dataclass(frozen=True)
class Session:
    """One visitor's image and its results.

    Attributes:
        path: the uploaded file or the example; None before the first image.
        folder: what the browser fetches of it, downloads too; ours to delete.
        image: the viewer's record of the image.
        warning: for the person, when the image is plainly no radiograph.
        example: set when the image is one of ours.
        outcomes: one a model; empty until the models have run.
        choice: the number of the visitor's choice that led here.
    """

    path: Path | None = None
    folder: Path | None = None
    image: dict[str, Any] | None = None
    warning: str | None = None
    example: Example | None = None
    outcomes: tuple[Outcome, ...] = ()
    choice: int = 0

    @property
    def file(self) -> Path:
        """The image's file, of a session that has one."""
        if self.path is None:
            raise RequestError("There is no image any more. Choose it again.")
        return self.path

    def outcome(self, model_id: str) -> Outcome | None:
        """The outcome of a model, if it has run."""
        return next((outcome for outcome in self.outcomes if outcome.model == model_id), None)


class Visit:
    """One visitor: the newest choice, and the session that the last finished one led to.

    It is one object for the whole visit, changed in place: events of one visitor run side by side, and a
    value that each of them handed back would be that of the slowest, not of the newest.

    Attributes:
        number: of the newest choice. The browser counts them, and drops what belongs to an older one.
        session: what is there to be looked at and downloaded.
    """

    def __init__(self) -> None:
        self.number = 0
        self.session = Session()
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: object) -> Visit:
        return Visit()  # how Gradio makes a visitor's own

    def choose(self, number: int) -> bool:
        """Take note of a choice; False where a newer one is known already."""
        with self._lock:
            if number < self.number:
                return False
            self.number = number
            return True

    def waits_for(self, session: Session) -> bool:
        """Whether this is still the newest choice, and its files are still there."""
        return session.choice == self.number and session.folder is not None and session.folder.exists()

    def put(self, session: Session) -> bool:
        """Make it the visitor's, unless a newer choice was made meanwhile."""
        with self._lock:
            if session.choice != self.number:
                return False
            self.session = session
            return True


class Workspace:
    """What lies on the server for sessions: their folders, and the files that visitors have sent."""

    def __init__(self) -> None:
        self._storage = storage()  # before there are components: they remember Gradio's folder

    def new_folder(self) -> Path:
        """An empty folder for one image, whose address nobody can guess."""
        return self._storage.new_entry()

    def forget(self, session: Session | None) -> Session:
        """Delete the files of a session: those made here and the upload itself, never an example."""
        if session is not None:
            self.drop_results(session)
            if session.path is not None and session.example is None:
                self.forget_upload(session.path)
        return Session()

    def forget_upload(self, path: Path) -> None:
        """Delete a file that a visitor has sent. Its entry is this upload's alone."""
        entry = self._storage.entry_of(path)
        if entry is not None:
            shutil.rmtree(entry, ignore_errors=True)

    def drop_results(self, session: Session) -> None:
        """Delete what was made of an image that makes way for another; the upload ages."""
        if session.folder is not None:
            shutil.rmtree(session.folder, ignore_errors=True)
