"""Where models fail on a data set, image by image, as one page that opens without a server.

The rules are those of the any-fracture FROC curve: what is a hit, which detections count, and the thresholds
at the rates of false positives. The page (`failures.html`) picks and sorts; nothing in it asks another place.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bonefx import images
from bonefx.drawing import thumbnail
from bonefx.errors import ImageError
from bonefx.evaluation import froc
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.predictions import Predictions
from bonefx.files import whole
from bonefx.inference import CHOICES
from bonefx.labels import CLASSES
from bonefx.looks import BROUGHT
from bonefx.matching import iou_matrix
from bonefx.settings import NOTICE

_PAGE = Path(__file__).with_name("failures.html")
_PLACE = "/* the data */"
_THUMBNAIL = 360


def write(
    path: Path, dataset: Dataset, results: Mapping[str, list[dict[str, Any]]], pictures: bool = False
) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        dataset: the ground truth.
        results: each model's COCO results list, as `score` takes it.
        pictures: whether the page holds thumbnails of the images. They are somebody's radiographs.

    Raises:
        DatasetError: a result breaks the format.
        OSError: the file cannot be written.
    """
    data = collect(dataset, results)
    if pictures:
        for record, image in zip(data["images"], dataset.images, strict=True):
            record["picture"] = None if image.path is None else _picture(image.path)
    # Inside of a script element only "<" can end it.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    with whole(path) as file:
        file.write(_PAGE.read_text(encoding="utf-8").replace(_PLACE, text).encode())


def collect(dataset: Dataset, results: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """What the page shows, as plain values.

    Returns:
        `rates`; `models` with the threshold at each rate and the corners of the FROC curve in numbers of
        misses and false alarms; `images` with `lesions` and, in `found`, each model's detections by falling
        score: `box`, `score`, `label`, `hit` (the lesion that it finds), and otherwise `near` and `iou` (the
        lesion that it comes closest to, by the lenient rule). Labels are class ids.
    """
    records: list[dict[str, Any]] = [
        {"name": image.file_name, "width": image.width, "height": image.height, "lesions": [], "found": []}
        for image in dataset.images
    ]
    first = np.searchsorted(dataset.box_images, np.arange(len(dataset.images)))
    for image, box, class_id in zip(dataset.box_images, dataset.boxes, dataset.class_ids, strict=True):
        records[image]["lesions"].append({"box": _rounded(box), "label": int(class_id)})
    models = []
    for model, rows in results.items():
        predictions = Predictions.parse(rows, len(dataset.images))
        points = froc.operating_points(froc.any_fracture(dataset, predictions))
        thresholds = [point["threshold"] for point in points]
        look = CHOICES[model].look if model in CHOICES else BROUGHT
        about = {"id": model, "color": look.color, "dash": look.dash}
        models.append({**about, "thresholds": thresholds, **_costs(dataset, predictions)})
        floor = min((each for each in thresholds if each is not None), default=1.0)
        for record, found in zip(records, _found(dataset, predictions, first, floor), strict=True):
            record["found"].append(found)
    return {
        "notice": NOTICE,
        "dataset": {"name": dataset.name, "split": dataset.split},
        "labels": CLASSES if dataset.tells_sites else (*CLASSES, "fracture"),
        "rates": froc.FP_PER_IMAGE,
        "models": models,
        "images": records,
    }


def _found(
    dataset: Dataset, predictions: Predictions, first: np.ndarray, floor: float
) -> list[list[dict[str, Any]]]:
    """Each image's detections from a score of `floor` up, told to be hits, near misses or neither."""
    kept, targets = froc.matched(dataset, predictions)
    boxes, lesions, counts = kept.boxes, dataset.boxes, dataset.lesions
    images_found: list[list[dict[str, Any]]] = [[] for _ in dataset.images]
    for row in np.flatnonzero(kept.scores >= floor):
        image = int(kept.images[row])
        box = boxes[row]
        found = {
            "box": _rounded(box),
            "score": float(kept.scores[row]),
            "label": int(kept.class_ids[row]),
            "hit": int(targets[row] - first[image]) if targets[row] >= 0 else None,
        }
        if found["hit"] is None:
            found |= _near(box, lesions[first[image] : first[image] + counts[image]])
        images_found[image].append(found)
    return images_found


def _near(box: np.ndarray, lesions: np.ndarray) -> dict[str, Any]:
    """The lesion that a box is roughly on, by the lenient rule, and their IoU; nothing if there is none."""
    if not len(lesions):
        return {}
    overlap = iou_matrix(box[None], lesions)[0]
    x, y = (box[:2] + box[2:]) / 2
    inside = (lesions[:, 0] <= x) & (x <= lesions[:, 2]) & (lesions[:, 1] <= y) & (y <= lesions[:, 3])
    near = np.where(inside | (overlap >= froc.LENIENT_IOU), overlap, -1.0)
    best = int(near.argmax())
    return {"near": best, "iou": round(float(overlap[best]), 3)} if near[best] >= 0 else {}


def _costs(dataset: Dataset, predictions: Predictions) -> dict[str, list[float]]:
    """Misses and false alarms in the whole split at each threshold at which one lesion more is found."""
    false_alarms, hits, thresholds = froc.any_fracture(dataset, predictions).steps()
    corner = np.flatnonzero(np.diff(hits, prepend=0) > 0)
    return {
        "threshold": thresholds[corner].tolist(),
        "misses": (len(dataset.bbox) - hits[corner]).tolist(),
        "false_alarms": false_alarms[corner].tolist(),
    }


def _picture(path: Path) -> str | None:
    """A thumbnail as a data address."""
    try:
        radiograph = images.read(path)
    except ImageError:
        return None
    file = io.BytesIO()
    thumbnail(radiograph.rgb, _THUMBNAIL).save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _rounded(box: Sequence[float] | np.ndarray) -> list[float]:
    return [round(float(value), 1) for value in box]
