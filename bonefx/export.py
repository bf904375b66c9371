"""What a person takes away: results as JSON and CSV, and the picture with what was found drawn in.

A result is the plain dict that `bonefx.results.Outcome.to_result` makes. One of a consensus has no weights
of its own, but `members` that have.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from PIL import Image

from bonefx.detections import Detections
from bonefx.drawing import Mark, Pane, draw
from bonefx.images import Radiograph
from bonefx.inference import CHOICES
from bonefx.marks import marks_of
from bonefx.settings import NOTICE

Result = dict[str, Any]

COLUMNS = (
    *("image", "width", "height", "model", "weights_file", "weights_source", "weights_repo"),
    *("weights_revision", "weights_sha256", "engine", "precision", "device", "threshold"),
    *("label", "model_label", "class_id", "score", "share", "x1", "y1", "x2", "y2", "error", "notice"),
)
"""Of the CSV: coordinates in pixels of the image; no label and no box means no detection above the threshold,
or a failure, which `error` tells. What the members of a consensus differ in is joined with " + "."""

_FACTS = ("image", "width", "height", "model", "threshold", "error")
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def to_json(results: Sequence[Result], **more: Any) -> str:
    """A JSON text of results, with the notice.

    Args:
        results: of any images and models.
        more: further members that stand before them: `schema_version`, `agreement`.
    """
    return json.dumps({**more, "notice": NOTICE, "results": list(results)}, indent=1, allow_nan=False) + "\n"


def to_csv(results: Iterable[Result]) -> str:
    """A CSV text with `COLUMNS`: a row for each detection, and one for a result without any.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for result in results:
        facts = {name: result.get(name) for name in _FACTS} | {**_made_with(result), "notice": NOTICE}
        for record in result.get("detections") or [{}]:
            row = {**facts, **record, **record.get("box", {})}
            row.pop("box", None)
            writer.writerow({name: _inert(value) for name, value in row.items()})
    return text.getvalue()


def annotated(radiograph: Radiograph, results: Sequence[Result]) -> Image.Image:
    """The picture with each model's marks in its own look, and below it what made them, and the notice.

    Args:
        radiograph: the image that the results are of.
        results: one a model; where marks meet, those of the first lie on top.
    """
    marks: list[Mark] = []
    for result in results:
        found = Detections.from_records(result.get("detections", ()))
        marks += marks_of(found, CHOICES[result["model"]].look)
    size = f"{radiograph.width} x {radiograph.height} pixels"
    lines = [f"{radiograph.name}, {size}", *map(_in_words, results), NOTICE]
    return draw(radiograph.rgb, [Pane("", tuple(marks))], lines)


def weights_in_words(result: Result) -> str:
    """Which weights made a result, and where they came from, in a part of a sentence."""
    weights = [part["weights"] for part in _parts(result) if part["weights"]]
    if not weights:
        return "no weights"
    return " and ".join(f"{each['file']} ({each['source']}, {each['sha256'][:12]})" for each in weights)


def _in_words(result: Result) -> str:
    model = result["model"]
    if "error" in result:
        return f"{model}: {result['error']}"
    count = len(result["detections"])
    found = f"{count} detection{'s' * (count != 1)}" if count else "no detection"
    return (
        f"{CHOICES[model].look.tag}, {model}: {found} with a score of {result['threshold']:.3g} or more; "
        f"weights {weights_in_words(result)}"
    )


def _made_with(result: Result) -> dict[str, str]:
    """The columns about weights and runtime."""
    parts = _parts(result)
    weights = [part["weights"] or {} for part in parts]
    runtimes = [part["runtime"] or {} for part in parts]
    facts = {
        f"weights_{name}": _joined(each.get(name) for each in weights)
        for name in ("file", "source", "repo", "revision", "sha256")
    }
    return facts | {
        name: _joined(each.get(name) for each in runtimes) for name in ("engine", "precision", "device")
    }


def _parts(result: Result) -> list[Result]:
    """The members of a consensus, or the result itself."""
    return result.get("members") or [result]


def _joined(values: Iterable[str | None]) -> str:
    """The different values in their order."""
    return " + ".join(dict.fromkeys(filter(None, values)))


def _inert(value: Any) -> Any:
    """The value as a spreadsheet can only show it."""
    if isinstance(value, str) and (
        value.startswith(("\t", "\r", "\n")) or value.lstrip().startswith(_FORMULA)
    ):
        return f"'{value}"
    return value
