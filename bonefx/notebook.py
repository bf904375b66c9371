"""What `bonefx.detect` and `bonefx.compare` return: the API's dicts, which a notebook shows as pictures.

pandas and supervision are imported where their types are asked for; neither is needed for anything else.
"""

from __future__ import annotations

import base64
import copy
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from bonefx import export
from bonefx.detections import Detections
from bonefx.images import Radiograph
from bonefx.settings import NOTICE

if TYPE_CHECKING:
    import pandas
    import supervision
    from PIL import Image

_SHOWN_PIXELS = 900
_COLUMNS = ("image", "model", "label", "model_label", "class_id", "score", "x1", "y1", "x2", "y2")


class Result(dict[str, Any]):
    """One model's result for one image, as the API answers it: `result["detections"]`.

    Attributes:
        radiograph: the image that it is of.
    """

    def __init__(self, result: dict[str, Any], radiograph: Radiograph) -> None:
        super().__init__(result)
        self.radiograph = radiograph

    def to_dict(self) -> dict[str, Any]:
        """A plain dict that nothing is shared with, such as for JSON."""
        return copy.deepcopy(dict(self))

    def to_dataframe(self) -> pandas.DataFrame:
        """A row for each detection: label, class, score and corners in pixels of the image."""
        return _dataframe([self])

    def to_supervision(self) -> supervision.Detections:
        """Boxes, scores and classes, and the labels as `class_name`: what supervision's annotators take."""
        import supervision

        found = Detections.from_records(self["detections"])
        return supervision.Detections(
            xyxy=np.array(found.boxes),
            confidence=np.array(found.scores),
            class_id=np.array(found.class_ids),
            data={"class_name": np.array(found.labels)},
        )

    def picture(self) -> Image.Image:
        """The image with the boxes, and below it what made them."""
        return export.annotated(self.radiograph, [self])

    def _repr_html_(self) -> str:
        return _html(self.picture(), [self])


class Comparison(dict[str, Any]):
    """Every model's result for one image, as `/compare` answers it: `comparison["results"]`, `["agreement"]`.

    Attributes:
        radiograph: the image that it is of.
    """

    def __init__(self, answer: dict[str, Any], radiograph: Radiograph) -> None:
        super().__init__(answer)
        self.radiograph = radiograph

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts and lists that nothing is shared with, such as for JSON."""
        plain = {**self, "results": [dict(result) for result in self["results"]]}
        return copy.deepcopy(plain)

    def to_dataframe(self) -> pandas.DataFrame:
        """A row for each detection of each model; `model` says whose it is."""
        return _dataframe(self["results"])

    def picture(self) -> Image.Image:
        """The image with the boxes of all models, each in its own style, and below it what made them."""
        return export.annotated(self.radiograph, self["results"])

    def _repr_html_(self) -> str:
        return _html(self.picture(), self["results"])


def _dataframe(results: Sequence[dict[str, Any]]) -> pandas.DataFrame:
    import pandas

    rows = [
        {"image": result["image"], "model": result["model"], **record, **record["box"]}
        for result in results
        for record in result.get("detections", ())
    ]
    return pandas.DataFrame(rows, columns=list(_COLUMNS))


def _html(picture: Image.Image, results: Sequence[dict[str, Any]]) -> str:
    """Picture and table. A notebook runs what is in it, so that every text is escaped."""
    picture.thumbnail((_SHOWN_PIXELS, 4 * _SHOWN_PIXELS))
    file = io.BytesIO()
    picture.save(file, "PNG")
    source = base64.b64encode(file.getvalue()).decode()
    what = f"{results[0]['image']} with the boxes of {', '.join(result['model'] for result in results)}"
    return (
        f'<img alt="{escape(what)}" src="data:image/png;base64,{source}">'
        "<table><thead><tr><th>Model</th><th>Label</th><th>Score</th><th>Box, pixels</th></tr></thead><tbody>"
        f"{''.join(map(_table_rows, results))}</tbody></table><p>{escape(NOTICE)}</p>"
    )


def _table_rows(result: dict[str, Any]) -> str:
    model = f"<td>{escape(result['model'])}</td>"
    if "error" in result:
        return f'<tr>{model}<td colspan="3">{escape(result["error"])}</td></tr>'
    if not result["detections"]:
        nothing = f"no detection above the threshold of {result['threshold']:.3g}"
        return f'<tr>{model}<td colspan="3">{nothing}</td></tr>'
    return "".join(
        f"<tr>{model}<td>{escape(record['label'])}</td><td>{record['score']:.3f}</td>"
        f"<td>{', '.join(f'{value:.0f}' for value in record['box'].values())}</td></tr>"
        for record in result["detections"]
    )
