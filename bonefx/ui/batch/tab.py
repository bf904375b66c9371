"""The Batch tab: many radiographs at once, and everything about them to take away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from bonefx.detectors import Registry
from bonefx.errors import BoneFXError, RequestError
from bonefx.inference import check_threshold
from bonefx.results import Outcome
from bonefx.ui.batch.api import add_batch_endpoint
from bonefx.ui.batch.run import BATCH_QUEUE, Batch
from bonefx.ui.batch.table import batch_in_words, browser_row, named, value
from bonefx.ui.events import Reading, Updates
from bonefx.ui.metrics.store import MetricsStore
from bonefx.ui.operating import Cut, check_rate
from bonefx.ui.scripts import STATIC, script
from bonefx.ui.session import Visit, Workspace
from bonefx.ui.storage import KEPT_MINUTES


@dataclass(frozen=True)
class BatchTab:
    """The components that take part in events.

    Attributes:
        batch: state: the visitor's `Batch`; None without files.
        files: the upload field, which nobody sees; its script fills it.
        shown: all that is seen. It triggers "run", "cancel", "forget" and "open".
    """

    batch: gr.State
    files: gr.File
    shown: gr.HTML


def add_batch_tab(registry: Registry, store: MetricsStore, reading: Reading | None = None) -> None:
    """Fill the tab that is being built, and add the endpoint `/batch` to its app.

    Args:
        registry, store: the models, and their metrics.
        reading: the Read page, which opens a row in its viewer; None: rows are not opened.
    """
    workspace = Workspace()
    shown = gr.HTML(
        value(None, "empty", ""),
        html_template=(STATIC / "batch" / "batch.html").read_text("utf-8"),
        css_template=(STATIC / "batch" / "batch.css").read_text("utf-8"),
        js_on_load=script(STATIC / "batch" / "batch.js"),
        apply_default_css=False,
        elem_id="batch",
    )
    tab = BatchTab(
        batch=gr.State(None, time_to_live=KEPT_MINUTES * 60, delete_callback=_forget),
        files=gr.File(
            label="Radiographs, or a ZIP of them",
            file_count="multiple",
            type="filepath",
            visible="hidden",
            elem_id="batch-files",
        ),
        shown=shown,
    )
    _connect(tab, registry, store, workspace)
    if reading is not None:
        _connect_viewer(tab, reading)
    add_batch_endpoint(registry, store, workspace)


def _connect(tab: BatchTab, registry: Registry, store: MetricsStore, workspace: Workspace) -> None:
    def choose(paths: list[str], old: Batch | None) -> Updates:
        """These take the place of those before; the field is emptied, ready for others."""
        try:
            batch = Batch(paths, workspace)
        except BoneFXError as error:
            shown = value(old, "done" if old and old.rows else "empty", "Nothing was taken.", str(error))
            return {tab.files: None, tab.batch: old, tab.shown: shown}
        _forget(old)
        shown = value(batch, "ready", f"Ready to run: {named(batch.entries)}.")
        return {tab.files: None, tab.batch: batch, tab.shown: shown}

    def run(batch: Batch | None, event: gr.EventData) -> Iterator[Any]:
        if batch is None:
            yield value(None, "empty", "The files are not kept any more. Drop them again.")
            return
        words, rows = "Waiting for the models", -1
        try:
            cut = _cut(event._data)
            for news in batch.run(cut, browser_row, registry, store, _wants_dicom(event._data)):
                changed = news is not None or len(batch.rows) != rows
                words, rows = news or words, len(batch.rows)
                yield value(batch, "running", words) if changed else gr.skip()
        except BoneFXError as error:
            batch.wait()
            yield value(batch, "done", "The batch was not run to its end.", str(error))
            return
        yield value(batch, "done", batch_in_words(batch))

    def cancelled(batch: Batch | None) -> dict[str, Any]:
        if batch is None:
            return value(None, "empty", "Cancelled.")
        batch.wait()
        done = f"Cancelled after {len(batch.rows)} of {len(batch.entries)}."
        return value(batch, "done", f"{done} What is finished is below." if batch.rows else done)

    def forget(batch: Batch | None) -> Updates:
        if batch is not None:
            batch.wait()
        _forget(batch)
        return {tab.batch: None, tab.shown: value(None, "empty", "Deleted." if batch else "")}

    quiet: dict[str, Any] = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "trigger_mode": "multiple",  # the browser counts a cancelled run as pending for ever
    }
    everything = [tab.files, tab.batch, tab.shown]
    tab.files.upload(choose, [tab.files, tab.batch], everything, queue=False, **quiet)
    running = tab.shown.run(run, tab.batch, tab.shown, **BATCH_QUEUE, **quiet)
    running.failure(_refused, tab.batch, tab.shown, queue=False, **quiet)
    ended = tab.shown.cancel(None, None, None, cancels=[running], queue=False, **quiet)
    ended.then(cancelled, tab.batch, tab.shown, queue=False, **quiet)
    ended = tab.shown.forget(None, None, None, cancels=[running], queue=False, **quiet)
    ended.then(forget, tab.batch, [tab.batch, tab.shown], queue=False, **quiet)


def _refused(batch: Batch | None) -> Any:
    """A full queue, which Gradio tells the visitor. A cancelled run's words come from another event."""
    if batch is None or batch.rows:
        return gr.skip()
    return value(batch, "ready", "The batch has not been run.")


def _connect_viewer(tab: BatchTab, reading: Reading) -> None:
    def open_row(batch: Batch | None, visit: Visit, event: gr.EventData) -> Any:
        def fetch() -> tuple[Path, tuple[Outcome, ...]]:
            row = event._data.get("row") if isinstance(event._data, dict) else None
            if batch is None or not isinstance(row, int):
                raise RequestError("The files of this batch are not kept any more. Drop them again.")
            return batch.image(row)

        return reading.open_kept(visit, event, fetch)

    page = reading.page
    tab.shown.open(
        open_row,
        [tab.batch, page.visit],
        [page.visit, page.reader, page.news],
        api_visibility="private",
        show_progress="hidden",
        trigger_mode="multiple",
        queue=False,
    )


def _wants_dicom(chosen: Any) -> bool:
    return isinstance(chosen, dict) and chosen.get("dicom") is True


def _cut(chosen: Any) -> Cut:
    """From what the browser sends: `rate`, or null and a `score`.

    Raises:
        RequestError: it is out of range.
    """
    chosen = chosen if isinstance(chosen, dict) else {}
    if chosen.get("rate") is not None:
        return Cut(fp_per_image=check_rate(chosen["rate"]), strict=False)
    if chosen.get("score") is None:
        raise RequestError("There is no score. Type a number from 0 to 1.")
    return Cut(check_threshold(chosen["score"]))


def _forget(batch: Batch | None) -> None:
    if batch is not None:
        batch.forget()
