"""Figures in the midst of training are those of an evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from bonefx.detectors import yolo
from bonefx.detectors.base import Stopwatch
from bonefx.evaluation import score
from bonefx.evaluation.store import to_rows
from bonefx.settings import packaged
from bonefx.training import data
from bonefx.training.validation import RATES, measure
from tests.training import toy


@pytest.mark.slow
def test_the_figures_are_those_of_an_evaluation(tmp_path):
    dataset = data.load(toy.write(tmp_path / "set")).dataset
    detector = yolo.load(packaged("bundled") / "yolo26n_512.pt")
    rows = []
    for image_id, image in enumerate(dataset.images, 1):
        rows += to_rows(image_id, detector.detect(data.read_image(image.path), Stopwatch()))
    whole = score(dataset, rows).figures
    (any_fracture,) = (p for p in whole["froc"]["any_fracture"]["points"] if p["fp_per_image"] == 1.0)
    (class_aware,) = (p for p in whole["froc"]["class_aware"]["points"] if p["fp_per_image"] == 1.0)
    froc = whole["froc"]["any_fracture"]["points"]
    mean = np.mean([point["sensitivity"] for point in froc if point["fp_per_image"] in RATES])
    assert measure(detector, [dataset]) == pytest.approx(
        {
            "set: ap": whole["coco"]["ap"],
            "set: ap50": whole["coco"]["ap50"],
            "set: any_fracture": any_fracture["sensitivity"],
            "set: class_aware": class_aware["sensitivity"],
            "mean_sensitivity": mean,
        }
    )


@pytest.mark.slow
def test_each_set_counts_the_same_in_what_decides(tmp_path):
    """A set of many images does not drown one of few."""
    detector = yolo.load(packaged("bundled") / "yolo26n_512.pt")
    large = data.load(toy.write(tmp_path / "large", images=9)).dataset
    small = data.load(toy.write(tmp_path / "small", images=3)).dataset
    alone = [measure(detector, [dataset])["mean_sensitivity"] for dataset in (large, small)]
    assert measure(detector, [large, small])["mean_sensitivity"] == pytest.approx(np.mean(alone))
