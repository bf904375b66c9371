"""Predictions in COCO results format, checked and cut to the protocol's floor and number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from bonefx.detections import SCORE_FLOOR
from bonefx.errors import DatasetError, quoted
from bonefx.labels import CLASSES

_LARGEST = 1e12  # pixels; JSON has whole numbers of any length, a float has not
KEPT_PER_IMAGE = 100


@dataclass(frozen=True, eq=False)
class Predictions:
    """Every detection of one model in a data set, highest score first, ties in file order.

    Attributes:
        images: int64 (n,), index into `Dataset.images`.
        class_ids: int64 (n,), indices into `bonefx.labels.CLASSES`.
        bbox: float64 (n, 4), x, y, width, height in pixels. A box may reach out of its image: neither COCO
            nor FROC cuts it.
        scores: float64 (n,), in [`SCORE_FLOOR`, 1], never rising. At most `KEPT_PER_IMAGE` an image.
    """

    images: np.ndarray
    class_ids: np.ndarray
    bbox: np.ndarray
    scores: np.ndarray

    @property
    def boxes(self) -> np.ndarray:
        """float64 (n, 4): the same boxes as corners x1, y1, x2, y2."""
        return np.hstack([self.bbox[:, :2], self.bbox[:, :2] + self.bbox[:, 2:]])

    @classmethod
    def parse(cls, results: Iterable[Any], n_images: int) -> Predictions:
        """Check a COCO results list and cut it as the protocol says.

        Args:
            results: `{"image_id", "category_id", "bbox": [x, y, width, height], "score"}` each; further
                keys are ignored. `image_id` is 1 to `n_images`, `category_id` the class id + 1.
            n_images: number of images of the data set.

        Detections under `SCORE_FLOOR` are left out, then all but the best `KEPT_PER_IMAGE` of each image
        (of equal scores the first), before anything else is done with them.

        Raises:
            DatasetError: naming the first entry (counted from 0) that breaks the format.
        """
        if not isinstance(results, list):
            raise DatasetError('Predictions must be a COCO results list, as in [{"image_id": 1, ...}, ...].')
        rows = [_row(entry, number, n_images) for number, entry in enumerate(results)]
        table = np.array(rows, dtype=np.float64).reshape(-1, 7)
        table = table[table[:, 6] >= SCORE_FLOOR]
        table = table[np.argsort(-table[:, 6], kind="stable")]
        table = table[_rank(table[:, 0]) < KEPT_PER_IMAGE]
        return cls(
            table[:, 0].astype(np.int64) - 1, table[:, 1].astype(np.int64) - 1, table[:, 2:6], table[:, 6]
        )


def _rank(groups: np.ndarray) -> np.ndarray:
    """int64 (n,): how many earlier elements are equal to each."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    rank = np.empty(len(groups), dtype=np.int64)
    rank[order] = np.arange(len(groups)) - np.searchsorted(ordered, ordered, side="left")
    return rank


def _row(entry: Any, number: int, n_images: int) -> tuple[float, ...]:
    """Image id, category id, x, y, width, height and score of one entry."""

    def broken(reason: str) -> DatasetError:
        return DatasetError(f"Entry {number} of the predictions {reason}.")

    try:
        image_id: Any = entry["image_id"]
        category_id: Any = entry["category_id"]
        x, y, width, height = entry["bbox"]
        score = entry["score"]
    except (KeyError, TypeError, ValueError):
        raise broken("must have image_id, category_id, a bbox of 4 numbers, and a score") from None
    if not (isinstance(image_id, Integral) and 1 <= image_id <= n_images):  # type: ignore[operator]
        raise broken(f"has image_id {quoted(image_id)}; the data set has images 1 to {n_images}")
    if not (isinstance(category_id, Integral) and 1 <= category_id <= len(CLASSES)):  # type: ignore[operator]
        raise broken(f"has category_id {quoted(category_id)}; it must be 1 to {len(CLASSES)}")
    row: Any = (image_id, category_id, x, y, width, height, score)
    if not all(isinstance(value, Real) and abs(value) <= _LARGEST for value in row):  # type: ignore[operator]
        raise broken("has a value that is not a finite number")
    if width < 0 or height < 0:
        raise broken(f"has a box of width {width:g} and height {height:g}; neither may be negative")
    if not 0 <= score <= 1:
        raise broken(f"has a score of {score:g}; it must lie in [0, 1]")
    return row
