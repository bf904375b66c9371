"""What a reader study shows: how much people find, alone and with the models' marks, and what may be chance.

The figure of merit is JAFROC's (Chakraborty and Berbaum, "Observer studies involving detection and
localization: modeling, analysis, and validation", Medical Physics 31, 2004, 2313-2330): the chance that a
fracture is rated higher than the surest false alarm on a case without a fracture; equal ratings count
half, and a place without a mark is below all that are marked. Intervals come from a bootstrap over
readers and cases at once (Beiden, Wagner and Campbell, "Components-of-variance models and
multiple-bootstrap experiments", Academic Radiology 7, 2000, 341-349): readers are drawn with replacement,
and cases, those with and those without a fracture apart; every figure of a resample is computed from the
same readers and cases, so that differences are paired. With one reader only cases are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bonefx.evaluation.bootstrap import SEED, interval
from bonefx.quiz.answers import Answer, Arm
from bonefx.quiz.cases import Case
from bonefx.quiz.scoring import judged_answer

RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Readings:
    """What every reader said of every case in one arm, judged. Readers are rows, cases columns.

    Attributes:
        found: int64 (readers, cases), fractures found.
        lesions: int64 (cases,), fractures there are.
        false_alarms: int64 (readers, cases).
        surest_false: int64 (readers, cases), the rating of the surest false alarm, 0 without one.
        ratings: int64 (readers, lesions), of each fracture; 0 where it was not found.
        lesion_cases: int64 (lesions,), the case that each fracture is on.
        seconds: float64 (readers, cases).
    """

    found: np.ndarray
    lesions: np.ndarray
    false_alarms: np.ndarray
    surest_false: np.ndarray
    ratings: np.ndarray
    lesion_cases: np.ndarray
    seconds: np.ndarray


def readings(cases: Sequence[Case], readers: Sequence[Mapping[str, Answer]]) -> Readings:
    """
    Args:
        cases: in the order of the columns.
        readers: of each reader the answers of one arm by case id; all cases have one.
    """
    shape = len(readers), len(cases)
    found, false_alarms, surest = (np.zeros(shape, np.int64) for _ in range(3))
    seconds = np.zeros(shape)
    ratings = np.zeros((len(readers), sum(len(case.boxes) for case in cases)), np.int64)
    for row, answers in enumerate(readers):
        at = 0
        for column, case in enumerate(cases):
            answer = answers[case.id]
            judged = judged_answer(answer, case)
            for mark in judged.found:
                ratings[row, at] = 0 if mark is None else answer.ratings[mark]
                at += 1
            found[row, column] = judged.hits
            false_alarms[row, column] = judged.false_alarms
            surest[row, column] = max(answer.ratings[np.array(judged.false, dtype=bool)], default=0)
            seconds[row, column] = answer.seconds
    lesions = np.array([len(case.boxes) for case in cases], np.int64)
    return Readings(
        found, lesions, false_alarms, surest, ratings, np.repeat(np.arange(len(cases)), lesions), seconds
    )


def sensitivity(arm: Readings, readers: np.ndarray, cases: np.ndarray) -> float:
    """Share of the fractures that are found, over readers; NaN without one.

    Args, as of the other figures: arm: the readings; readers, cases: float64 (readers,) and (cases,), how
    often each was drawn.
    """
    total = readers.sum() * (cases @ arm.lesions)
    return float(readers @ arm.found @ cases / total) if total else np.nan


def specificity(arm: Readings, readers: np.ndarray, cases: np.ndarray) -> float:
    """Share of the cases without a fracture on which nothing is marked; NaN without one."""
    intact = cases * (arm.lesions == 0)
    total = readers.sum() * intact.sum()
    return float(readers @ (arm.false_alarms == 0) @ intact / total) if total else np.nan


def false_alarms(arm: Readings, readers: np.ndarray, cases: np.ndarray) -> float:
    """Marks that find nothing, for each case."""
    return float(readers @ arm.false_alarms @ cases / (readers.sum() * cases.sum()))


def jafroc(arm: Readings, readers: np.ndarray, cases: np.ndarray) -> float:
    """The figure of merit, averaged over readers; NaN without a fracture, or without a case that has none."""
    intact = arm.lesions == 0
    weight_false, weight_lesions = cases[intact], cases[arm.lesion_cases]
    pairs = weight_false.sum() * weight_lesions.sum()
    if not pairs:
        return np.nan
    merits = np.zeros(len(readers))
    for row, (ratings, false) in enumerate(zip(arm.ratings, arm.surest_false[:, intact], strict=True)):
        above = np.sign(ratings[:, None] - false[None, :]) / 2 + 0.5  # 1 above, 1/2 equal, 0 below
        merits[row] = weight_lesions @ above @ weight_false / pairs
    return float(readers @ merits / readers.sum())


FIGURES: dict[str, Callable[[Readings, np.ndarray, np.ndarray], float]] = {
    "jafroc": jafroc,
    "sensitivity": sensitivity,
    "specificity": specificity,
    "false_alarms_per_image": false_alarms,
}


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % interval; both None where it is not defined."""

    value: float | None
    interval: list[float] | None


@dataclass(frozen=True)
class Comparison:
    """All figures of a study.

    Attributes:
        readers, cases: how many of them have all answers, in all arms.
        arms: the figures of each arm, by their names in `FIGURES`.
        differences: with marks minus alone, for each figure; empty where one of the arms is missing.
        seconds: for each arm the median seconds that a case took.
    """

    readers: int
    cases: int
    arms: dict[Arm, dict[str, Figure]]
    differences: dict[str, Figure]
    seconds: dict[Arm, float]


def compare(arms: Mapping[Arm, Readings], number: int = RESAMPLES, seed: int = SEED) -> Comparison:
    """
    Args:
        arms: the readings of each arm, of the same readers and cases.
        number: of resamples.
        seed: of what is drawn.
    """
    first = next(iter(arms.values()))
    n_readers, n_cases = first.found.shape
    whole = np.ones(n_readers), np.ones(n_cases)
    samples: dict[tuple[Arm, str], list[float]] = {(arm, name): [] for arm in arms for name in FIGURES}
    rng = np.random.default_rng(seed)
    for _ in range(number):
        readers, cases = _draw(n_readers, first.lesions, rng)
        for (arm, name), values in samples.items():
            values.append(FIGURES[name](arms[arm], readers, cases))
    drawn = {key: np.array(values) for key, values in samples.items()}
    point = {(arm, name): FIGURES[name](arms[arm], *whole) for arm, name in samples}
    differences = {}
    if len(arms) == 2:
        for name in FIGURES:
            difference = drawn["with marks", name] - drawn["alone", name]
            differences[name] = _figure(point["with marks", name] - point["alone", name], difference)
    return Comparison(
        n_readers,
        n_cases,
        {arm: {name: _figure(point[arm, name], drawn[arm, name]) for name in FIGURES} for arm in arms},
        differences,
        {arm: float(np.median(each.seconds)) for arm, each in arms.items()},
    )


def _draw(n_readers: int, lesions: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """How often each reader and each case is drawn."""
    readers = np.ones(1)
    if n_readers > 1:
        readers = np.bincount(rng.integers(0, n_readers, n_readers), minlength=n_readers).astype(float)
    cases = np.zeros(len(lesions))
    for kind in (np.flatnonzero(lesions > 0), np.flatnonzero(lesions == 0)):
        if len(kind):
            np.add.at(cases, kind[rng.integers(0, len(kind), len(kind))], 1)
    return readers, cases


def _figure(value: float, samples: np.ndarray) -> Figure:
    return Figure(None if np.isnan(value) else value, interval(samples))
