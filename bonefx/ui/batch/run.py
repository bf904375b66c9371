"""One visitor's batch: its files, how it is run in the background, and what has been made of it so far."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bonefx import batch, entries
from bonefx.batch import Row
from bonefx.detectors import MODELS, Registry
from bonefx.entries import Opener
from bonefx.errors import RequestError
from bonefx.results import Outcome
from bonefx.ui.background import Tell, in_background
from bonefx.ui.metrics.store import FIRST_ANSWER_SECONDS, MetricsStore
from bonefx.ui.operating import Cut
from bonefx.ui.session import Workspace

ARCHIVE = "bonefx-batch.zip"

BATCH_QUEUE: dict[str, Any] = {"concurrency_id": "batches", "concurrency_limit": 2}
"""Batches wait for each other, and for nobody else: between two images others have their turn."""

_END_SECONDS = 60.0  # how long an image in hand may take, once a batch is cancelled


class Batch:
    """Changed in place, so that what is finished stays when the event that made it is cancelled.

    Args:
        paths: image files and ZIP archives.
        workspace: where its results lie.

    Attributes:
        entries: the images in the files.
        rows: of each image that is finished, what the page keeps of it.
        outcomes: of each such image, what all models found, for the viewer.
        folder: where the archive lies; None before the batch has run.

    Raises:
        BoneFXError: the limits of a batch are exceeded.
    """

    def __init__(self, paths: Sequence[str], workspace: Workspace) -> None:
        self.paths = tuple(paths)
        self.entries = entries.collect([Path(path) for path in paths])
        self.rows: list[dict[str, Any]] = []
        self.outcomes: list[tuple[Outcome, ...]] = []
        self.folder: Path | None = None
        self._workspace = workspace
        self._idle = threading.Event()
        self._idle.set()

    def run(
        self,
        cut: Cut,
        browser_row: Callable[[Row], dict[str, Any]],
        registry: Registry,
        store: MetricsStore,
        dicom: bool = False,
    ) -> Iterator[str | None]:
        """Run every model on every image; dropping the iterator ends it with the image in hand.

        Args:
            cut: from which score on there are detections.
            browser_row: what `rows` keep of a row, without its pixels.
            registry, store: the models, and their metrics.
            dicom: whether DICOM images get DICOM reports.

        Yields:
            What is being done, in words; None as a heartbeat, and after each image.

        Raises:
            BoneFXError: it failed.
        """
        self._delete_results()
        self.rows, self.outcomes, self.folder = [], [], self._workspace.new_folder()
        self._idle.clear()

        def keep(row: Row) -> None:
            self.outcomes.append(row.outcomes)
            self.rows.append(browser_row(row))

        done = self._idle.set
        yield from run_batch(self.entries, cut, self.folder / ARCHIVE, keep, registry, store, done, dicom)

    @property
    def archive(self) -> Path | None:
        """The ZIP file of all that is finished; None without any, and while the batch runs."""
        path = self.folder and self.folder / ARCHIVE
        return path if self.rows and path and path.is_file() and self._idle.is_set() else None

    def wait(self) -> None:
        """Wait for the image in hand, after the batch was cancelled."""
        self._idle.wait(_END_SECONDS)

    def image(self, number: int) -> tuple[Path, tuple[Outcome, ...]]:
        """A copy of an image's file, in an entry of its own that outlives the batch, and what was found.

        Raises:
            RequestError: there is no such row, or its file is gone.
            ImageError: it cannot be unpacked.
        """
        if number not in range(len(self.outcomes)):
            raise RequestError("There is no such image in the batch.")
        entry = self.entries[number]
        suffix = re.fullmatch(r"\.[A-Za-z0-9]{1,5}", Path(entry.name).suffix)
        target = self._workspace.new_folder() / (batch.file_name(entry.name) + (suffix[0] if suffix else ""))
        try:
            with Opener(target.parent) as opener, opener.open(entry) as path:
                shutil.copyfile(path, target)
        except OSError:
            raise RequestError("The files of this batch are not kept any more. Drop them again.") from None
        return target, self.outcomes[number]

    def forget(self) -> None:
        """Delete the files and the results."""
        self._delete_results()
        for path in self.paths:
            self._workspace.forget_upload(Path(path))

    def _delete_results(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def run_batch(
    found: Sequence[entries.Entry],
    cut: Cut,
    archive: Path,
    keep: Callable[[Row], Any],
    registry: Registry,
    store: MetricsStore,
    done: Callable[[], Any] = lambda: None,
    dicom: bool = False,
) -> Iterator[str | None]:
    """Run every model on each entry; dropping the iterator ends it with the image in hand.

    Args:
        found: from `entries.collect`.
        cut: from which score on there are detections.
        archive: the ZIP file to write.
        keep: is handed each row.
        registry, store: the models, and their metrics.
        done: is called when the archive is whole, however the batch has ended.
        dicom: whether DICOM images get DICOM reports.

    Yields:
        What is being done, in words; None as a heartbeat, and after each row.

    Raises:
        BoneFXError: it failed.
    """

    def answer(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
        return cut.results(outcomes, store.report_for)[0]

    def work(tell: Tell) -> None:
        try:
            store.refresh(FIRST_ANSWER_SECONDS)  # so that all images get the same operating point
            rows = batch.run(found, list(MODELS), answer, registry, tell, archive.parent, dicom)
            with closing(batch.save_archive(rows, archive)) as saved:
                for row in saved:
                    keep(row)
                    tell(None)
        finally:
            done()

    yield from in_background(work)
