"""Marks drawn on a picture, as on the page: the viewer's lines and labels, at the image's full size."""

from __future__ import annotations

import math
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

DARK, LIGHT = "#06070a", "#ffffff"
_LEGIBLE = 900  # pixels on the long side; a smaller picture is enlarged, as labels would cover it
_GAP = 4  # pixels between two panes
_PLAIN = str.maketrans({"≥": ">=", "≤": "<=", "–": "-", "—": "-", "−": "-", "×": "x", "→": "->", "•": "·"})

Font = ImageFont.FreeTypeFont
Box = tuple[float, float, float, float]
Place = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True)
class Mark:
    """One outline, or those of several boxes on one place, and its label.

    Attributes:
        boxes: x1, y1, x2, y2 in pixels of the image.
        text: the label, in signs that Pillow's own font has; empty for none.
        color: `#RRGGBB`.
        line: "brackets", "double", "crossed", "plain", "slashed" or "dotted", as in `static/viewer/marks.js`.
        dashed: whether it is a weaker mark.
        faint: whether a stronger mark on the same place stands for it.
    """

    boxes: tuple[Box, ...]
    text: str
    color: str
    line: str
    dashed: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Pane:
    """One view of the image: a line above it, if there are words for one, and its marks, the best first."""

    title: str
    marks: tuple[Mark, ...]


def draw(rgb: np.ndarray, panes: Sequence[Pane], caption: Sequence[str]) -> Image.Image:
    """The panes side by side, and the caption below them.

    Args:
        rgb: uint8 (h, w, 3), the image.
        panes: at least one.
        caption: lines, wrapped to the width.
    """
    height, width = rgb.shape[:2]
    factor = max(1, math.ceil(_LEGIBLE / max(width, height)))
    size = (width * factor, height * factor)
    picture = Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC)
    font = _font(max(13, round(max(size) / 60)))
    drawn = [
        _framed(_pane(picture.copy(), pane.marks, factor, font), [pane.title] if pane.title else [], [], font)
        for pane in panes
    ]
    sheet = Image.new(
        "RGB",
        (sum(each.width for each in drawn) + _GAP * (len(drawn) - 1), max(each.height for each in drawn)),
        DARK,
    )
    left = 0
    for each in drawn:
        sheet.paste(each, (left, 0))
        left += each.width + _GAP
    return _framed(sheet, [], caption, font)


def thumbnail(rgb: np.ndarray, size: int) -> Image.Image:
    """The picture reduced to at most `size` pixels on its long side; never enlarged.

    Args:
        rgb: uint8 (h, w, 3).
    """
    image = Image.fromarray(rgb)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return image


def _pane(picture: Image.Image, marks: Sequence[Mark], factor: int, font: Font) -> Image.Image:
    canvas = ImageDraw.Draw(picture)
    unit = max(1, round(font.size / 9))  # what is one pixel on the screen
    scaled = [[_scaled(box, factor) for box in mark.boxes] for mark in marks]
    for mark, boxes in reversed(list(zip(marks, scaled, strict=True))):
        for box in boxes:
            _outline(canvas, box, mark, unit)
    taken: list[Place] = []
    around = [_around(boxes) for boxes in scaled]
    for mark, box in zip(marks, around, strict=True):
        if mark.text:
            place = free_place(picture.size, box, mark.text, font, taken, around)
            taken.append(place)
            _label(canvas, place, mark, font, unit)
    return picture


def _scaled(box: Box, factor: int) -> Place:
    x1, y1, x2, y2 = (round(edge * factor) for edge in box)
    return x1, y1, x2, y2


def _outline(canvas: ImageDraw.ImageDraw, box: Place, mark: Mark, unit: int) -> None:
    """The strokes of a mark: on dark ones, so that they show on any ground."""
    x1, y1, x2, y2 = box
    double = mark.line == "double" and not mark.faint
    layers: list[tuple[float, str, bool]] = [
        (5 if double else 1 if mark.faint else 2, mark.color, mark.dashed or mark.line == "dotted")
    ]
    if double:
        layers.append((1.5, DARK, mark.dashed))
    elif not mark.faint:
        layers.insert(0, (4, DARK, False))
    for width, color, dashed in layers:
        for segment in _strokes(box, mark.line):
            _stroke(canvas, segment, max(1, round(width * unit)), color, dashed, unit)
    if mark.line == "brackets" and not mark.faint:
        arm = min(x2 - x1, y2 - y1) // 5
        for x, towards in ((x1, 1), (x2, -1)):
            for y, down in ((y1, 1), (y2, -1)):
                _stroke(canvas, (x, y, x + towards * arm, y), 4 * unit, mark.color)
                _stroke(canvas, (x, y, x, y + down * arm), 4 * unit, mark.color)


def _strokes(box: Place, line: str) -> Iterator[Place]:
    """The straight lines of an outline."""
    x1, y1, x2, y2 = box
    past = min(x2 - x1, y2 - y1) // 10 if line == "crossed" else 0
    yield x1 - past, y1, x2 + past, y1
    yield x1 - past, y2, x2 + past, y2
    yield x1, y1 - past, x1, y2 + past
    yield x2, y1 - past, x2, y2 + past
    if line == "slashed":
        arm = min(x2 - x1, y2 - y1) // 3
        yield x2 - arm, y1, x2, y1 + arm


def _stroke(
    canvas: ImageDraw.ImageDraw, line: Place, width: int, color: str, dashed: bool = False, unit: int = 1
) -> None:
    x1, y1, x2, y2 = line
    length = math.hypot(x2 - x1, y2 - y1)
    on, off = (9 * unit, 6 * unit) if dashed else (length, 0)
    at = 0.0
    while at < max(length, 1):
        ends = [(at / max(length, 1)), min((at + on) / max(length, 1), 1.0)]
        points = [(round(x1 + (x2 - x1) * t), round(y1 + (y2 - y1) * t)) for t in ends]
        canvas.line(points, fill=color, width=width)
        at += max(on + off, 1)


def _around(boxes: Sequence[Place]) -> Place:
    columns = list(zip(*boxes, strict=True))
    return min(columns[0]), min(columns[1]), max(columns[2]), max(columns[3])


def free_place(
    size: tuple[int, int],
    box: Place,
    text: str,
    font: Font,
    taken: Sequence[Place],
    boxes: Sequence[Place],
) -> Place:
    """Where a label is clear of the others: beside its box, clear of all if it can be, else anywhere."""
    pad = round(font.size / 4)
    w, h = math.ceil(font.getlength(text)) + 2 * pad, round(font.size) + 2 * pad
    x1, y1, x2, y2 = box
    gap = pad + 2
    options = [(x, y) for x in (x1, x2 - w) for y in (y1 - h - gap, y2 + gap)]
    options += [(x, y) for y in (y1, y2 - h) for x in (x2 + gap, x1 - w - gap)]
    for step in range(1, 7):
        far = step * (h + 2)
        options += [
            (x1, y1 - h - gap - far),
            (x1, y2 + gap + far),
            (x2 + gap, y1 + far),
            (x1 - w - gap, y1 + far),
        ]
    rows = [(x, y) for y in range(0, max(size[1] - h, 1), h + 2) for x in (0, max(size[0] - w, 0))]
    places = np.array([(x, y, x + w, y + h) for x, y in [*options, *rows]])
    inside = places[(places[:, :2] >= 0).all(1) & (places[:, 2:] <= size).all(1)]
    if len(inside) == 0:
        return 0, 0, w, h
    clear = inside[~_meets_any(inside, taken)]
    area = (x2 - x1) * (y2 - y1)
    not_larger = [each for each in boxes if (each[2] - each[0]) * (each[3] - each[1]) <= area]
    for obstacles in (boxes, not_larger, ()):
        free = clear[~_meets_any(clear, obstacles)]
        if len(free):
            return _place(free[0])
    return _place(inside[0])


def _place(corners: np.ndarray) -> Place:
    left, top, right, bottom = corners.tolist()
    return left, top, right, bottom


def _meets_any(places: np.ndarray, others: Sequence[Place]) -> np.ndarray:
    """Which of the places (n, 4) overlap one of the others: bool (n,)."""
    a, b = places[:, None], np.array(others, int).reshape(1, -1, 4)
    meets: np.ndarray = (a[..., :2] < b[..., 2:]) & (b[..., :2] < a[..., 2:])
    found: np.ndarray = np.any(np.all(meets, axis=2), axis=1)
    return found


def _label(canvas: ImageDraw.ImageDraw, place: Place, mark: Mark, font: Font, unit: int) -> None:
    """A plate of the mark's colour, or a dark one for what is dashed."""
    weak = mark.dashed or mark.line == "dotted"
    right, bottom = place[2] - 1, place[3] - 1
    canvas.rectangle((place[0], place[1], right, bottom), fill=DARK if weak else mark.color)
    if weak:
        canvas.rectangle((place[0], place[1], right, bottom), outline=mark.color, width=unit)
    middle = ((place[0] + place[2]) / 2, (place[1] + place[3]) / 2)
    canvas.text(middle, mark.text, fill=LIGHT if weak else DARK, font=font, anchor="mm")


def _framed(picture: Image.Image, above: Sequence[str], below: Sequence[str], font: Font) -> Image.Image:
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
    sheet = Image.new("RGB", (width, picture.height + sum(heights)), DARK)
    sheet.paste(picture, (0, heights[0]))
    draw = ImageDraw.Draw(sheet)
    for lines, top in zip(strips, (0, heights[0] + picture.height), strict=True):
        for number, text in enumerate(lines):
            draw.text((pad, top + pad + (number + 0.5) * row), text, fill=LIGHT, font=font, anchor="lm")
    return sheet


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    """Lines of about `width` pixels, by the mean width of the text's own characters."""
    text = _drawable(text)
    columns = 0.9 * width * len(text) / max(font.getlength(text), 1)
    return textwrap.wrap(text, max(1, int(columns)))


def _drawable(text: str) -> str:
    """The text in signs that Pillow's font has: no accents, no typographic dashes."""
    parts = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    return "".join(sign for sign in parts if not unicodedata.combining(sign))


def _font(size: int) -> Font:
    """Pillow's own."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # it is wherever Pillow has FreeType, as its wheels have
    return font
