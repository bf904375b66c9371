"""The page put together: one image, one set of results, shown by every tab."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from bonefx import inference
from bonefx.detectors import MODELS, Registry
from bonefx.errors import BoneFXError, RequestError
from bonefx.images import MAX_BYTES
from bonefx.settings import NOTICE
from bonefx.ui import panes
from bonefx.ui.about import GLOSSARY, add_about_tab
from bonefx.ui.analysis import open_image, run_models
from bonefx.ui.api import MODEL_QUEUE, add_endpoints
from bonefx.ui.examples import Example, example, thumbnails
from bonefx.ui.metrics import build_metrics_tab
from bonefx.ui.metrics_store import MetricsStore
from bonefx.ui.session import KEPT_MINUTES, Session, Workspace
from bonefx.ui.viewer import viewer

_STATIC = Path(__file__).with_name("static")
WAITING_VISITORS = 32
"""Longer queues are refused: who comes then is told that the app is busy."""

_HEADER = f"""
<header class="head">
  <h1>BoneFX</h1>
  <p>Two fracture detectors on one upper-limb radiograph, side by side.</p>
  <p class="disclaimer" role="note">{NOTICE}</p>
</header>
"""
_PRIVACY = (
    f"Remove names and other identifying marks first. Files stay on this server for at most {KEPT_MINUTES} "
    "minutes and are used for nothing but your results."
)


def build(registry: Registry) -> gr.Blocks:
    """The whole app, ready to launch with `launch_options()`."""
    store, workspace = MetricsStore(registry.settings), Workspace()
    inference.prepare(registry)
    with gr.Blocks(
        title="BoneFX: fracture detection, two models side by side",
        analytics_enabled=False,
        delete_cache=(600, KEPT_MINUTES * 60),
    ) as demo:
        session = gr.State(Session(), time_to_live=KEPT_MINUTES * 60, delete_callback=workspace.forget)
        choice = gr.State(panes.default_choice())
        gr.HTML(_HEADER, js_on_load=(_STATIC / "paste.js").read_text("utf-8"))
        with gr.Row(elem_classes="source"):
            with gr.Column(scale=2, min_width=300):
                file = gr.File(
                    label="Your radiograph: drop it here, paste it, or click to choose",
                    type="filepath",
                    height=150,
                    elem_id="upload",
                )
                gr.HTML(f"<p class='privacy'>{_PRIVACY}</p>")
                delete = gr.Button("Delete my image now", size="sm")
            with gr.Column(scale=3, min_width=300):
                gallery = gr.HTML(
                    [],
                    html_template=(_STATIC / "examples.html").read_text("utf-8"),
                    css_template=(_STATIC / "examples.css").read_text("utf-8"),
                    js_on_load=(_STATIC / "examples.js").read_text("utf-8"),
                    apply_default_css=False,
                )
        with gr.Row(elem_classes="state"):
            status = gr.HTML(_say("Choose an example or bring a radiograph."), min_height=44, scale=4)
            cancel = gr.Button("Cancel", size="sm", scale=0, min_width=110, visible=False)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Compare", id="compare"):
                both = viewer(elem_id="viewer-compare")
                provenance = gr.HTML()
                again = gr.Button("Check the weights' sources again", size="sm", visible=False)
                with gr.Accordion("What the words mean", open=False):
                    gr.Markdown(GLOSSARY)
                with gr.Accordion("The same as JSON", open=False):
                    results = gr.JSON(show_label=False)
            single = {}
            for model_id, model in MODELS.items():
                with gr.Tab(model.name, id=model_id):
                    gr.HTML(f"<p>{html.escape(model.summary)}</p>")
                    single[model_id] = viewer(elem_id=f"viewer-{model_id}")
            with gr.Tab("Metrics", id="metrics") as metrics_tab:
                build_metrics_tab(store, metrics_tab, lambda: _in_use(registry))
            with gr.Tab("About", id="about"):
                add_about_tab()
        add_endpoints(registry, store)

        shown = [both, *single.values(), provenance, results]
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

        def show(current: Session, chosen: panes.Choice) -> list[Any]:
            """New values of everything in `shown`."""
            compare = panes.value(current, list(MODELS), chosen, store.report_for)
            alone = [panes.value(current, [model_id], chosen, store.report_for) for model_id in MODELS]
            levels = panes.thresholds_of(compare)
            answers = [o.to_result(levels.get(o.model, 0.0)) for o in current.outcomes]
            body = {"schema_version": inference.SCHEMA_VERSION, "results": answers} if answers else None
            return [compare, *alone, panes.provenance(current), body]

        def read(path: Path, ours: Example | None, current: Session, chosen: panes.Choice) -> list:
            try:
                opened = open_image(path, ours, current, workspace)
            except BoneFXError as error:
                return [_fail(error), *[gr.skip()] * (2 + len(shown))]
            store.refresh()  # in the background, so that operating points are there with the result
            return [_say("Waiting for the models"), gr.Button(visible=True), opened, *show(opened, chosen)]

        def read_upload(path: str, current: Session, chosen: panes.Choice) -> list:
            # The upload field is emptied: the next image can be dropped at once.
            return [*read(Path(path), None, current, chosen), None]

        def read_example(current: Session, chosen: panes.Choice, event: gr.EventData) -> list:
            try:
                ours = example(str(event._data.get("id")))
            except RequestError as error:
                return [_fail(error), *[gr.skip()] * (2 + len(shown))]
            return read(ours.path, ours, current, chosen)

        def run(current: Session, chosen: panes.Choice) -> Iterator[Any]:
            if current.folder is None or current.outcomes:  # no new image: it could not be read, or is gone
                yield [gr.skip()] * (4 + len(shown))
                return
            try:
                for news in run_models(current, registry):
                    if not current.folder.exists():
                        return  # another image has taken this one's place, or it was deleted
                    if isinstance(news, str):
                        yield [_say(news), *[gr.skip()] * (3 + len(shown))]
                    else:
                        current = news
            except BoneFXError as error:
                yield [_fail(error), gr.Button(visible=False), *[gr.skip()] * (2 + len(shown))]
                return
            hidden, visible = gr.Button(visible=False), gr.Button(visible=True)
            said = _say(_summary(current), current.warning)
            yield [said, hidden, visible, current, *show(current, chosen)]

        def forget(current: Session, chosen: panes.Choice) -> list:
            empty = workspace.forget(current)
            said = "Deleted." if current.path else "There is nothing to delete."
            hidden = gr.Button(visible=False)
            return [_say(said), hidden, hidden, empty, *show(empty, chosen)]

        def check_again(current: Session) -> list:
            registry.check_again()
            store.refresh()
            return [_say("Asking the sources again"), gr.Button(visible=True), replace(current, outcomes=())]

        def follow(source: gr.HTML) -> None:
            """What is set in one viewer holds in all of them; the one it was set in shows it already."""

            def choose(current: Session, chosen: panes.Choice, event: gr.EventData) -> list:
                data = event._data
                thresholds = {**chosen["thresholds"], **data.get("thresholds", {})}
                changed = {"thresholds": thresholds, "point": data.get("point")}
                values = zip(shown, show(current, changed), strict=True)
                return [changed, *(value for component, value in values if component is not source)]

            others = [component for component in shown if component is not source]
            # Every event counts: the last one holds what the visitor sees.
            source.input(
                choose, [session, choice], [choice, *others], trigger_mode="multiple", queue=False, **quiet
            )

        def open_link(request: gr.Request) -> list:
            tab = request.query_params.get("tab")
            known = ("compare", *MODELS, "metrics", "about")
            return [gr.Tabs(selected=tab) if tab in known else gr.skip(), _linked_choice(request)]

        demo.load(open_link, None, [tabs, choice], **quiet)
        demo.load(lambda: list(thumbnails()), None, gallery, **quiet)

        opened = [status, cancel, session, *shown]
        ran = [status, cancel, again, session, *shown]
        running = {
            "fn": run,
            "inputs": [session, choice],
            "outputs": ran,
            "concurrency_id": MODEL_QUEUE,
            "concurrency_limit": 1,
            "show_progress_on": status,
            # The browser counts a cancelled run as pending for ever; "once" would never start another.
            "trigger_mode": "multiple",
            "api_visibility": "private",
        }
        reading = {"concurrency_limit": 4, "show_progress_on": status, "api_visibility": "private"}
        uploaded = file.upload(read_upload, [file, session, choice], [*opened, file], **reading)
        picked = gallery.select(read_example, [session, choice], opened, **reading)
        asked = again.click(check_again, session, [status, cancel, session], **quiet)
        runs = [uploaded.success(**running), picked.success(**running), asked.success(**running)]
        # The words come after the end: a run's last message may still be on its way.
        cancel.click(None, None, None, cancels=runs, queue=False, **quiet).then(
            lambda: [_say("Cancelled."), gr.Button(visible=False)],
            None,
            [status, cancel],
            queue=False,
            **quiet,
        )
        delete.click(None, None, None, cancels=runs, queue=False, **quiet).then(
            forget, [session, choice], ran, queue=False, **quiet
        )
        for source in (both, *single.values()):
            follow(source)
    demo.queue(max_size=WAITING_VISITORS)
    return demo


def launch_options() -> dict[str, Any]:
    """Arguments of `launch`: privacy, limits, and a look that asks no other host."""
    fonts = ["system-ui", "sans-serif"]
    theme = gr.themes.Default(primary_hue="blue", font=fonts, font_mono=["ui-monospace", "monospace"])
    # Gradio's own subdued grey is too faint to read for many (WCAG AA wants 4.5 to 1).
    theme.set(body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_300")
    return {
        "theme": theme,
        "css": (_STATIC / "page.css").read_text("utf-8"),
        "max_file_size": MAX_BYTES,
        "run_history": False,
        "enable_monitoring": False,
        "show_error": True,
        "footer_links": ["api", "settings"],
        "ssr_mode": False,
    }


def _say(text: str, warning: str | None = None) -> str:
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


def _in_use(registry: Registry) -> dict[str, tuple[str, str, int]]:
    """SHA-256, NMS mode and image size of each model that is in memory."""
    loaded = {model_id: registry.loaded(model_id) for model_id in MODELS}
    return {
        model_id: (each.weights.sha256, each.detector.nms, each.detector.image_size)
        for model_id, each in loaded.items()
        if each is not None
    }


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
