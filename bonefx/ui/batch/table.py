"""What the Batch tab shows: the value of its component, made of what a batch has finished."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import gradio as gr

from bonefx import export, images
from bonefx.agreement import agree
from bonefx.batch import Row
from bonefx.detections import Detections
from bonefx.detectors import MODELS
from bonefx.dicom_results import named_like_dicom
from bonefx.entries import Entry
from bonefx.labels import place
from bonefx.numbers import counted
from bonefx.settings import NOTICE
from bonefx.ui.batch.run import ARCHIVE, Batch
from bonefx.ui.operating import DEFAULT_RATE, RATES
from bonefx.ui.storage import KEPT_MINUTES

THUMBNAIL_PIXELS = 144
_PRIVACY = (
    "Remove names and other identifying marks first. Files stay on this server for at most "
    f"{KEPT_MINUTES} minutes and are used for nothing but your results."
)
_DRAWN = 20  # boxes of one model in a thumbnail


def value(batch: Batch | None, stage: str, said: str, alert: str = "") -> dict[str, Any]:
    """What the component shows.

    Args:
        batch: None without files.
        stage: `empty`, `ready`, `running` or `done`.
        said: what is being done or has been done.
        alert: what went wrong.
    """
    rows = batch.rows if batch else []
    archive = batch.archive if batch else None
    return {
        "stage": stage,
        "said": said,
        "alert": alert,
        "of": len(batch.entries) if batch else 0,
        "dicom": any(named_like_dicom(entry.name) for entry in (batch.entries if batch else ())),
        "rows": list(rows),
        "models": [
            {"name": model.name, "color": model.look.color, "dashed": bool(number)}
            for number, model in enumerate(MODELS.values())
        ],
        "made_by": list(dict.fromkeys(words for row in rows for words in row["made_by"])),
        "demo": any(row["demo"] for row in rows),
        "notice": NOTICE,
        "privacy": _PRIVACY,
        "rates": [{"rate": rate, "label": label} for rate, label in RATES.items()],
        "rate": DEFAULT_RATE,
        "archive": archive and gr.FileData(path=str(archive), orig_name=ARCHIVE).model_dump(),
    }


def named(found: Sequence[Entry]) -> str:
    """The number of files, and some of their names."""
    names = ", ".join(entry.name for entry in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"{counted(len(found), 'file')} ({names}{more})"


def browser_row(row: Row) -> dict[str, Any]:
    """What the page keeps of a row. Boxes are whole pixels of the image."""
    picture = row.thumbnail(THUMBNAIL_PIXELS)
    return {
        "name": row.name,
        "picture": picture and "data:image/jpeg;base64," + base64.b64encode(picture).decode(),
        "size": [row.radiograph.width, row.radiograph.height] if row.radiograph else None,
        "error": row.error,
        "warning": row.radiograph and images.unlike_radiograph(row.radiograph),
        "cells": [_cell(result) for result in row.results],
        "kinds": _kinds(row),
        "failed": row.failed,
        "made_by": [
            f"{MODELS[result['model']].name}: {export.weights_in_words(result)}, scores from "
            f"{result['threshold']:.3g}"
            for result in row.results
            if "error" not in result
        ],
        "demo": any((result["weights"] or {}).get("source") == "bundled" for result in row.results),
    }


def batch_in_words(batch: Batch) -> str:
    """What has been done."""
    rows, of = len(batch.rows), len(batch.entries)
    failed = sum(row["failed"] for row in batch.rows)
    without = f" {failed} of them without a result of every model; the table says why." if failed else ""
    done = counted(rows, "file") if rows == of else f"{rows} of {of} files"
    return f"Done: {done}.{without}"


def _cell(result: dict[str, Any]) -> dict[str, Any]:
    """Count, best score, label and boxes of what a model found; or why it has no result."""
    if "error" in result:
        return {"error": result["error"]}
    found = result["detections"]
    best = found[0] if found else None
    return {
        "count": len(found),
        "best": best and best["score"],
        "label": best and place(best["label"]),
        "boxes": [[round(each["box"][side]) for side in ("x1", "y1", "x2", "y2")] for each in found[:_DRAWN]],
    }


def _kinds(row: Row) -> list[str]:
    """By which of the filters a row is shown.

    found, nothing: whether a model found something. differ: there is no place where two models found the
    same, though one of them found something. failed: a model has no result.
    """
    if row.failed:
        return ["failed"]
    sides = [Detections.from_records(result["detections"]) for result in row.results]
    if not any(map(len, sides)):
        return ["nothing"]
    alike = len(sides) < 2 or any(agree(a, b).both for a, b in combinations(sides, 2))
    return ["found"] if alike else ["found", "differ"]
