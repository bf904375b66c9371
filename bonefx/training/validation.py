"""How good a model is in the middle of its training, by the protocol of `bonefx.evaluation`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bonefx.detectors.base import Detector, Stopwatch
from bonefx.evaluation import froc
from bonefx.evaluation.coco import average_precision
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.predictions import Predictions
from bonefx.evaluation.store import to_rows
from bonefx.training.data import read_image

RATE = 1.0
"""False positives per image at which sensitivity is told."""

RATES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Those over which `BEST_BY` is the mean: one rate alone moves by chance with so few lesions."""

BEST_BY = "mean_sensitivity"

_TOGETHER = 32  # images that are in memory at a time


def measure(detector: Detector, held: Sequence[Dataset]) -> dict[str, float | None]:
    """How good a detector is on each of some sets of images, and on all of them.

    Returns:
        For each set, after its name and colon: `ap`, `ap50`, and sensitivity at `RATE` by the any-fracture
        and the class-aware rule, as an evaluation of the same images says. `BEST_BY` is the sensitivity by
        the any-fracture rule, as its mean over `RATES` and over the sets, each counting the same.
    """
    figures: dict[str, float | None] = {}
    means = []
    for dataset in held:
        results = []
        for image_id, rgb in enumerate(_read(dataset), 1):
            results += to_rows(image_id, detector.detect(rgb, Stopwatch()))
        predictions = Predictions.parse(results, len(dataset.images))
        coco = average_precision(dataset, predictions)
        found = {"ap": coco["ap"], "ap50": coco["ap50"]}
        for name in ("any_fracture", "class_aware"):
            (point,) = froc.operating_points(froc.RULES[name](dataset, predictions), (RATE,))
            found[name] = point["sensitivity"]
        points = froc.operating_points(froc.RULES["any_fracture"](dataset, predictions), RATES)
        means.append(np.mean([point["sensitivity"] for point in points]))
        figures.update({f"{dataset.name}: {name}": value for name, value in found.items()})
    return {**figures, BEST_BY: float(np.mean(means))}


def _read(dataset: Dataset) -> Iterator[np.ndarray]:
    """The images, several read at a time."""
    paths = [image.path for image in dataset.images]
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), _TOGETHER):
            yield from pool.map(read_image, paths[start : start + _TOGETHER])
