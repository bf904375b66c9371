"""From detections to marks, as on the page: which boxes stand on one place, and what is said of them."""

from __future__ import annotations

import numpy as np

from bonefx.agreement import SAME_PLACE_IOU
from bonefx.detections import Detections
from bonefx.drawing import Mark
from bonefx.labels import place
from bonefx.looks import Look
from bonefx.matching import iou_matrix


def places_of(found: Detections) -> list[list[int]]:
    """The rows of each place: a box joins the first group whose strongest box it overlaps by half.

    The rule of `ui/static/viewer/groups.js`.
    """
    overlap = iou_matrix(found.boxes, found.boxes)
    groups: list[list[int]] = []
    for row in range(len(found)):
        own = next((group for group in groups if overlap[group[0], row] >= SAME_PLACE_IOU), None)
        if own is None:
            groups.append([row])
        else:
            own.append(row)
    return groups


def marks_of(found: Detections, look: Look, weaker: np.ndarray | None = None) -> tuple[Mark, ...]:
    """One mark a place, with its label, then the other boxes on these places, faint.

    Args:
        found: one model's detections.
        look: the model's.
        weaker: bool (n,), which of them are weaker marks; None: none is.
    """
    dashed = np.zeros(len(found), bool) if weaker is None else weaker
    leaders, others = [], []
    for leader, *rest in places_of(found):
        times = f" x{len(rest) + 1}" if rest else ""
        words = f"{look.tag} {place(found.labels[leader])} {found.scores[leader]:.2f}{times}".strip()
        leaders.append(Mark((box_of(found, leader),), words, look.color, look.line, bool(dashed[leader])))
        others += [
            Mark((box_of(found, row),), "", look.color, look.line, bool(dashed[row]), faint=True)
            for row in rest
        ]
    return (*leaders, *others)


def box_of(found: Detections, row: int) -> tuple[float, float, float, float]:
    """A detection's box as plain numbers."""
    x1, y1, x2, y2 = found.boxes[row].tolist()
    return x1, y1, x2, y2
