"""What a score means is learnt from marks, and found again when the marks are drawn from it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bonefx import calibration
from bonefx.calibration import Calibration, fit
from bonefx.errors import MetricsError
from bonefx.results import Identity


@pytest.mark.parametrize(
    ("slope", "offset", "score", "probability"),
    [
        (1.0, 0.0, 0.3, 0.3),  # as it is
        (1.0, np.log(3), 0.5, 0.75),  # three times the odds
        (2.0, 0.0, 0.8, 16 / 17),  # the odds squared
        (1.0, 0.0, 0.0, 1e-6),  # stays finite
        (1.0, 0.0, 1.0, 1 - 1e-6),
    ],
)
def test_the_probability(slope, offset, score, probability):
    assert Calibration(slope, offset).probability(np.array([score])) == pytest.approx([probability])


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.5, -2.0), (1.6, 1.0)])
def test_what_marks_were_drawn_from_is_found_again(slope, offset):
    rng = np.random.default_rng(0)
    scores = rng.beta(0.5, 2, 40_000)
    hits = rng.random(len(scores)) < Calibration(slope, offset).probability(scores)
    learnt = fit(scores, hits)
    assert (learnt.slope, learnt.offset) == (pytest.approx(slope, abs=0.06), pytest.approx(offset, abs=0.1))


def test_marks_that_are_told_apart_without_error_still_have_an_answer():
    learnt = fit(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]))
    assert 0 < learnt.slope < 5
    low, high = learnt.probability(np.array([0.1, 0.9]))
    assert 0.05 < low < 0.45 < 0.55 < high < 0.95


@pytest.mark.parametrize(
    ("scores", "hits", "words"),
    [
        ([], [], "on fractures and marks beside"),
        ([0.5, 0.6], [True, True], "on fractures and marks beside"),
        ([0.5, 0.6], [False, False], "on fractures and marks beside"),
        ([0.1, 0.2, 0.8, 0.9], [True, True, False, False], "do not have the higher scores"),
    ],
)
def test_what_cannot_be_calibrated_is_said(scores, hits, words):
    with pytest.raises(MetricsError, match=words):
        fit(np.array(scores), np.array(hits, dtype=bool))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "packaged", lambda name: tmp_path)
    calibration.stored.cache_clear()
    yield tmp_path
    calibration.stored.cache_clear()


def test_a_calibration_belongs_to_weights_and_how_they_are_run(folder):
    entry = {"sha256": "a", "nms": "x", "image_size": 96, "slope": 1.5, "offset": -1.0, "fitted_on": []}
    (folder / calibration.FILE).write_text(json.dumps({"models": [entry]}), encoding="utf-8")
    assert calibration.calibration_of(Identity("a", "x", 96)) == Calibration(1.5, -1.0)
    for other in [("b", "x", 96), ("a", "y", 96), ("a", "x", 128), ("", "", 0)]:
        assert calibration.calibration_of(Identity(*other)) is None
    assert calibration.calibration_of(None) is None


def test_without_a_file_nothing_is_calibrated(folder):
    assert calibration.calibration_of(Identity("a", "x", 96)) is None


def test_a_damaged_file_is_named(folder):
    (folder / calibration.FILE).write_text('{"models": [{}]}', encoding="utf-8")
    with pytest.raises(MetricsError, match=r"calibration\.json is damaged"):
        calibration.calibration_of(Identity("a", "x", 96))
