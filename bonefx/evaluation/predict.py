"""Predictions of a data set by the models in use, stored image by image, so that a stopped run goes on."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from tqdm import tqdm

import bonefx
from bonefx import images
from bonefx.detectors import Loaded, ModelSpec, Registry
from bonefx.detectors.base import Stopwatch
from bonefx.errors import BoneFXError, DatasetError, ImageError
from bonefx.evaluation import coco_folder, folder
from bonefx.evaluation.dataset import Dataset, LabelledImage, Problem, fold
from bonefx.evaluation.store import Journal, Store, to_rows
from bonefx.provenance import versions
from bonefx.terminal import replace_line

_PREDICT_WITH = ("pillow", "opencv-python", "opencv-python-headless", "torch", "torchvision", "openvino")

T = TypeVar("T")


def held_out(root: Path) -> Dataset:
    """The images of the split `train` that `train --hold-out` does not learn from."""
    dataset = folder.load(root, "train")
    return replace(readable(dataset.subset(fold(dataset.images)[1])), split="train, held out")


def load(root: Path, split: str) -> Dataset:
    """The split without the images that cannot be read, telling all that was left out."""
    yolo = (root / "data.yaml").is_file() or not coco_folder.annotation_file(root, split)
    return readable(folder.load(root, split) if yolo else coco_folder.load(root, split))


def readable(dataset: Dataset) -> Dataset:
    """The data set without the images that cannot be read, telling all that was left out.

    Raises:
        DatasetError: none can be read.
    """
    kept, problems = [], []
    with _progress(dataset.images, "reading") as bar:
        for i, image in enumerate(bar):
            try:
                images.read(image.path)
                kept.append(i)
            except ImageError as error:
                problems.append(Problem(image.file_name, None, str(error)))
    if not kept:
        raise DatasetError(f"No image of {dataset.name}, {dataset.split}, can be read. First: {problems[0]}")
    dataset = replace(dataset.subset(kept), problems=(*dataset.problems, *problems))
    for problem in dataset.problems:
        say(str(problem))
    if dataset.problems:
        say(f"{len(dataset.problems)} left out of {dataset.name}, {dataset.split}, as said above.")
    return dataset


def settled(model: ModelSpec, registry: Registry) -> Loaded:
    """The model, with one runtime for all images."""
    loaded = registry.get(model.id, lambda step: replace_line(f"{model.name}: {step.text()}"))
    replace_line()
    for note in loaded.notes:
        say(f"{model.name}: {note}")
    loaded.detector.finish_preparing()
    return loaded


def up_to_date(model: ModelSpec, store: Store, key: dict[str, Any]) -> bool:
    """Whether predictions with this key are stored."""
    stored = store.run(model.id)
    if stored is None or stored.key != key:
        return False
    say(f"{model.name}: {store.predictions(model.id)} is up to date.")
    return True


def predict(model: ModelSpec, registry: Registry, dataset: Dataset, store: Store) -> None:
    """Store the model's predictions, going on where a run was stopped."""
    loaded = settled(model, registry)
    key = key_of(loaded, dataset)
    if not up_to_date(model, store, key):
        with (
            Journal(store.journal(model.id), key) as journal,
            _progress(dataset.images[journal.done :], model.name, journal.done) as bar,
        ):
            for image_id, image in enumerate(bar, journal.done + 1):
                journal.append(image_id, _detect(loaded, model, image, image_id))
        ms = [entry["ms"] for entry in journal.entries()]
        if len(ms) != len(dataset.images):
            raise DatasetError(f"Two evaluations write to {store.folder} at once: run one of them again.")
        rows = (row for entry in journal.entries() for row in entry["rows"])
        store.write_run(model.id, rows, key, described(loaded, model), timing(loaded, ms))
    store.journal(model.id).unlink(missing_ok=True)


def described(loaded: Loaded, model: ModelSpec) -> dict[str, Any]:
    """The detector, as in a report."""
    detector = loaded.detector
    member = {
        **loaded.weights.described().to_record(),
        "nms": detector.nms,
        "image_size": detector.image_size,
        "runtime": asdict(detector.runtime),
    }
    return {"id": model.id, "name": model.name, "method": None, "members": [member]}


def timing(loaded: Loaded, ms: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Median of each stage: the first images, which warm a model up, do not count for more than others."""
    medians = {stage: round(median(one[stage] for one in ms), 2) for stage in ms[0]}
    return {"ms_per_image": medians, "processor": loaded.detector.runtime.device}


def key_of(loaded: Loaded, dataset: Dataset) -> dict[str, Any]:
    """All that shapes predictions: with the same key, predictions are the same."""
    config = loaded.weights.config
    return {
        "dataset": dataset.sha256,
        "weights": loaded.weights.sha256,
        "config": hashlib.sha256(config.read_bytes()).hexdigest() if config else None,
        "nms": loaded.detector.nms,
        "image_size": loaded.detector.image_size,
        "runtime": asdict(loaded.detector.runtime),
        "versions": {"bonefx": bonefx.__version__, **versions(_PREDICT_WITH)},
    }


def _detect(loaded: Loaded, model: ModelSpec, image: LabelledImage, image_id: int) -> dict[str, Any]:
    rgb, stopwatch = images.read(image.file).rgb, Stopwatch()
    try:
        with stopwatch("total"):
            detections = loaded.detector.detect(rgb, stopwatch)
    except Exception as error:  # whatever it is, what was predicted before stays
        raise BoneFXError(
            f"{model.name} failed on {image.file_name} ({type(error).__name__}: {error})."
        ) from error
    ms = {stage: round(value, 2) for stage, value in stopwatch.ms.items()}
    return {"ms": ms, "rows": to_rows(image_id, detections)}


def _progress(items: Sequence[T], title: str, done: int = 0) -> tqdm[T]:
    return tqdm(items, title, initial=done, total=done + len(items), unit=" images")


def say(text: str) -> None:
    print(text, file=sys.stderr)
