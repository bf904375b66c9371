"""What the models found in the examples, kept so that an example needs no model.

Results belong to a weight file and to a version of BoneFX. Those of the bundled weights travel with the code,
in one file that `python -m bonefx examples` makes; those of other weights are kept in the cache folder as
soon as the app has computed them once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bonefx import __version__, images
from bonefx.detections import Detections
from bonefx.detectors import MODELS
from bonefx.files import replaced
from bonefx.results import Outcome, Runtime, Weights
from bonefx.settings import Settings, packaged
from bonefx.sources.hub import WeightFile
from bonefx.ui.examples import Example, examples

FILE = "example_results.json"
"""In the folder of the bundled weights."""

FORMAT = 1


class ExampleResults:
    """The kept results of the examples.

    Args:
        settings: where the cache folder is, and what decides on the precision.
    """

    def __init__(self, settings: Settings) -> None:
        self._folder = None if settings.cache_dir is None else settings.cache_dir.expanduser() / "examples"
        self._setting = f"{__version__}-{settings.runtime}-{settings.precision}"
        self._made: dict[tuple[str, str, str], Outcome] = {}  # in this process, by example, model and SHA-256

    def find(self, example: Example, weights: Mapping[str, WeightFile]) -> tuple[Outcome, ...]:
        """The outcomes of all models; empty where one of them is not kept.

        Args:
            example: the image.
            weights: those in use, by model id. The outcomes say where these came from.
        """
        found = []
        for model_id in MODELS:
            used = weights.get(model_id)
            if used is None:
                continue
            outcome = self._find(example, model_id, used.sha256)
            if outcome is not None:
                found.append(replace(outcome, weights=used.described()))
        return _all_or_none(found)

    def keep(self, example: Example, outcomes: tuple[Outcome, ...]) -> None:
        """Keep what the models have found, where it is not kept already."""
        for outcome in outcomes:
            if outcome.model not in MODELS or outcome.detections is None or outcome.weights is None:
                continue
            sha256 = outcome.weights.sha256
            if self._find(example, outcome.model, sha256) is not None:
                continue
            kept = without_source_notes(outcome, example)
            self._made[example.id, outcome.model, sha256] = kept
            if path := self._path(example, outcome.model, sha256):
                _write(path, to_record(kept))

    def _find(self, example: Example, model_id: str, sha256: str) -> Outcome | None:
        outcome = _bundled().get((model_id, example.id))
        if outcome is not None and outcome.weights is not None and outcome.weights.sha256 == sha256:
            return outcome
        if outcome := self._made.get((example.id, model_id, sha256)):
            return outcome
        path = self._path(example, model_id, sha256)
        if path is None:
            return None
        try:
            return from_record(json.loads(path.read_text(encoding="utf-8")), example, model_id)
        except (OSError, ValueError, KeyError, TypeError):
            return None  # not kept, or half of it: the models run, and it is written anew

    def _path(self, example: Example, model_id: str, sha256: str) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"{self._setting}-{model_id}-{sha256[:32]}" / f"{example.id}.json"


def bundled(example: Example) -> tuple[Outcome, ...]:
    """The outcomes of the bundled weights that travel with the code, by their word and not by their hash.

    It is for a page that has no time to read weight files. Empty where none travels.
    """
    return _all_or_none([each for model_id in MODELS if (each := _bundled().get((model_id, example.id)))])


def to_record(outcome: Outcome) -> dict[str, Any]:
    """A model's outcome as plain values, all but the image's own facts. Scores keep float32's precision."""
    found, weights, runtime = outcome.detections, outcome.weights, outcome.runtime
    if found is None or weights is None or runtime is None:
        raise ValueError("a failure is not kept")
    return {
        "size": [outcome.width, outcome.height],
        "weights": weights.to_record(),
        "runtime": asdict(runtime),
        "nms": outcome.nms,
        "image_size": outcome.image_size,
        "timings_ms": {stage: round(ms, 1) for stage, ms in (outcome.timings_ms or {}).items()},
        "notes": list(outcome.notes),
        "boxes": [round(float(value), 2) for value in found.boxes.ravel()],
        "scores": [float(f"{score:.9g}") for score in found.scores],
        "class_ids": found.class_ids.tolist(),
        "model_labels": list(found.model_labels),
    }


def from_record(record: Mapping[str, Any], example: Example, model_id: str) -> Outcome:
    """The inverse of `to_record`.

    Raises:
        KeyError, TypeError, ValueError: it is no such record.
    """
    boxes = np.array(record["boxes"], np.float32).reshape(-1, 4)
    found = Detections(boxes, record["scores"], record["class_ids"], tuple(record["model_labels"]))
    width, height = record["size"]
    return Outcome(
        example.path.name,
        width,
        height,
        model_id,
        detections=found,
        weights=Weights.from_record(record["weights"]),
        runtime=Runtime(**record["runtime"]),
        nms=record["nms"],
        image_size=record["image_size"],
        timings_ms=dict(record["timings_ms"]),
        notes=tuple(record["notes"]),
    )


def _all_or_none(found: list[Outcome]) -> tuple[Outcome, ...]:
    return tuple(found) if len(found) == len(MODELS) else ()


@lru_cache(maxsize=1)
def _bundled() -> dict[tuple[str, str], Outcome]:
    """By model id and example id."""
    path = packaged("bundled") / FILE
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["format"] != FORMAT:
        return {}
    return {
        (model_id, example_id): from_record({**common, **own}, examples()[example_id], model_id)
        for model_id, (common, results) in content["models"].items()
        for example_id, own in results.items()
        if example_id in examples()
    }


def _write(path: Path, record: dict[str, Any]) -> None:
    """Whole or not at all; what cannot be written is not kept."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as beside:
            beside.write_text(json.dumps(record), encoding="utf-8")


def without_source_notes(outcome: Outcome, example: Example) -> Outcome:
    """The outcome with the notes on its image only: why no better weights were used can change."""
    return replace(outcome, notes=tuple(images.read(example.path).notes))
