"""One radiograph in, each model's outcome out; that of the consensus is made of the models'."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bonefx import agreement
from bonefx.calibration import calibration_of
from bonefx.consensus import CONSENSUS, Consensus
from bonefx.detectors import MODELS, ModelSpec, Registry, default_registry
from bonefx.detectors.base import MAX_DETECTIONS, Detector, Stopwatch
from bonefx.errors import BoneFXError, RequestError, log_frames, quoted
from bonefx.fusion import fuse
from bonefx.images import Radiograph
from bonefx.results import Outcome
from bonefx.settings import ZERO_GPU
from bonefx.sources.client import Progress

CHOICES: Mapping[str, ModelSpec | Consensus] = {**MODELS, CONSENSUS.id: CONSENSUS}
"""All that `run` can be asked for, by id: the models in the registry's order, then the consensus."""

GPU_SECONDS = 5
"""What a call reserves on ZeroGPU, and half as much again of a visitor's quota: CUDA's start takes most."""

_log = logging.getLogger(__name__)


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
    return run_together([radiograph], model_ids, registry, progress, patient)[0]


def run_together(
    radiographs: Sequence[Radiograph],
    model_ids: Sequence[str],
    registry: Registry | None = None,
    progress: Callable[[str, Progress], None] = lambda model_id, progress: None,
    patient: bool = False,
) -> list[tuple[Outcome, ...]]:
    """As `run` for each of several images; a GPU computes them together, see `at_once`."""
    model_ids = [check_model(name) for name in model_ids]
    models = registry or default_registry()
    needed = dict.fromkeys(model_id for each in model_ids for model_id in needed_by(each))
    outcomes = {model_id: [_blank(radiograph, model_id) for radiograph in radiographs] for model_id in needed}
    ready = []
    for model_id in needed:
        if problem := _load(models, model_id, progress):
            outcomes[model_id] = [replace(blank, error=problem) for blank in outcomes[model_id]]
        else:
            ready.append(model_id)
    if ready and radiographs:
        with models.turns.turn(patient):
            for model_id in ready:  # told now, so that a run is not begun that was cancelled while it waited
                progress(model_id, Progress("looking for fractures"))
            blanks = [outcomes[model_id] for model_id in ready]
            made = _forward([radiograph.rgb for radiograph in radiographs], blanks, _portable(registry))
            outcomes.update(zip(ready, made, strict=True))
    if CONSENSUS.id in model_ids:
        outcomes[CONSENSUS.id] = [
            consensus_of([outcomes[model_id][i] for model_id in CONSENSUS.members], radiograph.notes)
            for i, radiograph in enumerate(radiographs)
        ]
    return [tuple(outcomes[model_id][i] for model_id in model_ids) for i in range(len(radiographs))]


def at_once(model_ids: Sequence[str], registry: Registry) -> int:
    """How many images `run_together` may best be given: more than one where a GPU computes."""
    loaded = [registry.loaded(member) for each in model_ids for member in needed_by(each)]
    return max((model.detector.at_once for model in loaded if model is not None), default=1)


def _blank(radiograph: Radiograph, model_id: str) -> Outcome:
    height, width = radiograph.rgb.shape[:2]
    return Outcome(radiograph.name, width, height, model_id, notes=radiograph.notes)


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
    first = members[0]
    blank = Outcome(
        first.image,
        first.width,
        first.height,
        CONSENSUS.id,
        members=tuple(member.as_member() for member in members),
        notes=(
            *image_notes,
            *(f"{MODELS[m.model].name}: {note}" for m in members for note in m.notes[len(image_notes) :]),
        ),
    )
    found = [member.detections for member in members if member.detections is not None]
    if len(found) < len(members):
        failed = [f"{MODELS[member.model].name}: {member.error}" for member in members if member.error]
        return replace(blank, error=f"There is no consensus without all models. {' '.join(failed)}")
    calibrations = [calibration_of(member.identity) for member in blank.members]
    uncalibrated = tuple(
        f"The scores of {MODELS[member.model].name} are fused as they are: its weights have no calibration."
        for member, calibration in zip(members, calibrations, strict=True)
        if calibration is None
    )
    stopwatch = Stopwatch()
    for member in members:
        stopwatch.add(member.model, (member.timings_ms or {})["total"])
    with stopwatch("fusion"):
        fused = fuse(found, calibrations)[:MAX_DETECTIONS]
    ms = {**stopwatch.ms, "total": sum(stopwatch.ms.values())}
    return replace(blank, detections=fused, timings_ms=ms, notes=(*blank.notes, *uncalibrated))


def needed_by(model_id: str) -> tuple[str, ...]:
    """The models that must run for this answer: the model itself, or the members of the consensus."""
    return CONSENSUS.members if model_id == CONSENSUS.id else (model_id,)


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


def _forward(
    rgbs: Sequence[np.ndarray], blanks: Sequence[Sequence[Outcome]], registry: Registry | None
) -> list[list[Outcome]]:
    """The forward passes, on ZeroGPU by the processor where no GPU is given; see `_compute`."""
    if not ZERO_GPU:
        return _compute(rgbs, blanks, registry)
    try:
        answers: list[list[Outcome]] = _compute_on_gpu(rgbs, blanks, registry)
        return answers
    except Exception as error:  # a quota, a time out, nobody at home: all mean that there is no GPU now
        words = re.sub("<[^>]*>", "", str(getattr(error, "message", error))).strip()
        _log.warning("the processor answers, for want of a GPU: %s", words)
        note = f"No GPU was given, so the processor answered. {words}"
        by_cpu = _compute(rgbs, blanks, registry, on_cpu=True)
        return [[replace(answer, notes=(*answer.notes, note)) for answer in model] for model in by_cpu]


def _compute(
    rgbs: Sequence[np.ndarray],
    blanks: Sequence[Sequence[Outcome]],
    registry: Registry | None,
    on_cpu: bool = False,
) -> list[list[Outcome]]:
    """The forward passes: on ZeroGPU the one function that a worker with a GPU runs.

    The models are in memory already; the worker, a fork, has them too. Values go both ways pickled.

    Args:
        rgbs: the images.
        blanks: for each model that is to run an outcome an image, without what it finds.
        registry: the models; None takes those of this process.
        on_cpu: whether the processor answers though a GPU was promised.

    Returns:
        The outcomes, in the order of `blanks`.
    """
    models = registry or default_registry()
    return [_by_model(rgbs, of_model, models, on_cpu) for of_model in blanks]


def _by_model(
    rgbs: Sequence[np.ndarray], blanks: Sequence[Outcome], models: Registry, on_cpu: bool
) -> list[Outcome]:
    """What one model finds in each image."""
    loaded = models.in_memory(blanks[0].model)
    answers = [
        replace(
            blank,
            weights=loaded.weights.described(),
            nms=loaded.detector.nms,
            image_size=loaded.detector.image_size,
            notes=(*blank.notes, *loaded.notes),
        )
        for blank in blanks
    ]
    try:
        detector = models.on_cpu(blanks[0].model) if on_cpu else loaded.detector
    except Exception as error:
        return [replace(answer, error=_failed(answer.model, error)) for answer in answers]
    if len(rgbs) > 1 and (found := _found_together(detector, rgbs, answers)):
        return found
    return [_found(detector, rgb, answer) for rgb, answer in zip(rgbs, answers, strict=True)]


def _found(detector: Detector, rgb: np.ndarray, answer: Outcome) -> Outcome:
    """The outcome of one image."""
    stopwatch, runtime = Stopwatch(), detector.runtime
    try:
        with stopwatch("total"):
            answer = replace(answer, detections=detector.detect(rgb, stopwatch))
    except Exception as error:
        answer = replace(answer, error=_failed(answer.model, error))
    return replace(answer, runtime=stopwatch.runtime or runtime, timings_ms=stopwatch.ms)


def _found_together(
    detector: Detector, rgbs: Sequence[np.ndarray], answers: Sequence[Outcome]
) -> list[Outcome]:
    """The outcomes of several images, each with its share of the time; none if one of them fails them all."""
    stopwatch = Stopwatch()
    try:
        with stopwatch("total"):
            found = detector.detect_together(rgbs, stopwatch)
    except Exception as error:
        _log.warning("%s goes on image by image: %s", answers[0].model, type(error).__name__)
        return []
    share = {stage: ms / len(rgbs) for stage, ms in stopwatch.ms.items()}
    return [
        replace(answer, detections=each, runtime=stopwatch.runtime, timings_ms=share)
        for answer, each in zip(answers, found, strict=True)
    ]


def _failed(model_id: str, error: Exception) -> str:
    """Why a model has no answer, for a person; what was not foreseen goes to the log too."""
    if isinstance(error, BoneFXError):
        return str(error)
    _log.error("%s failed", model_id)
    log_frames(_log, error)
    return "The model failed on this image for an unexpected reason; the log has details."


if ZERO_GPU:
    import spaces

    _compute_on_gpu = spaces.GPU(duration=GPU_SECONDS)(_compute)
