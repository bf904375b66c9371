"""The Metrics tab: how good each model is, how sure that is, and where the figures come from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from bonefx import __version__
from bonefx.errors import BoneFXError, DatasetError, RequestError
from bonefx.evaluation import report, score, summary
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.report import Report
from bonefx.evaluation.store import read_ground_truth, read_results
from bonefx.labels import CLASSES
from bonefx.ui.metrics_page import InUse, body_html, top_html, wrap
from bonefx.ui.metrics_store import MetricsStore
from bonefx.ui.tables import RULES

NEWEST, MEASURED, REPORTED = "newest", "measured", "reported"
_SETS = [
    ("Newest", NEWEST),
    ("Packaged with the app", MEASURED),
    ("Reported by the original authors", REPORTED),
]
MAX_BYTES, MAX_ENTRIES = 20_000_000, 200_000
"""Of the predictions that somebody brings."""

_HUB_SECONDS = 15.0  # how long an opened page goes on waiting for the Hub, while it shows what there is
_TICK_SECONDS = 60.0  # how often an open page looks for newer figures
_CSS = Path(__file__).with_name("static") / "metrics.css"

_COMMAND = "python -m bonefx evaluate --data DIR --split valid --predictions FILE"
_CLASSES = ", ".join(f"{number} {label}" for number, label in enumerate(CLASSES, 1))
_BRING = f"""
<h2>Bring your own</h2>
<p>Score your detector on the same images by the same protocol, and see its curve beside these. The file is a
COCO results list, <code>[{{"image_id": 1, "category_id": 3, "bbox": [x, y, width, height], "score": 0.9}},
…]</code>, in pixels of the original images. <code>image_id</code> counts the images of the validation split
from 1, in the order of their file names; <code>category_id</code> is {_CLASSES}. Keep scores down to 0.001,
or your curve ends early. At most {MAX_BYTES // 10**6} MB.</p>
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
    css = _CSS.read_text("utf-8")

    def html(content: str = "") -> gr.HTML:
        return gr.HTML(content, css_template=css, apply_default_css=False)

    top = html(wrap("<p>Looking for the figures…</p>"))
    with gr.Row():
        which = gr.Radio(_SETS, value=NEWEST, label="Which figures", scale=4, min_width=300)
        offered = [(name, rule) for rule, name in RULES.items()]
        rule = gr.Radio(offered, value="any_fracture", label="What counts as found", scale=3, min_width=300)
        again = gr.Button("Check again", size="md", scale=0, min_width=150)
    body = html()
    brought, drawn = gr.State(None), gr.State("")
    timer = gr.Timer(_TICK_SECONDS, active=False)

    def look(which: str, rule: str, brought: Report | None, drawn: str) -> list[Any]:
        shown = store.current() if which == NEWEST else store.packaged(which)
        said = top_html(store, shown, in_use())
        facts = [which, rule, brought, [(entry.report, store.place(entry)) for entry in shown.values()]]
        now = hashlib.sha256(repr(facts).encode()).hexdigest()
        if now == drawn:  # what somebody reads stays as it is, tables unfolded
            return [said, gr.skip(), gr.skip()]
        return [said, body_html(store, shown, rule, brought), now]

    def look_when_settled(*state: Any) -> list[Any]:
        store.settled(_HUB_SECONDS)
        return look(*state)

    def check_again(*state: Any) -> list[Any]:
        store.refresh(_HUB_SECONDS)
        return look(*state)

    state, shown = [which, rule, brought, drawn], [top, body, drawn]
    # Not in the queue: whoever waits there waits for a model.
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    opened = tab.select(look, state, shown, **quiet)
    opened.then(look_when_settled, state, shown, **quiet)
    opened.then(lambda: gr.Timer(active=True), None, timer, **quiet)
    for event in (timer.tick, which.input, rule.input):
        event(look, state, shown, **quiet)
    again.click(check_again, state, shown, **{**quiet, "show_progress": "minimal"})

    if store.ground_truth is None:
        html(wrap(_BRING_ELSEWHERE))
        return
    html(wrap(_BRING))
    file = gr.File(label="Your predictions: COCO results, JSON", file_types=[".json"], height=140)
    verdict = html()

    def bring(path: str) -> Iterator[list[Any]]:
        yield [gr.skip(), wrap("<p role='status'>Scoring…</p>")]
        try:
            made = score_file(Path(path), read_ground_truth(store.ground_truth))
        except BoneFXError as error:
            yield [None, wrap(f"<p class='problem' role='alert'>{escape(str(error))}</p>")]
        else:
            said = (
                f"{escape(summary.headline(made))} See <a href='#metrics-froc'>its curve in the figures</a>."
            )
            yield [made, wrap(f"<p role='status'>{said}</p>")]

    scored = file.upload(
        bring, file, [brought, verdict], concurrency_limit=1, show_progress="hidden", api_visibility="private"
    )
    cleared = file.clear(lambda: [None, ""], None, [brought, verdict], **quiet)
    for event in (scored, cleared):
        event.then(look, state, shown, **quiet)


def score_file(path: Path, dataset: Dataset) -> Report:
    """The report of a COCO results file.

    Raises:
        BoneFXError: the file is too large, not JSON, breaks the format, or holds nothing to score.
    """
    if path.stat().st_size > MAX_BYTES:
        raise RequestError(
            f"The file is larger than {MAX_BYTES // 10**6} MB. Keep the best 100 detections of each image."
        )
    try:
        results = read_results(path)
    except DatasetError:  # which names the path on this server
        raise RequestError("The file is not JSON. It must be a COCO results list.") from None
    if isinstance(results, list) and len(results) > MAX_ENTRIES:
        raise RequestError(
            f"The file has {len(results)} detections; at most {MAX_ENTRIES} are scored here. Keep the best "
            "100 of each image."
        )
    scored = score(dataset, results)
    if not scored.figures["froc"]["class_aware"]["curve"]["threshold"]:
        raise RequestError("No detection in the file has a score of at least 0.001, so there is no curve.")
    return report.build(
        dataset,
        scored,
        {"id": "brought", "name": f"Yours ({path.stem[:40]})", "method": None, "members": []},
        created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        versions={"bonefx": __version__},
        notes=["Predictions that a visitor brought."],
    )
