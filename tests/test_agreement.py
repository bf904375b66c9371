"""Agreement of two models: one-to-one, by place, then by label."""

from __future__ import annotations

from collections.abc import Iterator

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
        # the better score wins over the better place and the same label
        ([(PLACE, 0.9, 0)], [(NEAR, 0.9, 3), (PLACE, 0.1, 0)], ((), ((0, 0),), (), (1,))),
        # strong with strong, weak with weak: 0.99 is not left with 0.14 while 0.75 stands alone
        ([(PLACE, 0.99, 0)], [(NEAR, 0.75, 0), (PLACE, 0.14, 0)], (((0, 0),), (), (), (1,))),
        (
            [(PLACE, 0.99, 0), (NEAR, 0.3, 0)],
            [(NEAR, 0.75, 0), (PLACE, 0.14, 0)],
            (((0, 0), (1, 1)), (), (), ()),
        ),
        # a better score that overlaps too little is no choice
        ([(PLACE, 0.9, 0)], [(AWAY, 0.9, 0), (NEAR, 0.1, 0)], (((0, 1),), (), (), (0,))),
    ],
)
def test_by_place_then_by_label(first, second, expected):
    found = agreement.agree(make(*first), make(*second))
    assert (found.both, found.other_label, found.only_first, found.only_second) == expected


def random_sides(seed: int, images: int = 50) -> Iterator[tuple[Detections, Detections]]:
    """Two models' detections in many images; scores on a coarse grid, so that some are equal."""
    rng = np.random.default_rng(seed)

    def side() -> Detections:
        corners = rng.uniform(0, 40, (rng.integers(0, 12), 2))
        boxes = (np.r_[corner, corner + rng.uniform(10, 30, 2)].tolist() for corner in corners)
        return make(*((box, rng.integers(20) / 20, rng.integers(6)) for box in boxes))

    for _ in range(images):
        yield side(), side()


def test_which_model_is_the_first_makes_no_difference():
    for first, second in random_sides(seed=4):
        one, other = agreement.agree(first, second), agreement.agree(second, first)
        for pairs, swapped in ((one.both, other.both), (one.other_label, other.other_label)):
            assert sorted(pairs) == sorted((i, j) for j, i in swapped)


def test_every_detection_is_counted_once_on_random_boxes():
    for sides in random_sides(seed=3):
        n, m = map(len, sides)
        found = agreement.agree(*sides)
        pairs = found.both + found.other_label
        assert sorted([i for i, _ in pairs] + list(found.only_first)) == list(range(n))
        assert sorted([j for _, j in pairs] + list(found.only_second)) == list(range(m))
        overlap = iou_matrix(sides[0].boxes, sides[1].boxes)
        assert all(overlap[i, j] >= agreement.SAME_PLACE_IOU for i, j in pairs)


def test_the_record_names_models_and_places():
    record = agreement.to_record("a", make((PLACE, 0.9, 0)), "b", make((NEAR, 0.5, 0), (AWAY, 0.4, 1)))
    assert record == {
        "iou": 0.5,
        "both": [{"a": 0, "b": 0, "iou": 0.8182}],
        "other_label": [],
        "only": {"a": [], "b": [1]},
    }
