"""How what each model says looks, in pictures, plots and tables.

Nothing is told apart by colour alone: there are a letter, a kind of line, and in plots dashes and marks. Any
two colours stay 25 CIELAB units apart for red-, green- and blue-blind people.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """One look.

    Attributes:
        tag: a letter that stands for the model; empty for what is no model's.
        color: `#RRGGBB`.
        line: of a box: "brackets" (heavy corners), "double", "crossed" (runs past the corners), "plain",
            "slashed" (a corner is cut off) or "dotted". Each is drawn by `bonefx.drawing` and by
            `ui/static/viewer/marks.js`.
        dash: of a curve, as SVG's `stroke-dasharray` in CSS pixels; empty is solid.
        mark: of a point on a curve, as an SVG path about its middle.
    """

    tag: str
    color: str
    line: str
    dash: str = ""
    mark: str = ""

    def of_boxes(self) -> dict[str, str]:
        """What the viewer needs: `tag`, `color`, `line`."""
        return {"tag": self.tag, "color": self.color, "line": self.line}


TRUTH = Look("", "#E6FFF4", "dotted")
"""Of the ground truth."""

BROUGHT = Look("", "#CC79A7", "plain", "3 4", "M0-6.5 6.5 0 0 6.5-6.5 0Z")
"""Of what is no model of ours: predictions that somebody brings."""

SAME_NAME = Look("", "#00FF80", "plain")
OTHER_NAME = Look("", "#FF4079", "slashed")
"""Of what two models found on one place, under one name or two; what one found alone has that one's look."""
