"""Operating points: rates to scores, and what is said where there is none."""

from __future__ import annotations

import math

import pytest

from bonefx import inference
from bonefx.detections import Detections
from bonefx.errors import RequestError
from bonefx.results import Outcome
from bonefx.ui import operating


def report() -> dict:
    """As much of a metrics report as matters here: nothing is hit before 0.2 false positives an image."""
    points = [
        {"fp_per_image": 0.125, "sensitivity": 0.0, "interval": [0.0, 0.1], "reached": True},
        {"fp_per_image": 1.0, "sensitivity": 0.5, "interval": [0.4, 0.6], "reached": True},
    ]
    curve = {"fp_per_image": [0.1, 0.2, 0.9], "sensitivity": [0.0, 0.3, 0.5], "threshold": [0.9, 0.6, 0.3]}
    any_fracture = {"points": points, "curve": curve}
    return {"froc": {"any_fracture": any_fracture}, "dataset": {"images": 348}, "calibration": None}


def outcome(**changes) -> Outcome:
    found = Detections([[0, 0, 9, 9], [5, 5, 20, 20]], [1.0, 0.1], [0, 5], ("a", "b"))
    facts = {"model": "yolo", "detections": found, "timings_ms": {"total": 1.0}}
    return Outcome("a.png", 100, 80, **{**facts, **changes})


@pytest.mark.parametrize("value", [0.125, 1, 100])
def test_rates(value):
    assert operating.check_rate(value) == value


@pytest.mark.parametrize("value", [0, -1, 100.1, math.nan, math.inf, "1/4", True, None])
def test_what_is_no_rate_gets_a_sentence(value):
    with pytest.raises(RequestError, match="above 0 and at most 100"):
        operating.check_rate(value)


@pytest.mark.parametrize(
    ("rate", "score", "said"),
    [
        (1.0, 0.3, {"fp_per_image": 1.0, "sensitivity": 0.5, "interval": [0.4, 0.6]}),
        # between the rates that the report lists: from the curve, and without an interval
        (0.3, 0.6, {"fp_per_image": 0.3, "sensitivity": 0.3, "interval": None}),
        (0.125, math.inf, {"fp_per_image": 0.125, "sensitivity": 0.0, "interval": [0.0, 0.1]}),
    ],
)
def test_a_rate_has_a_score_and_a_sensitivity(rate, score, said):
    results, scores = operating.Cut.requested(None, rate).results([outcome()], lambda each: report())
    assert scores == [score]
    assert results[0]["operating_point"] == said


@pytest.mark.parametrize(
    ("slope", "offset", "share"),
    [
        (1.0, 0.0, 0.1),  # the score itself
        (0.5, 0.0, 0.25),  # the odds 1 to 9 become 1 to 3
        (1.0, math.log(9), 0.5),
        (None, None, 0.1),  # a consensus: its scores are shares
    ],
)
def test_a_detection_tells_how_many_marks_like_it_lie_on_a_fracture(slope, offset, share):
    calibrated = {**report(), "calibration": {"slope": slope, "offset": offset}}
    low = outcome(detections=Detections([[0, 0, 9, 9]], [0.1], [0], ("a",)))
    cut = operating.Cut(fp_per_image=4.0)
    points = calibrated["froc"]["any_fracture"]["points"]
    points.append(
        {"fp_per_image": 4.0, "sensitivity": 0.5, "interval": None, "threshold": 0.1, "reached": True}
    )
    calibrated["froc"]["any_fracture"]["curve"]["threshold"][-1] = 0.1
    (result,), _ = cut.results([low], lambda each: calibrated)
    assert [record["share"] for record in result["detections"]] == [share]
    (silent,), _ = cut.results([low], lambda each: {**calibrated, "calibration": None})
    (raw,), _ = operating.Cut(0.1).results([low], lambda each: calibrated)
    assert ["share" in record for record in silent["detections"] + raw["detections"]] == [False, False]


NO_CURVE = {**report(), "froc": {"any_fracture": None}}


@pytest.mark.parametrize("missing", [None, NO_CURVE])
def test_without_metrics_of_one_model_a_strict_cut_is_refused_and_another_is_the_score(missing):
    both = [outcome(), outcome(model="faster-rcnn")]
    reports = {"yolo": report(), "faster-rcnn": missing}
    with pytest.raises(RequestError, match="No metrics belong to the weights of Faster R-CNN"):
        operating.Cut(fp_per_image=1.0).results(both, lambda each: reports[each.model])
    lenient = operating.Cut(0.2, 1.0, strict=False)
    results, scores = lenient.results(both, lambda each: reports[each.model])
    assert scores == [0.2, 0.2]
    assert [result["operating_point"] for result in results] == [None, None]


def test_a_failure_needs_no_metrics():
    failed = outcome(detections=None, error="It failed.")
    (result,), _ = operating.Cut(fp_per_image=1.0).results([failed], lambda each: None)
    assert result["error"] == "It failed."


def test_points_of_the_viewer():
    points = operating.viewer_points({"yolo": report()})
    assert [point["fp_per_image"] for point in points] == list(operating.RATES)
    by_rate = {point["fp_per_image"]: point for point in points}
    assert by_rate[0.125]["thresholds"] == {"yolo": None}  # no score makes so few
    assert by_rate[1.0]["thresholds"] == {"yolo": 0.3}
    assert by_rate[1.0]["strict"] == {"yolo": 0.6}  # that of a quarter of the rate
    assert by_rate[1.0]["notes"] == {"yolo": "finds 50 % of fractures at this setting (40 to 60 %)"}


def test_notes_on_hospital_pictures_are_of_the_very_threshold_that_is_used():
    away = report()
    curve = {"fp_per_image": [0.2, 0.9, 3.0], "sensitivity": [0.05, 0.1, 0.4], "threshold": [0.7, 0.3, 0.1]}
    away["froc"] = {**away["froc"], "any_fracture": {**away["froc"]["any_fracture"], "curve": curve}}
    by_rate = {
        point["fp_per_image"]: point for point in operating.viewer_points({"yolo": report()}, {"yolo": away})
    }
    assert by_rate[1.0]["thresholds"] == {"yolo": 0.3}
    assert by_rate[1.0]["notes"]["yolo"] == (
        "finds 10 % of fractures on hospital pictures (0.9 false alarms per image)"
    )
    alone = operating.viewer_points({"yolo": report()}, {"yolo": None})
    assert alone == operating.viewer_points({"yolo": report()})


def test_above_an_infinite_threshold_there_is_nothing_and_that_is_said():
    result = operating.result_above(outcome(), math.inf)
    assert (result["threshold"], result["detections"]) == (1.0, [])
    assert "no detection is shown" in result["notes"][-1]
    assert (
        len(operating.result_above(outcome(), 1.0)["detections"]) == 1
    )  # a score of 1 is above a threshold of 1
    assert "error" in operating.result_above(outcome(detections=None, error="It failed."), math.inf)


def test_agreement_is_that_above_each_own_threshold():
    both = [outcome(model="faster-rcnn"), outcome(model="yolo")]
    pair = ("yolo", "faster-rcnn")
    found = inference.agreement_of(both, [0.0, 0.0], pair)
    assert len(found["both"]) == 2
    assert list(found["only"]) == list(pair)
    assert inference.agreement_of([both[0], outcome(detections=None, error="no")], [0.0, 0.0], pair) is None
