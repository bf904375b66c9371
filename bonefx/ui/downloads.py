"""What a visitor takes away: the picture with its boxes, JSON and CSV, as the viewer shows them now.

View and thresholds are the browser's: they come with the click. The file is written into the session's
folder, and is deleted with it.
"""

from __future__ import annotations

import html
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from bonefx import export, images, inference
from bonefx.drawing import Pane, draw
from bonefx.errors import BoneFXError, RequestError
from bonefx.results import RESULT_VERSION, Outcome
from bonefx.settings import NOTICE
from bonefx.ui.operating import result_above
from bonefx.ui.screen import Screen, panes
from bonefx.ui.session import DOWNLOADS, Session, Visit

KINDS = {"png": "PNG", "json": "JSON", "csv": "CSV"}
"""What can be downloaded: the ending of the file's name, and its button."""

_SAVE = Path(__file__).with_name("static") / "save.js"


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
    levels = [screen.threshold(outcome) for outcome in outcomes]
    results = [result_above(*pair) for pair in zip(outcomes, levels, strict=True)]
    stem = re.sub(r"[^\w.-]+", "_", Path(outcomes[0].image).stem)[:100] or "image"
    path = Path(tempfile.mkdtemp(dir=session.folder / DOWNLOADS)) / f"{stem}_{screen.view}.{kind}"
    if kind == "png":
        _picture(session, screen, outcomes, results).save(path, compress_level=1)
    elif kind == "csv":
        path.write_text(export.to_csv(results), encoding="utf-8")
    elif kind == "json":
        more = (
            {"agreement": inference.agreement_of(outcomes, levels, screen.models)}
            if len(outcomes) == 2
            else {}
        )
        text = export.to_json(results, schema_version=RESULT_VERSION, **more)
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
            str(asked.get("view")),
            asked.get("thresholds"),
            asked.get("stricts"),
            bool(asked.get("truth")),
            asked.get("pair"),
        )
        path = write(visit.session, str(asked.get("kind")), screen)
    except BoneFXError as error:
        raise gr.Error(html.escape(str(error)), print_exception=False) from error
    return gr.FileData(path=str(path), orig_name=path.name).model_dump()


def _picture(
    session: Session, screen: Screen, outcomes: Sequence[Outcome], results: list[Any]
) -> Image.Image:
    """The views on the screen, and below them what made them."""
    radiograph = images.read(session.file)
    lesions = () if session.example is None else session.example.lesions
    lines = [f"{radiograph.name}, {radiograph.width} x {radiograph.height} pixels"]
    for outcome, result in zip(outcomes, results, strict=True):
        name = inference.CHOICES[outcome.model].name
        said = outcome.error or (
            f"marks with a score of {result['threshold']:.3g} or more; "
            f"weights {export.weights_in_words(result)}"
        )
        lines.append(f"{name}: {said}")
    lines += ["Solid lines: stronger marks. Dashed: weaker ones.", NOTICE]
    views = panes(screen, outcomes, lesions) or [Pane("No result", ())]
    return draw(radiograph.rgb, views, lines)
