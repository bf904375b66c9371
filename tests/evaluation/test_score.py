from __future__ import annotations

import numpy as np
import pytest

from bonefx.errors import DatasetError
from bonefx.evaluation import compare, froc, score
from tests.evaluation import toy

BOX = [100, 100, 50, 50]


@pytest.fixture(scope="module")
def pair():
    """A data set with the scores of two sets of predictions, the second one worse."""
    dataset, results = toy.random_case(4, images=60)
    rng = np.random.default_rng(0)
    worse = [{**r, "score": round(r["score"] * rng.random(), 3)} for r in results]
    return score(dataset, results), score(dataset, worse)


def test_the_same_predictions_give_the_same_figures(pair):
    dataset, results = toy.random_case(4, images=60)
    assert score(dataset, results).figures == pair[0].figures


@pytest.mark.parametrize("rule", froc.RULES)
def test_intervals_and_band_hold_the_curve(pair, rule):
    figures = pair[0].figures["froc"][rule]
    for point in figures["points"]:
        low, high = point["interval"]
        assert low <= point["sensitivity"] <= high
    band = figures["band"]
    assert band["fp_per_image"][0] == 0.125
    assert band["fp_per_image"][-1] == 8
    for point in figures["points"]:  # the band passes through the points' intervals
        at = band["fp_per_image"].index(point["fp_per_image"])
        assert [band["low"][at], band["high"][at]] == point["interval"]


def test_image_level_uses_the_any_fracture_thresholds(pair):
    image_level = pair[0].figures["image_level"]
    points = pair[0].figures["froc"]["any_fracture"]["points"]
    assert [p["threshold"] for p in image_level["points"]] == [p["threshold"] for p in points]
    assert image_level["positive"] + image_level["negative"] == 60
    low, high = image_level["auc_interval"]
    assert low < image_level["auc"] < high


def test_compare_is_paired_and_antisymmetric(pair):
    better, worse = pair
    there, back = compare(better, worse), compare(worse, better)
    for mine, theirs, a, b in zip(
        there["froc"]["any_fracture"],
        back["froc"]["any_fracture"],
        better.figures["froc"]["any_fracture"]["points"],
        worse.figures["froc"]["any_fracture"]["points"],
        strict=True,
    ):
        assert mine["difference"] == -theirs["difference"] == a["sensitivity"] - b["sensitivity"]
        assert mine["interval"] == pytest.approx([-x for x in reversed(theirs["interval"])])
        # Paired resamples: narrower than if the two had been drawn apart.
        apart = np.hypot(np.subtract(*a["interval"]), np.subtract(*b["interval"]))
        assert mine["interval"][1] - mine["interval"][0] < apart
    assert there["auc"]["difference"] > 0
    same = compare(better, better)
    assert {tuple(p["interval"]) for rule in froc.RULES for p in same["froc"][rule]} == {(0, 0)}


def test_compare_refuses_other_data(pair):
    with pytest.raises(ValueError, match="different data"):
        compare(pair[0], score(toy.dataset([[]]), []))


@pytest.mark.parametrize(
    ("lesions", "rows", "auc", "sensitivity", "specificity"),
    [
        ([[(0, BOX)], []], [(0, 0, BOX, 0.9)], 1.0, 1.0, 1.0),  # perfect
        ([[(0, BOX)], []], [], 0.5, 0.0, 1.0),  # nothing found
        ([[], []], [(0, 0, BOX, 0.9)], None, None, 1.0),  # only fracture-free images
        ([[(0, BOX)]], [(0, 0, BOX, 0.9)], None, 1.0, None),  # no fracture-free image
    ],
)
def test_image_level(lesions, rows, auc, sensitivity, specificity):
    figures = score(toy.dataset(lesions), toy.results(rows)).figures["image_level"]
    assert figures["auc"] == auc
    assert {p["sensitivity"] for p in figures["points"]} == {sensitivity}
    assert {p["specificity"] for p in figures["points"]} == {specificity}


def test_no_lesions_is_undefined_all_through():
    figures = score(toy.dataset([[], []]), toy.results([(0, 0, BOX, 0.9)])).figures
    for rule in froc.RULES:
        assert figures["froc"][rule]["curve"] is None
        assert figures["froc"][rule]["band"] is None
        assert {(p["sensitivity"], p["interval"]) for p in figures["froc"][rule]["points"]} == {(None, None)}
    assert figures["coco"]["ap"] is None


def test_a_broken_entry_is_named():
    with pytest.raises(DatasetError, match="Entry 0"):
        score(toy.dataset([[]]), [{"image_id": 2, "category_id": 1, "bbox": BOX, "score": 0.5}])
