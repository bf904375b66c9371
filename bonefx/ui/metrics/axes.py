"""Drawing a plot as SVG: its axes, lines, bands and marks, without knowing what they mean.

Lines and areas go into an SVG that is stretched to its place; marks and text stand at percentages of another
one, in CSS pixels. So text has one size on a phone and on a wide screen. Colours follow the page's light or
dark theme, through the custom properties of `static/metrics/metrics.css`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from bonefx.looks import Look

# Ends of an axis, and into how many parts it is cut then.
_NICE = ((0.05, 5), (0.1, 5), (0.2, 4), (0.3, 3), (0.4, 4), (0.5, 5), (0.6, 6), (0.8, 4), (1.0, 5))


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, with (value, text) at its ticks."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    title: str
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, in percent of the axis."""
        low, high, value = (
            map(math.log2, (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return 100 * (value - low) / (high - low)


class Axes:
    """A plot that is being drawn.

    Args:
        x, y: the axes.
        inset: keep what stands at the ends of the x axis off the edges.
    """

    def __init__(self, x: Axis, y: Axis, *, inset: bool = False) -> None:
        self._x, self._y, self._inset = x, y, inset
        self._areas: list[str] = []  # stretched
        self._marks: list[str] = []  # not stretched

    def line(self, look: Look, points: Iterable[tuple[float, float]]) -> None:
        """A line through the points."""
        # Below it a wider one in the colour of text: no single colour stands out from white and from black.
        for layer in ("case", "line"):
            self._area(layer, look, points, f' stroke-dasharray="{look.dash}"')

    def faint(self, look: Look, points: Iterable[tuple[float, float]]) -> None:
        """A thin dotted line."""
        self._area("beyond", look, points)

    def band(self, look: Look, x: Sequence[float], low: Sequence[float], high: Sequence[float]) -> None:
        """The area between two lines."""
        there, back = zip(x, high, strict=True), zip(reversed(x), reversed(low), strict=True)
        self._area("band", look, [*there, *back])

    def level(self, y: float) -> None:
        """A line from edge to edge."""
        _, down = self._at(self._x.low, y)
        self._marks.append(f'<line class="level" x1="0" x2="100%" y1="{down}%" y2="{down}%"/>')

    def span(self, look: Look, x: float, low: float, high: float) -> None:
        """An upright line."""
        (across, bottom), (_, top) = self._at(x, low), self._at(x, high)
        ends = f'x1="{across}%" x2="{across}%" y1="{bottom}%" y2="{top}%" style="--mark:{look.color}"'
        self._marks += [f'<line class="{layer}" {ends}/>' for layer in ("case", "line")]

    def mark(self, look: Look, x: float, y: float, *, hollow: bool = False) -> None:
        """A mark at a point."""
        across, down = self._at(x, y)
        self._marks.append(_mark(look, f"{across}%", f"{down}%", hollow))

    def html(self, labelled_by: str) -> str:
        """The plot, as wide as its place. `labelled_by`: ids of the elements that say what it shows."""
        grid = []
        for value, text in self._x.ticks:
            x, _ = self._at(value, self._y.low)
            grid.append(f'<line class="grid" x1="{x}%" x2="{x}%" y1="0" y2="100%"/>')
            grid.append(f'<text x="{x}%" y="100%" dy="19" text-anchor="middle">{text}</text>')
        for value, text in self._y.ticks:
            _, y = self._at(self._x.low, value)
            grid.append(f'<line class="grid" x1="0" x2="100%" y1="{y}%" y2="{y}%"/>')
            grid.append(f'<text x="0" y="{y}%" dx="-8" dy="5" text-anchor="end">{text}</text>')
        title = f'<text x="50%" y="100%" dy="42" text-anchor="middle">{escape(self._x.title)}</text>'
        return (
            f'<p class="axis" aria-hidden="true">{escape(self._y.title)}</p>'
            f'<div class="plot"><svg role="img" aria-labelledby="{labelled_by}">{"".join(grid)}'
            f'<svg viewBox="0 0 100 100" preserveAspectRatio="none">{"".join(self._areas)}</svg>'
            f"{''.join(self._marks)}{title}</svg></div>"
        )

    def _at(self, x: float, y: float) -> tuple[str, str]:
        """A point, in percent from the left and from the top."""
        across = self._x.place(x)
        return f"{4 + 0.92 * across if self._inset else across:.2f}", f"{100 - self._y.place(y):.2f}"

    def _area(self, layer: str, look: Look, points: Iterable[tuple[float, float]], more: str = "") -> None:
        path = "M" + "L".join(" ".join(self._at(*point)) for point in points)
        self._areas.append(f'<path class="{layer}" d="{path}" style="--mark:{look.color}"{more}/>')


def legend(rows: Iterable[tuple[Look, str]], *, marks: bool = True) -> str:
    """Which line is whose: one (look, name) a row."""
    items = []
    for look, name in rows:
        ends = f'x1="2" x2="42" y1="8" y2="8" stroke-dasharray="{look.dash}" style="--mark:{look.color}"'
        lines = "".join(f'<line class="{layer}" {ends}/>' for layer in ("case", "line"))
        mark = _mark(look, "22", "8") if marks else ""
        items.append(
            f'<li><svg width="44" height="16" aria-hidden="true">{lines}{mark}</svg>{escape(name)}</li>'
        )
    return f'<ul class="legend">{"".join(items)}</ul>'


def nice_steps(values: Iterable[float]) -> list[float]:
    """Round steps from 0 to an end, at most 1, that holds all values."""
    highest = max(values, default=0)
    end, parts = next((nice for nice in _NICE if highest <= nice[0]), _NICE[-1])
    return [end * i / parts for i in range(parts + 1)]


def _mark(look: Look, x: str, y: str, hollow: bool = False) -> str:
    layer = "hollow" if hollow else "mark"
    path = f'<path class="{layer}" d="{look.mark}" style="--mark:{look.color}"/>'
    return f'<svg class="at" x="{x}" y="{y}">{path}</svg>'
