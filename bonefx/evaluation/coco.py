"""COCO average precision and recall, through pycocotools.

One class is evaluated at a time, over the images that hold a lesion or a detection of it. Both give the very
numbers of a single call (an image with neither adds nothing), in a sixth of the memory.
"""

from __future__ import annotations

import contextlib
import io
import threading
from dataclasses import replace
from typing import Any

import numpy as np

from bonefx.evaluation import froc
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.predictions import Predictions
from bonefx.labels import CLASSES

MAX_DETS = (1, 10, 100)
SIZES = ("all", "small", "medium", "large")
"""Boxes under 32 x 32 pixels are small, from 96 x 96 on large."""

_quiet = threading.Lock()  # pycocotools prints; standard output can be redirected for one thread at a time


def average_precision(dataset: Dataset, predictions: Predictions) -> dict[str, Any]:
    """COCO's twelve figures, the figures of each class, and precision against recall at IoU 0.5.

    AP is the mean over IoU 0.5 to 0.95 in steps of 0.05, 101 recalls and the classes that have a lesion.
    `ar_1`, `ar_10` and `ar_100` allow that many detections of a class in an image. The precision-recall
    curve is the mean over the classes. What no lesion defines is None, where pycocotools says -1. In a data
    set that does not tell sites there is one class, for which each place counts once (class-agnostic NMS).
    """
    if not dataset.tells_sites:
        dataset, predictions = _one_class(dataset, predictions)
        classes: tuple[str, ...] = ("fracture",)
    else:
        classes = CLASSES
    per_class = [_evaluate(dataset, predictions, class_id) for class_id in range(len(classes))]
    precision = np.stack([precision for precision, _ in per_class], axis=2)  # IoU, recall, class, size, limit
    recall = np.stack([recall for _, recall in per_class], axis=1)  # IoU, class, size, limit
    counts = np.bincount(dataset.class_ids, minlength=len(classes)).tolist()
    by_size = {}
    for size, name in enumerate(SIZES[1:], 1):
        by_size[f"ap_{name}"] = _mean(precision[..., size, -1])
        by_size[f"ar_{name}"] = _mean(recall[..., size, -1])
    return {
        "ap": _mean(precision[..., 0, -1]),
        "ap50": _mean(precision[0, ..., 0, -1]),
        "ap75": _mean(precision[5, ..., 0, -1]),
        **{f"ar_{limit}": _mean(recall[..., 0, i]) for i, limit in enumerate(MAX_DETS)},
        **by_size,
        "per_class": [
            {
                "label": label,
                "boxes": counts[k],
                "ap": _mean(precision[:, :, k, 0, -1]),
                "ap50": _mean(precision[0, :, k, 0, -1]),
                "ar_100": _mean(recall[:, k, 0, -1]),
            }
            for k, label in enumerate(classes)
        ],
        "precision_recall": {
            "recall": np.linspace(0, 1, 101).tolist(),
            "precision": [_mean(row) for row in precision[0, :, :, 0, -1]],
        },
    }


def _one_class(dataset: Dataset, predictions: Predictions) -> tuple[Dataset, Predictions]:
    found = froc.suppressed(predictions)
    return (
        replace(dataset, class_ids=np.zeros_like(dataset.class_ids)),
        replace(found, class_ids=np.zeros_like(found.class_ids)),
    )


def _mean(values: np.ndarray) -> float | None:
    """Mean of what is defined; pycocotools marks the rest by -1."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else None


def _evaluate(dataset: Dataset, predictions: Predictions, class_id: int) -> tuple[np.ndarray, np.ndarray]:
    """pycocotools' precision (10 IoUs, 101 recalls, 4 sizes, 3 limits) and recall (10, 4, 3) of one class."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    lesions = dataset.class_ids == class_id
    detections = predictions.class_ids == class_id
    truth = _annotations(dataset.box_images[lesions], dataset.bbox[lesions])
    found = _annotations(predictions.images[detections], predictions.bbox[detections])
    for entry, score in zip(found, predictions.scores[detections].tolist(), strict=True):
        entry["score"] = score
    if not truth:
        return np.full((10, 101, 4, 3), -1.0), np.full((10, 4, 3), -1.0)

    images = [{"id": int(i)} for i in np.union1d(dataset.box_images[lesions], predictions.images[detections])]
    with _quiet, contextlib.redirect_stdout(io.StringIO()):
        pair = []
        for entries in (truth, found):  # not by loadRes, which fails on an empty list
            coco = COCO()
            coco.dataset = {"images": images, "annotations": entries, "categories": [{"id": 1}]}
            coco.createIndex()
            pair.append(coco)
        evaluation = COCOeval(*pair, iouType="bbox")
        evaluation.params.maxDets = list(MAX_DETS)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, 0], evaluation.eval["recall"][:, 0]


def _annotations(images: np.ndarray, bbox: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"id": i, "image_id": image, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for i, (image, box) in enumerate(zip(images.tolist(), bbox.tolist(), strict=True), 1)
    ]
