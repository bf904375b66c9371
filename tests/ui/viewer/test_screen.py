"""Which marks stand in which view, as far as a download repeats the screen."""

from __future__ import annotations

import pytest

from bonefx.agreement import agree
from bonefx.detections import Detections
from bonefx.errors import RequestError
from bonefx.inference import CHOICES
from bonefx.looks import OTHER_NAME, SAME_NAME
from bonefx.marks import places_of
from bonefx.results import Outcome
from bonefx.ui.viewer.screen import Screen, panes

# On one place twice, beside it, and far away; the second model sees two of these, one under another label.
FIRST = Detections(
    [[100, 100, 200, 200], [105, 100, 200, 200], [190, 100, 260, 200], [400, 500, 460, 560]],
    [0.9, 0.8, 0.5, 0.3],
    [5, 5, 5, 0],
    ("",) * 4,
)
SECOND = Detections([[100, 100, 200, 205], [400, 500, 460, 562]], [0.7, 0.6], [5, 2], ("",) * 2)
LESIONS = ({"label": "wrist positive", "box": {"x1": 95, "y1": 95, "x2": 205, "y2": 205}},)
LOW = {"faster-rcnn": 0.1, "yolo": 0.1}


def outcomes() -> list[Outcome]:
    facts = {"image": "a.png", "width": 600, "height": 700}
    return [
        Outcome(**facts, model=model, detections=found)
        for model, found in (("faster-rcnn", FIRST), ("yolo", SECOND))
    ]


def test_compare_has_a_pane_for_each_model():
    first, second = panes(Screen("compare", LOW, {"faster-rcnn": 0.6, "yolo": None}), outcomes())
    assert first.title == "F · Faster R-CNN: 4 marks"
    assert [(mark.text, mark.dashed, mark.faint) for mark in first.marks] == [
        ("F wrist 0.90 x2", False, False),
        ("F wrist 0.50", True, False),
        ("F elbow 0.30", True, False),
        ("", False, True),  # the same place once more
    ]
    assert {(mark.color, mark.line) for mark in first.marks} == {("#E69F00", "brackets")}
    assert all(mark.dashed for mark in second.marks)  # no score makes so few false alarms
    assert {mark.line for mark in second.marks} == {CHOICES["yolo"].look.line}


def test_one_model_has_its_own_view():
    (pane,) = panes(Screen("yolo", {"yolo": 0.65}), outcomes()[1:])
    assert [mark.text for mark in pane.marks] == ["Y wrist 0.70"]
    (none,) = panes(Screen("yolo", {"yolo": None}), outcomes()[1:])
    assert (none.title, none.marks) == ("Y · YOLO: no marks", ())


def test_agreement_shows_who_found_what():
    (pane,) = panes(Screen("agreement", LOW), outcomes())
    assert [(mark.text, len(mark.boxes), mark.color) for mark in pane.marks] == [
        ("F+Y wrist", 2, SAME_NAME.color),
        ("F/Y elbow / forearm", 2, OTHER_NAME.color),
        ("F wrist", 1, CHOICES["faster-rcnn"].look.color),
    ]
    assert (
        pane.title
        == "Agreement: 1 by both, 1 by both under different names, 1 only by Faster R-CNN, 0 only by YOLO"
    )


@pytest.mark.parametrize("truth", [True, False])
def test_the_truth_is_there_when_it_is_on_the_screen(truth):
    for view in ("compare", "agreement"):
        for pane in panes(Screen(view, LOW, truth=truth), outcomes(), LESIONS):
            assert ("broken: wrist" in [mark.text for mark in pane.marks]) is truth


@pytest.mark.parametrize("stricts", [{"yolo": "0.5"}, {"yolo": 1.5}])
def test_what_the_browser_sends_is_checked(stricts):
    with pytest.raises(RequestError):
        panes(Screen("yolo", {"yolo": 0.1}, stricts), outcomes()[1:])


def test_a_place_is_led_by_its_strongest_box():
    assert places_of(FIRST) == [[0, 1], [2], [3]]
    assert places_of(Detections.empty()) == []
    leaders = FIRST[[0, 2, 3]]
    assert agree(leaders, SECOND).both == ((0, 0),)
