"""What several models found in one image, fused into one set of detections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bonefx.calibration import Calibration, logit
from bonefx.detections import SCORE_FLOOR, Detections
from bonefx.labels import CLASSES
from bonefx.matching import iou_matrix

ONE_PLACE_IOU = 0.5
"""Boxes that overlap by more than this are marks of one place."""

BEST_OF_EACH = 100
"""How many detections of each model take part: as many as evaluations store, so that figures which are
computed from stored predictions are those of the results that people see."""


def mean(probabilities: np.ndarray) -> np.ndarray:
    """The mean over all members; one that is silent counts as 0."""
    return probabilities.mean(axis=1)


def noisy_or(probabilities: np.ndarray) -> np.ndarray:
    """The probability that not every mark is false, if members err independently of one another."""
    return 1 - (1 - probabilities).prod(axis=1)


def prob_en(probabilities: np.ndarray) -> np.ndarray:
    """Bayes' rule for members that are independent given the truth, at even odds; a silent one says nothing.
    Y. Chen and others, "Multimodal Object Detection via Probabilistic Ensembling", ECCV 2022.
    """
    return 1 / (1 + np.exp(-np.where(probabilities > 0, logit(probabilities), 0).sum(axis=1)))


RULES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean over members": mean,
    "noisy or": noisy_or,
    "weighted boxes": mean,
    "ProbEn": prob_en,
}
"""What is made of the members' probabilities, float64 (places, members), 0 where one is silent: (places,).
The box of a place is that of its best mark; with "weighted boxes" (R. Solovyev and others, "Weighted boxes
fusion", 2021) it is the mean of each member's best, weighted by their probabilities."""

RULE = "weighted boxes"
"""The rule in use: the best on the held-out images, see `bonefx.evaluation.calibration`."""


def fuse(
    members: Sequence[Detections], calibrations: Sequence[Calibration | None], rule: str = RULE
) -> Detections:
    """Fuse what several models found in one image.

    Each score becomes the probability that its mark lies on a fracture, so that models whose scores are on
    different scales can be compared. The marks of all models go through one list, most probable first: each
    opens a place, and takes with it all later marks of any label and model that overlap it by more than
    `ONE_PLACE_IOU`. Of each model, a place has the most probable mark.

    Args:
        members: one a model. Of each, the best `BEST_OF_EACH` with a score of at least `SCORE_FLOOR` take
            part. Of equal probabilities, the earlier model's comes first, then the earlier in its own order.
        calibrations: of each member; the scores of one that has None are taken as they are.
        rule: one of `RULES`.

    Returns:
        A detection for each place: box and unified label of its most probable mark, as score the rule's
        probability where it is at least `SCORE_FLOOR`. The same members in the same order give the same.
    """
    taking_part = [member.above(SCORE_FLOOR)[:BEST_OF_EACH] for member in members]
    if not any(map(len, taking_part)):
        return Detections.empty()
    probabilities = np.concatenate(
        [
            each.scores.astype(np.float64) if calibration is None else calibration.probability(each.scores)
            for each, calibration in zip(taking_part, calibrations, strict=True)
        ]
    )
    order = np.argsort(-probabilities, kind="stable")
    probabilities = probabilities[order]
    boxes = np.concatenate([each.boxes for each in taking_part]).astype(np.float64)[order]
    owners = np.repeat(np.arange(len(members)), [len(each) for each in taking_part])[order]
    first, best = _places(boxes, owners, len(members))
    held = np.where(best >= 0, probabilities[best], 0.0)
    fused = boxes[first]
    if rule == "weighted boxes":
        fused = (boxes[best] * held[:, :, None]).sum(axis=1) / held.sum(axis=1)[:, None]
    class_ids = np.concatenate([each.class_ids for each in taking_part])[order][first]
    names = tuple(CLASSES[class_id] for class_id in class_ids)
    return Detections(fused, RULES[rule](held), class_ids, names).above(SCORE_FLOOR)


def _places(boxes: np.ndarray, owners: np.ndarray, members: int) -> tuple[np.ndarray, np.ndarray]:
    """Which marks are of one place.

    Args:
        boxes: (n, 4), most probable first.
        owners: (n,), the member of each.
        members: their number.

    Returns:
        int64 (places,), the mark that opened each; int64 (places, members), the best mark of each member, -1
        where it is silent.
    """
    together = iou_matrix(boxes, boxes) > ONE_PLACE_IOU
    free = np.ones(len(boxes), dtype=bool)
    first, best = [], []
    for i in range(len(boxes)):
        if not free[i]:
            continue
        joined = together[i] & free
        joined[i] = True
        free &= ~joined
        marks = np.flatnonzero(joined)
        row = np.full(members, -1)
        row[owners[marks][::-1]] = marks[::-1]  # the first of each member is written last
        first.append(i)
        best.append(row)
    return np.array(first), np.array(best)
