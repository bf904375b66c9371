"""What a score means: how many of the marks with such a score lie on a fracture.

The calibration is Platt's: a logistic function of the logit of the score, with two parameters and for all
classes alike (J. Platt 1999; found best after training for detectors by S. Kuzucu and others, "On Calibration
of Object Detectors: Pitfalls, Evaluation and Baselines", ECCV 2024, arXiv 2405.20459). It is learnt on images
that a model has not learnt from, and belongs to one weight file, run in one way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from bonefx.errors import MetricsError
from bonefx.results import Identity
from bonefx.settings import packaged

FILE = "calibration.json"
"""In the folder of the packaged metrics, written by `python -m bonefx calibrate`."""

FORMAT = 1
_LEAST = 1e-6  # a score is taken to be this far from 0 and from 1


@dataclass(frozen=True)
class Calibration:
    """The probability of a mark is 1 / (1 + exp(-(slope * logit(score) + offset))).

    Attributes:
        slope: above 0, so that the order of the marks stays.
        offset: in logits.
        fitted_on: summaries of the data that it was learnt on (`bonefx.evaluation.dataset.Dataset.summary`).
    """

    slope: float
    offset: float
    fitted_on: tuple[Mapping[str, Any], ...] = ()

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """float64, of the shape of the scores: the share of such marks that lie on a fracture."""
        return 1 / (1 + np.exp(-(self.slope * logit(scores) + self.offset)))


def logit(shares: np.ndarray) -> np.ndarray:
    """float64, of the same shape: log(p / (1 - p)); 0 and 1 stay finite."""
    held = np.clip(np.asarray(shares, dtype=np.float64), _LEAST, 1 - _LEAST)
    return np.log(held / (1 - held))


def fit(scores: np.ndarray, hits: np.ndarray) -> Calibration:
    """Learn a calibration by maximum likelihood, with Platt's smoothed targets, by Newton's method.

    Args:
        scores: (n,) of marks, in [0, 1].
        hits: bool (n,), whether each lies on a fracture.

    Raises:
        MetricsError: there are no hits or no misses, or hits do not have the higher scores.
    """
    positive, negative = int(hits.sum()), int((~hits).sum())
    if not positive or not negative:
        raise MetricsError("A calibration needs marks on fractures and marks beside them.")
    target = np.where(hits, (positive + 1) / (positive + 2), 1 / (negative + 2))
    columns = np.stack([logit(scores), np.ones(len(scores))], axis=1)
    values = np.array([1.0, 0.0])
    for _ in range(100):
        found = 1 / (1 + np.exp(-columns @ values))
        curvature = (columns * (found * (1 - found))[:, None]).T @ columns
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), columns.T @ (target - found))
        values = values + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-10:
            break
    if values[0] <= 0:
        raise MetricsError("Marks on fractures do not have the higher scores: there is nothing to calibrate.")
    return Calibration(float(values[0]), float(values[1]))


def calibration_of(identity: Identity | None) -> Calibration | None:
    """The packaged calibration of a weight file, run in one way; None where it has none."""
    return None if identity is None else stored().get(identity)


@lru_cache(maxsize=1)
def stored() -> Mapping[Identity, Calibration]:
    """The packaged calibrations; none where the file is missing.

    Raises:
        MetricsError: the file is damaged.
    """
    path = packaged("precomputed_metrics") / FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {
            Identity.from_record(entry): Calibration(
                float(entry["slope"]), float(entry["offset"]), tuple(entry["fitted_on"])
            )
            for entry in content["models"]
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MetricsError(f"{path.name} is damaged: {error!r}. Write it again: calibrate.") from None
