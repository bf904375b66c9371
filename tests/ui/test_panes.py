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


def report() -> dict:
    """As much of a metrics report as the control needs."""
    points = [{"fp_per_image": 1.0, "sensitivity": 0.5, "interval": [0.4, 0.6], "reached": True}]
    curve = {"fp_per_image": [0.1, 0.9], "sensitivity": [0.3, 0.5], "threshold": [0.6, 0.3]}
    return {"froc": {"any_fracture": {"points": points, "curve": curve}}, "dataset": {"images": 348}}


def test_before_the_first_image_there_is_nothing():
    assert panes.value(Session(), ["yolo"], lambda outcome: None) is None
    assert panes.provenance(Session(), ["yolo"]) == ""


def test_without_metrics_raw_scores_and_a_reason():
    shown = panes.value(session(outcome("yolo")), ["yolo"], lambda outcome: None)
    assert shown["panes"][0]["threshold"] == 0.25
    assert shown["operating"]["points"] == []
    assert "No metrics belong to the weights of YOLO" in shown["operating"]["message"]


def test_with_metrics_the_operating_points_are_offered():
    both = session(outcome("faster-rcnn"), outcome("yolo"))
    shown = panes.value(both, ["faster-rcnn", "yolo"], lambda outcome: report())["operating"]
    assert [point["label"] for point in shown["points"]] == ["1/8", "1/4", "1/2", "1", "2", "4", "8"]
    assert shown["points"][shown["selected"]]["thresholds"] == {"faster-rcnn": 0.3, "yolo": 0.3}


def test_one_model_without_metrics_means_raw_scores_for_both():
    """At different prices a comparison would mislead."""
    reports = {"yolo": report(), "faster-rcnn": None}
    shown = panes.value(
        session(outcome("faster-rcnn"), outcome("yolo")),
        ["faster-rcnn", "yolo"],
        lambda outcome: reports[outcome.model],
    )
    assert shown["operating"]["points"] == []
    assert "Faster R-CNN" in shown["operating"]["message"]


def test_two_models_come_with_their_agreement():
    both = session(outcome("faster-rcnn"), outcome("yolo"))
    assert panes.value(both, ["yolo"], lambda outcome: None)["agreement"] is None
    shown = panes.value(both, ["faster-rcnn", "yolo"], lambda outcome: None)["agreement"]
    assert shown["of"] == ["faster-rcnn", "yolo"]


def test_a_consensus_names_the_weights_of_its_members():
    members = tuple(
        {"model": model, "weights": {**outcome(model).weights, "file": f"{model}.pt"}}
        for model in ("faster-rcnn", "yolo")
    )
    fused = outcome("consensus", weights=None, runtime=None, members=members)
    (pane,) = panes.value(session(fused), ["consensus"], lambda outcome: None)["panes"]
    assert (pane["title"], pane["tag"]) == ("Consensus", "C")
    assert pane["subtitle"] == "of Faster R-CNN and YOLO · 1.2 s"
    text = panes.provenance(session(fused), ["consensus"])
    assert "faster-rcnn.pt" in text
    assert "yolo.pt" in text


def test_a_failed_model_shows_its_reason():
    failed = outcome("yolo", detections=None, error="No weights of YOLO could be used.")
    shown = panes.value(session(failed), ["yolo"], lambda outcome: None)
    assert shown["panes"][0]["error"] == "No weights of YOLO could be used."


@pytest.mark.parametrize(("ms", "words"), [(1234.0, "1.2 s on a processor"), (42.0, "0.04 s on a processor")])
def test_the_time_taken_and_by_what(ms, words):
    quick = outcome("yolo", timings_ms={"total": ms})
    shown = panes.value(session(quick), ["yolo"], lambda outcome: None)
    assert shown["panes"][0]["subtitle"] == f"bundled demo weights · {words}"


@pytest.mark.parametrize(("source", "loud"), [("bundled", True), ("hub", False), ("local", False)])
def test_demo_weights_are_marked(source, loud):
    text = panes.provenance(session(outcome("yolo", source)), ["yolo"])
    assert ("Demo weights." in text) is loud
    assert SHA[:12] in text


def test_what_comes_from_outside_is_escaped():
    hostile = "<script>alert(1)</script>"
    text = panes.provenance(session(outcome("yolo", notes=(hostile,))), ["yolo"])
    assert "<script>" not in text
    assert "<b>.pt" not in text
