"""What the Batch tab says: the rows of its table, and its sentences."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from bonefx import export, images
from bonefx.batch import Row
from bonefx.detectors import MODELS
from bonefx.entries import Entry
from bonefx.settings import NOTICE

THUMBNAIL_PIXELS = 96

NOTHING: dict[str, Any] = {"rows": [], "models": [], "made_by": [], "demo": False, "notice": NOTICE}
"""The table before there are rows."""


def named(found: Sequence[Entry]) -> str:
    """The number of files, and some of their names."""
    names = ", ".join(entry.name for entry in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"{len(found)} {'file' if len(found) == 1 else 'files'} ({names}{more})"


def light(row: Row) -> dict[str, Any]:
    """What the table keeps of a row."""
    picture = row.thumbnail(THUMBNAIL_PIXELS)
    return {
        "name": row.name,
        "picture": picture and "data:image/jpeg;base64," + base64.b64encode(picture).decode(),
        "error": row.error,
        "warning": row.radiograph and images.unlike_radiograph(row.radiograph),
        "cells": [_cell(result) for result in row.results],
        "failed": row.failed,
        "made_by": [
            f"{MODELS[result['model']].name}: {export.weights_in_words(result)}, scores from "
            f"{result['threshold']:.3g}"
            for result in row.results
            if "error" not in result
        ],
        "demo": any((result["weights"] or {}).get("source") == "bundled" for result in row.results),
    }


def _cell(result: dict[str, Any]) -> dict[str, Any]:
    """Count, best score and label of what a model found; or why it has no result."""
    if "error" in result:
        return {"error": result["error"]}
    found = result["detections"]
    if not found:
        return {"words": "no detection above the threshold"}
    return {"count": len(found), "words": f"best {found[0]['score']:.2f}, {found[0]['label']}"}


def table(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The value of the table, from `light` rows."""
    return {
        "rows": list(rows),
        "models": [model.name for model in MODELS.values()],
        "made_by": list(dict.fromkeys(words for row in rows for words in row["made_by"])),
        "demo": any(row["demo"] for row in rows),
        "notice": NOTICE,
    }


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """What has been done, from `light` rows."""
    failed = sum(row["failed"] for row in rows)
    without = f" {failed} of them without a result of every model; the table says why." if failed else ""
    return f"Done: {len(rows)} {'file' if len(rows) == 1 else 'files'}.{without}"
