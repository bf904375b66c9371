"""The mode as a part of the page: its component, whose scripts come when they are wanted, and its events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from bonefx.detectors import MODELS
from bonefx.ui.api import MODEL_QUEUE
from bonefx.ui.quiz.desk import Desk, Seat
from bonefx.ui.scripts import STATIC, parts, script
from bonefx.ui.storage import KEPT_MINUTES

_SCRIPTS = (  # the later use the earlier; the last starts
    "viewer/pixels",
    "viewer/marks",
    "viewer/labels",
    "viewer/gestures",
    "viewer/state",
    "viewer/frames",
    "quiz/stage",
    "quiz/history",
    "quiz/plot",
    "quiz/quiz",
)

_PHANTOMS = (
    "Radiographs, some with a fracture and some without. Mark what looks broken; then see what the "
    "models mark, and what is true. The cases are synthetic phantoms that no model has learnt from: they "
    "teach how to look and how models err, and say nothing about patients."
)
_OWN = (
    "Radiographs of your own folder, some with a fracture and some without. Mark what looks broken; then "
    "see what the models mark, and what the folder's labels say. The pictures stay on this machine."
)


def add_quiz(desk: Desk) -> None:
    """Add the mode to the page that is being built, and attach its events."""
    seat = gr.State(Seat(), time_to_live=KEPT_MINUTES * 60)
    always = {
        "parts": parts("quiz", _SCRIPTS, ("viewer/viewer", "quiz/quiz")),
        "study": desk.is_study,
        "offer": {
            "models": [{"id": each.id, "name": each.name} for each in MODELS.values()],
            "cases": desk.round_size,
            "intro": _OWN if desk.own_folder else _PHANTOMS,
        },
    }
    quiz = gr.HTML(
        {**always, "now": None},
        html_template=(STATIC / "quiz" / "quiz.html").read_text("utf-8"),
        js_on_load=script(STATIC / "quiz" / "loader.js"),
        apply_default_css=False,
        elem_id="quiz",
    )

    def shown(step: Callable[[Seat, gr.EventData], dict[str, Any]]) -> Callable[[Seat, gr.EventData], Any]:
        def handler(seat: Seat, event: gr.EventData) -> dict[str, Any]:
            return {**always, "now": step(seat, event)}

        return handler

    options: dict[str, Any] = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "trigger_mode": "multiple",
        "concurrency_id": MODEL_QUEUE,
        "concurrency_limit": 1,
    }
    quiz.begin(shown(desk.begin), seat, quiz, **options)
    quiz.ahead(desk.ahead, seat, None, **options)
    quiz.answer(shown(desk.answer), seat, quiz, **options)
