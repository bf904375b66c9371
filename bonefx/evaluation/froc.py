"""FROC: how many lesions are found, at how many false positives per image.

Conventions, for all curves here. The operating points are those of LUNA16 (Setio et al. 2017); unlike there,
a second hit on a lesion is not ignored:

- Hit: IoU of at least 0.5 with a lesion. Detections go in order of score, ties in file order; each takes
  the unmatched lesion of highest IoU. The second hit on a lesion is a false positive.
- Sensitivity: hits / all lesions of the split. False positives per image: false positives / **all** images
  of the split, fracture-free ones included.
- Detections of equal score enter the curve together, for no threshold tells them apart.
- Step rule: the sensitivity at a rate is the best at no more than that many false positives per image.
  Nothing is interpolated. A curve may end below the rate; then `reached` is false.
- Without lesions sensitivity is undefined: None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.predictions import Predictions
from bonefx.labels import CLASSES
from bonefx.matching import match, nms

HIT_IOU = 0.5
LENIENT_IOU = 0.2
NMS_IOU = 0.5
FP_PER_IMAGE = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""The operating points."""


@dataclass(frozen=True, eq=False)
class Judged:
    """Detections that were told to be hits or false positives, highest score first.

    Attributes:
        scores: float64 (n,), never rising.
        images: int64 (n,), index of the image.
        hits: bool (n,).
        lesions: int64 (images,), lesions in each image; its length is the number of images.
    """

    scores: np.ndarray
    images: np.ndarray
    hits: np.ndarray
    lesions: np.ndarray

    def steps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """False positives, hits and threshold at each distinct score, highest first: (k,) each."""
        last = np.flatnonzero(np.append(self.scores[1:] != self.scores[:-1], True)[: len(self.scores)])
        hits = np.cumsum(self.hits)[last]
        return last + 1 - hits, hits, self.scores[last]


def any_fracture(dataset: Dataset, predictions: Predictions) -> Judged:
    """The headline: is it a fracture, whatever its class. Class-agnostic NMS at 0.5 comes first."""
    return _judge(dataset, suppressed(predictions), HIT_IOU)


def class_aware(dataset: Dataset, predictions: Predictions) -> Judged:
    """A hit must have the lesion's class. No NMS beyond the model's own."""
    shift = len(CLASSES)
    return _judge(
        dataset,
        predictions,
        HIT_IOU,
        groups=predictions.images * shift + predictions.class_ids,
        target_groups=dataset.box_images * shift + dataset.class_ids,
    )


def lenient(dataset: Dataset, predictions: Predictions) -> Judged:
    """Any fracture, roughly in its place: the detection's centre in the lesion's box, or IoU at least 0.2."""
    return _judge(dataset, suppressed(predictions), LENIENT_IOU, centre=True)


RULES = {"any_fracture": any_fracture, "class_aware": class_aware, "lenient": lenient}


def operating_points(judged: Judged, rates: tuple[float, ...] = FP_PER_IMAGE) -> list[dict[str, Any]]:
    """The curve at some rates of false positives per image.

    Returns:
        For each rate `fp_per_image`, `sensitivity`, the hits `n` out of `lesions`, `threshold` and
        `reached`. A detection counts when its score is at least the threshold, the highest that gives this
        sensitivity; it is None where that is the sensitivity of no detection at all.
    """
    false_positives, hits, thresholds = judged.steps()
    total, n_images = int(judged.lesions.sum()), len(judged.lesions)
    points = []
    for rate in rates:
        within = int(np.searchsorted(false_positives, rate * n_images, side="right"))
        n = int(hits[within - 1]) if within else 0
        points.append(
            {
                "fp_per_image": rate,
                "sensitivity": n / total if total else None,
                "n": n,
                "lesions": total,
                "threshold": float(thresholds[np.searchsorted(hits, n)]) if n else None,
                "reached": bool((~judged.hits).sum() >= rate * n_images),
            }
        )
    return points


def curve(judged: Judged) -> dict[str, list[float]] | None:
    """The whole curve by its corners: each point where a lesion more is found, then the end.

    Returns:
        `fp_per_image`, `sensitivity` and `threshold`, lists of one length; between two corners the
        sensitivity is that of the left one. None without lesions.
    """
    false_positives, hits, thresholds = judged.steps()
    total = int(judged.lesions.sum())
    if not total:
        return None
    corner = np.diff(hits, prepend=0) > 0
    corner[-1:] = True
    return {
        "fp_per_image": (false_positives[corner] / len(judged.lesions)).tolist(),
        "sensitivity": (hits[corner] / total).tolist(),
        "threshold": thresholds[corner].tolist(),
    }


def matched(dataset: Dataset, predictions: Predictions) -> tuple[Predictions, np.ndarray]:
    """The detections that the any-fracture rule counts, and the lesion that each hits.

    Returns:
        Those that are left after its NMS, and int64 (n,): the row of the lesion, or -1.
    """
    found = suppressed(predictions)
    targets = match(
        found.boxes, dataset.boxes, HIT_IOU, groups=found.images, target_groups=dataset.box_images
    )
    return found, targets


def lesion_scores(dataset: Dataset, predictions: Predictions) -> np.ndarray:
    """float64 (lesions,): the score of the detection that hits each by the any-fracture rule; 0 of none."""
    found, targets = matched(dataset, predictions)
    scores = np.zeros(len(dataset.bbox))
    scores[targets[targets >= 0]] = found.scores[targets >= 0]
    return scores


def top_scores(dataset: Dataset, predictions: Predictions) -> np.ndarray:
    """float64 (images,): the highest score in each image; 0, below every score, where nothing was found."""
    top = np.zeros(len(dataset.images))
    np.maximum.at(top, predictions.images, predictions.scores)
    return top


def suppressed(predictions: Predictions) -> Predictions:
    """The best detection of each place, whatever its class (class-agnostic NMS at `NMS_IOU`)."""
    kept = nms(predictions.boxes, predictions.scores, NMS_IOU, class_ids=predictions.images)
    return Predictions(
        predictions.images[kept],
        predictions.class_ids[kept],
        predictions.bbox[kept],
        predictions.scores[kept],
    )


def _judge(
    dataset: Dataset,
    predictions: Predictions,
    accept: float,
    *,
    centre: bool = False,
    groups: np.ndarray | None = None,
    target_groups: np.ndarray | None = None,
) -> Judged:
    """Match within groups, which are the images unless said otherwise."""
    targets = match(
        predictions.boxes,
        dataset.boxes,
        accept,
        centre=centre,
        groups=predictions.images if groups is None else groups,
        target_groups=dataset.box_images if target_groups is None else target_groups,
    )
    return Judged(predictions.scores, predictions.images, targets >= 0, dataset.lesions)
