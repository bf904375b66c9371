"""Marks against fractures, by hand and by slower ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bonefx.detections import Detections
from bonefx.quiz.answers import Answer, ReaderMark
from bonefx.quiz.cases import Case
from bonefx.quiz.scoring import (
    Change,
    Judged,
    Tally,
    change,
    curve,
    judge,
    judged_detections,
    rate_interval,
    share_interval,
    tally,
)


def case(*boxes) -> Case:
    return Case("case-01", Path(), 400, 400, np.array(boxes, float).reshape(-1, 4), ("wrist",) * len(boxes))


def answer(*marks, arm="alone") -> Answer:
    boxes = [ReaderMark(box=[float(v) for v in box], confidence=sure) for box, sure in marks]
    return Answer(case="case-01", arm=arm, marks=boxes, seconds=1.0)


def at(x, y, half=5):
    return [x - half, y - half, x + half, y + half]


LESION = [100, 100, 200, 200]


@pytest.mark.parametrize(
    ("box", "verdict"),
    [
        (at(150, 150), "found"),
        (at(100, 100), "found"),  # the edge belongs to it
        (at(99, 150), "near miss"),
        (at(50, 50), "near miss"),  # the edge of the box grown to twice its size
        (at(49, 150), "false alarm"),
        ([190, 100, 290, 200], "near miss"),  # IoU 1/19
        ([160, 100, 260, 200], "found"),  # its middle is outside; IoU 40/160
        ([0, 0, 400, 400], "found"),  # the middle of all
    ],
)
def test_what_a_mark_is(box, verdict):
    assert judge(np.array([box], float), np.array([2]), case(LESION)).verdicts == (verdict,)


def test_a_second_mark_on_a_fracture_counts_for_nothing_and_the_surer_one_has_found_it():
    judged = judge(np.array([at(150, 150), at(160, 160)], float), np.array([1, 2]), case(LESION))
    assert judged.verdicts == ("again", "found")
    assert judged.found == (1,)
    assert judged.false_alarms == 0


def test_two_fractures_take_a_mark_each():
    judged = judge(
        np.array([at(150, 150), at(320, 320)], float), np.array([1, 1]), case(LESION, [300, 300, 340, 340])
    )
    assert judged == Judged(("found", "found"), (0, 1))


def test_where_nothing_is_broken_every_mark_is_a_false_alarm():
    judged = judge(np.array([at(150, 150)], float), np.array([1]), case())
    assert judged == Judged(("false alarm",), ())
    assert tally(case(), judged) == Tally(images=1, false_alarms=1, intact=1)
    nothing = judge(np.zeros((0, 4)), np.zeros(0), case())
    assert tally(case(), nothing) == Tally(images=1, intact=1, left_alone=1)


def test_tallies_add_up():
    one = Tally(images=1, lesions=2, found=1, false_alarms=3)
    assert one + Tally(1, 0, 0, 0, 1, 1) == Tally(2, 2, 1, 3, 1, 1)


def test_what_the_models_marks_change():
    two = case(LESION, [300, 300, 340, 340])
    first = answer((at(150, 150), "sure"), (at(20, 20), "perhaps"))
    second = answer((at(320, 320), "sure"), (at(380, 20), "sure"), (at(20, 380), "sure"), arm="with marks")
    shown = {"yolo": np.array([at(381, 21, 8)], float), "other": np.zeros((0, 4))}
    assert change(two, first, second, shown) == Change(gained=1, lost=1, believed=1, own=1, dropped=1)


def test_who_changes_nothing_changes_nothing():
    said = answer((at(150, 150), "sure"), (at(20, 20), "perhaps"))
    shown = {"yolo": np.array([at(20, 20)], float)}
    assert change(case(LESION), said, said, shown) == Change()
    assert Change(gained=1) + Change(lost=2) == Change(gained=1, lost=2)


def random_cases(seed):
    rng = np.random.default_rng(seed)
    for _ in range(8):
        corners = rng.uniform(0, 300, (rng.integers(0, 3), 2))
        boxes = np.hstack([corners, corners + rng.uniform(20, 90, corners.shape)])
        n = int(rng.integers(0, 12))
        starts = rng.uniform(0, 320, (n, 2))
        found = Detections(
            np.hstack([starts, starts + rng.uniform(10, 80, (n, 2))]),
            np.round(rng.uniform(0, 1, n), 1),  # with ties
            np.zeros(n, np.int64),
            ("wrist",) * n,
        )
        yield case(*boxes), found


@pytest.mark.parametrize("seed", range(5))
def test_a_curve_is_what_each_threshold_gives_by_itself(seed):
    cases = list(random_cases(seed))
    lesions = sum(len(each.boxes) for each, _ in cases)
    judged = [judged_detections(found, each) for each, found in cases]
    expected = [(0.0, 0.0)]
    for threshold in sorted({float(score) for scores, _ in judged for score in scores}, reverse=True):
        kept = [
            v for scores, one in judged for s, v in zip(scores, one.verdicts, strict=True) if s >= threshold
        ]
        alarms = kept.count("near miss") + kept.count("false alarm")
        expected.append((alarms / len(cases), kept.count("found") / lesions))
    assert np.array(curve(judged, lesions)) == pytest.approx(np.array(expected))


@pytest.mark.parametrize(("part", "whole"), [(0, 8), (1, 8), (4, 8), (8, 8), (37, 51)])
def test_the_interval_of_a_share_is_wilsons(part, whole):
    exact = stats.binomtest(part, whole).proportion_ci(method="wilson")
    assert share_interval(part, whole) == pytest.approx((exact.low, exact.high), abs=1e-6)


@pytest.mark.parametrize(("count", "images"), [(0, 10), (1, 10), (7, 10), (60, 72)])
def test_the_interval_of_a_rate_is_the_exact_one_of_poisson(count, images):
    low = stats.chi2.ppf(0.025, 2 * count) / 2 if count else 0
    high = stats.chi2.ppf(0.975, 2 * count + 2) / 2
    assert rate_interval(count, images) == pytest.approx((low / images, high / images), abs=1e-9)


def test_nothing_has_the_widest_interval():
    assert share_interval(0, 0) == (0.0, 1.0)
    assert rate_interval(0, 0) == (0.0, np.inf)
