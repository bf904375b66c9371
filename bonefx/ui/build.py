"""The page put together: one image, one set of results, shown by every tab."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from bonefx import inference
from bonefx.detectors import MODELS, Registry
from bonefx.entries import MAX_UNPACKED
from bonefx.quiz.cases import Case
from bonefx.quiz.study import Study
from bonefx.results import Identity
from bonefx.settings import NOTICE
from bonefx.ui.about import add_about_tab
from bonefx.ui.api import App, add_endpoints
from bonefx.ui.assistants import installed
from bonefx.ui.batch.tab import add_batch_tab
from bonefx.ui.compression import compression
from bonefx.ui.events import Page, Reading, connect, first_value
from bonefx.ui.example_files import ExampleFiles
from bonefx.ui.metrics.store import MetricsStore
from bonefx.ui.metrics.tab import build_metrics_tab
from bonefx.ui.quiz.desk import Desk
from bonefx.ui.quiz.mode import add_quiz
from bonefx.ui.scripts import STATIC, script
from bonefx.ui.server import server_options
from bonefx.ui.session import Visit, Workspace
from bonefx.ui.storage import KEPT_MINUTES
from bonefx.ui.viewer.component import viewer
from bonefx.ui.viewer.downloads import add_downloads

WAITING_VISITORS = 32
"""Longer queues are refused: who comes then is told that the app is busy."""

_HEADER = f"""
<header class="masthead">
  <a class="skip" href="#result">Skip to the result</a>
  <h1>BoneFX</h1>
  <p class="disclaimer" role="note">{NOTICE}</p>
</header>
"""


def build(registry: Registry, cases: Sequence[Case] | None = None, study: Study | None = None) -> gr.Blocks:
    """The whole app, ready to launch with `launch_options()`.

    Args:
        registry: the models.
        cases, study: of the mode "Read it yourself", see `bonefx.ui.quiz.desk.Desk`.
    """
    store, workspace = MetricsStore(registry.settings), Workspace()
    inference.prepare(registry)
    with App(
        title="BoneFX: fracture detection, two models side by side",
        analytics_enabled=False,
        fill_width=True,
    ) as demo:
        gr.HTML(_HEADER, js_on_load=script(STATIC / "page" / "page.js"), elem_id="masthead")
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Read", id="read"):
                reading = _add_reading(demo, tabs, registry, store, workspace)
                add_quiz(Desk(registry, store, cases, study))
            with gr.Tab("Batch", id="batch"):
                add_batch_tab(registry, store, reading)
            with gr.Tab("Metrics", id="metrics") as metrics_tab:
                build_metrics_tab(store, metrics_tab, lambda: _in_use(registry))
            with gr.Tab("About", id="about"):
                add_about_tab()
        add_endpoints(registry, store)
    # Whatever waits for its turn has to: no call goes past the queue.
    demo.queue(max_size=WAITING_VISITORS, api_open=False)
    return demo


def _add_reading(
    demo: gr.Blocks, tabs: gr.Tabs, registry: Registry, store: MetricsStore, workspace: Workspace
) -> Reading:
    """Fill the Read page, and attach its events."""
    files = ExampleFiles()
    visit = gr.State(
        Visit(),
        time_to_live=KEPT_MINUTES * 60,
        delete_callback=lambda visit: workspace.forget(visit.session),
    )
    strip = gr.HTML(
        files.strip(),
        html_template=(STATIC / "page" / "strip.html").read_text("utf-8"),
        css_template=(STATIC / "page" / "strip.css").read_text("utf-8"),
        js_on_load=script(STATIC / "page" / "strip.js"),
        apply_default_css=False,
        elem_id="strip",
    )
    reader = viewer(first_value(registry, store, files), elem_id="reader")
    news = gr.HTML(None, html_template="", js_on_load=script(STATIC / "page" / "news.js"), visible="hidden")
    file = gr.File(type="filepath", elem_id="upload", visible="hidden", label="Your radiograph")
    choice = gr.Number(visible=False)
    add_downloads(reader, visit)
    page = Page(visit, strip, reader, news, file, choice, tabs)
    reading = Reading(page, registry, store, workspace, files)
    connect(page, reading, demo)
    return reading


def launch_options() -> dict[str, Any]:
    """Arguments of `launch`: privacy, limits, and a look that asks no other host."""
    fonts = ["system-ui", "sans-serif"]
    theme = gr.themes.Default(primary_hue="blue", font=fonts, font_mono=["ui-monospace", "monospace"])
    # Gradio's own subdued grey is too faint to read for many (WCAG AA wants 4.5 to 1).
    theme.set(
        body_text_color="#16181d",
        body_text_color_dark="#eef0f4",
        body_text_color_subdued="#5b6270",
        body_text_color_subdued_dark="#a5adbb",
        body_background_fill="#ffffff",
        body_background_fill_dark="#0f1115",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#0f1115",
        background_fill_secondary="#f6f7f9",
        background_fill_secondary_dark="#161a21",
        border_color_primary="#dfe3ea",
        border_color_primary_dark="#262b35",
    )
    served = server_options()
    return {
        "theme": theme,
        "css": "".join(
            (STATIC / name).read_text("utf-8") for name in ("page/page.css", "metrics/metrics.css")
        ),
        "max_file_size": MAX_UNPACKED,  # an archive; a single image has the reader's own limit
        "mcp_server": installed(),
        "run_history": False,
        "enable_monitoring": False,
        "show_error": True,
        "footer_links": ["api", "settings"],
        "ssr_mode": False,
        "app_kwargs": {**served, "middleware": [*served["middleware"], *compression()]},
    }


def _in_use(registry: Registry) -> dict[str, Identity]:
    """Of each model that is in memory."""
    loaded = {model_id: registry.loaded(model_id) for model_id in MODELS}
    return {model_id: each.identity for model_id, each in loaded.items() if each is not None}
