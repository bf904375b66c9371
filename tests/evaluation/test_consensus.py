"""The consensus of stored predictions is that of the detections that were stored."""

from __future__ import annotations

import time

import numpy as np
import pytest

from bonefx.calibration import Calibration
from bonefx.consensus import CONSENSUS
from bonefx.detections import Detections
from bonefx.errors import DatasetError
from bonefx.evaluation import consensus
from bonefx.evaluation.store import to_rows
from bonefx.fusion import fuse
from tests.evaluation import toy

VERSIONS = {"bonefx": "1", "torch": "2"}


def found(rng: np.random.Generator, n: int) -> Detections:
    """Random detections that survive the rounding of stored ones."""
    corners, sides = rng.integers(0, 300, (n, 2)), rng.integers(20, 200, (n, 2))
    scores = rng.integers(1000, 10**6, n) / 10**6
    return Detections(np.hstack([corners, corners + sides]), scores, rng.integers(0, 3, n), ("",) * n)


def test_it_is_what_a_person_sees_of_the_same_detections():
    """More than an evaluation stores of an image, and images in which one or both found nothing."""
    rng = np.random.default_rng(0)
    counts = [(150, 300), (0, 0), (3, 0), (0, 5), (20, 20), (0, 0)]
    seen = [tuple(found(rng, n) for n in pair) for pair in counts]
    stored = [
        [row for image_id, pair in enumerate(seen, 1) for row in to_rows(image_id, pair[i])] for i in (0, 1)
    ]
    calibrations = [Calibration(0.8, -1.0), None]
    made = consensus.results(toy.dataset([[]] * len(seen)), stored, calibrations)
    assert sorted({row["image_id"] for row in made}) == [1, 3, 4, 5]
    for image_id, pair in enumerate(seen, 1):
        rows = [row for row in made if row["image_id"] == image_id]
        live = fuse(pair, calibrations)[:100]
        assert [row["category_id"] - 1 for row in rows] == live.class_ids.tolist()
        # Stored scores are rounded down: what is seen reaches every threshold that comes from them.
        lower = live.scores - [row["score"] for row in rows]
        assert (lower > -1e-7).all()
        assert (lower < 1e-5).all()
        corners = np.array([row["bbox"] for row in rows]).reshape(-1, 4)
        np.testing.assert_allclose(corners[:, :2] + corners[:, 2:], live.boxes[:, 2:], atol=0.02)


def test_the_order_of_the_rows_does_not_matter():
    dataset, rows = toy.random_case(2)
    other = toy.random_case(3)[1]
    made = consensus.results(dataset, [rows, other], [None, None])
    by_image = [sorted(each, key=lambda row: row["image_id"]) for each in (rows, other)]
    assert consensus.results(dataset, by_image, [None, None]) == made
    assert made


def test_a_bad_entry_is_named():
    with pytest.raises(DatasetError, match="Entry 0"):
        consensus.results(toy.dataset([[]]), [[], [{"image_id": 7}]], [None, None])


def of_model(name: str, file: str, total: float, processor: str, **versions: str) -> dict:
    return {
        "detector": toy.detector(name, file),
        "versions": {**VERSIONS, **versions},
        "timing": {"ms_per_image": {"network": 1.0, "total": total}, "processor": processor},
    }


def test_how_it_is_described():
    first = of_model("Faster R-CNN", "a.pth", 100.25, "one", torch="3")
    second = of_model("YOLO", "b.pt", 50.5, "one", opencv="4")
    described = consensus.described([first, second])
    assert described["detector"] == {
        "id": "consensus",
        "name": "Consensus",
        "method": CONSENSUS.method,
        "members": [*first["detector"]["members"], *second["detector"]["members"]],
    }
    assert described["versions"] == {"bonefx": "1", "opencv": "4", "torch": "3, 2"}
    ms = {"Faster R-CNN": 100.25, "YOLO": 50.5, "total": 150.75}
    assert described["timing"] == {"ms_per_image": ms, "processor": "one"}
    (note,) = described["notes"]
    assert "not measured" in note


@pytest.mark.slow
def test_time_grows_with_the_number_of_images():
    """2,000 images of 20 detections, as a part of the largest set that is foreseen."""
    rng = np.random.default_rng(1)
    stored = [[row for i in range(1, 2001) for row in to_rows(i, found(rng, 10))] for _ in range(2)]
    start = time.process_time()
    consensus.results(toy.dataset([[]] * 2000), stored, [None, None])
    assert time.process_time() - start < 20  # 2 s on an idle core
