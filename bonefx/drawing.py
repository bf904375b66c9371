"""Boxes drawn on a picture, for the image that a person exports."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bonefx.detections import Detections

MODEL_STYLES: dict[str, dict[str, str]] = {
    "faster-rcnn": {"color": "#E69F00", "style": "solid"},
    "yolo": {"color": "#56B4E9", "style": "dashed"},
    "consensus": {"color": "#C050FF", "style": "dash-dot"},
    "ground truth": {"color": "#E6FFF4", "style": "dotted"},
}
"""How each kind of box is drawn, here and on the page: any two colours stay 25 CIELAB units apart for
red-, green- and blue-blind people, and the line's style says it again."""

_DASHES = {"solid": None, "dashed": (6, 4), "dotted": (1.5, 2.5), "dash-dot": (7, 6)}
"""Drawn and left out, in line widths."""
_DOTS = {"dash-dot": 2}
"""Drawn in the middle of what is left out, in line widths."""
_PLAIN = str.maketrans({"≥": ">=", "≤": "<=", "–": "-", "—": "-", "−": "-", "×": "x", "→": "->", "•": "·"})
_DARK, _LIGHT = "#101010", "#F4F4F4"
_LEGIBLE = 640  # pixels on the long side; a smaller picture is enlarged, as no text would fit


def annotate(
    rgb: np.ndarray,
    detections: Detections,
    title: str | None = None,
    color: str = MODEL_STYLES["faster-rcnn"]["color"],
    style: str = "solid",
    ground_truth: Iterable[tuple[Sequence[float], str]] | None = None,
    caption: Sequence[str] = (),
) -> Image.Image:
    """Draw boxes with label and score; lines and text grow with the picture.

    Args:
        rgb: uint8 (h, w, 3).
        detections: in pixels of `rgb`; those of the highest scores are drawn last.
        title: one line above the picture.
        color, style: `#RRGGBB`, and "solid", "dashed", "dotted" or "dash-dot": see `MODEL_STYLES`.
        ground_truth: boxes x1, y1, x2, y2 in pixels of `rgb`, each with its label.
        caption: lines below the picture, wrapped to its width.

    Returns:
        An RGB image. A picture under 640 px is enlarged by a whole factor; title and caption are added
        above and below, so they hide nothing.
    """
    height, width = rgb.shape[:2]
    factor = max(1, -(-_LEGIBLE // max(width, height)))
    picture = Image.fromarray(rgb)
    if factor > 1:
        picture = picture.resize((width * factor, height * factor), Image.Resampling.BICUBIC)
    size = max(12, round(max(picture.size) / 50))
    font = ImageFont.load_default(size)
    line = max(2, round(size / 7))

    draw = ImageDraw.Draw(picture)
    marked = [
        (box, f"ground truth: {label}", MODEL_STYLES["ground truth"]) for box, label in ground_truth or ()
    ]
    found = zip(detections.boxes, detections.labels, detections.scores, strict=True)
    marked += [
        (box, f"{label} {score:.2f}", {"color": color, "style": style}) for box, label, score in found
    ][::-1]
    for box, _, look in marked:
        _box(draw, np.asarray(box) * factor, line, **look)
    for box, text, look in marked:
        _label(draw, np.asarray(box) * factor, text, font, look["color"])
    return framed(picture, [title] if title else [], caption, font)


def thumbnail(rgb: np.ndarray, size: int) -> Image.Image:
    """The picture reduced to at most `size` pixels on its long side; never enlarged.

    Args:
        rgb: uint8 (h, w, 3).
    """
    image = Image.fromarray(rgb)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return image


def _box(draw: ImageDraw.ImageDraw, box: np.ndarray, line: int, color: str, style: str) -> None:
    """An outline inside the picture, on a dark one so that it shows on white as well."""
    width, height = draw.im.size
    x1, x2 = np.clip(np.rint(box[[0, 2]]), 0, width - 1).astype(int).tolist()
    y1, y2 = np.clip(np.rint(box[[1, 3]]), 0, height - 1).astype(int).tolist()
    draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=_DARK, width=line + 2)
    dash = _DASHES[style]
    if dash is None:
        draw.rectangle((x1, y1, x2, y2), outline=color, width=line)
        return
    dot = _DOTS.get(style, 0) * line
    for start, end in _pieces(x1, x2, dash, line, dot):
        draw.rectangle((start, y1, end, min(y1 + line - 1, y2)), fill=color)
        draw.rectangle((start, max(y2 - line + 1, y1), end, y2), fill=color)
    for start, end in _pieces(y1, y2, dash, line, dot):
        draw.rectangle((x1, start, min(x1 + line - 1, x2), end), fill=color)
        draw.rectangle((max(x2 - line + 1, x1), start, x2, end), fill=color)


def _pieces(
    start: int, end: int, dash: tuple[float, float], line: int, dot: int = 0
) -> Iterator[tuple[int, int]]:
    """The drawn stretches of one side: both corners, and between two dashes a dot of this length."""
    on, off = (max(1, round(part * line)) for part in dash)
    count = max(1, round((end - start + 1 - on) / (on + off)))
    places = np.rint(np.linspace(start, max(start, end - on + 1), count + 1)).astype(int).tolist()
    for place in places:
        yield place, min(place + on - 1, end)
    for place, following in pairwise(places):
        if dot and following - place - on >= 2 * dot:
            middle = (place + on + following - dot) // 2
            yield middle, middle + dot - 1


def _label(
    draw: ImageDraw.ImageDraw, box: np.ndarray, text: str, font: ImageFont.FreeTypeFont, color: str
) -> None:
    """Text on a plate of the box's colour: above the box, or in it where there is no room."""
    pad = max(2, round(font.size / 5))
    width = round(font.getlength(text)) + 2 * pad
    height = round(font.size) + 2 * pad
    x = max(0, min(round(box[0]), draw.im.size[0] - width))
    y = round(box[1]) - height
    if y < 0:
        y = max(0, min(round(box[1]), draw.im.size[1] - height))
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=color)
    draw.text((x + pad, y + height / 2), text, fill=_DARK, font=font, anchor="lm")


def framed(
    picture: Image.Image, above: Sequence[str], below: Sequence[str], font: ImageFont.FreeTypeFont
) -> Image.Image:
    """The picture between strips of text; a narrow one gets a margin, so that words fit.

    Args:
        picture: an RGB image.
        above, below: lines, wrapped to its width.
        font: of the text.
    """
    pad, row = round(font.size / 2), round(font.size * 1.4)
    width = max(picture.width, round(24 * font.size)) if (above or below) else picture.width
    strips = [
        [part for line in lines for part in _wrapped(line, font, width - 2 * pad)] for lines in (above, below)
    ]
    heights = [len(lines) * row + 2 * pad if lines else 0 for lines in strips]
    framed = Image.new("RGB", (width, picture.height + sum(heights)), _DARK)
    framed.paste(picture, (0, heights[0]))
    draw = ImageDraw.Draw(framed)
    for lines, top in zip(strips, (0, heights[0] + picture.height), strict=True):
        for number, text in enumerate(lines):
            draw.text((pad, top + pad + (number + 0.5) * row), text, fill=_LIGHT, font=font, anchor="lm")
    return framed


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Lines of about `width` pixels, by the mean width of the text's own characters."""
    text = _drawable(text)
    columns = 0.9 * width * len(text) / max(font.getlength(text), 1)
    return textwrap.wrap(text, max(1, int(columns)))


def _drawable(text: str) -> str:
    """The text in signs that Pillow's font has: no accents, no typographic dashes."""
    parts = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    return "".join(sign for sign in parts if not unicodedata.combining(sign))
