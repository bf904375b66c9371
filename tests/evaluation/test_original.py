from __future__ import annotations

import json

import pytest

from bonefx.errors import MetricsError
from bonefx.evaluation import report
from bonefx.labels import CLASSES
from bonefx.results import Identity
from bonefx.settings import packaged

V3 = {
    "version": 3,
    "metrics": {"AP50-95": 0.05, "AP50": 0.16, "AP-small": None, "F1@0.5": 0.18}
    | {f"Sensitivity@{rate} FP/image": 0.5 for rate in (0.5, 1.0, 2.0, 4.0)},
    "per_class_ap": {"elbow positive": 0.0, "humerus": 0.1},
    "froc_curve": [
        {"fp_per_image": fp, "sensitivity": s} for fp, s in [(0, 0.25), (0.1, 0.25), (0.1, 0.5), (0.9, 0.5)]
    ],
    "bad_class_lines": 0,
    "created_at": "2026-02-04 13:03:00",
}


def test_version_3_is_translated():
    old = report.loads(json.dumps(V3), "yolo", "YOLO")
    assert old["kind"] == "reported"
    assert old["detector"]["name"] == "YOLO"
    assert (old["coco"]["ap"], old["coco"]["ap50"], old["coco"]["ap_small"]) == (0.05, 0.16, None)
    assert {row["label"]: row["ap"] for row in old["coco"]["per_class"]} == V3["per_class_ap"]
    assert old["froc"]["any_fracture"] is None  # it matched within a class
    points = old["froc"]["class_aware"]["points"]
    assert [(p["fp_per_image"], p["sensitivity"], p["n"], p["lesions"], p["reached"]) for p in points] == [
        (0.5, 0.5, 2, 4, True),
        (1.0, 0.5, 2, 4, False),
        (2.0, 0.5, 2, 4, False),
        (4.0, 0.5, 2, 4, False),
    ]
    assert old["froc"]["class_aware"]["curve"]["fp_per_image"] == [0, 0.1, 0.9]
    assert (old["dataset"]["images"], old["dataset"]["boxes"]) == (10, 4)
    assert not report.applies_to(old, [Identity("any", "nms", 640)])
    assert report.threshold_for(old, 1.0) is None
    assert any("not measured here" in note for note in old["notes"])
    assert report.loads(report.dumps(old)) == old


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": None}, "metrics must be a valid dictionary"),
        ({"metrics": {"AP50": 16}}, "metrics.AP50 must be less than or equal to 1"),
        ({"froc_curve": [{"fp_per_image": 1}]}, r"froc_curve\[0\].sensitivity is missing"),
        ({"froc_curve": None}, "froc_curve must be a valid list"),
        ({"created_at": None}, "created_at must be a valid string"),
    ],
)
def test_a_broken_version_3_is_named(change, message):
    with pytest.raises(MetricsError, match=message):
        report.loads(json.dumps({**V3, **change}))


def test_version_3_without_a_curve():
    old = report.loads(json.dumps({**V3, "froc_curve": []}))
    assert old["froc"]["class_aware"]["curve"] is None
    assert old["dataset"]["boxes"] is None


@pytest.mark.parametrize(("name", "hits"), [("frcnn", 96), ("yolo", 48)])
def test_published_figures_are_packaged(name, hits):
    found = report.read(packaged("precomputed_metrics") / f"reported_{name}.json")
    assert found["kind"] == "reported"
    point = report.operating_point(found, 1.0, "class_aware")
    assert (point["n"], point["lesions"], found["dataset"]["images"]) == (hits, 204, 348)
    mean = sum(row["ap"] for row in found["coco"]["per_class"]) / len(CLASSES)
    assert found["coco"]["ap"] == pytest.approx(mean)


@pytest.mark.parametrize("value", [10**400, float("inf"), float("nan")])
def test_version_3_with_numbers_that_are_none(value):
    text = json.dumps({**V3, "froc_curve": [{"fp_per_image": value, "sensitivity": 0.5}]})
    with pytest.raises(MetricsError, match="fp_per_image must be a "):
        report.loads(text)
