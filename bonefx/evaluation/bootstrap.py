"""Confidence intervals by bootstrap over images, and the image-level figures that they belong to.

Images are drawn with replacement, as many as there are; a lesion and a detection come with their image.
Every call draws the same images for the same seed, so that two models are compared on the same resamples
and their difference is a paired one. Each resample derives its own thresholds. A resample in which a figure
is undefined (no lesion, or one kind of image only) is left out of that figure's interval, which is the
2.5th to the 97.5th percentile.

Memory stays at a few arrays of the length of the detections, and time is linear in their number: a resample
is a weight per image, and a curve is two cumulative sums over detections that are sorted once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bonefx.evaluation.froc import Judged

RESAMPLES = 1000
SEED = 20261101
LEVEL = 0.95


def resamples(n_images: int, number: int = RESAMPLES, seed: int = SEED) -> Iterator[np.ndarray]:
    """How often each image was drawn: `number` arrays int64 (n_images,) that sum to `n_images`."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        yield np.bincount(rng.integers(0, n_images, n_images), minlength=n_images)


def interval(samples: np.ndarray) -> list[float] | None:
    """Percentile interval of the defined samples (those that are not NaN); None without one."""
    defined = samples[~np.isnan(samples)]
    if not len(defined):
        return None
    tail = 50 * (1 - LEVEL)
    return np.percentile(defined, [tail, 100 - tail]).tolist()


def froc_samples(
    judged: Judged, rates: Sequence[float], weights: Iterator[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivity and threshold at each rate in each resample.

    Returns:
        Two float64 (resamples, rates): the sensitivity (NaN without lesions), and the highest threshold that
        gives it (infinite where that is the sensitivity of no detection at all).
    """
    misses, hits = ~judged.hits, judged.hits
    miss_images, hit_images, hit_scores = judged.images[misses], judged.images[hits], judged.scores[hits]
    step_misses, step_hits, _ = judged.steps()
    # Hits at the last step with no more than m misses, for every m: ties enter together.
    hits_within = np.concatenate([[0], step_hits])[
        np.searchsorted(step_misses, np.arange(len(miss_images) + 1), side="right")
    ]
    allowed = np.asarray(rates) * len(judged.lesions)
    sensitivities, thresholds = [], []
    for weight in weights:
        within = np.searchsorted(np.cumsum(weight[miss_images]), allowed, side="right")
        found = np.concatenate([[0], np.cumsum(weight[hit_images])])
        n = found[hits_within[within]]
        total = weight @ judged.lesions
        sensitivities.append(n / total if total else np.full(len(allowed), np.nan))
        at = np.searchsorted(found[1:], n, side="left")
        thresholds.append(np.where(n > 0, np.append(hit_scores, np.inf)[at], np.inf))
    return np.array(sensitivities), np.array(thresholds)


def auc(scores: np.ndarray, positive: np.ndarray, weights: Iterator[np.ndarray]) -> np.ndarray:
    """Area under the ROC curve for each resample: ties count half (Mann-Whitney).

    Args:
        scores: (images,), the highest score of each image.
        positive: bool (images,), whether it has a lesion.
        weights: arrays (images,); an array of ones gives the figure itself.

    Returns:
        float64 (resamples,), NaN where a resample has one kind of image only.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf) > 0)
    ordered = positive[order]
    areas = []
    for weight in weights:
        drawn = weight[order]
        with_lesion = np.add.reduceat(drawn * ordered, starts)
        without = np.add.reduceat(drawn * ~ordered, starts)
        below = np.cumsum(without) - without / 2
        pairs = with_lesion.sum() * without.sum()
        areas.append(with_lesion @ below / pairs if pairs else np.nan)
    return np.array(areas)


def sensitivity_and_specificity(
    scores: np.ndarray, positive: np.ndarray, thresholds: np.ndarray, weights: Iterator[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Image-level sensitivity and specificity: an image is called positive at a score of at least t.

    Args:
        scores, positive: (images,), as in `auc`.
        thresholds: (resamples, rates).
        weights: `resamples` arrays (images,).

    Returns:
        Two float64 (resamples, rates), NaN where a resample has no image of that kind.
    """
    order = np.argsort(scores, kind="stable")
    ordered, ordered_scores = positive[order], scores[order]
    rows = []
    for weight, row in zip(weights, thresholds, strict=True):
        drawn = weight[order]
        under = np.searchsorted(ordered_scores, row, side="left")
        figures = []
        for kind in (drawn * ordered, drawn * ~ordered):
            below = np.concatenate([[0], np.cumsum(kind)])
            figures.append(below[under] / below[-1] if below[-1] else np.full(len(row), np.nan))
        rows.append((1 - figures[0], figures[1]))
    return tuple(np.array(rows).transpose(1, 0, 2))
