"""What a visitor takes away: the picture with its boxes, JSON and CSV, as the viewer shows them now.

View and thresholds are the browser's: they come with the click. The file is written into the session's
folder, and is deleted with it.
"""

from __future__ import annotations

import html
import re
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from bonefx import dicom_results, export, images, inference
from bonefx.drawing import Pane, draw
from bonefx.errors import BoneFXError, ImageError, RequestError
from bonefx.files import add_member
from bonefx.interchange import FORMATS
from bonefx.results import RESULT_VERSION, Outcome
from bonefx.settings import NOTICE
from bonefx.ui.operating import result_above
from bonefx.ui.session import DOWNLOADS, Session, Visit
from bonefx.ui.viewer.screen import Screen, panes

SINGLE_FILES = ("png", "json", "csv")
"""One file, with this ending."""

ARCHIVES = (*FORMATS, "dicom")
"""A ZIP archive for other tools; of a DICOM image also a structured report and a picture with boxes."""

_SAVE = Path(__file__).parents[1] / "static" / "viewer" / "save.js"


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
        kind: one of `SINGLE_FILES` or `ARCHIVES`.
        screen: what is shown.

    Raises:
        RequestError: there are no results any more, or what is shown makes no sense.
        ImageError: the image is gone or cannot be read any more, or there is no DICOM report on it.
    """
    outcomes = [outcome for outcome in map(session.outcome, screen.models) if outcome is not None]
    if session.folder is None or not session.folder.is_dir() or not outcomes:
        raise RequestError("There are no results to download any more. Run the image again.")
    levels = [screen.threshold(outcome) for outcome in outcomes]
    results = [result_above(*pair) for pair in zip(outcomes, levels, strict=True)]
    stem = re.sub(r"[^\w.-]+", "_", Path(outcomes[0].image).stem)[:100] or "image"
    path = Path(tempfile.mkdtemp(dir=session.folder / DOWNLOADS)) / f"{stem}_{screen.view}"
    if kind in ARCHIVES:
        return _archive(path.with_name(f"{path.name}_{kind}.zip"), _files(kind, session, results))
    if kind not in SINGLE_FILES:
        raise RequestError(f"There is no download {kind!r}. Reload the page, and try again.")
    path = path.with_name(f"{path.name}.{kind}")
    if kind == "png":
        _picture(session, screen, outcomes, results).save(path, compress_level=1)
    elif kind == "csv":
        path.write_text(export.to_csv(results), encoding="utf-8")
    else:
        more: dict[str, Any] = {"schema_version": RESULT_VERSION}
        if len(outcomes) == 2:
            more["agreement"] = inference.agreement_of(outcomes, levels, screen.models)
        path.write_text(export.to_json(results, **more), encoding="utf-8")
    return path


def _files(kind: str, session: Session, results: list[export.Result]) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files of an archive."""
    if kind != "dicom":
        yield from ((name, text.encode()) for name, text in FORMATS[kind](results))
        return
    header = dicom_results.header(session.file)
    if header is None:
        raise ImageError("Only on a DICOM image there can be a DICOM report.")
    for ending, content in dicom_results.documents(header, images.read(session.file), results):
        yield f"{ending}.dcm", content


def _archive(path: Path, files: Iterator[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files:
            add_member(archive, name, content)
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
