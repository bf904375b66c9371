"""What happens on the page: from an image to results, and what follows a visitor's choices."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from bonefx.detectors import Registry
from bonefx.errors import BoneFXError, RequestError
from bonefx.inference import CHOICES
from bonefx.ui import panes
from bonefx.ui.analysis import open_image, run_models
from bonefx.ui.api import MODEL_QUEUE
from bonefx.ui.examples import Example, example, thumbnails
from bonefx.ui.metrics_store import MetricsStore
from bonefx.ui.session import Session, Workspace

Answer = dict[Component, Any]


@dataclass(frozen=True)
class Shown:
    """What one tab shows of the results.

    Attributes:
        models: ids of the models.
        viewer: the image with their boxes.
        downloads: the row of buttons, visible while there are results.
        provenance: where the weights came from.
    """

    models: tuple[str, ...]
    viewer: gr.HTML
    downloads: gr.Row
    provenance: gr.HTML


@dataclass(frozen=True)
class Page:
    """The components that take part in events.

    Attributes:
        session: what is remembered of the visitor: image and results.
        file, delete, gallery: the upload field, the button that deletes the image, the examples.
        status, cancel: what is being waited for, and the button that ends it.
        tabs, tab_ids: all tabs, and what they are called in links.
        shown: one a tab that shows results.
        again: the button that asks the weights' sources again.
    """

    session: gr.State
    file: gr.File
    delete: gr.Button
    gallery: gr.HTML
    status: gr.HTML
    cancel: gr.Button
    tabs: gr.Tabs
    tab_ids: tuple[str, ...]
    shown: tuple[Shown, ...]
    again: gr.Button


def connect(
    demo: gr.Blocks, page: Page, registry: Registry, store: MetricsStore, workspace: Workspace
) -> None:
    """Attach all events of the app that is being built.

    A handler answers with the components that change, and their new values.
    """
    hidden, visible = gr.update(visible=False), gr.update(visible=True)

    def show(session: Session) -> Answer:
        values: Answer = {}
        for each in page.shown:
            values[each.viewer] = panes.value(session, each.models, store.report_for)
            values[each.downloads] = visible if session.outcomes else hidden
            values[each.provenance] = panes.provenance(session, each.models)
        return values

    def read(path: Path, ours: Example | None, session: Session) -> Answer:
        try:
            opened = open_image(path, ours, session, workspace)
        except BoneFXError as error:
            return {page.status: _fail(error)}
        store.refresh()  # in the background, so that operating points are there with the result
        said = say("Waiting for the models")
        return {page.status: said, page.cancel: visible, page.session: opened, **show(opened)}

    def read_upload(path: str, session: Session) -> Answer:
        # The upload field is emptied: the next image can be dropped at once.
        return {page.file: None, **read(Path(path), None, session)}

    def read_example(session: Session, event: gr.EventData) -> Answer:
        try:
            ours = example(str(event._data.get("id")))
        except RequestError as error:
            return {page.status: _fail(error)}
        return read(ours.path, ours, session)

    def run(session: Session) -> Iterator[Answer]:
        if session.folder is None or session.outcomes:  # no new image: it could not be read, or is gone
            yield {page.session: session}
            return
        try:
            for news in run_models(session, registry):
                if not session.folder.exists():
                    return  # another image has taken this one's place, or it was deleted
                if isinstance(news, str):
                    yield {page.status: say(news)}
                else:
                    session = news
        except BoneFXError as error:
            yield {page.status: _fail(error), page.cancel: hidden}
            return
        said = say(_summary(session), session.warning)
        buttons = {page.cancel: hidden, page.again: visible}
        yield {page.status: said, **buttons, page.session: session, **show(session)}

    def cancelled() -> Answer:
        return {page.status: say("Cancelled."), page.cancel: hidden}

    def forget(session: Session) -> Answer:
        said = say("Deleted." if session.path else "There is nothing to delete.")
        empty = workspace.forget(session)
        buttons = {page.cancel: hidden, page.again: hidden}
        return {page.status: said, **buttons, page.session: empty, **show(empty)}

    def check_again(session: Session) -> Answer:
        registry.check_again()
        store.refresh()
        said = say("Asking the sources again")
        return {page.status: said, page.cancel: visible, page.session: replace(session, outcomes=())}

    def open_link(request: gr.Request) -> Any:
        tab = request.query_params.get("tab")
        return gr.Tabs(selected=tab) if tab in page.tab_ids else gr.skip()

    results = [part for each in page.shown for part in (each.viewer, each.downloads, each.provenance)]
    changing = [page.status, page.cancel, page.again, page.session, *results]
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    loud: dict[str, Any] = {"api_visibility": "private", "show_progress_on": page.status}
    running = {
        "fn": run,
        "inputs": page.session,
        "outputs": changing,
        "concurrency_id": MODEL_QUEUE,
        "concurrency_limit": 1,
        # The browser counts a cancelled run as pending for ever; "once" would never start another.
        "trigger_mode": "multiple",
        **loud,
    }

    demo.load(open_link, None, page.tabs, **quiet)
    demo.load(lambda: list(thumbnails()), None, page.gallery, **quiet)
    uploaded = page.file.upload(
        read_upload, [page.file, page.session], [page.file, *changing], concurrency_limit=4, **loud
    )
    picked = page.gallery.select(read_example, page.session, changing, concurrency_limit=4, **loud)
    asked = page.again.click(check_again, page.session, changing, **quiet)
    runs = [event.success(**running) for event in (uploaded, picked, asked)]
    # The words come after the end: a run's last message may still be on its way.
    for button, then, inputs in ((page.cancel, cancelled, None), (page.delete, forget, page.session)):
        ended = button.click(None, None, None, cancels=runs, queue=False, **quiet)
        ended.then(then, inputs, changing, queue=False, **quiet)


def say(text: str, warning: str | None = None) -> str:
    """What the page waits for or has done, and a warning beside it."""
    extra = f"<p class='warning' role='alert'>{html.escape(warning)}</p>" if warning else ""
    return f"<p class='status' role='status'>{html.escape(text)}</p>{extra}"


def _fail(error: BoneFXError) -> str:
    """What went wrong, in the page and as a message that stays until the visitor has closed it."""
    words = html.escape(str(error))
    gr.Warning(words, duration=None)
    return f"<p class='status warning' role='alert'>{words}</p>"


def _summary(session: Session) -> str:
    failed = [CHOICES[o.model].name for o in session.outcomes if o.error is not None]
    done = f"Done, but {' and '.join(failed)} gave no result." if failed else "Done."
    if session.example is None:
        return done
    title = session.example.title
    return f"{done} This is a synthetic phantom ({title}), no patient. “Ground truth” shows what is broken."
