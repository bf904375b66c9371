from __future__ import annotations

import numpy as np
import pytest

from bonefx import matching
from bonefx.matching import iou_matrix, match, nms

UNIT = [0, 0, 10, 10]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (UNIT, UNIT, 1.0),  # the same box
        (UNIT, [0, 0, 10, 5], 0.5),  # half of it
        (UNIT, [5, 5, 15, 15], 25 / 175),  # a corner
        (UNIT, [10, 0, 20, 10], 0.0),  # they touch
        (UNIT, [510, 0, 520, 10], 0.0),  # far away
        (UNIT, [-5, -5, 5, 5], 25 / 175),  # partly outside of the image
        (UNIT, [3, 3, 3, 3], 0.0),  # a point
        ([3, 3, 3, 3], [3, 3, 3, 3], 0.0),  # two points: no area, no overlap
        ([0, 4, 10, 4], UNIT, 0.0),  # a line
    ],
)
def test_iou(a, b, expected):
    assert iou_matrix([a], [b]).tolist() == [[pytest.approx(expected, abs=1e-15)]]
    assert iou_matrix([b], [a]).tolist() == [[pytest.approx(expected, abs=1e-15)]]


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (2, 3)])
def test_iou_matrix_shape(n, m):
    assert iou_matrix(np.zeros((n, 4)), np.zeros((m, 4))).shape == (n, m)


@pytest.mark.parametrize(
    ("boxes", "scores", "class_ids", "kept"),
    [
        ([], [], None, []),
        ([UNIT, UNIT], [0.2, 0.9], None, [1]),  # the higher score stays
        ([UNIT, UNIT], [0.5, 0.5], None, [0]),  # of equal scores, the first
        ([UNIT, [0, 0, 10, 5]], [0.9, 0.8], None, [0, 1]),  # IoU of exactly 0.5 is not more than 0.5
        ([UNIT, [0, 0, 10, 5.1]], [0.9, 0.8], None, [0]),
        ([UNIT, UNIT], [0.2, 0.9], [0, 1], [1, 0]),  # other classes do not meet
        # The middle box goes because of the first; the third overlaps only the middle one and stays.
        ([[0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10]], [0.9, 0.8, 0.7], None, [0, 2]),
    ],
)
def test_nms(boxes, scores, class_ids, kept):
    assert nms(np.array(boxes), np.array(scores), 0.5, class_ids).tolist() == kept


@pytest.mark.parametrize(
    ("boxes", "targets", "options", "expected"),
    [
        ([], [], {}, []),
        ([UNIT], [], {}, [-1]),
        ([], [UNIT], {}, []),
        ([UNIT], [[500, 0, 510, 10]], {}, [-1]),  # 500 px away is no hit
        ([UNIT], [[0, 0, 10, 5]], {}, [0]),  # IoU of exactly 0.5 is a hit
        ([UNIT], [[0, 0, 10, 4.9]], {}, [-1]),
        ([UNIT, UNIT], [UNIT], {}, [0, -1]),  # a duplicate gets nothing
        ([[0, 0, 10, 8], UNIT], [UNIT], {}, [0, -1]),  # first come, though the second fits better
        ([UNIT, UNIT], [UNIT, [0, 0, 10, 9]], {}, [0, 1]),  # the second takes the second best
        ([UNIT], [[0, 0, 10, 9], UNIT], {}, [1]),  # the best, not the first
        ([UNIT], [[0, 0, 10, 9], UNIT], {"targets_in_order": True}, [0]),  # the first, not the best
        ([UNIT], [[0, 0, 10, 4], UNIT], {"targets_in_order": True}, [1]),  # but it must be acceptable
        ([UNIT], [UNIT, UNIT], {}, [0]),  # of equal IoU, the first
        ([[0, 0, 10, 2]], [UNIT], {}, [-1]),
        ([[0, 0, 10, 2]], [UNIT], {"accept": 0.2}, [0]),
        ([[0, 0, 1, 1]], [UNIT], {"accept": 0.2, "centre": True}, [0]),  # small, but inside
        ([[-1, 4, 1, 6]], [UNIT], {"accept": 0.2, "centre": True}, [0]),  # the centre lies on the edge
        ([[-2, 4, 1, 6]], [UNIT], {"accept": 0.2, "centre": True}, [-1]),  # it lies outside
        ([UNIT, UNIT], [UNIT, UNIT], {"groups": [1, 2], "target_groups": [2, 2]}, [-1, 0]),
    ],
)
def test_match(boxes, targets, options, expected):
    assert match(boxes, targets, **options).tolist() == expected


@pytest.mark.parametrize("pairs_at_once", [1, 7, 1 << 19])
def test_groups_equal_one_call_per_group(monkeypatch, pairs_at_once):
    monkeypatch.setattr(matching, "_PAIRS_AT_ONCE", pairs_at_once)
    rng = np.random.default_rng(0)

    def boxes(n):
        corner = rng.integers(0, 12, (n, 2))
        return np.hstack([corner, corner + rng.integers(1, 9, (n, 2))]).astype(float)

    a, b = boxes(80), boxes(40)
    groups, target_groups = rng.integers(0, 5, 80), rng.integers(0, 6, 40)
    scores = rng.integers(0, 9, 80) / 10
    together = match(a, b, 0.3, groups=groups, target_groups=target_groups)
    assert (together >= 0).sum() > 5
    kept = set(nms(a, scores, 0.3, groups).tolist())
    for group in range(5):
        mine, theirs = np.flatnonzero(groups == group), np.flatnonzero(target_groups == group)
        alone = match(a[mine], b[theirs], 0.3)
        assert together[mine].tolist() == [theirs[i] if i >= 0 else -1 for i in alone]
        assert kept & set(mine.tolist()) == set(mine[nms(a[mine], scores[mine], 0.3)].tolist())
