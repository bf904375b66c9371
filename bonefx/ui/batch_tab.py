"""The Batch tab: many radiographs at once, and everything about them to take away."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from bonefx import entries
from bonefx.detectors import Registry
from bonefx.errors import BoneFXError
from bonefx.inference import check_threshold
from bonefx.settings import DEFAULT_THRESHOLD
from bonefx.ui.batch_api import ARCHIVE, BATCH_QUEUE, add_batch_endpoint, run_batch
from bonefx.ui.batch_table import NOTHING, light, named, summary, table
from bonefx.ui.events import say
from bonefx.ui.metrics_store import MetricsStore
from bonefx.ui.operating import DEFAULT_RATE, RATES, Cut
from bonefx.ui.session import Workspace
from bonefx.ui.storage import KEPT_MINUTES

_STATIC = Path(__file__).with_name("static")
_BY_SCORE = "by score"
_INTRO = (
    f"<p>Up to {entries.MAX_ENTRIES} radiographs at once, as files or in a ZIP archive, "
    f"{entries.MAX_UNPACKED // 1024**2} MB unpacked. Both models look at each. Remove names and other "
    f"identifying marks first. Files stay on this server for at most {KEPT_MINUTES} minutes and are used for "
    "nothing but your results.</p>"
)
Answer = dict[Component, Any]


@dataclass(frozen=True)
class _Tab:
    """The components that take part in events.

    Attributes:
        chosen: state: the paths of the uploaded files.
        folder: state: where the results lie; None without any.
    """

    chosen: gr.State
    folder: gr.State
    files: gr.File
    rate: gr.Radio
    score: gr.Number
    start: gr.Button
    cancel: gr.Button
    delete: gr.Button
    status: gr.HTML
    table: gr.HTML
    download: gr.DownloadButton

    def buttons(self, running: bool) -> Answer:
        """Start or cancel, whichever can be done."""
        return {self.start: gr.update(visible=not running), self.cancel: gr.update(visible=running)}


def add_batch_tab(registry: Registry, store: MetricsStore) -> None:
    """Fill the tab that is being built, and add the endpoint `/batch` to its app."""
    workspace = Workspace()
    _connect(_layout(), registry, store, workspace)
    add_batch_endpoint(registry, store, workspace)


def _layout() -> _Tab:
    kept = KEPT_MINUTES * 60
    chosen = gr.State((), time_to_live=kept, delete_callback=_unlink)
    folder = gr.State(None, time_to_live=kept, delete_callback=_remove)
    gr.HTML(_INTRO)
    files = gr.File(
        label="Radiographs, or a ZIP of them",
        file_count="multiple",
        type="filepath",
        height=150,
        elem_id="batch-files",
    )
    with gr.Row():
        rate = gr.Radio(
            [*((label, each) for each, label in RATES.items()), ("go by a score threshold", _BY_SCORE)],
            value=DEFAULT_RATE,
            label="False positives per image that are accepted",
            scale=3,
        )
        score = gr.Number(
            DEFAULT_THRESHOLD,
            step=0.01,
            label="Score threshold",
            info="also where no metrics belong to the weights",
            min_width=200,
        )
    with gr.Row():
        start = gr.Button("Run on all files", variant="primary", interactive=False)
        cancel = gr.Button("Cancel the batch", visible=False)
        delete = gr.Button("Delete these files now")
    return _Tab(
        chosen=chosen,
        folder=folder,
        files=files,
        rate=rate,
        score=score,
        start=start,
        cancel=cancel,
        delete=delete,
        status=gr.HTML(say("No files are chosen."), elem_id="batch-status", min_height=44),
        download=gr.DownloadButton(
            "Download all (ZIP: annotated images, JSON, CSV)", visible=False, elem_id="batch-download"
        ),
        table=gr.HTML(
            NOTHING,
            html_template=(_STATIC / "batch.html").read_text("utf-8"),
            css_template=(_STATIC / "batch.css").read_text("utf-8"),
            js_on_load=(_STATIC / "batch.js").read_text("utf-8"),
            apply_default_css=False,
            elem_id="batch-results",
        ),
    )


def _connect(tab: _Tab, registry: Registry, store: MetricsStore, workspace: Workspace) -> None:
    no_download = {tab.download: gr.update(value=None, visible=False)}

    def choose(paths: list[str]) -> Answer:
        """These take the place of those before; the field is emptied, ready for others."""
        try:
            found = entries.collect([Path(path) for path in paths])
        except BoneFXError as error:
            refused = {tab.status: say("Nothing was taken.", str(error)), tab.chosen: ()}
            return {tab.files: None, **refused, tab.start: gr.update(interactive=False)}
        taken = {tab.status: say(f"Ready to run: {named(found)}."), tab.chosen: tuple(paths)}
        return {tab.files: None, **taken, tab.start: gr.update(interactive=True)}

    def begin() -> Answer:
        return {tab.status: say("Waiting for the models"), **tab.buttons(running=True)}

    def run(
        paths: Sequence[str], rate: float | str, score: float | None, old: Path | None
    ) -> Iterator[Answer]:
        _remove(old)
        folder = workspace.new_folder()
        rows: list[dict[str, Any]] = []
        # Each value names each output: Gradio then sends only what has changed, such as one row of the table.
        shown = {tab.folder: folder, tab.status: say("Starting"), tab.table: NOTHING, **no_download}
        shown |= tab.buttons(running=True)
        try:
            cut = Cut(check_threshold(score), None if rate == _BY_SCORE else rate, strict=False)
            for news in run_batch(paths, cut, folder / ARCHIVE, light, registry, store):
                if isinstance(news, str):
                    shown[tab.status] = say(news)
                elif news is not None:
                    rows.append(news)
                    shown[tab.table] = table(rows)
                yield shown
        except BoneFXError as error:
            yield {
                **shown,
                tab.status: say("The batch was not run to its end.", str(error)),
                **tab.buttons(running=False),
            }
            return
        shown[tab.status] = say(summary(rows))
        shown[tab.download] = gr.update(value=str(folder / ARCHIVE), visible=True)
        yield {**shown, **tab.buttons(running=False)}

    def cancelled() -> Answer:
        return {tab.status: say("Cancelled."), **tab.buttons(running=False)}

    def forget(paths: Sequence[str], folder: Path | None) -> Answer:
        _remove(folder)
        _unlink(paths)
        said = say("Deleted." if paths or folder else "There is nothing to delete.")
        gone = {tab.chosen: (), tab.folder: None, tab.table: NOTHING, **no_download}
        buttons = {**tab.buttons(running=False), tab.start: gr.update(visible=True, interactive=False)}
        return {**gone, tab.status: said, **buttons}

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    state = [tab.status, tab.start, tab.cancel]
    made = [tab.folder, tab.table, tab.download, *state]
    choosing = [tab.files, tab.chosen, tab.status, tab.start]
    tab.files.upload(choose, tab.files, choosing, **quiet)
    begun = tab.start.click(begin, None, state, trigger_mode="multiple", **quiet)
    running = begun.success(
        run,
        [tab.chosen, tab.rate, tab.score, tab.folder],
        made,
        **BATCH_QUEUE,
        # The browser counts a cancelled run as pending for ever; "once" would never start another.
        trigger_mode="multiple",
        api_visibility="private",
        show_progress_on=tab.status,
    )
    # A full queue, which Gradio tells the visitor; also a cancelled run, whose words come below.
    running.failure(lambda: tab.buttons(running=False), None, [tab.start, tab.cancel], **quiet)
    ended = tab.cancel.click(None, None, None, cancels=[running], **quiet)
    ended.then(cancelled, None, state, **quiet)
    ended = tab.delete.click(None, None, None, cancels=[running], **quiet)
    ended.then(forget, [tab.chosen, tab.folder], [tab.chosen, *made], **quiet)


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _unlink(paths: Sequence[str]) -> None:
    for path in paths:
        Path(path).unlink(missing_ok=True)
