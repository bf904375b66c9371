"""Fusion: marks of several models on one place become one, with a probability made of theirs."""

from __future__ import annotations

import numpy as np
import pytest

from bonefx.calibration import Calibration
from bonefx.consensus import CONSENSUS
from bonefx.detections import SCORE_FLOOR, Detections
from bonefx.detectors import MODELS
from bonefx.detectors.base import MAX_DETECTIONS
from bonefx.evaluation import predictions
from bonefx.fusion import BEST_OF_EACH, ONE_PLACE_IOU, RULE, RULES, fuse
from bonefx.labels import CLASSES

PLACE = [0, 0, 10, 10]
NEAR = [2, 0, 12, 10]  # IoU 2/3 with PLACE
FURTHER = [4, 0, 14, 10]  # IoU 2/3 with NEAR, 3/7 with PLACE
AWAY = [50, 50, 60, 60]
POINT = [5, 5, 5, 5]

AS_IT_IS = Calibration(1.0, 0.0)
MEAN = "mean over members"


def make(*rows: tuple[list[float], float, int]) -> Detections:
    boxes, scores, class_ids = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(np.array(boxes, float), scores, class_ids, ("its own name",) * len(rows))


def rows(found: Detections) -> list[tuple[list[float], float, int]]:
    boxes = found.boxes.astype(float).round(4).tolist()
    return list(
        zip(boxes, found.scores.astype(float).round(6).tolist(), found.class_ids.tolist(), strict=True)
    )


def expect(*expected):
    return [(pytest.approx(box, abs=1e-3), pytest.approx(score), label) for box, score, label in expected]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([], [], []),
        # found by one of two: half of the probability, the box as it is
        ([(PLACE, 0.8, 0)], [], [(PLACE, 0.4, 0)]),
        ([], [(PLACE, 0.8, 0)], [(PLACE, 0.4, 0)]),
        # found by both: the mean; the box of the better mark, whoever's it is
        ([(PLACE, 0.6, 0)], [(NEAR, 0.2, 0)], [(PLACE, 0.4, 0)]),
        ([(PLACE, 0.2, 0)], [(NEAR, 0.6, 0)], [(NEAR, 0.4, 0)]),
        # another label on the same place is the same fracture, by the label of the better mark
        ([(PLACE, 0.6, 0)], [(NEAR, 0.4, 1)], [(PLACE, 0.5, 0)]),
        ([(PLACE, 0.4, 0)], [(NEAR, 0.6, 1)], [(NEAR, 0.5, 1)]),
        ([(PLACE, 0.6, 0)], [(AWAY, 0.4, 0)], [(PLACE, 0.3, 0), (AWAY, 0.2, 0)]),
        # a model counts once, by its better mark
        ([(PLACE, 0.5, 0), (NEAR, 0.3, 0)], [], [(PLACE, 0.25, 0)]),
        ([(PLACE, 0.5, 0), (NEAR, 0.3, 0)], [(PLACE, 0.1, 0)], [(PLACE, 0.3, 0)]),
        # what joins is held against the best mark of the place
        (
            [(PLACE, 0.9, 0), (FURTHER, 0.8, 0)],
            [(NEAR, 0.3, 0)],
            [(PLACE, 0.6, 0), (FURTHER, 0.4, 0)],
        ),
        # boxes without area overlap nothing, not even themselves
        ([(POINT, 0.4, 0)], [(POINT, 0.2, 0)], [(POINT, 0.2, 0), (POINT, 0.1, 0)]),
        # half of it is below the floor
        ([(PLACE, 0.0015, 0)], [], []),
        # below the floor it does not take part
        ([(PLACE, 0.5, 0)], [(PLACE, 0.0005, 0)], [(PLACE, 0.25, 0)]),
        ([(PLACE, 0.0, 0)], [(PLACE, 0.0, 0)], []),
    ],
)
def test_the_mean_over_members(first, second, expected):
    found = fuse([make(*first), make(*second)], [AS_IT_IS, AS_IT_IS], MEAN)
    assert rows(found) == expect(*expected)
    assert found.model_labels == tuple(CLASSES[label] for _, _, label in expected)


@pytest.mark.parametrize(
    ("rule", "box", "both", "alone"),  # of marks of 0.6 on PLACE and 0.2 on NEAR, and of the first alone
    [
        ("mean over members", PLACE, 0.4, 0.3),
        ("noisy or", PLACE, 1 - 0.4 * 0.8, 0.6),
        ("weighted boxes", [0.5, 0, 10.5, 10], 0.4, 0.3),
        ("ProbEn", PLACE, 0.6 * 0.2 / (0.6 * 0.2 + 0.4 * 0.8), 0.6),
    ],
)
def test_the_rules(rule, box, both, alone):
    first, second = make((PLACE, 0.6, 0)), make((NEAR, 0.2, 0))
    calibrations = [AS_IT_IS, AS_IT_IS]
    assert rows(fuse([first, second], calibrations, rule)) == expect((box, both, 0))
    assert rows(fuse([first, make()], calibrations, rule)) == expect((PLACE, alone, 0))
    assert RULE in RULES


def test_scores_are_calibrated_before_they_are_compared():
    """0.6 becomes 0.2 of the first, 0.5 becomes 0.8 of the second: its box and label stand."""
    first, second = make((PLACE, 0.6, 0)), make((NEAR, 0.5, 1))
    calibrations = [Calibration(1.0, -np.log(6)), Calibration(1.0, np.log(4))]
    assert rows(fuse([first, second], calibrations, MEAN)) == expect((NEAR, (0.2 + 0.8) / 2, 1))
    assert rows(fuse([first, second], [None, None], MEAN)) == expect((PLACE, 0.55, 0))


@pytest.mark.parametrize("number", [1, 3, 5])
def test_any_number_of_members(number):
    """Each finds PLACE, the last one AWAY too."""
    members = [make((PLACE, 0.6, 0))] * (number - 1) + [make((PLACE, 0.6, 0), (AWAY, 0.4, 2))]
    found = fuse(members, [AS_IT_IS] * number, MEAN)
    assert rows(found) == expect((PLACE, 0.6, 0), (AWAY, round(0.4 / number, 6), 2))


def test_an_overlap_of_just_the_threshold_does_not_join():
    """IoU 1/2, exact in floats."""
    first, second = make(([0, 0, 20, 1], 0.5, 0)), make(([0, 0, 10, 1], 0.4, 0))
    assert ONE_PLACE_IOU == 1 / 2
    assert len(fuse([first, second], [None, None])) == 2
    assert len(fuse([first, make(([0, 0, 10.001, 1], 0.4, 0))], [None, None])) == 1


def test_ties_are_broken_by_model_then_by_place_in_the_list():
    tied = [make((NEAR, 0.5, 0), (AWAY, 0.5, 0)), make((PLACE, 0.5, 1), (AWAY, 0.5, 1))]
    assert rows(fuse(tied, [None, None], MEAN)) == expect((NEAR, 0.5, 0), (AWAY, 0.5, 0))


def test_only_the_best_of_each_take_part():
    many = make(*(([i * 20, 0, i * 20 + 10, 10], 0.9 - i / 1000, 0) for i in range(BEST_OF_EACH + 50)))
    found = fuse([many, make()], [None, None], MEAN)
    assert len(found) == BEST_OF_EACH
    assert found.scores.min() == pytest.approx((0.9 - (BEST_OF_EACH - 1) / 1000) / 2)


def test_it_is_what_evaluations_store_and_what_detectors_promise():
    assert BEST_OF_EACH == predictions.KEPT_PER_IMAGE
    assert len(MODELS) * BEST_OF_EACH <= MAX_DETECTIONS  # of more models the best are kept
    assert CONSENSUS.members == tuple(MODELS)
    assert CONSENSUS.id not in MODELS
    assert RULE in CONSENSUS.method


def test_a_model_that_is_added_takes_part(monkeypatch):
    monkeypatch.setitem(MODELS, "a third", MODELS["yolo"])
    assert CONSENSUS.members == ("faster-rcnn", "yolo", "a third")


def overlap(a, b):
    sides = [max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    both = sides[0] * sides[1]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return both / (sum(areas) - both) if both else 0.0


def by_the_book(members, calibrations):
    """The docstring's steps, one mark at a time."""
    marks = [
        (float(calibration.probability(score)), box, label, owner)
        for owner, (member, calibration) in enumerate(zip(members, calibrations, strict=True))
        for box, score, label in zip(
            member.boxes.tolist(), member.scores, member.class_ids.tolist(), strict=True
        )
    ]
    marks.sort(key=lambda mark: -mark[0])
    answer = []
    while marks:
        _, box, label, _ = marks[0]
        here = [mark for i, mark in enumerate(marks) if i == 0 or overlap(box, mark[1]) > ONE_PLACE_IOU]
        marks = [mark for mark in marks if mark not in here]
        best = [max((p for p, _, _, who in here if who == k), default=0.0) for k in range(len(members))]
        answer.append((box, sum(best) / len(members), label))
    return sorted((row for row in answer if row[1] >= SCORE_FLOOR), key=lambda row: -row[1])


@pytest.mark.parametrize("seed", range(10))
def test_against_the_steps_one_by_one(seed):
    """Three models' random boxes in an image of 1000 by 1000, half of them near those of the first."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, BEST_OF_EACH))
    corners, sides = rng.uniform(0, 800, (3, n, 2)), rng.uniform(20, 200, (3, n, 2))
    boxes = np.concatenate([corners, corners + sides], axis=2)
    near = n // 2
    boxes[1:, :near] = np.abs(boxes[0, :near] + rng.normal(0, 5, (2, near, 4)))
    boxes[..., 2:] = np.maximum(boxes[..., :2] + 1, boxes[..., 2:])
    members = [Detections(one, rng.uniform(0.001, 1, n), rng.integers(0, 3, n), ("",) * n) for one in boxes]
    calibrations = [Calibration(0.8, -1.0), Calibration(1.2, 0.5), Calibration(1.0, 0.0)]
    found, expected = fuse(members, calibrations, MEAN), by_the_book(members, calibrations)
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.boxes, [box for box, _, _ in expected], atol=1e-3)
    np.testing.assert_allclose(found.scores, [score for _, score, _ in expected], rtol=1e-5)
    assert found.class_ids.tolist() == [label for _, _, label in expected]
