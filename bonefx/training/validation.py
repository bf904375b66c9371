"""How good a model is in the middle of its training, by the protocol of `bonefx.evaluation`."""

from __future__ import annotations

from bonefx.detectors.base import Detector, Stopwatch
from bonefx.evaluation import froc
from bonefx.evaluation.coco import average_precision
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.predictions import Predictions
from bonefx.evaluation.store import to_rows
from bonefx.training.data import read_image

RATE = 1.0
"""False positives per image at which sensitivity is told."""

BEST_BY = "ap50"


def measure(detector: Detector, dataset: Dataset) -> dict[str, float | None]:
    """`ap`, `ap50`, and sensitivity at `RATE` by the any-fracture and the class-aware rule.

    The figures are those of an evaluation of the same images; intervals are left to it.
    """
    results = []
    for image_id, image in enumerate(dataset.images, 1):
        results += to_rows(image_id, detector.detect(read_image(image.path), Stopwatch()))
    predictions = Predictions.parse(results, len(dataset.images))
    coco = average_precision(dataset, predictions)
    figures = {"ap": coco["ap"], BEST_BY: coco[BEST_BY]}
    for name in ("any_fracture", "class_aware"):
        (point,) = froc.operating_points(froc.RULES[name](dataset, predictions), (RATE,))
        figures[name] = point["sensitivity"]
    return figures
