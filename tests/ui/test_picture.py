"""The picture that is taken away: the screen's views, line code and labels, none hidden by another."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageColor, ImageFont

from bonefx.agreement import agree
from bonefx.detections import Detections
from bonefx.errors import RequestError
from bonefx.inference import Outcome
from bonefx.ui.picture import Mark, Pane, draw, free_place
from bonefx.ui.screen import Screen, panes, places_of
from bonefx.ui.viewer import AGREEMENT_LOOKS, LOOKS

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
    assert {mark.line for mark in second.marks} == {LOOKS["yolo"]["line"]}


def test_one_model_has_its_own_view():
    (pane,) = panes(Screen("yolo", {"yolo": 0.65}), outcomes()[1:])
    assert [mark.text for mark in pane.marks] == ["Y wrist 0.70"]
    (none,) = panes(Screen("yolo", {"yolo": None}), outcomes()[1:])
    assert (none.title, none.marks) == ("Y · YOLO: no marks", ())


def test_agreement_shows_who_found_what():
    (pane,) = panes(Screen("agreement", LOW), outcomes())
    assert [(mark.text, len(mark.boxes), mark.color) for mark in pane.marks] == [
        ("F+Y wrist", 2, AGREEMENT_LOOKS["both"]["color"]),
        ("F/Y elbow / forearm", 2, AGREEMENT_LOOKS["other label"]["color"]),
        ("F wrist", 1, LOOKS["faster-rcnn"]["color"]),
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


def test_labels_are_clear_of_each_other_however_crowded():
    rng = np.random.default_rng(0)
    font = ImageFont.load_default(14)
    corners = rng.integers(100, 200, (25, 2))
    boxes = [(x, y, x + 80, y + 80) for x, y in corners.tolist()]
    taken = []
    for box in boxes:
        taken.append(free_place((600, 700), box, "F wrist 0.50", font, taken, boxes))
    for i, a in enumerate(taken):
        assert a[0] >= 0 and a[1] >= 0 and a[2] <= 600 and a[3] <= 700  # noqa: PT018
        for b in taken[:i]:
            assert min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1])


def test_a_label_is_not_put_on_its_own_box():
    font = ImageFont.load_default(14)
    for box in ((200, 200, 300, 300), (0, 0, 60, 60), (540, 640, 599, 699)):
        left, top, right, bottom = free_place((600, 700), box, "F wrist", font, [], [box])
        assert min(right, box[2]) <= max(left, box[0]) or min(bottom, box[3]) <= max(top, box[1])


@pytest.mark.parametrize("line", ["brackets", "double", "crossed", "plain", "slashed", "dotted"])
def test_each_line_is_another(line):
    def painted(kind: str) -> np.ndarray:
        mark = Mark(((100.0, 100.0, 500.0, 500.0),), "", "#FF0000", kind)
        image = draw(np.full((900, 900, 3), 90, np.uint8), [Pane("", (mark,))], [])
        return (np.asarray(image) == ImageColor.getrgb("#FF0000")).all(axis=2)

    own = painted(line)
    assert own.any()
    for other in {"brackets", "double", "crossed", "plain", "slashed", "dotted"} - {line}:
        assert (own != painted(other)).any()


def test_panes_stand_side_by_side_above_the_caption():
    rgb = np.full((900, 600, 3), (77, 10, 10), np.uint8)
    image = np.asarray(draw(rgb, [Pane("one", ()), Pane("two", ())], ["below"]))
    assert image.shape[1] >= 1200
    assert (image == (77, 10, 10)).all(axis=2).sum() == 2 * 900 * 600
