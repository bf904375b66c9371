from __future__ import annotations

import math

import numpy as np
import pytest

from bonefx.evaluation import froc
from bonefx.evaluation.predictions import Predictions
from tests.evaluation import toy

BOX = [100, 100, 50, 50]
HALF = [100, 100, 50, 25]  # IoU 0.5 with BOX
CORNER = [110, 110, 10, 10]  # inside BOX, IoU 0.04
FAR = [600, 100, 50, 50]  # 500 px beside BOX
OUTSIDE = [-60, -60, 50, 50]


def judged(dataset, results, rule="any_fracture"):
    return froc.RULES[rule](dataset, Predictions.parse(results, len(dataset.images)))


def sensitivities(dataset, results, rule="any_fracture"):
    return [point["sensitivity"] for point in froc.operating_points(judged(dataset, results, rule))]


THREE = toy.dataset([[(0, BOX)], [(1, BOX)], [(2, BOX)]])
FREE = toy.dataset([[], []])

CASES = [
    # name, data set, results, rule, sensitivity at 1/8, 1/4, 1/2, 1, 2, 4, 8
    ("nothing found", THREE, [], "any_fracture", [0] * 7),
    # A public implementation drops the lowest score and gives 0.667 here.
    ("perfect", THREE, [(i, i, BOX, 0.9 - i / 10) for i in range(3)], "any_fracture", [1] * 7),
    ("perfect, all tied", THREE, [(i, i, BOX, 0.5) for i in range(3)], "any_fracture", [1] * 7),
    # Another counts this as a hit.
    ("one box, 500 px away", THREE, [(0, 0, FAR, 0.9)], "any_fracture", [0] * 7),
    ("boxes outside of the image", THREE, [(0, 0, OUTSIDE, 0.9)], "any_fracture", [0] * 7),
    ("IoU of exactly 0.5", THREE, [(i, i, HALF, 0.9) for i in range(3)], "any_fracture", [1] * 7),
    ("wrong classes, any fracture", THREE, [(i, 5, BOX, 0.9) for i in range(3)], "any_fracture", [1] * 7),
    ("wrong classes, class-aware", THREE, [(i, 5, BOX, 0.9) for i in range(3)], "class_aware", [0] * 7),
    # NMS removes duplicates before any-fracture matching; class-aware, each is a false positive.
    ("duplicate", THREE, [(0, 0, BOX, 0.9), (0, 0, BOX, 0.8), (1, 1, BOX, 0.7)], "any_fracture", [2 / 3] * 7),
    (
        "duplicate, class-aware: 1 false positive in 3 images",
        THREE,
        [(0, 0, BOX, 0.9), (0, 0, BOX, 0.8), (1, 1, BOX, 0.7)],
        "class_aware",
        [1 / 3, 1 / 3, *[2 / 3] * 5],
    ),
    # The two of the highest score come together: no threshold takes the hit without the false positive.
    (
        "tied hit and false positive",
        THREE,
        [(0, 0, BOX, 0.9), (0, 0, FAR, 0.9)],
        "any_fracture",
        [0, 0, *[1 / 3] * 5],
    ),
    ("centre inside", THREE, [(0, 0, CORNER, 0.9)], "any_fracture", [0] * 7),
    ("centre inside, lenient", THREE, [(0, 0, CORNER, 0.9)], "lenient", [1 / 3] * 7),
    ("no lesions", FREE, [(0, 0, BOX, 0.9)], "any_fracture", [None] * 7),
    ("no lesions, nothing found", FREE, [], "class_aware", [None] * 7),
]


@pytest.mark.parametrize(("name", "dataset", "rows", "rule", "expected"), CASES, ids=[c[0] for c in CASES])
def test_sensitivity(name, dataset, rows, rule, expected):
    assert sensitivities(dataset, toy.results(rows), rule) == expected


def test_false_positives_are_per_image_of_all_images():
    one_lesion = [(0, 0, FAR, 0.9), (0, 0, BOX, 0.8)]
    # 1 false positive in 1 image; in 8 images, 7 of them without a fracture, it is 1/8 per image.
    assert sensitivities(toy.dataset([[(0, BOX)]]), toy.results(one_lesion)) == [0, 0, 0, 1, 1, 1, 1]
    assert sensitivities(toy.dataset([[(0, BOX)], *[[]] * 7]), toy.results(one_lesion)) == [1] * 7


def test_threshold_is_the_highest_and_counts_what_it_equals():
    rows = [(0, 0, BOX, 0.9), (1, 5, FAR, 0.8), (1, 1, BOX, 0.7), (2, 5, FAR, 0.6), (2, 5, OUTSIDE, 0.5)]
    points = froc.operating_points(judged(THREE, toy.results(rows)))
    # 1/8 and 1/4: no false positive at all. 1/2: one in three images. Above, nothing more is found.
    assert [point["threshold"] for point in points] == [0.9, 0.9, *[0.7] * 5]
    assert [point["n"] for point in points] == [1, 1, *[2] * 5]
    # The curve ends at 3 false positives in 3 images.
    assert [point["reached"] for point in points] == [True] * 4 + [False] * 3


def test_threshold_of_no_detection_is_none():
    points = froc.operating_points(judged(THREE, toy.results([(0, 0, FAR, 0.9)])))
    assert {point["threshold"] for point in points} == {None}


def test_curve_has_its_corners_and_its_end():
    rows = [(0, 0, BOX, 0.9), (1, 5, FAR, 0.8), (1, 1, BOX, 0.7), (2, 5, FAR, 0.6), (2, 5, OUTSIDE, 0.5)]
    assert froc.curve(judged(THREE, toy.results(rows))) == {
        "fp_per_image": [0, 1 / 3, 1],
        "sensitivity": [1 / 3, 2 / 3, 2 / 3],
        "threshold": [0.9, 0.7, 0.5],
    }
    assert froc.curve(judged(THREE, [])) == {"fp_per_image": [], "sensitivity": [], "threshold": []}
    assert froc.curve(judged(FREE, [])) is None


@pytest.mark.parametrize(
    ("order", "hits"),
    [
        ("AB", 1),  # A fits both lesions and takes the better one, the only one that B fits
        ("BA", 2),  # B takes it, and A the other
    ],
)
def test_ties_keep_the_order_of_the_file(order, hits):
    dataset = toy.dataset([[(0, [0, 0, 100, 100]), (0, [0, 0, 100, 60])]])
    bbox = {"A": [0, 0, 100, 80], "B": [0, 20, 100, 80]}
    results = toy.results([(0, 0, bbox[name], 0.5) for name in order])
    assert judged(dataset, results, "class_aware").hits.sum() == hits


# A second FROC: literal, slow, and sharing no code with the first.


def _iou(a, b):
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)


def _accepts(rule, found, lesion):
    if rule == "class_aware" and found["category_id"] != lesion["category_id"]:
        return False
    (x, y, w, h), (left, top, width, height) = found["bbox"], lesion["bbox"]
    inside = left <= x + w / 2 <= left + width and top <= y + h / 2 <= top + height
    overlap = _iou(found["bbox"], lesion["bbox"])
    return overlap >= 0.2 or inside if rule == "lenient" else overlap >= 0.5


def literal_froc(coco, results, rule):
    """(rate, sensitivity, n, threshold, reached) by trying every threshold that there is."""
    kept = []
    for image in coco["images"]:
        mine = [r for r in results if r["image_id"] == image["id"] and r["score"] >= 0.001]
        mine = sorted(mine, key=lambda r: -r["score"])[:100]
        if rule != "class_aware":
            survivors = []
            for r in mine:
                if all(_iou(r["bbox"], s["bbox"]) <= 0.5 for s in survivors):
                    survivors.append(r)
            mine = survivors
        free = [a for a in coco["annotations"] if a["image_id"] == image["id"]]
        for r in mine:
            candidates = [a for a in free if _accepts(rule, r, a)]
            best = max(candidates, key=lambda a: _iou(r["bbox"], a["bbox"]), default=None)
            if best is not None:
                free.remove(best)
            kept.append((r["score"], best is not None))
    lesions, images = len(coco["annotations"]), len(coco["images"])
    rows = []
    for rate in (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8):
        best, threshold = 0, None
        for limit in sorted({score for score, _ in kept}, reverse=True):
            hits = sum(hit for score, hit in kept if score >= limit)
            false_positives = sum(not hit for score, hit in kept if score >= limit)
            if false_positives / images <= rate and hits > best:
                best, threshold = hits, limit
        reached = sum(not hit for _, hit in kept) / images >= rate
        rows.append((rate, best / lesions if lesions else math.nan, best, threshold, reached))
    return rows


@pytest.mark.parametrize("rule", froc.RULES)
@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_the_literal_froc(seed, rule):
    dataset, results = toy.random_case(seed, images=25, lesions=[0.0, 1.5, 4.0][seed % 3])
    points = froc.operating_points(judged(dataset, results, rule))
    for point, (rate, sensitivity, n, threshold, reached) in zip(
        points, literal_froc(dataset.to_coco(), results, rule), strict=True
    ):
        assert point["fp_per_image"] == rate
        mine = math.nan if point["sensitivity"] is None else point["sensitivity"]
        assert mine == pytest.approx(sensitivity, abs=1e-12, nan_ok=True)
        assert (point["n"], point["threshold"], point["reached"]) == (n, threshold, reached)


def test_top_score_of_an_image_without_detections_is_below_every_score():
    predictions = Predictions.parse(toy.results([(1, 0, BOX, 0.3), (1, 2, FAR, 0.7), (2, 0, BOX, 0.001)]), 3)
    assert froc.top_scores(THREE, predictions).tolist() == [0, 0.7, 0.001]
    assert np.all(predictions.scores > 0)
