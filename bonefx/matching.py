"""Boxes against boxes: IoU, non-maximum suppression and the one matching rule of the project.

Agreement between models, FROC, hits on examples and tests all count with `match`. Boxes are corners
x1, y1, x2, y2 in pixels of one image, float64 while computing. The functions take groups (images,
classes), so that a whole data set goes through one call; only boxes of one group ever meet.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_PAIRS_AT_ONCE = 1 << 19  # bounds the memory of one step at about 100 MB


def iou_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every box of `a` (n, 4) with every box of `b` (m, 4).

    Returns:
        float64 (n, m). A pair of boxes without area has 0, touching boxes have 0.
    """
    return _iou(_boxes(a)[:, None], _boxes(b)[None])


def nms(boxes: np.ndarray, scores: np.ndarray, iou: float, class_ids: np.ndarray | None = None) -> np.ndarray:
    """Non-maximum suppression: drop each box that overlaps a kept, higher scoring one by more than `iou`.

    Args:
        boxes: (n, 4).
        scores: (n,). Of equal scores, the box that comes first counts as the higher.
        iou: a box is dropped when its IoU is greater than this, as in torchvision.
        class_ids: (n,) integers; boxes of different ids never meet. None: all boxes meet (class-agnostic).

    Returns:
        int64 indices of the boxes kept, highest score first.
    """
    boxes, scores = _boxes(boxes), np.asarray(scores, dtype=np.float64)
    groups = np.zeros(len(boxes), np.int64) if class_ids is None else np.asarray(class_ids)
    order = np.lexsort((-scores, groups))
    boxes, groups = boxes[order], groups[order]
    first = np.arange(1, len(boxes) + 1)
    keep = [True] * len(boxes)
    for better, worse in _pairs(first, np.searchsorted(groups, groups, side="right") - first):
        overlap = _iou(boxes[better], boxes[worse]) > iou
        for i, j in zip(better[overlap].tolist(), worse[overlap].tolist(), strict=True):
            if keep[i]:
                keep[j] = False
    kept = np.sort(order[np.array(keep, dtype=bool)])
    return kept[np.argsort(-scores[kept], kind="stable")]


def match(
    boxes: np.ndarray,
    targets: np.ndarray,
    accept: float = 0.5,
    *,
    centre: bool = False,
    targets_in_order: bool = False,
    groups: np.ndarray | None = None,
    target_groups: np.ndarray | None = None,
) -> np.ndarray:
    """One-to-one matching, greedy in the given order, which is that of the scores.

    Each box takes, of the targets that nobody took yet and that are acceptable, the one of highest IoU
    (of equal IoU the first). A second box on a target that is taken gets nothing, whatever its IoU.

    Args:
        boxes: (n, 4), highest score first.
        targets: (m, 4).
        accept: a target is acceptable at an IoU of at least this. It must be above 0.
        centre: also accept a target that holds the box's centre, its edges included.
        targets_in_order: of the acceptable targets take the first, not the one of highest IoU. Targets in
            the order of their scores are then paired strong with strong.
        groups, target_groups: (n,) and (m,) integers; a box meets only targets of its own group.
            None: there is one group.

    Returns:
        int64 (n,): the index of each box's target, or -1.
    """
    boxes, targets = _boxes(boxes), _boxes(targets)
    groups = np.zeros(len(boxes), np.int64) if groups is None else np.asarray(groups)
    target_groups = np.zeros(len(targets), np.int64) if target_groups is None else np.asarray(target_groups)
    order = np.argsort(target_groups, kind="stable")
    first = np.searchsorted(target_groups[order], groups, side="left")
    count = np.searchsorted(target_groups[order], groups, side="right") - first

    found = [-1] * len(boxes)
    taken = [False] * len(targets)
    for row, column in _pairs(first, count):
        target = order[column]
        iou = _iou(boxes[row], targets[target])
        good = iou >= accept
        if centre:
            middle = (boxes[row, :2] + boxes[row, 2:]) / 2
            good |= ((middle >= targets[target, :2]) & (middle <= targets[target, 2:])).all(axis=1)
        row, target, iou = row[good], target[good], iou[good]
        best_first = np.lexsort((target, row) if targets_in_order else (target, -iou, row))
        for i, j in zip(row[best_first].tolist(), target[best_first].tolist(), strict=True):
            if found[i] < 0 and not taken[j]:
                found[i] = j
                taken[j] = True
    return np.array(found, dtype=np.int64)


def _boxes(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float64).reshape(-1, 4)


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of boxes (..., 4) that broadcast against each other."""
    # Column by column: NumPy is slow along an axis of two.
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    union = _area(a) + _area(b) - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _pairs(first: np.ndarray, count: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All (row, column) with column in first[row] .. first[row] + count[row] - 1, rows rising, in chunks."""
    total = np.cumsum(count)
    begin = 0
    while begin < len(count):
        done = total[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(total, done + _PAIRS_AT_ONCE, side="right")))
        rows = np.arange(begin, end)
        row = np.repeat(rows, count[rows])
        column = np.arange(len(row)) + np.repeat(
            first[rows] - (total[rows] - count[rows] - done), count[rows]
        )
        yield row, column
        begin = end
