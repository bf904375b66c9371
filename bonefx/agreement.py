"""Where two models agree on one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bonefx.detections import Detections
from bonefx.matching import iou_matrix, match

SAME_PLACE_IOU = 0.5
"""From this IoU on, two detections are on the same place."""


@dataclass(frozen=True)
class Agreement:
    """A one-to-one matching of two models' detections, by their rows.

    Attributes:
        both: pairs (first's row, second's row) on the same place with the same label.
        other_label: pairs on the same place whose labels differ.
        only_first, only_second: rows that are in no pair.
    """

    both: tuple[tuple[int, int], ...]
    other_label: tuple[tuple[int, int], ...]
    only_first: tuple[int, ...]
    only_second: tuple[int, ...]


def agree(first: Detections, second: Detections) -> Agreement:
    """Match the detections of two models in one image.

    In order of score, each detection of the first takes, of the second's that are still free and reach an
    IoU of `SAME_PLACE_IOU`, the one of highest score, whatever its label. So strong is paired with strong,
    and which model is the first makes no difference: each ranks the other's detections alike, and then there
    is one matching in which no two detections would both rather have each other (Gale and Shapley, 1962).
    """
    found = match(first.boxes, second.boxes, SAME_PLACE_IOU, targets_in_order=True).tolist()
    pairs = [(i, j) for i, j in enumerate(found) if j >= 0]
    alike = [bool(first.class_ids[i] == second.class_ids[j]) for i, j in pairs]
    taken = {j for _, j in pairs}
    return Agreement(
        both=tuple(pair for pair, same in zip(pairs, alike, strict=True) if same),
        other_label=tuple(pair for pair, same in zip(pairs, alike, strict=True) if not same),
        only_first=tuple(i for i, j in enumerate(found) if j < 0),
        only_second=tuple(j for j in range(len(second)) if j not in taken),
    )


def to_record(first_id: str, first: Detections, second_id: str, second: Detections) -> dict[str, Any]:
    """As `/compare` answers it: numbers are places in each model's list of detections."""
    agreement = agree(first, second)
    overlap = iou_matrix(first.boxes, second.boxes)

    def pairs(rows: tuple[tuple[int, int], ...]) -> list[dict[str, Any]]:
        return [{first_id: i, second_id: j, "iou": round(float(overlap[i, j]), 4)} for i, j in rows]

    return {
        "iou": SAME_PLACE_IOU,
        "both": pairs(agreement.both),
        "other_label": pairs(agreement.other_label),
        "only": {first_id: list(agreement.only_first), second_id: list(agreement.only_second)},
    }
