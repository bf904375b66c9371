"""From outcomes to what the viewers show: thresholds, operating points, words about weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from bonefx.detections import Detections
from bonefx.results import Outcome, Runtime, Weights
from bonefx.ui.examples import examples
from bonefx.ui.session import Session
from bonefx.ui.viewer import panes

IMAGE = {"file": None, "deep": None, "width": 100, "height": 80, "alt": "an image"}
SHA = "0" * 64


def outcome(model: str, source: str = "bundled", **changes) -> Outcome:
    facts = {
        "image": "a.png",
        "width": 100,
        "height": 80,
        "model": model,
        "detections": Detections([[0, 0, 9, 9], [5, 5, 20, 20]], [0.6, 0.1], [0, 5], ("a", "b")),
        "weights": Weights(source, None, None, "<b>.pt", SHA),
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
    return {
        "froc": {"any_fracture": {"points": points, "curve": curve}},
        "dataset": {"images": 348},
        "calibration": None,
        "detector": {"members": [{"runtime": {"precision": "float32"}}]},
    }


def test_another_number_format_than_that_of_the_figures_is_told():
    eight = Runtime("openvino", "int8", "a processor")
    shown = panes.value(
        session(outcome("faster-rcnn", runtime=eight), outcome("yolo")), lambda each: report()
    )
    words = shown["operating"]["measured"].partition("data set. ")[2]
    assert words == "Faster R-CNN was measured in float32; this was computed in int8."
    unknown = {**report(), "detector": {"members": [{"runtime": None}]}}
    for made_by in (report(), unknown):
        shown = panes.value(
            session(outcome("faster-rcnn"), outcome("yolo")), lambda each, made_by=made_by: made_by
        )
        assert shown["operating"]["measured"].endswith("of one public data set.")


def test_before_the_first_image_there_is_nothing():
    assert panes.value(Session(), lambda outcome: None) is None


def test_without_metrics_raw_scores_and_a_reason():
    shown = panes.value(session(outcome("faster-rcnn"), outcome("yolo")), lambda outcome: None)
    assert [pane["threshold"] for pane in shown["panes"]] == [0.25, 0.25]
    assert shown["operating"]["points"] == []
    assert "No metrics belong to the weights of Faster R-CNN and YOLO" in shown["operating"]["message"]


def test_with_metrics_the_operating_points_are_offered():
    both = session(outcome("faster-rcnn"), outcome("yolo"))
    shown = panes.value(both, lambda outcome: report())["operating"]
    assert [point["label"] for point in shown["points"]] == ["1/8", "1/4", "1/2", "1", "2", "4", "8"]
    assert shown["points"][shown["selected"]]["thresholds"] == {"faster-rcnn": 0.3, "yolo": 0.3}
    assert "348 real radiographs" in shown["measured"]


def test_one_model_without_metrics_means_raw_scores_for_both():
    """At different prices a comparison would mislead."""
    reports = {"yolo": report(), "faster-rcnn": None}
    shown = panes.value(
        session(outcome("faster-rcnn"), outcome("yolo")), lambda outcome: reports[outcome.model]
    )
    assert shown["operating"]["points"] == []
    assert "Faster R-CNN" in shown["operating"]["message"]


def test_the_models_stand_side_by_side_and_have_an_agreement():
    shown = panes.value(session(outcome("faster-rcnn"), outcome("yolo")), lambda outcome: None)
    assert [pane["id"] for pane in shown["panes"]] == ["faster-rcnn", "yolo"]
    assert shown["agreement"]["of"] == ["faster-rcnn", "yolo"]


def details(*outcomes: Outcome) -> list[dict]:
    return panes.value(session(*outcomes), lambda outcome: None)["about"]["details"]


def test_details_say_which_weights_and_what_computed():
    (found,) = details(outcome("yolo", timings_ms={"total": 42.0}, notes=("why not others",)))
    assert dict(map(tuple, found["facts"])) == {
        "Weights": "<b>.pt, from the app itself",
        "SHA-256": SHA,
        "Computed by": "torch, float32, a processor",
        "Input": "384 px; NMS per class",
        "Time": "0.04 s",
    }
    assert found["notes"] == ["why not others"]


def test_a_failed_model_shows_its_reason():
    failed = outcome("yolo", detections=None, error="No weights of YOLO could be used.")
    shown = panes.value(session(failed), lambda outcome: None)
    assert shown["panes"][1]["error"] == "No weights of YOLO could be used."
    assert shown["about"]["details"][0]["error"] == "No weights of YOLO could be used."


@pytest.mark.parametrize(
    ("source", "demo", "words"),
    [
        ("bundled", True, "These small weights travel with the app; they are not the published models."),
        ("local", False, "YOLO: from a local file."),
        ("hub", False, "YOLO: from the Hub."),
    ],
)
def test_demo_weights_are_marked(source, demo, words):
    about = panes.value(session(outcome("yolo", source)), lambda outcome: None)["about"]
    assert about["demo"] is demo
    assert about["weights"] == words


def test_a_session_says_whose_image_it_is():
    about = panes.value(session(outcome("yolo")), lambda outcome: None)["about"]
    assert (about["name"], about["example"], about["deletable"]) == ("a.png", None, True)
    ours = next(iter(examples().values()))
    shown = panes.value(Session(ours.path, image=IMAGE, example=ours, choice=7), lambda outcome: None)
    about = shown["about"]
    assert (about["name"], about["example"], about["deletable"]) == ("Wrist 1", "wrist-1", False)
    assert (about["choice"], about["done"]) == (7, False)
    assert "no patient" in about["title"]
    assert shown["ground_truth"][0]["label"] == "wrist"
