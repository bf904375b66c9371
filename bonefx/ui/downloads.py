"""What a visitor takes away: the picture with its boxes, JSON and CSV, as the viewer shows them now.

The thresholds are the browser's: they come with the click. The file is written into the session's folder, and
is deleted with it.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from bonefx import export, images, inference
from bonefx.errors import BoneFXError, RequestError
from bonefx.inference import Outcome
from bonefx.settings import DEFAULT_THRESHOLD
from bonefx.ui.operating import result_above
from bonefx.ui.session import DOWNLOADS, Session

KINDS = {"png": "Annotated PNG", "json": "JSON", "csv": "CSV"}
"""What can be downloaded: the ending of the file's name, and its button."""

_SAVE = Path(__file__).with_name("static") / "save.js"


def add_saver() -> gr.HTML:
    """The part of the page that has the browser save a file; invisible. Its value is what `write` makes."""
    return gr.HTML(html_template="", js_on_load=_SAVE.read_text("utf-8"), padding=False)


def add_downloads(viewer_id: str, model_ids: Sequence[str], session: gr.State, saver: gr.HTML) -> gr.Row:
    """Add the download buttons of one viewer.

    Args:
        viewer_id: the viewer's `elem_id`, which is also in the files' names.
        model_ids: the models that it shows.
        session: the visitor's `Session`.
        saver: from `add_saver`.

    Returns:
        The row, invisible: whoever shows results shows it too.
    """
    name = viewer_id.removeprefix("viewer-")
    with gr.Row(visible=False, elem_classes="downloads") as row:
        gr.HTML("<p>Download what is shown:</p>", padding=False)
        levels = gr.JSON(visible=False)
        for kind, label in KINDS.items():
            gr.Button(label, size="sm", scale=0, min_width=100).click(
                partial(_download, kind=kind, name=name, model_ids=tuple(model_ids)),
                [session, levels],
                saver,
                js=f"(session) => [session, bonefx.thresholds({viewer_id!r})]",
                api_visibility="private",
                concurrency_limit=2,
                show_progress="hidden",
            )
    return row


def write(session: Session, kind: str, name: str, model_ids: Sequence[str], thresholds: Any) -> Path:
    """Write a download.

    Args:
        session: with outcomes; the file lies inside of its folder, in a new one.
        kind: one of `KINDS`.
        name: what comes after the image's name in the file's.
        model_ids: the models.
        thresholds: by model id, a score from 0 to 1, or None where nothing is shown; from the browser.

    Raises:
        RequestError: there are no results any more, or a threshold is missing or out of range.
        ImageError: the image is gone or cannot be read any more.
    """
    outcomes = [outcome for outcome in map(session.outcome, model_ids) if outcome is not None]
    if session.folder is None or not session.folder.is_dir() or not outcomes:
        raise RequestError("There are no results to download any more. Run the image again.")
    levels = [_level(outcome, thresholds) for outcome in outcomes]
    results = [result_above(*pair) for pair in zip(outcomes, levels, strict=True)]
    stem = re.sub(r"[^\w.-]+", "_", Path(outcomes[0].image).stem)[:100] or "image"
    path = Path(tempfile.mkdtemp(dir=session.folder / DOWNLOADS)) / f"{stem}_{name}.{kind}"
    if kind == "png":
        export.annotated(images.read(session.path), results).save(path, compress_level=1)
    elif kind == "csv":
        path.write_text(export.to_csv(results), encoding="utf-8")
    else:
        more = {"agreement": inference.agreement_of(outcomes, levels)} if len(outcomes) == 2 else {}
        text = export.to_json(results, schema_version=inference.SCHEMA_VERSION, **more)
        path.write_text(text, encoding="utf-8")
    return path


def _download(session: Session, thresholds: Any, *, kind: str, name: str, model_ids: Sequence[str]) -> Any:
    try:
        path = write(session, kind, name, model_ids, thresholds)
    except BoneFXError as error:
        raise gr.Error(str(error), print_exception=False) from error
    return gr.FileData(path=str(path), orig_name=path.name).model_dump()


def _level(outcome: Outcome, thresholds: Any) -> float:
    if outcome.detections is None:
        return DEFAULT_THRESHOLD
    if not isinstance(thresholds, dict) or outcome.model not in thresholds:
        raise RequestError(f"There is no threshold of {outcome.model}. Reload the page, and try again.")
    threshold = thresholds[outcome.model]
    return math.inf if threshold is None else inference.check_threshold(threshold)
