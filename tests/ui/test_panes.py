"""From outcomes to what the viewers show: thresholds, operating points, words about weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from bonefx.detections import Detections
from bonefx.detectors.base import Runtime
from bonefx.inference import Outcome
from bonefx.ui import panes
from bonefx.ui.session import Session

IMAGE = {"file": None, "deep": None, "width": 100, "height": 80, "alt": "an image"}
SHA = "0" * 64


def outcome(model: str, source: str = "bundled", **changes) -> Outcome:
    facts = {
        "image": "a.png",
        "width": 100,
        "height": 80,
        "model": model,
        "detections": Detections([[0, 0, 9, 9], [5, 5, 20, 20]], [0.6, 0.1], [0, 5], ("a", "b")),
        "weights": {"source": source, "repo": None, "revision": None, "file": "<b>.pt", "sha256": SHA},
        "runtime": Runtime("torch", "float32", "a processor"),
        "nms": "per class",
        "image_size": 384,
        "timings_ms": {"total": 1200.0},
    }
    return Outcome(**{**facts, **changes})


def session(*outcomes: Outcome) -> Session:
    return Session(path=Path("a.png"), image=IMAGE, outcomes=outcomes)


def report(threshold: float = 0.3) -> dict:
    """As much of a metrics report as the control needs: every rate up to 1 finds half, later ones more."""
    rates = list(panes.RATES)
    points = [{"fp_per_image": r, "sensitivity": 0.5, "interval": [0.4, 0.6], "reached": True} for r in rates]
    curve = {"fp_per_image": [0.1, 0.9], "sensitivity": [0.3, 0.5], "threshold": [threshold * 2, threshold]}
    return {"froc": {"any_fracture": {"points": points, "curve": curve}}, "dataset": {"images": 348}}


def test_before_the_first_image_there_is_nothing():
    assert panes.value(Session(), ["yolo"], panes.default_choice(), lambda outcome: None) is None
    assert panes.provenance(Session()) == ""


def test_without_metrics_raw_scores_and_a_reason():
    shown = panes.value(session(outcome("yolo")), ["yolo"], panes.default_choice(), lambda outcome: None)
    assert shown["panes"][0]["threshold"] == 0.25
    assert shown["operating"]["points"] == []
    assert "No metrics belong to the weights of YOLO" in shown["operating"]["message"]


def test_with_metrics_each_model_has_the_threshold_of_the_same_rate():
    reports = {"yolo": report(0.3), "faster-rcnn": report(0.05)}
    shown = panes.value(
        session(outcome("faster-rcnn"), outcome("yolo")),
        ["faster-rcnn", "yolo"],
        panes.default_choice(),
        lambda outcome: reports[outcome.model],
    )
    assert shown["operating"]["selected"] == list(panes.RATES).index(1.0)
    assert [pane["threshold"] for pane in shown["panes"]] == [0.05, 0.3]
    assert [pane["strict"] for pane in shown["panes"]] == [0.1, 0.6]  # that of a quarter of the rate
    assert "50 % of fractures (40 to 60 %)" in shown["panes"][0]["note"]


def test_one_model_without_metrics_means_raw_scores_for_both():
    """At different prices a comparison would mislead."""
    reports = {"yolo": report(), "faster-rcnn": None}
    shown = panes.value(
        session(outcome("faster-rcnn"), outcome("yolo")),
        ["faster-rcnn", "yolo"],
        panes.default_choice(),
        lambda outcome: reports[outcome.model],
    )
    assert shown["operating"]["points"] == []
    assert "Faster R-CNN" in shown["operating"]["message"]


def test_a_score_that_was_set_holds():
    chosen = {"thresholds": {"yolo": 0.07, "faster-rcnn": 0.25}, "point": None}
    shown = panes.value(session(outcome("yolo")), ["yolo"], chosen, lambda outcome: report())
    assert shown["operating"]["selected"] is None
    assert panes.thresholds_of(shown) == {"yolo": 0.07}


def test_a_failed_model_shows_its_reason():
    failed = outcome("yolo", detections=None, error="No weights of YOLO could be used.")
    shown = panes.value(session(failed), ["yolo"], panes.default_choice(), lambda outcome: None)
    assert shown["panes"][0]["error"] == "No weights of YOLO could be used."


@pytest.mark.parametrize(("ms", "words"), [(1234.0, "1.2 s on a processor"), (42.0, "0.04 s on a processor")])
def test_the_time_taken_and_by_what(ms, words):
    quick = outcome("yolo", timings_ms={"total": ms})
    shown = panes.value(session(quick), ["yolo"], panes.default_choice(), lambda outcome: None)
    assert shown["panes"][0]["subtitle"] == f"bundled demo weights · {words}"


@pytest.mark.parametrize(("source", "loud"), [("bundled", True), ("hub", False), ("local", False)])
def test_demo_weights_are_marked(source, loud):
    text = panes.provenance(session(outcome("yolo", source)))
    assert ("Demo weights." in text) is loud
    assert SHA[:12] in text


def test_what_comes_from_outside_is_escaped():
    hostile = "<script>alert(1)</script>"
    text = panes.provenance(session(outcome("yolo", notes=(hostile,))))
    assert "<script>" not in text
    assert "<b>.pt" not in text
