"""Which lesions are found: by their size in the picture and by their site."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bonefx.evaluation import bootstrap, froc
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.predictions import Predictions
from bonefx.labels import CLASSES

SIZES = (("under 0.25 %", 0.0), ("0.25 to 1 %", 0.0025), ("1 to 4 %", 0.01), ("over 4 %", 0.04))
"""Names of the sizes, and the share of the picture's area from which each counts."""


def strata(
    dataset: Dataset, predictions: Predictions, points: list[dict[str, Any]], thresholds: np.ndarray
) -> dict[str, list[dict[str, Any]]]:
    """Sensitivity by the any-fracture rule for each size and each site, at the thresholds of all lesions.

    Args:
        points: the operating points.
        thresholds: (resamples, points), that of each point in each resample of `bonefx.evaluation.bootstrap`.

    Returns:
        `size` and `site`: for each that has a lesion its `name`, number of `lesions`, and `points` with
        `fp_per_image`, number `n` found, `sensitivity` and `interval`.
    """
    scores = froc.lesion_scores(dataset, predictions)
    area = np.array([image.width * image.height for image in dataset.images])[dataset.box_images]
    share = dataset.bbox[:, 2:].prod(axis=1) / area
    size = np.searchsorted([low for _, low in SIZES], share, side="right") - 1
    groups = {
        "size": [(name, size == i) for i, (name, _) in enumerate(SIZES)],
        "site": [(name, dataset.class_ids == i) for i, name in enumerate(CLASSES)],
    }
    weights = np.stack(list(bootstrap.resamples(len(dataset.images))))[:, dataset.box_images]
    return {
        kind: [
            {
                "name": name,
                "lesions": int(members.sum()),
                "points": list(_points(scores[members], weights[:, members], points, thresholds)),
            }
            for name, members in named
            if members.any()
        ]
        for kind, named in groups.items()
    }


def _points(
    scores: np.ndarray, weights: np.ndarray, points: list[dict[str, Any]], thresholds: np.ndarray
) -> Iterator[dict[str, Any]]:
    total = weights.sum(axis=1)
    for point, drawn in zip(points, thresholds.T, strict=True):
        n = int((scores >= point["threshold"]).sum()) if point["threshold"] is not None else 0
        found = (weights * (scores >= drawn[:, None])).sum(axis=1)
        with np.errstate(invalid="ignore"):
            samples = found / total
        yield {
            "fp_per_image": point["fp_per_image"],
            "n": n,
            "sensitivity": n / len(scores),
            "interval": bootstrap.interval(samples),
        }
