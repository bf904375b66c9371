"""What a visitor takes away: the picture with its boxes, JSON and CSV, as the viewer shows them now.

View and thresholds are the browser's: they come with the click. The file is written into the session's
folder, and is deleted with it.
"""

from __future__ import annotations

import html
import math
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from bonefx import export, images, inference
from bonefx.detectors import MODELS
from bonefx.errors import BoneFXError, RequestError
from bonefx.inference import Outcome
from bonefx.settings import DEFAULT_THRESHOLD
from bonefx.ui.operating import result_above
from bonefx.ui.session import DOWNLOADS, Session, Visit

KINDS = {"png": "PNG", "json": "JSON", "csv": "CSV"}
"""What can be downloaded: the ending of the file's name, and its button."""

_SAVE = Path(__file__).with_name("static") / "save.js"


@dataclass(frozen=True)
class Screen:
    """What the browser shows, as far as a download repeats it.

    Attributes:
        view: "compare", "agreement" or the id of one model.
        thresholds: by model id, a score from 0 to 1, or None where nothing is shown.
        stricts: by model id, the score from which lines are solid; None where none is; missing: all are.
        truth: whether the ground truth is shown.
    """

    view: str
    thresholds: Any
    stricts: Any = None
    truth: bool = False

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the models that are shown.

        Raises:
            RequestError: there is no such view.
        """
        if self.view in ("compare", "agreement"):
            return tuple(MODELS)
        if self.view in inference.CHOICES:
            return (self.view,)
        raise RequestError(f"There is no view {self.view!r}. Reload the page, and try again.")


def add_downloads(reader: gr.HTML, visit: gr.State) -> None:
    """Have the reader's event "save" hand a file to the browser."""
    saver = gr.HTML(html_template="", js_on_load=_SAVE.read_text("utf-8"), padding=False, visible="hidden")
    reader.save(
        _download,
        visit,
        saver,
        api_visibility="private",
        concurrency_limit=2,
        show_progress="hidden",
        trigger_mode="multiple",
    )


def write(session: Session, kind: str, screen: Screen) -> Path:
    """Write a download.

    Args:
        session: with outcomes; the file lies inside of its folder, in a new one.
        kind: one of `KINDS`.
        screen: what is shown.

    Raises:
        RequestError: there are no results any more, or what is shown makes no sense.
        ImageError: the image is gone or cannot be read any more.
    """
    outcomes = [outcome for outcome in map(session.outcome, screen.models) if outcome is not None]
    if session.folder is None or not session.folder.is_dir() or not outcomes:
        raise RequestError("There are no results to download any more. Run the image again.")
    levels = [_level(outcome, screen.thresholds) for outcome in outcomes]
    results = [result_above(*pair) for pair in zip(outcomes, levels, strict=True)]
    stem = re.sub(r"[^\w.-]+", "_", Path(outcomes[0].image).stem)[:100] or "image"
    path = Path(tempfile.mkdtemp(dir=session.folder / DOWNLOADS)) / f"{stem}_{screen.view}.{kind}"
    if kind == "png":
        export.annotated(images.read(session.path), results).save(path, compress_level=1)
    elif kind == "csv":
        path.write_text(export.to_csv(results), encoding="utf-8")
    elif kind == "json":
        more = {"agreement": inference.agreement_of(outcomes, levels)} if len(outcomes) == 2 else {}
        text = export.to_json(results, schema_version=inference.SCHEMA_VERSION, **more)
        path.write_text(text, encoding="utf-8")
    else:
        raise RequestError(f"There is no download {kind!r}. Reload the page, and try again.")
    return path


def _download(visit: Visit, event: gr.EventData) -> Any:
    asked = event._data if isinstance(event._data, dict) else {}
    try:
        if asked.get("choice") != visit.session.choice:
            raise RequestError("This result is not there any more. Open the image again.")
        screen = Screen(
            str(asked.get("view")), asked.get("thresholds"), asked.get("stricts"), bool(asked.get("truth"))
        )
        path = write(visit.session, str(asked.get("kind")), screen)
    except BoneFXError as error:
        raise gr.Error(html.escape(str(error)), print_exception=False) from error
    return gr.FileData(path=str(path), orig_name=path.name).model_dump()


def _level(outcome: Outcome, thresholds: Any) -> float:
    if outcome.detections is None:
        return DEFAULT_THRESHOLD
    if not isinstance(thresholds, dict) or outcome.model not in thresholds:
        raise RequestError(f"There is no threshold of {outcome.model}. Reload the page, and try again.")
    threshold = thresholds[outcome.model]
    return math.inf if threshold is None else inference.check_threshold(threshold)
