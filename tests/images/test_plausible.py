"""What is warned of, and what must not be."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from bonefx import images
from tests.images.pictures import RNG, grey_rgb


def made_radiograph() -> np.ndarray:
    """Two soft bones on a soft hand, in a black frame, with noise and a marker."""
    y, x = np.mgrid[:300, :400] / 100
    soft = 60 * np.exp(-((x - 2) ** 2))
    bones = 90 * np.exp(-(((x - 1.7) / 0.12) ** 2)) + 90 * np.exp(-(((x - 2.3) / 0.12) ** 2))
    picture = 20 + soft + bones + 10 * np.sin(3 * y) + RNG.normal(0, 2, x.shape)
    picture[:, :40] = picture[:, -40:] = 0
    marked = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    ImageDraw.Draw(marked).text((60, 30), "R", fill=255, font=ImageFont.load_default(40))
    return np.array(marked)


def page_of_text() -> np.ndarray:
    page = Image.new("L", (800, 600), 255)
    for y in range(20, 580, 24):
        ImageDraw.Draw(page).text((30, y), "Findings: no acute fracture is seen. " * 3, fill=0)
    return np.array(page)


def tinted(grey: np.ndarray, strength: tuple[float, float, float]) -> np.ndarray:
    return (grey[..., None] * np.array(strength)).astype(np.uint8)


def colour_photograph() -> np.ndarray:
    y, x = np.mgrid[:300, :400] / 60
    waves = [128 + 100 * np.sin(x + i) * np.cos(y - 2 * i) for i in range(3)]
    return (np.dstack(waves) + RNG.normal(0, 5, (300, 400, 3))).clip(0, 255).astype(np.uint8)


def with_arrow(grey: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(grey_rgb(grey))
    ImageDraw.Draw(picture).line((100, 100, 160, 140), fill=(255, 0, 0), width=6)
    return np.array(picture)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (made_radiograph(), None),
        (255 - made_radiograph(), None),
        (made_radiograph().astype(np.uint16) * 200, None),
        (tinted(made_radiograph(), (1, 0.8, 0.5)), None),  # a film seen through sepia
        (tinted(made_radiograph(), (0.6, 0.8, 1)), None),  # on a blue light box
        (with_arrow(made_radiograph()), None),
        (np.pad(made_radiograph(), 100, constant_values=255), None),  # in a white frame
        (colour_photograph(), "colour photograph"),
        (
            np.pad(colour_photograph(), ((250, 250), (250, 250), (0, 0))),
            "colour photograph",
        ),  # an eighth of it
        (page_of_text(), "screenshot"),
        (255 - page_of_text(), "screenshot"),
        (np.full((50, 50), 255, np.uint8), "screenshot"),
        (np.zeros((1, 1), np.uint8), "screenshot"),
    ],
)
def test_what_is_plainly_no_radiograph_is_warned_of(array, words):
    warning = images.unlike_radiograph(images.from_array(array))
    assert warning is None if words is None else words in warning
