"""One protocol for every model: `score` one set of predictions, `compare` two.

Every image of the split, detections with a score of at least 0.001, the best 100 of an image; COCO, FROC by
three rules and the image level, with intervals by bootstrap over images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bonefx.detections import SCORE_FLOOR
from bonefx.evaluation import bootstrap, froc
from bonefx.evaluation.coco import average_precision
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.predictions import KEPT_PER_IMAGE, Predictions
from bonefx.evaluation.strata import strata

PROTOCOL_VERSION = 1
PROTOCOL = {
    "version": PROTOCOL_VERSION,
    "score_floor": SCORE_FLOOR,
    "max_detections": KEPT_PER_IMAGE,
    "hit_iou": froc.HIT_IOU,
    "lenient_iou": froc.LENIENT_IOU,
    "any_fracture_nms_iou": froc.NMS_IOU,
    "bootstrap_resamples": bootstrap.RESAMPLES,
    "bootstrap_seed": bootstrap.SEED,
    "interval": bootstrap.LEVEL,
}

BAND_RATES = tuple((2.0 ** (np.arange(-24, 25) / 8)).tolist())
"""Rates at which the curves carry a confidence band: 1/8 to 8 in steps of an eighth of an octave."""


@dataclass(frozen=True, eq=False)
class Score:
    """The figures of one set of predictions, and the resamples behind their intervals.

    Attributes:
        figures: `coco`, `froc`, `strata` and `image_level`, plain values as in `bonefx.evaluation.report`.
            The class-aware rule says nothing (None) of a data set that does not tell sites.
        samples: float64 (resamples, 7), sensitivity at each operating point by FROC rule; `auc` (resamples,).
        dataset_sha256: what they were measured on.
    """

    figures: dict[str, Any]
    samples: dict[str, np.ndarray]
    dataset_sha256: str


def score(dataset: Dataset, results: list[dict[str, Any]]) -> Score:
    """Score a COCO results list by the protocol.

    Raises:
        DatasetError: an entry breaks the format; it is named.
    """
    n_images = len(dataset.images)
    predictions = Predictions.parse(results, n_images)
    figures: dict[str, Any] = {"coco": average_precision(dataset, predictions), "froc": {}}
    samples, thresholds = {}, {}
    rates = froc.FP_PER_IMAGE + BAND_RATES
    for name, rule in froc.RULES.items():
        if name == "class_aware" and not dataset.tells_sites:
            figures["froc"][name] = None
            continue
        judged = rule(dataset, predictions)
        points = froc.operating_points(judged)
        drawn, thresholds[name] = bootstrap.froc_samples(judged, rates, bootstrap.resamples(n_images))
        samples[name] = drawn[:, : len(points)]
        for point, column in zip(points, samples[name].T, strict=True):
            point["interval"] = bootstrap.interval(column)
        figures["froc"][name] = {
            "points": points,
            "curve": froc.curve(judged),
            "band": _band(drawn[:, len(points) :]),
        }
    points = figures["froc"]["any_fracture"]["points"]
    figures["strata"] = strata(dataset, predictions, points, thresholds["any_fracture"][:, : len(points)])
    figures["image_level"], samples["auc"] = _image_level(
        dataset, predictions, points, thresholds["any_fracture"][:, : len(points)]
    )
    return Score(figures, samples, dataset.sha256)


def compare(a: Score, b: Score) -> dict[str, Any]:
    """How much better `a` is than `b`, with the interval of the difference over the same resamples.

    Raises:
        ValueError: they were measured on different data.
    """
    if a.dataset_sha256 != b.dataset_sha256:
        raise ValueError("scores on different data cannot be compared")

    def difference(mine: float | None, other: float | None, samples: np.ndarray) -> dict[str, Any]:
        if mine is None or other is None:
            return {"difference": None, "interval": None}
        return {"difference": mine - other, "interval": bootstrap.interval(samples)}

    return {
        "froc": {
            rule: [
                {
                    "fp_per_image": mine["fp_per_image"],
                    **difference(mine["sensitivity"], other["sensitivity"], samples),
                }
                for mine, other, samples in zip(
                    a.figures["froc"][rule]["points"],
                    b.figures["froc"][rule]["points"],
                    (a.samples[rule] - b.samples[rule]).T,
                    strict=True,
                )
            ]
            if a.figures["froc"][rule]
            else None
            for rule in froc.RULES
        },
        "auc": difference(
            a.figures["image_level"]["auc"],
            b.figures["image_level"]["auc"],
            a.samples["auc"] - b.samples["auc"],
        ),
    }


def apart(away: Score, home: Score) -> dict[str, Any]:
    """How much less is found in one data set than in another, by the any-fracture rule and the image level.

    The images differ, so each set is resampled by itself: the difference of one model's figures, with an
    interval that holds the chance in both sets.
    """

    def difference(mine: float | None, other: float | None, samples: np.ndarray) -> dict[str, Any]:
        return {
            "difference": None if mine is None or other is None else mine - other,
            "interval": bootstrap.interval(samples),
        }

    samples = away.samples["any_fracture"] - home.samples["any_fracture"]
    pairs = zip(
        away.figures["froc"]["any_fracture"]["points"],
        home.figures["froc"]["any_fracture"]["points"],
        samples.T,
        strict=True,
    )
    return {
        "any_fracture": [
            {
                "fp_per_image": mine["fp_per_image"],
                **difference(mine["sensitivity"], other["sensitivity"], column),
            }
            for mine, other, column in pairs
        ],
        "auc": difference(
            away.figures["image_level"]["auc"],
            home.figures["image_level"]["auc"],
            away.samples["auc"] - home.samples["auc"],
        ),
    }


def _band(samples: np.ndarray) -> dict[str, list[float]] | None:
    limits = [bootstrap.interval(column) for column in samples.T]
    if None in limits:
        return None
    low, high = zip(*limits, strict=True)
    return {"fp_per_image": list(BAND_RATES), "low": list(low), "high": list(high)}


def _image_level(
    dataset: Dataset,
    predictions: Predictions,
    points: list[dict[str, Any]],
    thresholds: np.ndarray,
) -> tuple[dict[str, Any], np.ndarray]:
    """Is there a fracture in the image at all? By the highest score, at the any-fracture thresholds."""
    top, positive = froc.top_scores(dataset, predictions), dataset.lesions > 0
    ones = np.ones(len(top), dtype=np.int64)
    n_images = len(top)
    areas = bootstrap.auc(top, positive, bootstrap.resamples(n_images))
    own = np.array([[np.inf if point["threshold"] is None else point["threshold"] for point in points]])
    (sensitivity,), (specificity,) = bootstrap.sensitivity_and_specificity(top, positive, own, iter([ones]))
    drawn = bootstrap.sensitivity_and_specificity(top, positive, thresholds, bootstrap.resamples(n_images))
    return {
        "positive": int(positive.sum()),
        "negative": int((~positive).sum()),
        "auc": _defined(bootstrap.auc(top, positive, iter([ones]))[0]),
        "auc_interval": bootstrap.interval(areas),
        "points": [
            {
                "fp_per_image": point["fp_per_image"],
                "threshold": point["threshold"],
                "sensitivity": _defined(sensitivity[i]),
                "sensitivity_interval": bootstrap.interval(drawn[0][:, i]),
                "specificity": _defined(specificity[i]),
                "specificity_interval": bootstrap.interval(drawn[1][:, i]),
            }
            for i, point in enumerate(points)
        ],
    }, areas


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
