"""One radiograph in, each model's outcome out; that of the consensus is made of the models'."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bonefx import agreement
from bonefx.calibration import calibration_of
from bonefx.consensus import CONSENSUS, Consensus
from bonefx.detections import Detections
from bonefx.detectors import MODELS, ModelSpec, Registry, default_registry
from bonefx.detectors.base import MAX_DETECTIONS, Runtime, Stopwatch
from bonefx.errors import BoneFXError, RequestError, log_frames, quoted
from bonefx.fusion import fuse
from bonefx.hub_client import Progress
from bonefx.images import Radiograph
from bonefx.settings import NOTICE, ZERO_GPU

SCHEMA_VERSION = 1

CHOICES: Mapping[str, ModelSpec | Consensus] = {**MODELS, CONSENSUS.id: CONSENSUS}
"""All that `run` can be asked for, by id: the models in the registry's order, then the consensus."""

GPU_SECONDS = 5
"""What a call reserves on ZeroGPU, and half as much again of a visitor's quota: CUDA's start takes most."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What one model made of one image: plain values that can cross a process.

    Attributes:
        image, width, height: the image's file name and size in pixels.
        model: the model's id.
        detections: everything above the detectors' common floor; None after a failure.
        error: in a person's words, where the model failed.
        weights: source, repo, revision, file and sha256 of the weights that were used; None of a consensus.
        runtime: what computed; None of a consensus.
        nms, image_size: with the weights, what a metrics file must share to belong to this outcome.
        timings_ms: milliseconds by stage.
        notes: for the person: on the image, and on why no better weights were used.
        members: of a consensus, `model`, `weights`, `nms`, `image_size` and `runtime` of each model that it
            is made of, as plain values; otherwise empty.
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
    members: tuple[dict[str, Any], ...] = ()

    def to_result(self, threshold: float) -> dict[str, Any]:
        """The answer of API and command line (`schema_version` 1), with detections from `threshold` up."""
        head = {
            "schema_version": SCHEMA_VERSION,
            "image": self.image,
            "width": self.width,
            "height": self.height,
            "model": self.model,
            "weights": self.weights,
            **({"members": list(self.members)} if self.members else {}),
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
        raise RequestError(f"The threshold is {quoted(value)}; it must be a number from 0 to 1.")
    return float(value)


def check_model(name: Any) -> str:
    """The id of `CHOICES` that is meant by a name in upper or lower case.

    Raises:
        RequestError: there is no such model.
    """
    if isinstance(name, str) and name.strip().lower() in CHOICES:
        return name.strip().lower()
    raise RequestError(f"There is no model {quoted(name)}. The models are: {', '.join(CHOICES)}.")


def run(
    radiograph: Radiograph,
    model_ids: Sequence[str],
    registry: Registry | None = None,
    progress: Callable[[str, Progress], None] = lambda model_id, progress: None,
    patient: bool = False,
) -> tuple[Outcome, ...]:
    """Run each model on the image, once, and make the consensus of what they found if that is asked for.

    One model's failure is its outcome's `error`, and the consensus' if it is a member of it; the others are
    not touched by it.

    Args:
        radiograph: the image.
        model_ids: ids of `CHOICES`, in upper or lower case, in the order of the answer.
        registry: the models; None takes those of this process.
        progress: told the id of a model of the registry and what it waits for, while weights are fetched and
            loaded and before the forward passes. What it raises ends the run: that is how a caller cancels.
        patient: let everybody else's image go first, for the images of a batch.

    Raises:
        RequestError: an id is unknown.
    """
    model_ids = [check_model(name) for name in model_ids]
    models = registry or default_registry()
    needed = tuple(dict.fromkeys(each for model_id in model_ids for each in _runs(model_id)))
    failures: dict[str, str] = {}
    for model_id in needed:
        problem = _load(models, model_id, progress)
        if problem is not None:
            failures[model_id] = problem
    ready = tuple(model_id for model_id in needed if model_id not in failures)
    answers: list[dict[str, Any]] = []
    if ready:
        with models.turns.turn(patient):
            for model_id in ready:  # told now, so that a run is not begun that was cancelled while it waited
                progress(model_id, Progress("looking for fractures"))
            answers = _forward(radiograph.rgb, ready, _portable(registry))
    made = dict(zip(ready, answers, strict=True))
    facts = {"image": radiograph.name, "width": radiograph.width, "height": radiograph.height}
    outcomes: dict[str, Outcome] = {}
    for model_id in needed:
        values = made.get(model_id) or {"error": failures[model_id], "notes": ()}
        notes = (*radiograph.notes, *values.pop("notes"))
        outcomes[model_id] = Outcome(**facts, model=model_id, notes=notes, **values)
    if CONSENSUS.id in model_ids:
        members = [outcomes[model_id] for model_id in CONSENSUS.members]
        outcomes[CONSENSUS.id] = consensus_of(members, radiograph.notes)
    return tuple(outcomes[model_id] for model_id in model_ids)


def pair_of(names: Any) -> tuple[str, str]:
    """The ids of the two models that are compared.

    Args:
        names: two names in upper or lower case; None: the first two models.

    Raises:
        RequestError: these are not two models.
    """
    if names is None:
        first, second, *_ = MODELS
        return first, second
    ids = tuple(map(check_model, names)) if isinstance(names, (list, tuple)) else ()
    if len(ids) != 2 or ids[0] == ids[1] or not set(ids) <= MODELS.keys():
        raise RequestError(f"Only two different models can be compared, of {', '.join(MODELS)}.")
    return ids


def agreement_of(
    outcomes: Sequence[Outcome], thresholds: Sequence[float], pair: Sequence[str]
) -> dict[str, Any] | None:
    """Where two models agree, each above its own threshold; None after a failure of one.

    Args:
        outcomes: of all models on one image.
        thresholds: the score from which the detections of each count.
        pair: ids of the two.
    """
    levels = {each.model: level for each, level in zip(outcomes, thresholds, strict=True)}
    found = {each.model: each.detections for each in outcomes if each.detections is not None}
    if not all(model_id in found for model_id in pair):
        return None
    first, second = ((model_id, found[model_id].above(levels[model_id])) for model_id in pair)
    return agreement.to_record(*first, *second)


def consensus_of(members: Sequence[Outcome], image_notes: tuple[str, ...] = ()) -> Outcome:
    """The consensus' outcome, made of those of its members.

    Args:
        members: the outcomes of `CONSENSUS.members` on one image, in that order.
        image_notes: those on the image, which each member's notes begin with.
    """
    values = _fused(members, len(image_notes))
    notes = (*image_notes, *values.pop("notes"))
    first = members[0]
    facts = {"image": first.image, "width": first.width, "height": first.height}
    return Outcome(**facts, model=CONSENSUS.id, notes=notes, **values)


def _runs(model_id: str) -> tuple[str, ...]:
    """The models that must run for this answer."""
    return CONSENSUS.members if model_id == CONSENSUS.id else (model_id,)


def _fused(members: Sequence[Outcome], image_notes: int) -> dict[str, Any]:
    """The consensus as fields of its own outcome; the first notes of its members' are the image's."""
    values: dict[str, Any] = {
        "notes": [f"{MODELS[m.model].name}: {note}" for m in members for note in m.notes[image_notes:]],
        "members": tuple(
            {
                "model": member.model,
                "weights": member.weights,
                "nms": member.nms,
                "image_size": member.image_size,
                "runtime": None if member.runtime is None else vars(member.runtime),
            }
            for member in members
        ),
    }
    failed = [f"{MODELS[member.model].name}: {member.error}" for member in members if member.error]
    if failed:
        return {**values, "error": f"There is no consensus without all models. {' '.join(failed)}"}
    calibrations = [
        calibration_of((member.weights or {}).get("sha256"), member.nms, member.image_size)
        for member in members
    ]
    values["notes"] += [
        f"The scores of {MODELS[member.model].name} are fused as they are: its weights have no calibration."
        for member, calibration in zip(members, calibrations, strict=True)
        if calibration is None
    ]
    stopwatch = Stopwatch()
    for member in members:
        stopwatch.add(member.model, member.timings_ms["total"])
    with stopwatch("fusion"):
        values["detections"] = fuse([member.detections for member in members], calibrations)[:MAX_DETECTIONS]
    return {**values, "timings_ms": {**stopwatch.ms, "total": sum(stopwatch.ms.values())}}


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


def _load(models: Registry, model_id: str, progress: Callable[[str, Progress], None]) -> str | None:
    """Have a model loaded; why that failed, if it did, whatever was raised but by `progress` itself."""
    ended: list[BaseException] = []

    def tell(step: Progress) -> None:
        try:
            progress(model_id, step)
        except BaseException as error:
            ended.append(error)
            raise

    try:
        models.get(model_id, tell)
    except Exception as error:
        if error in ended:
            raise
        if isinstance(error, BoneFXError):
            return str(error)
        _log.exception("%s could not be loaded", model_id)
        return "The model could not be loaded for an unexpected reason; the log has details."
    return None


def _forward(rgb: np.ndarray, model_ids: Sequence[str], registry: Registry | None) -> list[dict[str, Any]]:
    """The forward passes, on ZeroGPU by the processor where no GPU is given."""
    if not ZERO_GPU:
        return _compute(rgb, model_ids, registry)
    try:
        return _compute_on_gpu(rgb, model_ids, registry)
    except Exception as error:  # a quota, a time out, nobody at home: all mean that there is no GPU now
        words = re.sub("<[^>]*>", "", str(getattr(error, "message", error))).strip()
        _log.warning("the processor answers, for want of a GPU: %s", words)
        note = f"No GPU was given, so the processor answered. {words}"
        answers = _compute(rgb, model_ids, registry, on_cpu=True)
        return [{**answer, "notes": (*answer["notes"], note)} for answer in answers]


def _compute(
    rgb: np.ndarray, model_ids: Sequence[str], registry: Registry | None, on_cpu: bool = False
) -> list[dict[str, Any]]:
    """The forward passes: on ZeroGPU the one function that a worker with a GPU runs.

    The models are in memory already; the worker, a fork, has them too. Values go both ways pickled.
    """
    models = registry or default_registry()
    answers = []
    for model_id in model_ids:
        loaded, stopwatch = models.loaded(model_id), Stopwatch()
        answer = {
            "weights": loaded.weights.to_record(),
            "nms": loaded.detector.nms,
            "image_size": loaded.detector.image_size,
            "notes": loaded.notes,
        }
        runtime = None
        try:
            detector = models.on_cpu(model_id) if on_cpu else loaded.detector
            runtime = detector.runtime
            with stopwatch("total"):
                answer["detections"] = detector.detect(rgb, stopwatch)
        except BoneFXError as error:
            answer["error"] = str(error)
        except Exception as error:
            _log.error("%s failed", model_id)
            log_frames(_log, error)
            answer["error"] = "The model failed on this image for an unexpected reason; the log has details."
        answers.append({**answer, "runtime": stopwatch.runtime or runtime, "timings_ms": stopwatch.ms})
    return answers


if ZERO_GPU:
    import spaces

    _compute_on_gpu = spaces.GPU(duration=GPU_SECONDS)(_compute)
