"""What the models find on the cases, kept in memory: many readers look at the same few pictures."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import cached_property

from bonefx import images, inference
from bonefx.detections import Detections
from bonefx.detectors import MODELS, Registry
from bonefx.quiz.cases import Case
from bonefx.quiz.scoring import one_a_place
from bonefx.results import Outcome
from bonefx.ui.analysis import are_in_use
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

    @cached_property
    def shown(self) -> Detections | None:
        """The marks, one a place whatever its label; None after a failure."""
        found = self.outcome.detections
        return None if found is None else one_a_place(found.above(self.threshold))

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
        if kept is not None and are_in_use(kept, self._registry):
            return kept
        radiograph = replace(images.read(case.path), name=case.id)
        outcomes = inference.run(radiograph, list(MODELS), self._registry)
        if all(outcome.error is None for outcome in outcomes):
            with self._lock:
                if len(self._kept) >= KEPT:
                    self._kept.clear()
                self._kept[case.id] = outcomes
        return outcomes
