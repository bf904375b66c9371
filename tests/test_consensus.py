"""The consensus: boxes of two models fused, as the paper says."""

from __future__ import annotations

import time

import numpy as np
import pytest

from bonefx.consensus import BEST_OF_EACH, CONSENSUS, IOU, fuse
from bonefx.detections import SCORE_FLOOR, Detections
from bonefx.detectors import MODELS
from bonefx.detectors.base import MAX_DETECTIONS
from bonefx.drawing import MODEL_STYLES
from bonefx.evaluation import predictions
from bonefx.labels import CLASSES

PLACE = [0, 0, 10, 10]
NEAR = [2, 0, 12, 10]  # IoU 2/3 with PLACE
FURTHER = [4, 0, 14, 10]  # IoU 2/3 with NEAR, 3/7 with PLACE
AWAY = [50, 50, 60, 60]
POINT = [5, 5, 5, 5]


def make(*rows: tuple[list[float], float, int]) -> Detections:
    boxes, scores, class_ids = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(np.array(boxes, float), scores, class_ids, ("its own name",) * len(rows))


def rows(found: Detections) -> list[tuple[list[float], float, int]]:
    boxes = found.boxes.astype(float).round(4).tolist()
    return list(
        zip(boxes, found.scores.astype(float).round(6).tolist(), found.class_ids.tolist(), strict=True)
    )


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([], [], []),
        # found by one of two: half of the score, the box as it is
        ([(PLACE, 0.8, 0)], [], [(PLACE, 0.4, 0)]),
        ([], [(PLACE, 0.8, 0)], [(PLACE, 0.4, 0)]),
        # found by both: mean score; corners weighted 3 to 1
        ([(PLACE, 0.6, 0)], [(NEAR, 0.2, 0)], [([0.5, 0, 10.5, 10], 0.4, 0)]),
        # another label is another place
        ([(PLACE, 0.6, 0)], [(PLACE, 0.4, 1)], [(PLACE, 0.3, 0), (PLACE, 0.2, 1)]),
        ([(PLACE, 0.6, 0)], [(AWAY, 0.4, 0)], [(PLACE, 0.3, 0), (AWAY, 0.2, 0)]),
        # two of one model count as two; a third lowers the mean and gains nothing
        ([(PLACE, 0.5, 0), (PLACE, 0.3, 0)], [], [(PLACE, 0.4, 0)]),
        ([(PLACE, 0.5, 0), (PLACE, 0.3, 0)], [(PLACE, 0.1, 0)], [(PLACE, 0.3, 0)]),
        # what joins is held against the fused box [1, 0, 11, 10], not against the first one
        (
            [(PLACE, 0.5, 0), (NEAR, 0.5, 0)],
            [([3, 0, 13, 10], 0.5, 0)],
            [([5 / 3, 0, 35 / 3, 10], 0.5, 0)],
        ),
        # of two clusters the nearer one
        (
            [(PLACE, 0.9, 0), (FURTHER, 0.8, 0)],
            [([3, 0, 13, 10], 0.4, 0)],
            [([11 / 3, 0, 41 / 3, 10], 0.6, 0), (PLACE, 0.45, 0)],
        ),
        # equally near to both: the one that began first
        (
            [(PLACE, 0.9, 0), (FURTHER, 0.8, 0)],
            [(NEAR, 0.3, 0)],
            [([0.5, 0, 10.5, 10], 0.6, 0), (FURTHER, 0.4, 0)],
        ),
        # boxes without area overlap nothing, not even themselves
        ([(POINT, 0.4, 0)], [(POINT, 0.2, 0)], [(POINT, 0.2, 0), (POINT, 0.1, 0)]),
        # half of it is below the floor
        ([(PLACE, 0.0015, 0)], [], []),
        # below the floor it does not take part
        ([(PLACE, 0.5, 0)], [(PLACE, 0.0005, 0)], [(PLACE, 0.25, 0)]),
        ([(PLACE, 0.0, 0)], [(PLACE, 0.0, 0)], []),
    ],
)
def test_by_the_paper(first, second, expected):
    expected = [(pytest.approx(box, abs=1e-3), pytest.approx(score), label) for box, score, label in expected]
    assert rows(fuse([make(*first), make(*second)])) == expected


def test_an_overlap_of_just_the_threshold_does_not_join():
    """IoU 11/20, exact in floats up to its last digit: 5.5 of 10 and 10."""
    first, second = make(([0, 0, 20, 1], 0.5, 0)), make(([0, 0, 11, 1], 0.4, 0))
    assert IOU == 11 / 20
    assert len(fuse([first, second])) == 2
    assert len(fuse([first, make(([0, 0, 11.001, 1], 0.4, 0))])) == 1


def test_ties_are_broken_by_model_then_by_place_in_the_list():
    tied = [make((PLACE, 0.5, 0), (AWAY, 0.5, 0)), make((FURTHER, 0.5, 0), (NEAR, 0.5, 0))]
    # NEAR comes last and lies as near to PLACE as to FURTHER: it joins PLACE.
    assert rows(fuse(tied)) == [([1, 0, 11, 10], 0.5, 0), (AWAY, 0.25, 0), (FURTHER, 0.25, 0)]


def test_only_the_best_of_each_take_part():
    many = make(*(([i * 20, 0, i * 20 + 10, 10], 0.9 - i / 1000, 0) for i in range(BEST_OF_EACH + 50)))
    found = fuse([many, make()])
    assert len(found) == BEST_OF_EACH
    assert found.scores.min() == pytest.approx((0.9 - (BEST_OF_EACH - 1) / 1000) / 2)


def test_it_is_what_evaluations_store_and_what_detectors_promise():
    assert BEST_OF_EACH == predictions.MAX_DETECTIONS
    assert len(CONSENSUS.members) * BEST_OF_EACH <= MAX_DETECTIONS
    assert set(CONSENSUS.members) <= set(MODELS)
    assert CONSENSUS.id not in MODELS
    assert CONSENSUS.id in MODEL_STYLES


def scene(rng: np.random.Generator, n: int, classes: int) -> tuple[Detections, Detections]:
    """Two models' random boxes in an image of 1000 by 1000; half of the second's lie near the first's."""
    corners, sides = rng.uniform(0, 800, (2, n, 2)), rng.uniform(20, 200, (2, n, 2))
    boxes = np.concatenate([corners, corners + sides], axis=2)
    labels = rng.integers(0, classes, (2, n))
    near = n // 2
    boxes[1, :near] = boxes[0, :near] + rng.normal(0, 5, (near, 4))
    labels[1, :near] = labels[0, :near]
    ends = boxes[..., :2], boxes[..., 2:]
    boxes = np.concatenate([np.minimum(*ends), np.maximum(*ends)], axis=2).clip(0, 1000)
    scores = rng.uniform(0.001, 1, (2, n))
    return tuple(Detections(*values, ("",) * n) for values in zip(boxes, scores, labels, strict=True))


def by_the_book(members: tuple[Detections, ...]) -> list[tuple[list[float], float, int]]:
    """The paper's steps, one box at a time."""

    def overlap(a, b):
        sides = [max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
        both = sides[0] * sides[1]
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
        return both / (sum(areas) - both) if both else 0.0

    listed = [row for member in members for row in zip(member.boxes.tolist(), member.scores.tolist(),
                                                       member.class_ids.tolist(), strict=True)]  # fmt: skip
    clusters: list[list] = []
    fused: list[list[float]] = []
    for box, score, label in sorted(listed, key=lambda row: -row[1]):
        near = [(overlap(fused[k], box), -k) for k in range(len(fused)) if clusters[k][0][2] == label]
        best, k = max(near, default=(0.0, 0))
        if best <= IOU:
            clusters.append([])
            fused.append([])
            k = 1 - len(clusters)
        clusters[-k].append((box, score, label))
        total = sum(score for _, score, _ in clusters[-k])
        fused[-k] = [sum(box[i] * score for box, score, _ in clusters[-k]) / total for i in range(4)]
    answer = []
    for box, cluster in zip(fused, clusters, strict=True):
        mean = sum(score for _, score, _ in cluster) / len(cluster)
        answer.append((box, mean * min(len(cluster), 2) / 2, cluster[0][2]))
    return sorted((row for row in answer if row[1] >= SCORE_FLOOR), key=lambda row: -row[1])


@pytest.mark.parametrize("seed", range(20))
def test_against_the_paper_s_steps_one_by_one(seed):
    rng = np.random.default_rng(seed)
    members = scene(rng, int(rng.integers(1, BEST_OF_EACH)), classes=2)
    found, expected = fuse(members), by_the_book(members)
    assert len(found) == len(expected)
    assert len(found) < sum(map(len, members))  # something was fused
    np.testing.assert_allclose(found.boxes, [box for box, _, _ in expected], atol=1e-3)
    np.testing.assert_allclose(found.scores, [score for _, score, _ in expected], rtol=1e-6)
    assert found.class_ids.tolist() == [label for _, _, label in expected]
    assert found.model_labels == tuple(CLASSES[label] for _, _, label in expected)
    assert found.boxes.dtype == np.float32
    assert (found.boxes >= 0).all()
    assert (found.boxes <= 1000).all()


def test_six_hundred_boxes_take_no_time():
    members = scene(np.random.default_rng(0), MAX_DETECTIONS, classes=1)
    fuse(members)
    start = time.process_time()
    fuse(members)
    assert time.process_time() - start < 0.2  # 4 ms on an idle core
