"""Agreement of two models: one-to-one, by place, then by label."""

from __future__ import annotations

import numpy as np
import pytest

from bonefx import agreement
from bonefx.detections import Detections
from bonefx.matching import iou_matrix

PLACE = [0, 0, 10, 10]
NEAR = [1, 0, 11, 10]  # IoU 9/11 with PLACE
AWAY = [50, 50, 60, 60]


def make(*rows: tuple[list[float], float, int]) -> Detections:
    boxes, scores, class_ids = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(np.array(boxes, float), scores, class_ids, ("",) * len(rows))


@pytest.mark.parametrize(
    ("first", "second", "expected"),  # both, other label, only first, only second
    [
        ([], [], ((), (), (), ())),  # nothing to agree on
        ([(PLACE, 0.9, 0)], [], ((), (), (0,), ())),
        ([(PLACE, 0.9, 0)], [(NEAR, 0.2, 0)], (((0, 0),), (), (), ())),
        ([(PLACE, 0.9, 0)], [(NEAR, 0.2, 5)], ((), ((0, 0),), (), ())),  # same place, other label
        ([(PLACE, 0.9, 0)], [(AWAY, 0.2, 0)], ((), (), (0,), (0,))),
        # one of the second's serves only one of the first's, the higher scoring
        ([(PLACE, 0.9, 0), (NEAR, 0.8, 0)], [(NEAR, 0.5, 0)], (((0, 0),), (), (1,), ())),
        # the better place wins over the better score and the same label
        ([(PLACE, 0.9, 0)], [(NEAR, 0.9, 0), (PLACE, 0.1, 3)], ((), ((0, 1),), (), (0,))),
    ],
)
def test_by_place_then_by_label(first, second, expected):
    found = agreement.agree(make(*first), make(*second))
    assert (found.both, found.other_label, found.only_first, found.only_second) == expected


def test_every_detection_is_counted_once_on_random_boxes():
    rng = np.random.default_rng(3)
    for _ in range(50):
        n, m = rng.integers(0, 12, 2)
        sides = [
            make(
                *((np.r_[corner, corner + rng.uniform(10, 30, 2)].tolist(), rng.random(), rng.integers(6))
                  for corner in rng.uniform(0, 40, (count, 2)))
            )
            for count in (n, m)
        ]  # fmt: skip
        found = agreement.agree(*sides)
        pairs = found.both + found.other_label
        assert sorted([i for i, _ in pairs] + list(found.only_first)) == list(range(n))
        assert sorted([j for _, j in pairs] + list(found.only_second)) == list(range(m))
        overlap = iou_matrix(sides[0].boxes, sides[1].boxes)
        assert all(overlap[i, j] >= agreement.IOU for i, j in pairs)


def test_the_record_names_models_and_places():
    record = agreement.to_record("a", make((PLACE, 0.9, 0)), "b", make((NEAR, 0.5, 0), (AWAY, 0.4, 1)))
    assert record == {
        "iou": 0.5,
        "both": [{"a": 0, "b": 0, "iou": 0.8182}],
        "other_label": [],
        "only": {"a": [], "b": [1]},
    }
