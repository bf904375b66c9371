"""The consensus of stored predictions, as `bonefx.inference` makes it of one image: no model is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bonefx.calibration import Calibration
from bonefx.consensus import CONSENSUS
from bonefx.detections import Detections
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.predictions import Predictions
from bonefx.evaluation.store import to_rows
from bonefx.fusion import RULE, fuse
from bonefx.labels import CLASSES

_NOTE = (
    "Fused from the predictions of its models that an evaluation stored. The time per image is the sum of "
    "the models' medians; fusing takes a few milliseconds more, which were not measured."
)


def results(
    dataset: Dataset,
    members: Sequence[list[dict[str, Any]]],
    calibrations: Sequence[Calibration | None],
    rule: str = RULE,
) -> list[dict[str, Any]]:
    """The consensus' COCO results list.

    Args:
        dataset: what was predicted.
        members: COCO results lists, one for each of `CONSENSUS.members`, in their order.
        calibrations: of each member.
        rule: one of `bonefx.fusion.RULES`.

    Raises:
        DatasetError: an entry breaks the format; it is named.
    """
    n_images = len(dataset.images)
    found = [_by_image(Predictions.parse(each, n_images), n_images) for each in members]
    return [
        row
        for image_id, of_image in enumerate(zip(*found, strict=True), 1)
        for row in to_rows(image_id, fuse(of_image, calibrations, rule))
    ]


def described(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How a report describes the consensus: `detector`, `versions`, `timing` and `notes`.

    Args:
        members: the same of each model, without notes.
    """
    ms = {each["detector"]["name"]: each["timing"]["ms_per_image"]["total"] for each in members}
    names = sorted({name for each in members for name in each["versions"]})
    return {
        "detector": {
            "id": CONSENSUS.id,
            "name": CONSENSUS.name,
            "method": CONSENSUS.method,
            "members": [member for each in members for member in each["detector"]["members"]],
        },
        "versions": {
            name: _joined(each["versions"][name] for each in members if name in each["versions"])
            for name in names
        },
        "timing": {
            "ms_per_image": {**ms, "total": round(sum(ms.values()), 2)},
            "processor": _joined(each["timing"]["processor"] for each in members),
        },
        "notes": [_NOTE],
    }


def _by_image(predictions: Predictions, n_images: int) -> Iterator[Detections]:
    """What was found in each image, those without detections included."""
    boxes, class_ids = predictions.boxes, predictions.class_ids
    order = np.argsort(predictions.images, kind="stable")
    begins = np.searchsorted(predictions.images[order], np.arange(1, n_images))
    for rows in np.split(order, begins):
        labels = tuple(CLASSES[class_id] for class_id in class_ids[rows])
        yield Detections(boxes[rows], predictions.scores[rows], class_ids[rows], labels)


def _joined(values: Iterator[str]) -> str:
    """What all have in common, or what each has."""
    return ", ".join(dict.fromkeys(values))
