"""Calibrations are learnt on marks by the any-fracture rule, and judged by what comes true."""

from __future__ import annotations

import numpy as np
import pytest

from bonefx.calibration import Calibration
from bonefx.evaluation.calibration import LEAST, learn, mean_sensitivity, reliability, trials
from bonefx.fusion import RULES
from tests.evaluation import toy

BOX, FAR = [100, 100, 50, 50], [400, 100, 50, 50]


def marks(seed, images=4000, slope=1.0, offset=0.0):
    """One mark an image, right with the probability that a calibration makes of its score."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.01, 0.99, images).round(6)
    hits = rng.random(images) < Calibration(slope, offset).probability(scores)
    dataset = toy.dataset([[(0, BOX if hit else FAR)] for hit in hits])
    return dataset, toy.results([(i, 1, BOX, float(score)) for i, score in enumerate(scores)])


def test_what_marks_were_made_of_is_learnt():
    learnt = learn([marks(0, slope=0.7, offset=-1.0), marks(1, slope=0.7, offset=-1.0)])
    assert (learnt.slope, learnt.offset) == (pytest.approx(0.7, abs=0.08), pytest.approx(-1.0, abs=0.1))


def test_a_right_calibration_errs_by_chance_alone_and_a_wrong_one_by_what_it_is_wrong():
    dataset, results = marks(2, slope=0.7, offset=-1.0)
    right = reliability(dataset, results, Calibration(0.7, -1.0))
    raw = reliability(dataset, results, None)
    assert right["ece"] < 0.02
    assert raw["ece"] > 0.1
    assert raw["ece_interval"][0] < raw["ece"] < raw["ece_interval"][1]
    assert sum(right["bins"]["n"]) == 4000
    for low, high, probability, share in zip(
        *(right["bins"][name] for name in ("low", "high", "probability", "share")), strict=True
    ):
        assert low <= probability <= high
        assert share == pytest.approx(probability, abs=0.1)


@pytest.mark.parametrize(
    ("found", "ece"),
    [
        ([], None),  # nothing to judge
        ([(0, 0, BOX, LEAST / 2)], None),  # nor under the least
        ([(0, 0, BOX, 0.75)], 0.25),  # right, and said to be so by 3 in 4
        ([(0, 0, FAR, 0.75)], 0.75),
        ([(0, 0, BOX, 0.75), (0, 0, FAR, 0.75)], 0.25),  # half are right
        ([(0, 0, BOX, 0.75), (0, 0, FAR, 0.25)], 0.25),  # two bins, each off by a quarter
        ([(0, 0, BOX, 0.75), (0, 3, BOX, 0.7)], 0.25),  # two marks on one place are one
    ],
)
def test_the_error(found, ece):
    assert reliability(toy.dataset([[(0, BOX)]]), toy.results(found), None)["ece"] == ece


def test_each_rule_is_tried_and_agreement_is_worth_something():
    """Two models with the same hits and each its own false marks."""
    lesions = [[(0, BOX)] for _ in range(40)] + [[] for _ in range(40)]
    rng = np.random.default_rng(0)
    members = [
        toy.results(
            [(i, 0, BOX, round(float(rng.uniform(0.2, 0.6)), 3)) for i in range(40)]
            + [
                (i, 0, [x, 300, 50, 50], round(float(rng.uniform(0.2, 0.9)), 3))
                for i in range(80)
                for x in (offset, offset + 120)
            ]
        )
        for offset in (0, 60)
    ]
    dataset = toy.dataset(lesions)
    found = trials([(dataset, members)], [Calibration(1.0, 0.0)] * 2)
    assert found.keys() == RULES.keys()
    best = max(mean_sensitivity(dataset, results) for results in members)
    assert found["mean over members"] > best + 0.1
