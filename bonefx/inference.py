"""One radiograph in, each model's outcome out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bonefx.detections import Detections
from bonefx.detectors import MODELS, Registry, default_registry, spec
from bonefx.detectors.base import Runtime, Stopwatch
from bonefx.errors import BoneFXError, RequestError
from bonefx.hub_client import Progress
from bonefx.images import Radiograph
from bonefx.settings import NOTICE, ZERO_GPU

SCHEMA_VERSION = 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What one model made of one image: plain values that can cross a process.

    Attributes:
        image, width, height: the image's file name and size in pixels.
        model: the model's id.
        detections: everything above the detectors' common floor; None after a failure.
        error: in a person's words, where the model failed.
        weights: source, repo, revision, file and sha256 of the weights that were used.
        runtime: what computed.
        nms, image_size: with the weights, what a metrics file must share to belong to this outcome.
        timings_ms: milliseconds by stage.
        notes: for the person: on the image, and on why no better weights were used.
    """

    image: str
    width: int
    height: int
    model: str
    detections: Detections | None = None
    error: str | None = None
    weights: dict[str, Any] | None = None
    runtime: Runtime | None = None
    nms: str = ""
    image_size: int = 0
    timings_ms: dict[str, float] | None = None
    notes: tuple[str, ...] = ()

    def to_result(self, threshold: float) -> dict[str, Any]:
        """The answer of API and command line (`schema_version` 1), with detections from `threshold` up."""
        head = {
            "schema_version": SCHEMA_VERSION,
            "image": self.image,
            "width": self.width,
            "height": self.height,
            "model": self.model,
            "weights": self.weights,
            "runtime": None if self.runtime is None else vars(self.runtime),
            "threshold": threshold,
            "timings_ms": {stage: round(ms, 2) for stage, ms in (self.timings_ms or {}).items()},
            "notes": list(self.notes),
            "notice": NOTICE,
        }
        if self.detections is None:
            return {**head, "error": self.error}
        return {**head, "detections": self.detections.above(threshold).to_records()}


def check_threshold(value: Any) -> float:
    """The threshold as a float in [0, 1].

    Raises:
        RequestError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise RequestError(f"The threshold is {value!r}; it must be a number from 0 to 1.")
    return float(value)


def run(
    radiograph: Radiograph,
    model_ids: Sequence[str],
    registry: Registry | None = None,
    progress: Callable[[str, Progress], None] = lambda model_id, progress: None,
) -> tuple[Outcome, ...]:
    """Run each model on the image.

    One model's failure is its outcome's `error`; the others are not touched by it.

    Args:
        radiograph: the image.
        model_ids: ids of the registry's models, in the order of the answer.
        registry: the models; None takes those of this process.
        progress: told the model's id and what it waits for, while weights are fetched and loaded and
            before the forward passes. What it raises ends the run: that is how a caller cancels.

    Raises:
        RequestError: a model is unknown.
    """
    for model_id in model_ids:
        spec(model_id)
    models = registry or default_registry()
    failures: dict[str, str] = {}
    for model_id in model_ids:
        try:
            models.get(model_id, lambda step, model_id=model_id: progress(model_id, step))
        except BoneFXError as error:
            failures[model_id] = str(error)
    ready = tuple(model_id for model_id in model_ids if model_id not in failures)
    for model_id in ready:
        progress(model_id, Progress("looking for fractures"))
    answers = _forward(radiograph.rgb, ready, _portable(registry)) if ready else []
    made = dict(zip(ready, answers, strict=True))
    facts = {"image": radiograph.name, "width": radiograph.width, "height": radiograph.height}
    outcomes = []
    for model_id in model_ids:
        if model_id in failures:
            outcomes.append(
                Outcome(**facts, model=model_id, error=failures[model_id], notes=radiograph.notes)
            )
        else:
            values = made[model_id]
            notes = (*radiograph.notes, *values.pop("notes"))
            outcomes.append(Outcome(**facts, model=model_id, notes=notes, **values))
    return tuple(outcomes)


def prepare(registry: Registry) -> None:
    """Load what must be loaded at start-up: on ZeroGPU every model, elsewhere nothing.

    A ZeroGPU worker is a fork that ends with its call: what it loaded itself would be loaded each time.
    """
    if not ZERO_GPU:
        return
    for model_id in MODELS:
        try:
            registry.get(model_id)
        except BoneFXError as error:
            _log.error("%s could not be loaded: %s", model_id, error)


def _portable(registry: Registry | None) -> Registry | None:
    """None for the registry of this process, which a fork finds by itself: locks cannot be pickled."""
    return None if registry is default_registry() else registry


def _forward(rgb: np.ndarray, model_ids: Sequence[str], registry: Registry | None) -> list[dict[str, Any]]:
    """The forward passes: on ZeroGPU the one function that a worker with a GPU runs.

    The models are in memory already; the worker, a fork, has them too. Values go both ways pickled.
    """
    models = registry or default_registry()
    answers = []
    for model_id in model_ids:
        loaded = models.loaded(model_id)
        detector, stopwatch = loaded.detector, Stopwatch()
        answer = {
            "weights": loaded.weights.to_record(),
            "runtime": detector.runtime,
            "nms": detector.nms,
            "image_size": detector.image_size,
            "notes": loaded.notes,
        }
        try:
            with stopwatch("total"):
                answer["detections"] = detector.detect(rgb, stopwatch)
        except BoneFXError as error:
            answer["error"] = str(error)
        except Exception:
            _log.exception("%s failed", model_id)
            answer["error"] = "The model failed on this image for an unexpected reason; the log has details."
        answers.append({**answer, "timings_ms": stopwatch.ms})
    return answers


if ZERO_GPU:
    import spaces

    _forward = spaces.GPU(duration=15)(_forward)
