"""The exported picture: boxes where they belong, text that can be read, colours that can be told apart."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from PIL import ImageColor

from bonefx.detections import Detections
from bonefx.drawing import MODEL_STYLES, annotate, thumbnail

ORANGE = ImageColor.getrgb(MODEL_STYLES["faster-rcnn"]["color"])


def found(*boxes: tuple[float, float, float, float]) -> Detections:
    n = len(boxes)
    return Detections(np.array(boxes), np.linspace(0.9, 0.1, n), np.arange(n) % 6, ("x",) * n)


def blank(height: int, width: int, level: int = 0) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def painted(image, colour=ORANGE) -> np.ndarray:
    return (np.asarray(image) == colour).all(axis=2)


def test_a_box_is_drawn_on_its_corners_and_nowhere_else():
    rgb = blank(700, 800)
    drawn = painted(annotate(rgb, found((200, 300, 500, 600))))
    assert drawn.shape == rgb.shape[:2]
    assert drawn[300, 200:501].all()
    assert drawn[600, 200:501].all()
    assert drawn[300:601, 200].all()
    assert drawn[300:601, 500].all()
    assert not drawn[310:590, 210:490].any()
    assert not drawn[:, :199].any()
    assert (rgb == 0).all()  # the picture that was handed in stays as it is


@pytest.mark.parametrize(
    ("style", "least", "most"),
    [
        ("solid", 1, 1),
        ("dashed", 0.5, 0.75),
        ("dotted", 0.3, 0.55),
        ("dash-dot", 0.6, 0.75),
    ],
)
def test_styles_differ_without_colour(style, least, most):
    drawn = painted(annotate(blank(700, 800, 128), found((100, 300, 700, 600)), style=style))
    assert drawn[600, 100] and drawn[600, 700]  # both corners  # noqa: PT018
    assert least <= drawn[600, 100:701].mean() <= most


def test_between_two_dashes_there_is_a_dot():
    drawn = painted(annotate(blank(700, 800, 128), found((100, 300, 700, 600)), style="dash-dot"))
    side = "".join("-" if each else " " for each in drawn[600, 100:701])
    lengths = [len(piece) for piece in side.split()]
    assert len(lengths) > 10
    assert len(set(lengths[::2])) == len(set(lengths[1::2])) == 1
    assert lengths[0] > 3 * lengths[1]


def test_every_kind_of_box_has_its_own_line():
    assert len({look["style"] for look in MODEL_STYLES.values()}) == len(MODEL_STYLES)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_box_shows_on_any_ground(level):
    """Beside the coloured line there is a dark one."""
    drawn = np.asarray(annotate(blank(700, 800, level), found((200, 300, 500, 600))))
    assert drawn[601, 300].tolist() == [16, 16, 16]
    assert tuple(drawn[600, 300]) == ORANGE


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 60, 60),  # no room above
        (740, 0, 799, 60),  # nor to the right
        (740, 640, 799, 699),
        (0, 640, 60, 699),
        (0, 0, 799, 699),  # all of the picture
        (799, 699, 799, 699),  # nothing but a corner
        (-50, -50, 900, 900),  # beyond it
    ],
)
def test_labels_stay_inside(box):
    inside = painted(annotate(blank(700, 800), found((300, 300, 360, 360)))).sum()
    line = 2 * (60 + 60) * 3
    label = painted(annotate(blank(700, 800), found(box))).sum()
    assert label > (inside - line) * 0.95


def test_the_highest_score_is_drawn_last():
    boxes = Detections(np.array([[300, 300, 400, 400]] * 2), [0.9, 0.2], [0, 1], ("x", "y"))
    one = np.asarray(annotate(blank(700, 800), boxes[:1]))
    both = np.asarray(annotate(blank(700, 800), boxes))
    assert np.array_equal(one[270:298, 298:420], both[270:298, 298:420])


def test_ground_truth_has_its_own_look():
    image = annotate(blank(700, 800), Detections.empty(), ground_truth=[((200, 300, 500, 600), "humerus")])
    assert painted(image, ImageColor.getrgb(MODEL_STYLES["ground truth"]["color"]))[600, 200:501].any()


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((700, 800), (800, 700)),
        ((64, 32), (320, 640)),  # enlarged tenfold
        ((1, 1), (640, 640)),
        ((2, 3000), (3000, 2)),
        ((3000, 2), (2, 3000)),
    ],
)
def test_small_pictures_are_enlarged_and_no_shape_is_too_odd(shape, size):
    box = (0, 0, shape[1] / 2, shape[0] / 2)
    image = annotate(blank(*shape), found(box), **MODEL_STYLES["yolo"])
    assert image.size == size
    assert painted(image, ImageColor.getrgb(MODEL_STYLES["yolo"]["color"])).any()


def test_title_and_caption_hide_nothing():
    rgb = blank(700, 800, 200)
    lines = ["Weights: bundled demo weights, SHA-256 " + "0123456789abcdef" * 4, "Threshold ≥ 0.25"]
    image = np.asarray(annotate(rgb, Detections.empty(), title="Faster R-CNN", caption=lines))
    rows = np.flatnonzero((image == 200).all(axis=(1, 2)))
    assert len(rows) == 700
    assert rows[-1] - rows[0] == 699
    above, below = image[: rows[0]], image[rows[-1] + 1 :]
    assert above.max() > 200
    assert below.max() > 200
    assert (image[:, -8:] != 244).any(axis=2).all()  # no line runs out of the picture
    assert np.array_equal(np.asarray(annotate(rgb, Detections.empty())), rgb)


def test_letters_that_the_font_lacks_are_written_plainly():
    plain = annotate(blank(700, 800), Detections.empty(), title="Munch.png >= 0.25 - 3 x 4")
    assert annotate(blank(700, 800), Detections.empty(), title="Münch.png ≥ 0.25 – 3 × 4") == plain


def test_three_hundred_boxes_take_no_time():
    corners = np.random.default_rng(0).uniform(0, 1600, (300, 2))
    boxes = found(*np.hstack([corners, corners + 300]).tolist())
    rgb = blank(2000, 2000, 90)
    start = time.process_time()
    annotate(rgb, boxes, **MODEL_STYLES["yolo"])
    assert time.process_time() - start < 2  # 0.5 s on an idle core


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
    for one, other in itertools.combinations(MODEL_STYLES.values(), 2):
        distance = np.linalg.norm(lab(one["color"], deficiency) - lab(other["color"], deficiency))
        assert distance > 25, (one, other)


@pytest.mark.parametrize(("shape", "size"), [((700, 800), (100, 88)), ((50, 80), (80, 50))])
def test_thumbnails_are_never_enlarged(shape, size):
    assert thumbnail(blank(*shape), 100).size == size
