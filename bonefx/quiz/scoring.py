"""Marks against fractures, for people and models by one rule, and what a round comes to.

A mark finds a fracture when its middle lies in the fracture's box, or the two overlap with an IoU of at
least 0.2: the "lenient" rule of `bonefx.evaluation.froc`, for nobody is asked to draw a box exactly. A
further mark on a fracture that is found already counts for nothing. Every other mark is a false alarm, a
near miss too.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Literal

import numpy as np
from typing_extensions import Self

from bonefx.detections import Detections
from bonefx.evaluation.froc import LENIENT_IOU, NMS_IOU
from bonefx.matching import match, nms
from bonefx.quiz.answers import Answer
from bonefx.quiz.cases import Case

Verdict = Literal["found", "again", "near miss", "false alarm"]

NEAR = 2.0
"""A mark whose middle lies in the fracture's box grown by this factor is a near miss."""


@dataclass(frozen=True)
class Judged:
    """Marks on one case, judged.

    Attributes:
        verdicts: one a mark, in their order.
        found: of each fracture the index of the mark that found it, or None.
    """

    verdicts: tuple[Verdict, ...]
    found: tuple[int | None, ...]

    @property
    def hits(self) -> int:
        """Fractures that were found."""
        return sum(mark is not None for mark in self.found)

    @property
    def false(self) -> list[bool]:
        """Of each mark, whether it is a false alarm."""
        return [verdict in ("near miss", "false alarm") for verdict in self.verdicts]

    @property
    def false_alarms(self) -> int:
        return sum(self.false)


def judge(boxes: np.ndarray, ratings: np.ndarray, case: Case) -> Judged:
    """
    Args:
        boxes: (n, 4), x1, y1, x2, y2 in pixels.
        ratings: (n,), higher is surer: of two marks on a fracture the surer one has found it.
        case: its fractures.
    """
    order = np.argsort(-np.asarray(ratings), kind="stable")
    targets = match(boxes[order], case.boxes, LENIENT_IOU, centre=True)
    verdicts: list[Verdict] = ["false alarm"] * len(boxes)
    found: list[int | None] = [None] * len(case.boxes)
    for index, target in zip(order.tolist(), targets.tolist(), strict=True):
        box = boxes[index]
        if target >= 0:
            verdicts[index], found[target] = "found", index
        elif any(_finds(box, one) for one in case.boxes):
            verdicts[index] = "again"
        elif any(_middle_in(box, _grown(one)) for one in case.boxes):
            verdicts[index] = "near miss"
    return Judged(tuple(verdicts), tuple(found))


class _Counts:
    """Numbers that add up, each with its own."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*map(operator.add, astuple(self), astuple(other)))  # type: ignore[call-overload]


@dataclass(frozen=True)
class Tally(_Counts):
    """What marks on several cases come to.

    Attributes:
        images: cases that were read.
        lesions, found: fractures on them, and those that a mark has found.
        false_alarms: marks that found nothing.
        intact, left_alone: cases without a fracture, and those of them without a mark.
    """

    images: int = 0
    lesions: int = 0
    found: int = 0
    false_alarms: int = 0
    intact: int = 0
    left_alone: int = 0


def tally(case: Case, judged: Judged) -> Tally:
    """Of one case."""
    intact = not len(case.boxes)
    return Tally(1, len(case.boxes), judged.hits, judged.false_alarms, intact, intact and not judged.verdicts)


def judged_answer(answer: Answer, case: Case) -> Judged:
    """An answer to this case, judged."""
    return judge(answer.boxes, answer.ratings, case)


def judged_detections(detections: Detections, case: Case) -> tuple[np.ndarray, Judged]:
    """What a model has found on a case, judged: one mark a place, whatever its label.

    Returns:
        The scores of its marks, float64 (n,), and what they are.
    """
    kept = one_a_place(detections)
    return kept.scores.astype(np.float64), judge(kept.boxes.astype(np.float64), kept.scores, case)


def one_a_place(detections: Detections) -> Detections:
    """The best detection at each place, whatever its label."""
    boxes, scores = detections.boxes.astype(np.float64), detections.scores.astype(np.float64)
    return detections[nms(boxes, scores, NMS_IOU)]


def curve(found: Sequence[tuple[np.ndarray, Judged]], lesions: int) -> list[tuple[float, float]]:
    """A model's FROC curve over some cases: false alarms per image and share of the fractures found, rising.

    Args:
        found: of each case the scores and verdicts, as `judged_detections` makes them.
        lesions: fractures on these cases, at least one.
    """
    scores = np.concatenate([np.zeros(0), *(each for each, _ in found)])
    verdicts = [verdict for _, judged in found for verdict in judged.verdicts]
    hits = np.array([verdict == "found" for verdict in verdicts], dtype=np.int64)
    false = np.array([each for _, judged in found for each in judged.false], dtype=np.int64)
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)[: len(order)]  # equal scores enter together
    x, y = np.cumsum(false[order])[last] / len(found), np.cumsum(hits[order])[last] / lesions
    return [(0.0, 0.0), *zip(x.tolist(), y.tolist(), strict=True)]


def share_interval(part: int, whole: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); from 0 to 1 where there is nothing to share."""
    if not whole:
        return 0.0, 1.0
    share = part / whole
    middle = (share + z * z / (2 * whole)) / (1 + z * z / whole)
    reach = z / (1 + z * z / whole) * math.sqrt(share * (1 - share) / whole + (z / (2 * whole)) ** 2)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def rate_interval(count: int, images: int) -> tuple[float, float]:
    """95 % interval of a rate of counts per image: the exact one of a Poisson count (Garwood 1936)."""
    if not images:
        return 0.0, math.inf
    low = _mean_with_tail(count - 1, 0.975) if count else 0.0
    return low / images, _mean_with_tail(count, 0.025) / images


@dataclass(frozen=True)
class Change(_Counts):
    """What a reader's second answers differ in from the first.

    Attributes:
        gained, lost: fractures that only the second, or only the first found.
        believed: false alarms of the second that a model's false mark is at, and that the first did not have.
        own: further false alarms of the second.
        dropped: false alarms of the first that are gone.
    """

    gained: int = 0
    lost: int = 0
    believed: int = 0
    own: int = 0
    dropped: int = 0


def change(case: Case, first: Answer, second: Answer, shown: Mapping[str, np.ndarray]) -> Change:
    """
    Args:
        case: what both are about.
        first, second: the answers alone and with marks.
        shown: of each model the boxes (n, 4) that the reader was shown.
    """
    before, after = judged_answer(first, case), judged_answer(second, case)
    pairs = list(zip(before.found, after.found, strict=True))
    old, new = _false(first, before), _false(second, after)
    marks = np.concatenate([np.zeros((0, 4)), *shown.values()])
    added = [box for box in new if not any(_same(box, other) for other in old)]
    believed = sum(any(_same(box, mark) for mark in marks) for box in added)
    return Change(
        gained=sum(a is None and b is not None for a, b in pairs),
        lost=sum(a is not None and b is None for a, b in pairs),
        believed=believed,
        own=len(added) - believed,
        dropped=sum(not any(_same(box, other) for other in new) for box in old),
    )


def _false(answer: Answer, judged: Judged) -> np.ndarray:
    return answer.boxes[np.array(judged.false, dtype=bool)]


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two marks are at one place."""
    return _finds(first, second) or _middle_in(second, first)


def _finds(box: np.ndarray, target: np.ndarray) -> bool:
    """Whether a mark finds a fracture, by itself."""
    return bool(match(box, target, LENIENT_IOU, centre=True)[0] >= 0)


def _middle_in(box: np.ndarray, area: np.ndarray) -> bool:
    middle = (box[:2] + box[2:]) / 2
    return bool((middle >= area[:2]).all() and (middle <= area[2:]).all())


def _grown(box: np.ndarray) -> np.ndarray:
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    return np.concatenate([middle - NEAR * half, middle + NEAR * half])


def _mean_with_tail(count: int, tail: float) -> float:
    """The mean of the Poisson distribution that gives at most `count` with this probability."""
    low, high = 0.0, 10.0 + 4.0 * count
    for _ in range(60):
        middle = (low + high) / 2
        term = total = math.exp(-middle)
        for k in range(1, count + 1):
            term *= middle / k
            total += term
        low, high = (middle, high) if total > tail else (low, middle)
    return (low + high) / 2
