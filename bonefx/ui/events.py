"""What happens on the Read page: from an image to results, and what follows a visitor's choices.

The browser numbers the visitor's choices. Each event carries its number, and what it answers is dropped, by
the browser and by `Visit`, once there is a newer one: the last choice wins, whatever takes how long.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from bonefx.detectors import Registry
from bonefx.errors import BoneFXError, RequestError
from bonefx.results import Outcome
from bonefx.ui.analysis import are_in_use, kept_outcomes, open_example, open_image, run_models
from bonefx.ui.api import MODEL_QUEUE
from bonefx.ui.example_files import ExampleFiles
from bonefx.ui.example_results import ExampleResults, bundled
from bonefx.ui.examples import example, examples
from bonefx.ui.metrics.store import ELSEWHERE, MetricsStore
from bonefx.ui.session import Session, Visit, Workspace
from bonefx.ui.viewer import panes

Updates = dict[Component, Any]


@dataclass(frozen=True)
class Page:
    """The components that take part in events.

    Attributes:
        visit: what is remembered of the visitor, a `Visit`.
        strip: the filmstrip; it triggers "pick" with an example's id.
        reader: the viewer and all around it; it triggers "run", "check", "stop" and "forget".
        news: what is waited for, and what went wrong; the reader shows it.
        file, choice: the upload field, and the number of the choice that fills it.
        tabs: Read, Batch, Metrics and About.
    """

    visit: gr.State
    strip: gr.HTML
    reader: gr.HTML
    news: gr.HTML
    file: gr.File
    choice: gr.Number
    tabs: gr.Tabs


class Reading:
    """The handlers. Each answers with the components that change, and their new values."""

    def __init__(
        self, page: Page, registry: Registry, store: MetricsStore, workspace: Workspace, files: ExampleFiles
    ) -> None:
        self.page = page
        self.registry = registry
        self.store = store
        self.workspace = workspace
        self.files = files
        self.results = ExampleResults(registry.settings)

    def begin(self, visit: Visit) -> Updates:
        """The first example, which the page shows already, now with what is known of the weights in use."""
        session = self._example(next(iter(examples())), 0)
        if not visit.put(session):
            return {self.page.visit: visit}
        return {self.page.visit: visit, self.page.reader: self._show(session)}

    def pick(self, visit: Visit, event: gr.EventData) -> Updates:
        number = _number(event)
        if not visit.choose(number):
            return {self.page.visit: visit}
        try:
            session = self._example(str(event._data.get("id")), number)
        except RequestError as error:
            return {self.page.news: _failed(number, error)}
        return self._open(visit, session)

    def upload(self, path: str, number: float, visit: Visit) -> Updates:
        # The upload field is emptied: the next image can be dropped at once.
        empty: Updates = {self.page.file: None}
        number = int(number or 0)
        if not visit.choose(number):
            return empty
        try:
            session = open_image(Path(path), number, self.workspace)
        except BoneFXError as error:
            return {**empty, self.page.news: _failed(number, error)}
        self.store.refresh()  # in the background, so that operating points are there with the result
        return {**empty, **self._open(visit, session)}

    def run(self, visit: Visit, event: gr.EventData) -> Iterator[Updates]:
        """Run the models on what the visitor has open. Ends unheard when that is no longer wanted."""
        number = _number(event)
        if not visit.choose(number):
            yield {self.page.news: gr.skip()}
            return
        session = replace(visit.session, choice=number)
        if not visit.waits_for(session):
            gone = RequestError("There is no image any more. Open it again.")
            yield {self.page.news: _failed(number, gone)}
            return
        try:
            for news in run_models(session, self.registry, self.results):
                if not visit.waits_for(session):
                    return
                if isinstance(news, str):
                    yield {self.page.news: {"choice": number, "waiting": news}}
                elif visit.put(news):
                    yield {self.page.reader: self._show(news), self.page.news: {"choice": number}}
        except BoneFXError as error:
            yield {self.page.news: _failed(number, error)}

    def check(self, visit: Visit, event: gr.EventData) -> Iterator[Updates]:
        """Ask the weights' sources again, and run the models with what they give."""
        self.registry.check_again()
        self.store.refresh()
        yield from self.run(visit, event)

    def stop(self, visit: Visit, event: gr.EventData) -> None:
        visit.choose(_number(event))

    def forget(self, visit: Visit, event: gr.EventData) -> Updates:
        number = _number(event)
        visit.choose(number)
        gone = self.workspace.forget(visit.session)
        visit.put(replace(gone, choice=number))
        return {self.page.reader: panes.empty(number), self.page.news: {"choice": number, "done": "Deleted."}}

    def open_kept(
        self, visit: Visit, event: gr.EventData, fetch: Callable[[], tuple[Path, tuple[Outcome, ...]]]
    ) -> Updates:
        """Open an image whose results are there already, one of a batch.

        Args:
            fetch: gives the file and the outcomes, or raises a `BoneFXError`.
        """
        number = _number(event)
        if not visit.choose(number):
            return {self.page.visit: visit}
        try:
            path, outcomes = fetch()
            session = replace(open_image(path, number, self.workspace), outcomes=outcomes)
        except BoneFXError as error:
            return {self.page.news: _failed(number, error)}
        return self._open(visit, session)

    def _example(self, example_id: str, number: int) -> Session:
        ours = example(example_id)
        outcomes = kept_outcomes(ours, self.registry, self.results)
        return open_example(ours, number, self.workspace, self.files, outcomes)

    def _open(self, visit: Visit, session: Session) -> Updates:
        before = visit.session
        if not visit.put(session):
            self.workspace.drop_results(session)
            return {self.page.visit: visit}
        self.workspace.drop_results(before)
        return {self.page.visit: visit, self.page.reader: self._show(session)}

    def _show(self, session: Session) -> dict[str, Any] | None:
        sure = are_in_use(session.outcomes, self.registry)
        elsewhere = partial(self.store.report_for, folder=ELSEWHERE)
        return panes.value(session, self.store.report_for, elsewhere_for=elsewhere, settled=sure)


def connect(page: Page, reading: Reading, demo: gr.Blocks) -> None:
    """Attach the events of the Read page to the app that is being built."""
    quiet: dict[str, Any] = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "trigger_mode": "multiple",
    }
    at_once = {**quiet, "concurrency_limit": 8}
    models = {**quiet, "concurrency_id": MODEL_QUEUE, "concurrency_limit": 1}
    opening = [page.visit, page.reader, page.news]
    demo.load(reading.begin, page.visit, [page.visit, page.reader], **at_once)
    page.strip.pick(reading.pick, page.visit, opening, **quiet, queue=False)
    page.file.upload(
        reading.upload,
        [page.file, page.choice, page.visit],
        [page.file, *opening],
        js="(file, choice, visit) => [file, bonefx.upload, visit]",
        **{**quiet, "concurrency_limit": 4},
    )
    page.reader.run(reading.run, page.visit, [page.reader, page.news], **models)
    page.reader.check(reading.check, page.visit, [page.reader, page.news], **models)
    page.reader.stop(reading.stop, page.visit, None, queue=False, **quiet)
    page.reader.forget(reading.forget, page.visit, [page.reader, page.news], queue=False, **quiet)


def first_value(registry: Registry, store: MetricsStore, files: ExampleFiles) -> dict[str, Any] | None:
    """What the page shows before anything has been asked for: the first example, by the bundled weights."""
    ours = next(iter(examples().values()))
    session = Session(ours.path, None, files.record(ours), None, ours, bundled(ours))
    return panes.value(session, store.report_for, settled=None)


def say(text: str, warning: str | None = None) -> str:
    """What the page waits for or has done, and a warning beside it."""
    extra = f"<p class='warning' role='alert'>{html.escape(warning)}</p>" if warning else ""
    return f"<p class='status' role='status'>{html.escape(text)}</p>{extra}"


def _number(event: gr.EventData) -> int:
    """The number of a choice, as the browser counts them; what is no number is older than all."""
    number = event._data.get("choice") if isinstance(event._data, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) else -1


def _failed(number: int, error: BoneFXError) -> dict[str, Any]:
    return {"choice": number, "error": str(error)}
