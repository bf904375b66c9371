"""Medians, quartiles, ratios."""

from __future__ import annotations

import pytest

from bonefx.benchmark.figures import distinct, ratio, spread, summaries


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3], (3, 3, 3)),
        ([1, 3], (1.5, 2, 2.5)),
        ([5, 1, 2, 4, 3], (2, 3, 4)),  # in any order
        ([1, 2, 3, 4, 1000], (2, 3, 4)),  # one hiccup of the machine moves nothing
    ],
)
def test_quartiles(values, expected):
    low, middle, high = expected
    assert spread(values) == {"median": middle, "low": low, "high": high, "n": len(values)}


def test_each_column_has_its_own():
    made = summaries([{"decode": 1, "draw": 10}, {"decode": 3, "draw": 30}])
    assert [made[stage]["median"] for stage in ("decode", "draw")] == [2, 20]


@pytest.mark.parametrize(
    ("ours", "reference", "expected"),
    [
        ([[2, 4, 6]], [[8, 10, 12]], 0.4),  # of the medians, not of the means of ratios
        ([[4], [8], [16]], [[10], [20], [40]], 0.4),  # a machine that grows slower does so for both
        ([[4], [4], [40]], [[10], [10], [10]], 0.4),  # one round that something else disturbed
    ],
)
def test_the_ratio_is_that_of_each_round(ours, reference, expected):
    assert ratio(ours, reference)["median"] == pytest.approx(expected)


def test_rounds_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        ratio([[1], [1]], [[1]])


def test_what_changed_on_the_way_is_all_told():
    torch, openvino = {"engine": "torch"}, {"engine": "openvino"}
    assert distinct([torch, torch, openvino, torch]) == [torch, openvino]
