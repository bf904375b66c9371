"""What the models find on the cases, kept in memory: many readers look at the same few pictures."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import numpy as np

from bonefx import images, inference
from bonefx.detections import Detections
from bonefx.detectors import MODELS, Registry
from bonefx.evaluation.froc import NMS_IOU
from bonefx.matching import nms
from bonefx.quiz.cases import Case
from bonefx.results import Outcome
from bonefx.ui.analysis import settled_weights
from bonefx.ui.metrics.store import MetricsStore
from bonefx.ui.operating import DEFAULT_RATE, Cut

KEPT = 2000
"""Cases whose results are in memory: some 20 KB each."""


@dataclass(frozen=True, eq=False)
class ModelMarks:
    """What one model has found on one case.

    Attributes:
        outcome: all of it, or the error.
        threshold: the score from which its detections are shown as marks.
        measured: whether metrics of these weights gave the threshold.
    """

    outcome: Outcome
    threshold: float
    measured: bool

    @property
    def shown(self) -> Detections | None:
        """The marks, one a place whatever its label; None after a failure."""
        found = self.outcome.detections
        if found is None:
            return None
        above = found.above(self.threshold)
        return above[nms(above.boxes.astype(np.float64), above.scores.astype(np.float64), NMS_IOU)]

    @property
    def sha256(self) -> str:
        return "" if self.outcome.weights is None else self.outcome.weights.sha256


class Models:
    """Runs the models on cases.

    Args:
        registry, store: the models, and their metrics.
    """

    def __init__(self, registry: Registry, store: MetricsStore) -> None:
        self._registry = registry
        self._store = store
        self._kept: dict[str, tuple[Outcome, ...]] = {}
        self._lock = threading.Lock()

    def on(self, case: Case) -> dict[str, ModelMarks]:
        """Every model's marks on a case, by model id, at the price at which the page shows them at first."""
        outcomes = self._outcomes(case)
        cut = Cut(fp_per_image=DEFAULT_RATE, strict=False)
        results, thresholds = cut.results(outcomes, self._store.report_for)
        rows = zip(outcomes, results, thresholds, strict=True)
        return {
            outcome.model: ModelMarks(outcome, threshold, result["operating_point"] is not None)
            for outcome, result, threshold in rows
        }

    def _outcomes(self, case: Case) -> tuple[Outcome, ...]:
        with self._lock:
            kept = self._kept.get(case.id)
        if kept is not None and self._in_use(kept):
            return kept
        radiograph = replace(images.read(case.path), name=case.id)
        outcomes = inference.run(radiograph, list(MODELS), self._registry)
        if all(outcome.error is None for outcome in outcomes):
            with self._lock:
                if len(self._kept) >= KEPT:
                    self._kept.clear()
                self._kept[case.id] = outcomes
        return outcomes

    def _in_use(self, outcomes: tuple[Outcome, ...]) -> bool:
        settled = settled_weights(self._registry)
        return settled is not None and all(
            outcome.weights is not None and settled[outcome.model].sha256 == outcome.weights.sha256
            for outcome in outcomes
        )
