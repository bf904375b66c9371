"""The Metrics tab: how good each model is, how sure that is, and where the figures come from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from bonefx.errors import BoneFXError
from bonefx.evaluation.report import Report
from bonefx.evaluation.schema import Rule
from bonefx.evaluation.store import Store, read_ground_truth
from bonefx.labels import CLASSES
from bonefx.ui.metrics.brought import MAX_BYTES, image_list, score_file
from bonefx.ui.metrics.page import InUse, brought_html, curves_html, top_html
from bonefx.ui.metrics.rest import rest_html
from bonefx.ui.metrics.shown import Shown, download, wrap
from bonefx.ui.metrics.store import MetricsStore
from bonefx.ui.metrics.tables import RULES

NEWEST, MEASURED, REPORTED = "newest", "measured", "reported"
_SETS = [
    ("Newest", NEWEST),
    ("Packaged with the app", MEASURED),
    ("Reported by the original authors", REPORTED),
]
_HUB_SECONDS = 15.0  # how long an opened page goes on waiting for the Hub, while it shows what there is
_TICK_SECONDS = 60.0  # how often an open page looks for newer figures

_COMMAND = "python -m bonefx evaluate --data DIR --split valid --predictions FILE"
_CLASSES = ", ".join(f"{number} {label}" for number, label in enumerate(CLASSES, 1))
_BRING = f"""
<h2>Bring your own</h2>
<p>Score your detector on the same images by the same protocol: its curve beside these, and its difference
from either model with an interval.</p>
<p>The images, numbered: LINK</p>
<details><summary>How the file must look</summary>
<p>A COCO results list, <code>[{{"image_id": 1, "category_id": 3, "bbox": [x, y, width, height],
"score": 0.9}}, …]</code>, in pixels of the original images, at most {MAX_BYTES // 10**6} MB.
<code>category_id</code> is {_CLASSES}. Keep scores down to 0.001, or your curve ends early.</p></details>
"""
_BRING_ELSEWHERE = f"""
<h2>Bring your own</h2>
<p>The ground truth does not travel with this app, so a file cannot be scored here. On your own machine, with
the data set, this scores a COCO results list by the same protocol:</p>
<pre tabindex="0">{_COMMAND}</pre>
"""


def build_metrics_tab(store: MetricsStore, tab: gr.Tab, in_use: Callable[[], InUse]) -> None:
    """Fill the Metrics tab. No report is read, fetched or drawn before somebody opens it.

    Args:
        store: the reports.
        tab: the tab, which is the current context.
        in_use: what the figures must belong to, by the time of the call.
    """

    def html(content: str = "") -> gr.HTML:  # its dress is the page's, static/metrics/metrics.css
        return gr.HTML(content, apply_default_css=False)

    top, curves = html(wrap("<p>Looking for the figures…</p>")), html()
    bring = _Bring(store, html)
    with gr.Accordion("Other figures, and what counts as found", open=False, elem_id="metrics-choice"):
        which = gr.Radio(_SETS, value=NEWEST, label="Which figures")
        offered = [(name, rule) for rule, name in RULES.items()]
        rule = gr.Radio(offered, value="any_fracture", label="What counts as found")
        again = gr.Button("Check again for newer figures", size="sm")
    rest = html()
    drawn = gr.State("")
    timer = gr.Timer(_TICK_SECONDS, active=False)

    def look(which: str, rule: Rule, brought: Report | None, drawn: str) -> list[Any]:
        home = store.current() if which == NEWEST else store.packaged(which)
        shown = Shown.of(store, home, brought)
        said = top_html(store, shown, in_use())
        entries = [*shown.home.values(), *shown.away.values()]
        facts = [which, rule, brought, [(each.report, store.place(each), each.note) for each in entries]]
        now = hashlib.sha256(repr(facts).encode()).hexdigest()
        if now == drawn:  # what somebody reads stays as it is, tables unfolded
            return [said, gr.skip(), gr.skip(), gr.skip()]
        return [said, curves_html(store, shown, rule), rest_html(store, shown, rule), now]

    def look_when_settled(*state: Any) -> list[Any]:
        store.settled(_HUB_SECONDS)
        return look(*state)

    def check_again(*state: Any) -> list[Any]:
        store.refresh(_HUB_SECONDS)
        return look(*state)

    state, shown = [which, rule, bring.report, drawn], [top, curves, rest, drawn]
    # Not in the queue: whoever waits there waits for a model.
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    opened = tab.select(look, state, shown, **quiet)
    opened.then(look_when_settled, state, shown, **quiet)
    opened.then(lambda: gr.Timer(active=True), None, timer, **quiet)
    for event in (timer.tick, which.input, rule.input):
        event(look, state, shown, **quiet)
    again.click(check_again, state, shown, **{**quiet, "show_progress": "minimal"})
    for event in bring.connect(tab, which, quiet):
        event.then(look, state, shown, **quiet)


class _Bring:
    """The part that scores somebody's own predictions. Its `report` is a state: the one that was made."""

    def __init__(self, store: MetricsStore, html: Callable[..., gr.HTML]) -> None:
        self._store = store
        self.report = gr.State(None)
        self._file: gr.File | None = None
        if store.predictions is None:
            html(wrap(_BRING_ELSEWHERE))
            return
        with gr.Row(elem_id="metrics-bring"):
            with gr.Column(min_width=320):
                self._panel = html()
            with gr.Column(min_width=320):
                name = "Your predictions: COCO results, JSON"
                self._file = gr.File(label=name, file_types=[".json"], height=150)
        self._verdict = html()

    @property
    def _ours(self) -> Store:
        """What predictions are scored against; nothing here is called where none travels with the app."""
        predictions = self._store.predictions
        assert predictions is not None
        return predictions

    def fill(self) -> str:
        """The words beside the field, with the list of images as a link."""
        images = image_list(read_ground_truth(self._ours.ground_truth))
        return wrap(_BRING.replace("LINK", download("images.csv", images, "text/csv")))

    def connect(self, tab: gr.Tab, which: gr.Radio, quiet: dict[str, Any]) -> list[Any]:
        """Attach the events. Those are returned after which there is another report, or none any more."""
        if self._file is None:
            return []
        tab.select(self.fill, None, self._panel, **quiet)
        outputs = [self.report, self._verdict]
        scored = self._file.upload(
            self._score,
            [self._file, which],
            outputs,
            concurrency_limit=1,
            show_progress="hidden",
            api_visibility="private",
        )
        return [scored, self._file.clear(lambda: [None, ""], None, outputs, **quiet)]

    def _score(self, path: str, which: str) -> Iterator[list[Any]]:
        home = self._store.current() if which == NEWEST else self._store.packaged(which)
        wanted = {model_id: entry.report for model_id, entry in home.items()}
        try:
            for news in score_file(Path(path), self._ours, wanted):
                if isinstance(news, str):
                    yield [gr.skip(), wrap(f"<p role='status'>{escape(news)}</p>")]
                else:
                    against = Shown(home, {}).series(self._store)
                    yield [news, brought_html(news, against)]
        except BoneFXError as error:
            yield [None, wrap(f"<p class='problem' role='alert'>{escape(str(error))}</p>")]
