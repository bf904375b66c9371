"""What happens on the page: from an image to results, and what follows a visitor's choices."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from bonefx import inference
from bonefx.detectors import MODELS, Registry
from bonefx.errors import BoneFXError, RequestError
from bonefx.ui import panes
from bonefx.ui.analysis import open_image, run_models
from bonefx.ui.api import MODEL_QUEUE
from bonefx.ui.examples import Example, example, thumbnails
from bonefx.ui.metrics_store import MetricsStore
from bonefx.ui.session import Session, Workspace

Answer = dict[Component, Any]


@dataclass(frozen=True)
class Page:
    """The components that take part in events.

    Attributes:
        session, choice: what is remembered of the visitor: image and results, and what was set in a viewer.
        file, delete, gallery: the upload field, the button that deletes the image, the examples.
        status, cancel: what is being waited for, and the button that ends it.
        tabs: all tabs.
        both, single: the viewer of Compare, and by model id those of the models' own tabs.
        provenance, again, results: where the weights came from, the button that asks their sources again,
            and the results as JSON.
    """

    session: gr.State
    choice: gr.State
    file: gr.File
    delete: gr.Button
    gallery: gr.HTML
    status: gr.HTML
    cancel: gr.Button
    tabs: gr.Tabs
    both: gr.HTML
    single: dict[str, gr.HTML]
    provenance: gr.HTML
    again: gr.Button
    results: gr.JSON


def connect(
    demo: gr.Blocks, page: Page, registry: Registry, store: MetricsStore, workspace: Workspace
) -> None:
    """Attach all events of the app that is being built.

    A handler answers with the components that change, and their new values.
    """
    viewers = {page.both: list(MODELS), **{page.single[model_id]: [model_id] for model_id in MODELS}}
    shown = [*viewers, page.provenance, page.results]
    hidden, visible = gr.update(visible=False), gr.update(visible=True)

    def show(session: Session, choice: panes.Choice) -> Answer:
        values = {
            viewer: panes.value(session, models, choice, store.report_for)
            for viewer, models in viewers.items()
        }
        levels = panes.thresholds_of(values[page.both])
        answers = [o.to_result(levels.get(o.model, 0.0)) for o in session.outcomes]
        body = {"schema_version": inference.SCHEMA_VERSION, "results": answers} if answers else None
        return {**values, page.provenance: panes.provenance(session), page.results: body}

    def read(path: Path, ours: Example | None, session: Session, choice: panes.Choice) -> Answer:
        try:
            opened = open_image(path, ours, session, workspace)
        except BoneFXError as error:
            return {page.status: _fail(error)}
        store.refresh()  # in the background, so that operating points are there with the result
        said = say("Waiting for the models")
        return {page.status: said, page.cancel: visible, page.session: opened, **show(opened, choice)}

    def read_upload(path: str, session: Session, choice: panes.Choice) -> Answer:
        # The upload field is emptied: the next image can be dropped at once.
        return {page.file: None, **read(Path(path), None, session, choice)}

    def read_example(session: Session, choice: panes.Choice, event: gr.EventData) -> Answer:
        try:
            ours = example(str(event._data.get("id")))
        except RequestError as error:
            return {page.status: _fail(error)}
        return read(ours.path, ours, session, choice)

    def run(session: Session, choice: panes.Choice) -> Iterator[Answer]:
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
        yield {page.status: said, **buttons, page.session: session, **show(session, choice)}

    def cancelled() -> Answer:
        return {page.status: say("Cancelled."), page.cancel: hidden}

    def forget(session: Session, choice: panes.Choice) -> Answer:
        said = say("Deleted." if session.path else "There is nothing to delete.")
        empty = workspace.forget(session)
        buttons = {page.cancel: hidden, page.again: hidden}
        return {page.status: said, **buttons, page.session: empty, **show(empty, choice)}

    def check_again(session: Session) -> Answer:
        registry.check_again()
        store.refresh()
        said = say("Asking the sources again")
        return {page.status: said, page.cancel: visible, page.session: replace(session, outcomes=())}

    def open_link(request: gr.Request) -> Answer:
        answer: Answer = {page.choice: _linked_choice(request)}
        tab = request.query_params.get("tab")
        if tab in ("compare", *MODELS, "metrics", "about"):
            answer[page.tabs] = gr.Tabs(selected=tab)
        return answer

    def follow(source: gr.HTML) -> None:
        """What is set in one viewer holds in all of them; the one it was set in shows it already."""

        def choose(session: Session, choice: panes.Choice, event: gr.EventData) -> Answer:
            set_now = event._data
            thresholds = {**choice["thresholds"], **set_now.get("thresholds", {})}
            changed = {"thresholds": thresholds, "point": set_now.get("point")}
            values = show(session, changed)
            del values[source]
            return {page.choice: changed, **values}

        others = [component for component in shown if component is not source]
        # Every event counts: the last one holds what the visitor sees.
        source.input(choose, known, [page.choice, *others], trigger_mode="multiple", queue=False, **quiet)

    known = [page.session, page.choice]
    changing = [page.status, page.cancel, page.again, page.session, *shown]
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    loud: dict[str, Any] = {"api_visibility": "private", "show_progress_on": page.status}
    running = {
        "fn": run,
        "inputs": known,
        "outputs": changing,
        "concurrency_id": MODEL_QUEUE,
        "concurrency_limit": 1,
        # The browser counts a cancelled run as pending for ever; "once" would never start another.
        "trigger_mode": "multiple",
        **loud,
    }

    demo.load(open_link, None, [page.tabs, page.choice], **quiet)
    demo.load(lambda: list(thumbnails()), None, page.gallery, **quiet)
    uploaded = page.file.upload(
        read_upload, [page.file, *known], [page.file, *changing], concurrency_limit=4, **loud
    )
    picked = page.gallery.select(read_example, known, changing, concurrency_limit=4, **loud)
    asked = page.again.click(check_again, page.session, changing, **quiet)
    runs = [event.success(**running) for event in (uploaded, picked, asked)]
    # The words come after the end: a run's last message may still be on its way.
    for button, then, inputs in ((page.cancel, cancelled, None), (page.delete, forget, known)):
        ended = button.click(None, None, None, cancels=runs, queue=False, **quiet)
        ended.then(then, inputs, changing, queue=False, **quiet)
    for viewer in viewers:
        follow(viewer)


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
    failed = [MODELS[o.model].name for o in session.outcomes if o.error is not None]
    done = f"Done, but {' and '.join(failed)} gave no result." if failed else "Done."
    if session.example is None:
        return done
    title = session.example.title
    return f"{done} This is a synthetic phantom ({title}), no patient. “Ground truth” shows what is broken."


def _linked_choice(request: gr.Request) -> dict[str, Any]:
    choice = panes.default_choice()
    wanted = request.query_params.get("fp")
    labels = list(panes.RATES.values())
    rates = [f"{rate:g}" for rate in panes.RATES]
    if wanted in labels:
        choice["point"] = labels.index(wanted)
    elif wanted in rates:
        choice["point"] = rates.index(wanted)
    return choice
