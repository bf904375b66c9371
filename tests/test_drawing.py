"""The picture that is taken away: marks where they belong, as on the screen, and text that can be read."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from PIL import ImageColor, ImageFont

from bonefx.detections import Detections
from bonefx.drawing import Mark, Pane, draw, free_place, thumbnail
from bonefx.inference import CHOICES
from bonefx.looks import BROUGHT, TRUTH
from bonefx.marks import marks_of

RED = "#FF0000"
LOOKS = [*(choice.look for choice in CHOICES.values()), TRUTH]
LINES = ["brackets", "double", "crossed", "plain", "slashed", "dotted"]


def blank(height: int, width: int, level: int = 0) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def drawn(rgb: np.ndarray, *marks: Mark, title: str = "", caption: tuple[str, ...] = ()) -> np.ndarray:
    return np.asarray(draw(rgb, [Pane(title, marks)], caption))


def red(image: np.ndarray) -> np.ndarray:
    return (image == ImageColor.getrgb(RED)).all(axis=2)


def test_a_mark_is_drawn_on_its_box_and_nowhere_else():
    rgb = blank(900, 1000)
    shown = red(drawn(rgb, Mark(((200, 300, 500, 600),), "", RED, "plain")))
    assert shown.shape == rgb.shape[:2]
    for line in (shown[300, 200:501], shown[600, 200:501], shown[300:601, 200], shown[300:601, 500]):
        assert line.all()
    assert not shown[310:590, 210:490].any()
    assert not shown[:, :195].any()
    assert (rgb == 0).all()  # the picture that was handed in stays as it is


@pytest.mark.parametrize("line", ["brackets", "double", "crossed", "plain", "slashed"])
def test_weaker_marks_are_dashed(line):
    solid, dashed = (
        red(drawn(blank(900, 1000), Mark(((100, 300, 700, 600),), "", RED, line, weak)))
        for weak in (False, True)
    )
    middle = solid[:, 250:550].sum()
    assert 0.4 * middle < dashed[:, 250:550].sum() < 0.8 * middle


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_mark_shows_on_any_ground(level):
    """Around the coloured line there is a dark one."""
    shown = drawn(blank(900, 1000, level), Mark(((200, 300, 500, 600),), "", RED, "plain"))
    assert red(shown)[600, 350]
    assert shown[600:608, 350].min(axis=1).min() <= 10


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((900, 1000), (1000, 900)),
        ((90, 45), (450, 900)),  # enlarged tenfold
        ((1, 1), (900, 900)),
        ((2, 3000), (3000, 2)),
        ((3000, 2), (2, 3000)),
    ],
)
def test_small_pictures_are_enlarged_and_no_shape_is_too_odd(shape, size):
    image = drawn(blank(*shape), Mark(((0, 0, shape[1] / 2, shape[0] / 2),), "", RED, "double"))
    assert image.shape[:2] == size[::-1]
    assert red(image).any()


def test_title_and_caption_hide_nothing():
    rgb = blank(900, 1000, 200)
    lines = ("Weights: bundled demo weights, SHA-256 " + "0123456789abcdef" * 6, "Threshold ≥ 0.25")
    image = drawn(rgb, title="Faster R-CNN", caption=lines)
    rows = np.flatnonzero((image == 200).all(axis=(1, 2)))
    assert len(rows) == 900
    assert rows[-1] - rows[0] == 899
    assert min(image[: rows[0]].max(), image[rows[-1] + 1 :].max()) > 200
    assert (image[:, -8:] != 255).any(axis=2).all()  # no line runs out of the picture
    assert np.array_equal(drawn(rgb), rgb)


def test_letters_that_the_font_lacks_are_written_plainly():
    plain = drawn(blank(900, 1000), title="Munch.png >= 0.25 - 3 x 4")
    assert np.array_equal(drawn(blank(900, 1000), title="Münch.png ≥ 0.25 – 3 × 4"), plain)


def test_three_hundred_boxes_take_no_time():
    corners = np.random.default_rng(0).uniform(0, 1600, (300, 2)).repeat(2, 0).reshape(300, 4)
    corners[:, 2:] += 300
    boxes = Detections(corners, np.linspace(0.9, 0.1, 300), [0] * 300, ("x",) * 300)
    rgb = blank(2000, 2000, 90)
    start = time.process_time()
    drawn(rgb, *marks_of(boxes, BROUGHT))
    assert time.process_time() - start < 4


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


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_each_line_is_another(line):
    def painted(kind: str) -> np.ndarray:
        mark = Mark(((100.0, 100.0, 500.0, 500.0),), "", "#FF0000", kind)
        image = draw(np.full((900, 900, 3), 90, np.uint8), [Pane("", (mark,))], [])
        return (np.asarray(image) == ImageColor.getrgb("#FF0000")).all(axis=2)

    own = painted(line)
    assert own.any()
    for other in set(LINES) - {line}:
        assert (own != painted(other)).any()


def test_panes_stand_side_by_side_above_the_caption():
    rgb = np.full((900, 600, 3), (77, 10, 10), np.uint8)
    image = np.asarray(draw(rgb, [Pane("one", ()), Pane("two", ())], ["below"]))
    assert image.shape[1] >= 1200
    assert (image == (77, 10, 10)).all(axis=2).sum() == 2 * 900 * 600


# Machado, Oliveira, Fernandes: A physiologically-based model for simulation of color vision deficiency
# (2009), severity 1.0, on linear RGB.
DEFICIENCIES = {
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "blue": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(colour: str, deficiency: str) -> np.ndarray:
    """CIELAB of a colour as somebody with this deficiency sees it."""
    encoded = np.array(ImageColor.getrgb(colour)) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(DEFICIENCIES[deficiency]) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ seen / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colours_can_be_told_apart(deficiency):
    for one, other in itertools.combinations(LOOKS, 2):
        distance = np.linalg.norm(lab(one.color, deficiency) - lab(other.color, deficiency))
        assert distance > 25, (one, other)


@pytest.mark.parametrize(("shape", "size"), [((700, 800), (100, 88)), ((50, 80), (80, 50))])
def test_thumbnails_are_never_enlarged(shape, size):
    assert thumbnail(blank(*shape), 100).size == size
