from __future__ import annotations

import contextlib
import copy
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bonefx.evaluation.coco import average_precision
from bonefx.evaluation.predictions import Predictions
from bonefx.labels import CLASSES
from tests.evaluation import toy

NAMES = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar_1", "ar_10", "ar_100", "ar_small", "ar_medium", "ar_large"),
)  # in the order of COCOeval.stats


def figures(dataset, results):
    return average_precision(dataset, Predictions.parse(results, len(dataset.images)))


def direct(dataset, results) -> COCOeval:
    """pycocotools as its own demo calls it: all classes and images at once."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dataset.to_coco()
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("seed", range(6))
def test_equals_pycocotools(seed):
    dataset, results = toy.random_case(seed, lesions=[0.7, 1.5, 4.0][seed % 3])
    mine, theirs = figures(dataset, results), direct(dataset, results)
    stats = [None if value == -1 else value for value in theirs.stats]
    assert [mine[name] for name in NAMES] == pytest.approx(stats, abs=1e-9)
    precision = theirs.eval["precision"][..., 0, -1]
    for k, row in enumerate(mine["per_class"]):
        assert row["label"] == CLASSES[k]
        assert row["boxes"] == (dataset.class_ids == k).sum()
        if row["boxes"]:
            assert row["ap"] == pytest.approx(precision[:, :, k].mean(), abs=1e-9)
            assert row["ap50"] == pytest.approx(precision[0, :, k].mean(), abs=1e-9)
    defined = precision[0][:, precision[0, 0] > -1]
    assert mine["precision_recall"]["precision"] == pytest.approx(defined.mean(axis=1).tolist(), abs=1e-9)


def test_class_without_ground_truth_is_undefined_and_left_out_of_the_mean():
    box = [10, 10, 50, 50]
    found = figures(toy.dataset([[(0, box)]]), toy.results([(0, 0, box, 0.9), (0, 5, box, 0.8)]))
    assert found["ap"] == pytest.approx(1)
    assert [row["ap"] for row in found["per_class"]] == [pytest.approx(1), None, None, None, None, None]


@pytest.mark.parametrize(
    ("lesions", "rows", "ap"),
    [
        ([[(0, [10, 10, 50, 50])]], [], 0.0),  # nothing found (loadRes would fail)
        ([[]], [(0, 0, [10, 10, 50, 50], 0.9)], None),  # no lesions
        ([[], []], [], None),  # nothing at all
    ],
)
def test_empty(lesions, rows, ap):
    found = figures(toy.dataset(lesions), toy.results(rows))
    assert found["ap"] == ap
    assert found["ar_small"] is None
    assert len(found["precision_recall"]["precision"]) == 101


def test_fracture_free_images_count():
    box = [10, 10, 50, 50]
    rows = toy.results([(0, 0, box, 0.5), (1, 0, box, 0.9)])
    assert figures(toy.dataset([[(0, box)], []]), rows)["ap50"] == pytest.approx(0.5)


def test_says_nothing(capsys):
    dataset, results = toy.random_case(0)
    figures(dataset, results)
    assert capsys.readouterr() == ("", "")
    assert np.isfinite(figures(dataset, results)["ap"])
