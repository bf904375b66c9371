"""Whether a graph answers as the checkpoint does in float32, on images that it was not calibrated on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bonefx import matching
from bonefx.detections import Detections
from bonefx.evaluation import froc
from bonefx.evaluation.coco import average_precision
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.predictions import Predictions
from bonefx.evaluation.store import to_rows

LEAST_SHARE = 0.97
LEAST_IOU = 0.9
SCORE_STEP = 0.03

AP50_STEP = 0.005
SENSITIVITY_STEP = 0.02
FALSE_POSITIVES = 0.9, 1.1


def agreement(reference: Sequence[Detections], found: Sequence[Detections]) -> dict[str, Any]:
    """How many of float32's boxes are found again, where nobody knows what is in the images.

    A box counts if its score is among the highest, one an image on the average: no threshold above that can
    have more false positives. It is found by one of the same class, an IoU of at least 0.9 and a score
    within 0.03.

    Returns:
        `images`, `threshold`, `boxes`, the `share` found and whether it is enough, `passed`.
    """
    scores = np.sort(np.concatenate([one.scores for one in reference]))[::-1]
    threshold = float(scores[min(len(reference), len(scores)) - 1]) if len(scores) else 0.0
    again: list[bool] = []
    for expected, made in zip(reference, found, strict=True):
        expected = expected.above(threshold)
        same = expected.class_ids[:, None] == made.class_ids[None]
        same &= np.abs(expected.scores[:, None] - made.scores[None]) <= SCORE_STEP
        same &= matching.iou_matrix(expected.boxes, made.boxes) >= LEAST_IOU
        again += same.any(axis=1).tolist()
    share = float(np.mean(again)) if again else 1.0
    return {
        "images": len(reference),
        "threshold": round(threshold, 5),
        "boxes": len(again),
        "share": round(share, 4),
        "passed": share >= LEAST_SHARE,
    }


def labelled(
    dataset: Dataset, reference: Sequence[Detections], found: Sequence[Detections]
) -> dict[str, Any]:
    """What a graph loses against float32 where it is known what is in the images.

    It is good enough if AP50 is within 0.005, and at every operating point the any-fracture sensitivity
    within 2 points and the false positives at float32's threshold between 0.9 and 1.1 times as many.

    Returns:
        `images`, `lesions`, `ap50` (float32's and the graph's), `sensitivity` (the largest difference),
        `false_positives` (the smallest and the largest ratio) and whether that is enough, `passed`.
    """
    before, after = (_predictions(dataset, each) for each in (reference, found))
    ap50 = [average_precision(dataset, each)["ap50"] or 0.0 for each in (before, after)]
    judged = [froc.any_fracture(dataset, each) for each in (before, after)]
    points = [froc.operating_points(each) for each in judged]
    changes = [
        abs((one["sensitivity"] or 0.0) - (two["sensitivity"] or 0.0))
        for one, two in zip(*points, strict=True)
    ]
    thresholds = [point["threshold"] for point in points[0] if point["threshold"] is not None]
    counts = [
        [int((~each.hits & (each.scores >= threshold)).sum()) for threshold in thresholds] for each in judged
    ]
    ratios = [two / one for one, two in zip(*counts, strict=True) if one] or [1.0]
    return {
        "images": len(dataset.images),
        "lesions": int(judged[0].lesions.sum()),
        "ap50": [round(value, 4) for value in ap50],
        "sensitivity": round(max(changes), 4),
        "false_positives": [round(min(ratios), 3), round(max(ratios), 3)],
        "passed": abs(ap50[1] - ap50[0]) <= AP50_STEP
        and max(changes) <= SENSITIVITY_STEP
        and FALSE_POSITIVES[0] <= min(ratios)
        and max(ratios) <= FALSE_POSITIVES[1],
    }


def _predictions(dataset: Dataset, detections: Sequence[Detections]) -> Predictions:
    rows = [row for image_id, each in enumerate(detections, 1) for row in to_rows(image_id, each)]
    return Predictions.parse(rows, len(dataset.images))
