"""The page put together: one image, one set of results, shown by every tab."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import gradio as gr

from bonefx import inference
from bonefx.detectors import MODELS, Registry
from bonefx.entries import MAX_UNPACKED
from bonefx.inference import CHOICES
from bonefx.settings import NOTICE
from bonefx.ui.about import GLOSSARY, add_about_tab
from bonefx.ui.api import App, add_endpoints
from bonefx.ui.batch_tab import add_batch_tab
from bonefx.ui.downloads import add_downloads, add_saver
from bonefx.ui.events import Page, Shown, connect, say
from bonefx.ui.metrics import build_metrics_tab
from bonefx.ui.metrics_store import MetricsStore
from bonefx.ui.server import server_options
from bonefx.ui.session import Session, Workspace
from bonefx.ui.storage import KEPT_MINUTES
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
    with App(
        title="BoneFX: fracture detection, two models side by side",
        analytics_enabled=False,
    ) as demo:
        session = gr.State(Session(), time_to_live=KEPT_MINUTES * 60, delete_callback=workspace.forget)
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
            status = gr.HTML(say("Choose an example or bring a radiograph."), min_height=44, scale=4)
            cancel = gr.Button("Cancel", size="sm", scale=0, min_width=110, visible=False)
        saver = add_saver()

        def add_results(name: str, models: tuple[str, ...]) -> Shown:
            viewer_id = f"viewer-{name}"
            boxes = viewer(elem_id=viewer_id)
            downloads = add_downloads(viewer_id, models, session, saver)
            return Shown(models, boxes, downloads, gr.HTML())

        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Compare", id="compare"):
                shown = [add_results("compare", tuple(MODELS))]
                again = gr.Button("Check the weights' sources again", size="sm", visible=False)
                with gr.Accordion("What the words mean", open=False):
                    gr.Markdown(GLOSSARY)
            for model_id, model in CHOICES.items():
                with gr.Tab(model.name, id=model_id):
                    gr.HTML(f"<p>{html.escape(model.summary)}</p>")
                    shown.append(add_results(model_id, (model_id,)))
            with gr.Tab("Batch", id="batch"):
                add_batch_tab(registry, store)
            with gr.Tab("Metrics", id="metrics") as metrics_tab:
                build_metrics_tab(store, metrics_tab, lambda: _in_use(registry))
            with gr.Tab("About", id="about"):
                add_about_tab()
        add_endpoints(registry, store)
        page = Page(
            session=session,
            file=file,
            delete=delete,
            gallery=gallery,
            status=status,
            cancel=cancel,
            tabs=tabs,
            tab_ids=("compare", *CHOICES, "batch", "metrics", "about"),
            shown=tuple(shown),
            again=again,
        )
        connect(demo, page, registry, store, workspace)
    # Whatever waits for its turn has to: no call goes past the queue.
    demo.queue(max_size=WAITING_VISITORS, api_open=False)
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
        "max_file_size": MAX_UNPACKED,  # an archive; a single image has the reader's own limit
        "run_history": False,
        "enable_monitoring": False,
        "show_error": True,
        "footer_links": ["api", "settings"],
        "ssr_mode": False,
        "app_kwargs": server_options(),
    }


def _in_use(registry: Registry) -> dict[str, tuple[str, str, int]]:
    """SHA-256, NMS mode and image size of each model that is in memory."""
    loaded = {model_id: registry.loaded(model_id) for model_id in MODELS}
    return {
        model_id: (each.weights.sha256, each.detector.nms, each.detector.image_size)
        for model_id, each in loaded.items()
        if each is not None
    }
