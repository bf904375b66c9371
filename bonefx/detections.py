"""`Detections`: what a detector found in one image, as validated arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bonefx.labels import CLASSES

SCORE_FLOOR = 0.001
"""No detector returns less, and no metric looks at less; what is shown is filtered later."""


@dataclass(frozen=True, eq=False)
class Detections:
    """The detections of one model in one image, highest score first.

    Attributes:
        boxes: float32 (n, 4), corners x1, y1, x2, y2 in pixels of the original image after EXIF
            rotation, with x1 <= x2 and y1 <= y2.
        scores: float32 (n,) in [0, 1], never rising.
        class_ids: int64 (n,), indices into `bonefx.labels.CLASSES`.
        model_labels: n names, the label that the model itself gave.

    Arrays are converted to these types, ordered by score (ties keep their order) and made read-only.

    Raises:
        ValueError: shapes disagree, or a value is not finite or outside its range.
    """

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    model_labels: tuple[str, ...]

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, dtype=np.float32)
        scores = np.asarray(self.scores, dtype=np.float32)
        class_ids = np.asarray(self.class_ids, dtype=np.int64)
        if boxes.size == 0:
            boxes = boxes.reshape(0, 4)
        n = len(scores) if scores.ndim == 1 else -1
        if boxes.shape != (n, 4) or class_ids.shape != (n,) or len(self.model_labels) != n:
            raise ValueError(
                f"shapes disagree: boxes {boxes.shape}, scores {scores.shape}, "
                f"class_ids {class_ids.shape}, {len(self.model_labels)} labels"
            )
        if not np.isfinite(boxes).all() or (boxes[:, :2] > boxes[:, 2:]).any():
            raise ValueError("boxes must be finite corners x1, y1, x2, y2 with x1 <= x2 and y1 <= y2")
        if not ((scores >= 0) & (scores <= 1)).all():
            raise ValueError("scores must lie in [0, 1]")
        if not ((class_ids >= 0) & (class_ids < len(CLASSES))).all():
            raise ValueError(f"class ids must lie in 0 to {len(CLASSES) - 1}")
        order = np.argsort(-scores, kind="stable")
        for name, array in (("boxes", boxes), ("scores", scores), ("class_ids", class_ids)):
            array = array[order]
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "model_labels", tuple(str(self.model_labels[i]) for i in order))

    @classmethod
    def empty(cls) -> Detections:
        """No detection at all."""
        return cls(np.empty((0, 4)), np.empty(0), np.empty(0), ())

    @classmethod
    def from_records(cls, records: Iterable[Mapping[str, Any]]) -> Detections:
        """The inverse of `to_records`."""
        rows = list(records)
        return cls(
            np.array([[row["box"][corner] for corner in ("x1", "y1", "x2", "y2")] for row in rows]),
            np.array([row["score"] for row in rows]),
            np.array([row["class_id"] for row in rows]),
            tuple(row["model_label"] for row in rows),
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: np.ndarray | slice | Sequence[int]) -> Detections:
        """The detections at these rows: a boolean mask, indices or a slice."""
        index = np.arange(len(self))[rows]
        labels = tuple(self.model_labels[i] for i in index)
        return Detections(self.boxes[index], self.scores[index], self.class_ids[index], labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """The unified label of each detection."""
        return tuple(CLASSES[i] for i in self.class_ids)

    def above(self, threshold: float) -> Detections:
        """Those with a score of at least `threshold`."""
        return self[self.scores >= np.float32(threshold)]

    def to_records(self) -> list[dict[str, Any]]:
        """One plain dict per detection, as the API and the JSON files carry it.

        Coordinates are rounded to 1/1000 pixel. Scores keep float32's precision, so that filtering
        records gives the same answer as filtering the arrays.
        """
        return [
            {
                "label": CLASSES[class_id],
                "model_label": label,
                "class_id": int(class_id),
                "score": float(score),
                "box": dict(zip(("x1", "y1", "x2", "y2"), (round(float(v), 3) for v in box), strict=True)),
            }
            for box, score, class_id, label in zip(
                self.boxes, self.scores, self.class_ids, self.model_labels, strict=True
            )
        ]
