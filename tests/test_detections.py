"""The vocabulary: `Detections` and the class names."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bonefx import labels
from bonefx.detections import Detections


def make(n: int = 3) -> Detections:
    boxes = np.arange(n * 4).reshape(n, 4) + np.array([0, 0, 10, 10])
    return Detections(boxes, np.linspace(0.2, 0.9, n), np.arange(n) % 6, tuple(f"raw {i}" for i in range(n)))


def test_highest_score_first_and_rows_stay_together():
    detections = make()
    assert detections.scores.tolist() == pytest.approx([0.9, 0.55, 0.2])
    assert detections.model_labels == ("raw 2", "raw 1", "raw 0")
    assert detections.class_ids.tolist() == [2, 1, 0]
    assert detections.boxes[0].tolist() == [8, 9, 20, 21]


def test_equal_scores_keep_their_order():
    detections = Detections(np.zeros((3, 4)), [0.5, 0.5, 0.5], [3, 1, 2], ("a", "b", "c"))
    assert detections.model_labels == ("a", "b", "c")


@pytest.mark.parametrize(
    ("boxes", "scores", "class_ids", "names", "words"),
    [
        ([[0, 0, 1, 1]], [0.5, 0.6], [0, 1], ("a", "b"), "shapes disagree"),  # one box too few
        ([[0, 0, 1]], [0.5], [0], ("a",), "shapes disagree"),  # three corners
        ([[0, 0, 1, 1]], [0.5], [0], (), "shapes disagree"),  # no label
        ([[2, 0, 1, 1]], [0.5], [0], ("a",), "x1 <= x2"),  # left of its own left side
        ([[0, 0, np.nan, 1]], [0.5], [0], ("a",), "finite"),  # not a number
        ([[0, 0, 1, 1]], [1.5], [0], ("a",), "scores"),  # beyond certainty
        ([[0, 0, 1, 1]], [np.nan], [0], ("a",), "scores"),  # no score
        ([[0, 0, 1, 1]], [0.5], [6], ("a",), "class ids"),  # a seventh class
    ],
)
def test_impossible_values_are_refused(boxes, scores, class_ids, names, words):
    with pytest.raises(ValueError, match=words):
        Detections(np.array(boxes, float), scores, class_ids, names)


def test_a_threshold_equal_to_a_score_keeps_it():
    score = float(np.float32(0.3))
    detections = Detections([[0, 0, 1, 1]], [score], [0], ("a",))
    assert len(detections.above(score)) == 1
    assert len(detections.above(np.nextafter(np.float32(score), np.float32(1)))) == 0


def test_empty_is_a_normal_value():
    empty = Detections.empty()
    assert len(empty) == 0
    assert empty.boxes.shape == (0, 4)
    assert empty.above(0.5).to_records() == []
    assert len(Detections.from_records([])) == 0


def test_records_survive_json_and_carry_the_unified_label():
    detections = make()
    records = json.loads(json.dumps(detections.to_records()))
    assert records[0]["label"] == labels.CLASSES[2]
    assert records[0]["model_label"] == "raw 2"
    assert records[0]["box"] == {"x1": 8.0, "y1": 9.0, "x2": 20.0, "y2": 21.0}
    again = Detections.from_records(records)
    np.testing.assert_array_equal(again.boxes, detections.boxes)
    np.testing.assert_array_equal(again.scores, detections.scores)


def test_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        make().boxes[0, 0] = 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("elbow positive", 0),
        ("wrist positive", 5),
        ("humerus fracture", 3),  # merged into humerus
        ("Humerus", 3),  # upper case
        ("fingers_positive", 1),  # underscore
    ],
)
def test_labels_are_unified(name, expected):
    assert labels.class_id(name) == expected


def test_every_data_set_class_is_ours():
    assert [labels.class_id(name) for name in labels.DATASET_CLASSES] == [0, 1, 2, 3, 3, 4, 5]


def test_a_foreign_label_is_refused():
    with pytest.raises(KeyError):
        labels.class_id("person")
