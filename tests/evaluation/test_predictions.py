from __future__ import annotations

import math

import numpy as np
import pytest

from bonefx.errors import DatasetError
from bonefx.evaluation.predictions import Predictions

GOOD = {"image_id": 1, "category_id": 6, "bbox": [1, 2, 3, 4], "score": 0.5}


def test_parse_orders_by_score_and_keeps_file_order_of_ties():
    entries = [{**GOOD, "score": score, "category_id": k} for k, score in enumerate((0.2, 0.7, 0.2, 0.7), 1)]
    parsed = Predictions.parse(entries, 1)
    assert parsed.scores.tolist() == [0.7, 0.7, 0.2, 0.2]
    assert parsed.class_ids.tolist() == [1, 3, 0, 2]
    assert parsed.boxes[0].tolist() == [1, 2, 4, 6]


def test_parse_cuts_at_the_floor_and_at_100_an_image():
    entries = [{**GOOD, "image_id": 1 + i % 2, "score": (i + 1) / 1000} for i in range(300)]
    entries += [{**GOOD, "score": 0.0009}, {**GOOD, "score": 0}]
    parsed = Predictions.parse(entries, 2)
    assert np.bincount(parsed.images).tolist() == [100, 100]
    assert parsed.scores.min() == 0.101
    assert Predictions.parse([{**GOOD, "score": 0.001}], 1).scores.tolist() == [0.001]


def test_of_equal_scores_the_first_100_stay():
    entries = [{**GOOD, "bbox": [i, 0, 1, 1]} for i in range(120)]
    assert Predictions.parse(entries, 1).bbox[:, 0].tolist() == list(range(100))


def test_parse_nothing():
    parsed = Predictions.parse([], 3)
    assert parsed.boxes.shape == (0, 4)
    assert parsed.images.dtype == np.int64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 4}, "image_id 4"),  # the data set has 3
        ({"image_id": 0}, "image_id 0"),
        ({"image_id": "1"}, "image_id '1'"),
        ({"category_id": 0}, "category_id 0"),  # the class id instead of the category
        ({"category_id": 7}, "category_id 7"),
        ({"category_id": 1.5}, "category_id 1.5"),
        ({"bbox": [1, 2, 3]}, "bbox of 4 numbers"),
        ({"bbox": None}, "bbox of 4 numbers"),
        ({"bbox": [1, 2, 3, "4"]}, "not a finite number"),
        ({"bbox": [math.inf, 2, 3, 4]}, "not a finite number"),
        ({"bbox": [1, 2, -3, 4]}, "width -3"),
        ({"score": math.nan}, "not a finite number"),
        ({"score": None}, "not a finite number"),
        ({"score": 10**400}, "not a finite number"),  # JSON allows it, a float does not
        ({"score": 87}, "score of 87"),  # per cent
        ({"score": -0.1}, "score of -0.1"),
    ],
)
def test_a_broken_entry_is_named(change, message):
    with pytest.raises(DatasetError, match=f"Entry 2 .*{message}"):
        Predictions.parse([GOOD, GOOD, {**GOOD, **change}], 3)


@pytest.mark.parametrize("results", [{"annotations": []}, None, "predictions.json"])
def test_not_a_results_list(results):
    with pytest.raises(DatasetError, match="COCO results list"):
        Predictions.parse(results, 3)


def test_an_entry_that_is_no_object():
    with pytest.raises(DatasetError, match="Entry 0"):
        Predictions.parse([17], 3)
