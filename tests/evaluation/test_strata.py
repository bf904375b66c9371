"""Lesions by size and by site: counts are told, and each is found or not at the thresholds of all."""

from __future__ import annotations

import pytest

from bonefx.evaluation import score
from tests.evaluation import toy

# In images of 640 by 480 (toy.dataset says 640 by 640): shares of 0.1, 0.5, 2 and 10 % of the picture.
TINY, SMALL, MIDDLE, LARGE = ([100, 100, side, side] for side in (20, 45, 90, 202))
FAR = [500, 10, 20, 20]


def strata(lesions, found):
    return score(toy.dataset(lesions), toy.results(found)).figures["strata"]


def at_one(entries):
    """Name, lesions and hits at 1 false positive an image."""
    return [
        (each["name"], each["lesions"], next(p["n"] for p in each["points"] if p["fp_per_image"] == 1.0))
        for each in entries
    ]


def test_each_size_and_site_counts_its_own():
    lesions = [[(0, TINY)], [(1, SMALL)], [(1, MIDDLE)], [(5, LARGE)], [], [(5, LARGE)]]
    found = [(1, 1, SMALL, 0.9), (2, 4, MIDDLE, 0.8), (3, 5, LARGE, 0.7), (0, 0, FAR, 0.6)]
    told = strata(lesions, found)
    assert at_one(told["size"]) == [
        ("under 0.25 %", 1, 0),
        ("0.25 to 1 %", 1, 1),
        ("1 to 4 %", 1, 1),
        ("over 4 %", 2, 1),
    ]
    # Any fracture: a hit of another label is a hit. Sites without a lesion are not told.
    assert at_one(told["site"]) == [
        ("elbow positive", 1, 0),
        ("fingers positive", 2, 2),
        ("wrist positive", 2, 1),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_the_parts_are_the_whole(seed):
    dataset, results = toy.random_case(seed)
    figures = score(dataset, results).figures
    whole = figures["froc"]["any_fracture"]["points"]
    for entries in figures["strata"].values():
        assert sum(each["lesions"] for each in entries) == whole[0]["lesions"]
        for i, point in enumerate(whole):
            assert sum(each["points"][i]["n"] for each in entries) == point["n"]
        for each in entries:
            for point in each["points"]:
                assert point["sensitivity"] == point["n"] / each["lesions"]
                low, high = point["interval"]
                assert 0 <= low <= high <= 1


def test_one_part_that_is_all_has_the_interval_of_all():
    dataset, results = toy.random_case(3)
    dataset.class_ids[:] = 2
    figures = score(dataset, results).figures
    (site,) = figures["strata"]["site"]
    for mine, whole in zip(site["points"], figures["froc"]["any_fracture"]["points"], strict=True):
        assert mine["interval"] == pytest.approx(whole["interval"], abs=1e-12)


def test_without_lesions_there_are_no_parts():
    assert strata([[], []], [(0, 0, FAR, 0.5)]) == {"size": [], "site": []}
