"""Windows and films: lesions stay where they are in the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bonefx.training.data import Sample
from bonefx.training.views import Views, cut


def sample(*boxes, size=(200, 100)):
    boxes = np.array(boxes, dtype=float).reshape(-1, 4)
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2) / size
    ids = np.arange(len(boxes))
    return Sample(Path("arm.png"), *size, boxes, ids, ids, tuple(corners.astype(np.float32)))


def picture(lesions, size=(200, 100)):
    """Grey, and white inside of the lesions."""
    grey = np.full((size[1], size[0]), 60, dtype=np.uint8)
    for x1, y1, x2, y2 in lesions.boxes.astype(int):
        grey[y1:y2, x1:x2] = 255
    return grey


@pytest.mark.parametrize(
    ("window", "boxes"),
    [
        # all of it
        ((0, 0, 200, 100), [[40, 20, 60, 40], [100, 50, 140, 90]]),
        # a lesion inside keeps its size
        ((30, 10, 90, 60), [[10, 10, 30, 30]]),
        # three quarters of a lesion are told, cut at the edge
        ((110, 40, 200, 100), [[0, 10, 30, 50]]),
        # a quarter is not
        ((130, 40, 200, 100), []),
        # nothing there
        ((150, 0, 200, 40), []),
    ],
)
def test_a_window_tells_the_lesions_that_it_shows(window, boxes):
    lesions = sample([40, 20, 60, 40], [100, 50, 140, 90])
    seen, grey = cut(lesions, picture(lesions), window)
    np.testing.assert_array_equal(seen.boxes, np.reshape(boxes, (-1, 4)))
    assert grey.shape == (seen.height, seen.width)
    for box, polygon in zip(seen.boxes, seen.polygons, strict=True):
        corners = polygon * [seen.width, seen.height]
        np.testing.assert_allclose([*corners.min(axis=0), *corners.max(axis=0)], box, atol=1e-3)


def test_windows_make_small_lesions_larger_and_keep_them_whole():
    """White pixels are lesion: after any window they are where the boxes are, up to a rounded edge."""
    lesions = sample([95, 45, 105, 55])
    shares = []
    for seed in range(200):
        seen, grey = Views(window=1.0).draw(lesions, picture(lesions), np.random.default_rng(seed))
        if not len(seen.boxes):
            continue
        x1, y1, x2, y2 = seen.boxes[0].round().astype(int)
        assert grey[y1:y2, x1:x2].min() == 255
        shares.append(max((x2 - x1) / seen.width, (y2 - y1) / seen.height))
    assert len(shares) > 140  # seven in ten are drawn around the lesion
    assert min(shares) >= 0.1
    assert np.median(shares) > 0.14
    assert max(shares) < 0.45


def test_an_image_that_was_made_smaller_keeps_its_lesions_in_place():
    lesions = sample([40, 20, 60, 40])
    seen, _ = Views().draw(lesions, picture(sample(size=(100, 50)), (100, 50)), np.random.default_rng(0))
    assert (seen.width, seen.height) == (100, 50)
    np.testing.assert_array_equal(seen.boxes, [[20, 10, 30, 20]])


def test_without_variation_the_image_is_the_same():
    lesions = sample([40, 20, 60, 40])
    seen, grey = Views().draw(lesions, picture(lesions), np.random.default_rng(0))
    np.testing.assert_array_equal(grey, picture(lesions))
    np.testing.assert_array_equal(seen.boxes, lesions.boxes)


def test_films_differ_in_tone_and_not_in_place():
    lesions = sample([40, 20, 60, 40])
    films = [
        Views(film=1.0).draw(lesions, picture(lesions), np.random.default_rng(seed)) for seed in range(20)
    ]
    assert all(grey.shape == (100, 200) and grey.dtype == np.uint8 for _, grey in films)
    assert all((seen.boxes == lesions.boxes).all() for seen, _ in films)
    inside = np.array([grey[25:35, 45:55].mean() for _, grey in films])
    outside = np.array([grey[60:, 100:].mean() for _, grey in films])
    assert (inside > outside + 40).all()
    assert outside.std() > 10


def test_black_and_white_change_places():
    lesions = sample([40, 20, 60, 40])
    _, grey = Views(inverted=1.0).draw(lesions, picture(lesions), np.random.default_rng(0))
    np.testing.assert_array_equal(grey, 255 - picture(lesions))


def test_the_same_draw_gives_the_same_view():
    lesions = sample([40, 20, 60, 40])
    views = Views(window=0.5, film=0.5, inverted=0.5)
    one, two = (views.draw(lesions, picture(lesions), np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one[1], two[1])
    np.testing.assert_array_equal(one[0].boxes, two[0].boxes)
