"""Calibrations and the rule of the consensus: learnt on held-out images, judged on others.

A mark is a detection after class-agnostic NMS; it is right by the any-fracture rule of
`bonefx.evaluation.froc`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bonefx.calibration import Calibration, fit
from bonefx.evaluation import bootstrap, consensus, froc
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.predictions import Predictions
from bonefx.fusion import RULES

EDGES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Of the bins of probability."""

LEAST = 0.02
"""Marks under this probability do not enter the calibration error: by their number they would hide it."""

RATES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""False positives per image, over which the sensitivity is averaged to choose a rule."""

Results = list[dict[str, Any]]


def learn(held: Sequence[tuple[Dataset, Results]]) -> Calibration:
    """The calibration of one model.

    Args:
        held: images that it has not learnt from, with its COCO results list.

    Raises:
        DatasetError: an entry breaks the format; it is named.
        MetricsError: see `bonefx.calibration.fit`.
    """
    judged = [
        froc.any_fracture(dataset, Predictions.parse(results, len(dataset.images)))
        for dataset, results in held
    ]
    return fit(
        np.concatenate([each.scores for each in judged]), np.concatenate([each.hits for each in judged])
    )


def reliability(dataset: Dataset, results: Results, calibration: Calibration | None) -> dict[str, Any]:
    """How far the probabilities are from what comes true.

    Args:
        dataset: images that the calibration was not learnt on.
        results: COCO results list.
        calibration: None if the scores are probabilities already.

    Returns:
        `bins`: columns `low`, `high`, mean `probability`, `share` that is right, and number `n` of marks.
        `ece`: the expected calibration error, the mean distance of probability and share over the marks from
        `LEAST` on, by bins; None without such marks. `ece_interval` over resampled images.
    """
    n_images = len(dataset.images)
    judged = froc.any_fracture(dataset, Predictions.parse(results, n_images))
    found = judged.scores if calibration is None else calibration.probability(judged.scores)
    at = np.clip(np.digitize(found, EDGES) - 1, 0, len(EDGES) - 2)
    used = np.array(EDGES[:-1]) >= LEAST

    def sums(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        each = weights[judged.images].astype(float)
        count, shares, hits = (
            np.bincount(at, weights=each * values, minlength=len(EDGES) - 1)
            for values in (np.ones(len(found)), found, judged.hits)
        )
        return count, shares, hits

    def error(weights: np.ndarray) -> float:
        n, expected, right = (column[used] for column in sums(weights))
        return float(np.abs(expected - right).sum() / n.sum()) if n.sum() else np.nan

    n, expected, right = sums(np.ones(n_images))
    some = n > 0
    ece = error(np.ones(n_images))
    return {
        "bins": {
            "low": np.array(EDGES[:-1])[some].tolist(),
            "high": np.array(EDGES[1:])[some].tolist(),
            "probability": (expected[some] / n[some]).tolist(),
            "share": (right[some] / n[some]).tolist(),
            "n": n[some].astype(int).tolist(),
        },
        "ece": None if np.isnan(ece) else ece,
        "ece_interval": bootstrap.interval(
            np.array([error(weights) for weights in bootstrap.resamples(n_images)])
        ),
    }


def mean_sensitivity(dataset: Dataset, results: Results) -> float:
    """By the any-fracture rule, the mean over `RATES`; of a set without lesions 0."""
    judged = froc.any_fracture(dataset, Predictions.parse(results, len(dataset.images)))
    points = froc.operating_points(judged, RATES)
    return float(np.mean([point["sensitivity"] or 0.0 for point in points]))


def trials(
    held: Sequence[tuple[Dataset, Sequence[Results]]], calibrations: Sequence[Calibration]
) -> Mapping[str, float]:
    """What each rule of the consensus finds on held-out images: the mean of `mean_sensitivity` over the sets.

    Args:
        held: each set of images with the results of each member.
        calibrations: of each member.
    """

    return {
        rule: float(
            np.mean(
                [
                    mean_sensitivity(dataset, consensus.results(dataset, members, calibrations, rule))
                    for dataset, members in held
                ]
            )
        )
        for rule in RULES
    }
