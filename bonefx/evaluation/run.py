"""`python -m bonefx evaluate`: predict a split, score it by the protocol, write and publish the metrics.

Predicting and scoring are apart: predictions are stored first (`bonefx.evaluation.store`), and every metrics
file is made from what is stored; that of the consensus from what is stored of its members.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.metadata
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from tqdm import tqdm

import bonefx
from bonefx import images
from bonefx.consensus import CONSENSUS
from bonefx.detectors import MODELS, Loaded, ModelSpec, Registry
from bonefx.detectors.base import Stopwatch
from bonefx.errors import BoneFXError, DatasetError, ImageError, MetricsError
from bonefx.evaluation import compare, consensus, folder, publish, report, score
from bonefx.evaluation.dataset import Dataset, LabelledImage, Problem
from bonefx.evaluation.store import Journal, Store, read_ground_truth, read_results, to_rows
from bonefx.evaluation.summary import headline, headlines, markdown_table
from bonefx.inference import CHOICES
from bonefx.settings import Settings, packaged
from bonefx.terminal import replace_line

METRICS = "precomputed_metrics"
PREDICTIONS = "predictions"  # the store, in the folder of the metrics

_PREDICT_WITH = ("pillow", "opencv-python", "opencv-python-headless", "torch", "torchvision", "openvino")
_SCORE_WITH = ("numpy", "pycocotools")

T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer the command's arguments."""
    what = parser.add_argument_group("what to score, one of the three (--data may go with --predictions)")
    what.add_argument("--data", type=Path, metavar="DIR", help="a data set in YOLO format, to predict")
    what.add_argument("--predictions", type=Path, metavar="FILE", help="anyone's COCO results list")
    what.add_argument("--rescore", action="store_true", help="the predictions stored below --out")
    parser.add_argument("--split", default="valid", help="split of --data (default: valid)")
    parser.add_argument("--model", choices=[*MODELS, "both"], help="model to predict with (default: both)")
    parser.add_argument(
        "--ground-truth",
        type=Path,
        metavar="FILE",
        help="ground truth for --predictions, in place of --data: a ground_truth.json of an evaluation "
        "(default: that of the packaged metrics)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help=f"folder for metrics and predictions (default: {METRICS}); with --predictions the JSON file to "
        "write (default: none)",
    )
    parser.add_argument("--push", action="store_true", help="publish to the Hub, HF_METRICS_REPO_ID")
    parser.set_defaults(run=run, usage_error=parser.error)


def run(options: argparse.Namespace) -> int:
    """Run the command; its exit status."""
    foreign, data = options.predictions is not None, options.data is not None
    if options.rescore + foreign + (data and not foreign) != 1:
        options.usage_error("give --data, --predictions or --rescore")
    if options.model and (foreign or not data):
        options.usage_error("--model is for --data alone")
    if options.push and foreign:
        options.usage_error("--push is for BoneFX's own models, not for --predictions")
    if options.ground_truth and (data or not foreign):
        options.usage_error("--ground-truth is for --predictions, in place of --data")
    try:
        (_score_foreign if foreign else _evaluate)(options)
    except KeyboardInterrupt:
        _say("\nStopped. The same command goes on from here.")
        return 130
    return 0


def _score_foreign(options: argparse.Namespace) -> None:
    """Score predictions that somebody brings."""
    results = read_results(options.predictions)
    if options.data:
        dataset = _load(options.data, options.split)
    else:
        stored = Store(packaged(METRICS) / PREDICTIONS).ground_truth
        dataset = read_ground_truth(options.ground_truth or stored)
    name = options.predictions.stem
    detector = {"id": name, "name": name, "method": None, "members": []}
    made = report.build(
        dataset, score(dataset, results), detector, created=_now(), versions=_versions(_SCORE_WITH)
    )
    print(f"{markdown_table([made])}\n{headline(made)}")
    if options.out:
        _write(made, options.out / f"{name}_metrics.json" if options.out.is_dir() else options.out)


def _evaluate(options: argparse.Namespace) -> None:
    """Predict what is not stored yet, score all that is stored, publish it if asked to."""
    settings = Settings.from_env()
    if options.push:
        publish.check(settings)
    out = options.out or Path(METRICS)
    store = Store(out / PREDICTIONS)
    if options.data:
        dataset = _load(options.data, options.split)
        store.write_ground_truth(dataset)
        registry = Registry(settings)
        for model in MODELS.values():
            if options.model in (None, "both", model.id):
                _predict(model, registry, dataset, store)
    reports, files = _score_stored(store, settings)
    reports = {name: _write(made, out / name) for name, made in reports.items()}
    made = list(reports.values())
    print(markdown_table(made), *headlines(made), sep="\n")
    if options.push:
        pushed = publish.push(settings, out, reports, files)
        print(f"Published: {pushed.url}" if pushed.changed else f"Nothing changed: {pushed.url}")


def _load(root: Path, split: str) -> Dataset:
    """The split without the images that cannot be read, telling all that was left out."""
    dataset = folder.load(root, split)
    readable, problems = [], []
    with _progress(dataset.images, "reading") as bar:
        for i, image in enumerate(bar):
            try:
                images.read(image.path)
                readable.append(i)
            except ImageError as error:
                problems.append(Problem(image.file_name, None, str(error)))
    if not readable:
        raise DatasetError(f"No image of {root}, {split}, can be read. The first: {problems[0]}")
    dataset = replace(dataset.subset(readable), problems=(*dataset.problems, *problems))
    for problem in dataset.problems:
        _say(str(problem))
    if dataset.problems:
        _say(f"{len(dataset.problems)} left out of {root}, {split}, as said above.")
    return dataset


def _predict(model: ModelSpec, registry: Registry, dataset: Dataset, store: Store) -> None:
    """Store the model's predictions, going on where a run was stopped."""
    loaded = registry.get(model.id, lambda step: replace_line(f"{model.name}: {step.text()}"))
    replace_line()
    for note in loaded.notes:
        _say(f"{model.name}: {note}")
    loaded.detector.settle()  # one runtime for all images, and for the key
    key, stored = _key(loaded, dataset), store.run(model.id)
    if stored and stored.key == key:
        _say(f"{model.name}: {store.predictions(model.id)} is up to date.")
    else:
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
        store.write_run(model.id, rows, key, _described(loaded, model), _timing(loaded, ms))
    store.journal(model.id).unlink(missing_ok=True)


def _described(loaded: Loaded, model: ModelSpec) -> dict[str, Any]:
    """The detector, as in a report."""
    detector = loaded.detector
    member = {
        **loaded.weights.to_record(),
        "nms": detector.nms,
        "image_size": detector.image_size,
        "runtime": asdict(detector.runtime),
    }
    return {"id": model.id, "name": model.name, "method": None, "members": [member]}


def _timing(loaded: Loaded, ms: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Median of each stage: the first images, which warm a model up, do not count for more than others."""
    medians = {stage: round(median(one[stage] for one in ms), 2) for stage in ms[0]}
    return {"ms_per_image": medians, "processor": loaded.detector.runtime.device}


def _key(loaded: Loaded, dataset: Dataset) -> dict[str, Any]:
    """All that shapes predictions: with the same key, predictions are the same."""
    config = loaded.weights.config
    return {
        "dataset": dataset.sha256,
        "weights": loaded.weights.sha256,
        "config": hashlib.sha256(config.read_bytes()).hexdigest() if config else None,
        "nms": loaded.detector.nms,
        "image_size": loaded.detector.image_size,
        "runtime": asdict(loaded.detector.runtime),
        "versions": _versions(_PREDICT_WITH),
    }


def _detect(loaded: Loaded, model: ModelSpec, image: LabelledImage, image_id: int) -> dict[str, Any]:
    rgb, stopwatch = images.read(image.path).rgb, Stopwatch()
    try:
        with stopwatch("total"):
            detections = loaded.detector.detect(rgb, stopwatch)
    except Exception as error:  # whatever it is, what was predicted before stays
        raise BoneFXError(
            f"{model.name} failed on {image.file_name} ({type(error).__name__}: {error})."
        ) from error
    ms = {stage: round(value, 2) for stage, value in stopwatch.ms.items()}
    return {"ms": ms, "rows": to_rows(image_id, detections)}


def _score_stored(store: Store, settings: Settings) -> tuple[dict[str, report.Report], list[Path]]:
    """Score all that is stored, and the consensus where its members are, each compared with the others.

    Returns:
        Reports by the file name under which the app fetches them, and the files that they were made from.
    """
    dataset = read_ground_truth(store.ground_truth)
    runs = {model.id: store.run(model.id) for model in MODELS.values()}
    for model_id, made in list(runs.items()):
        if made and made.key["dataset"] != dataset.sha256:
            _say(f"{store.predictions(model_id)} is about other data; its metrics are left as they are.")
        if not made or made.key["dataset"] != dataset.sha256:
            del runs[model_id]
    if not runs:
        raise DatasetError(f"{store.folder} holds no predictions: evaluate with --data.")
    facts: dict[str, dict[str, Any]] = {
        model_id: {"detector": made.detector, "versions": made.key["versions"], "timing": made.timing}
        for model_id, made in runs.items()
    }
    scores = {model_id: score(dataset, read_results(store.predictions(model_id))) for model_id in runs}
    if all(member in runs for member in CONSENSUS.members):
        facts[CONSENSUS.id] = consensus.described([facts[member] for member in CONSENSUS.members])
        stored = [read_results(store.predictions(member)) for member in CONSENSUS.members]
        scores[CONSENSUS.id] = score(dataset, consensus.results(dataset, stored))
    reports = {}
    for model_id, mine in facts.items():
        versions = {**mine["versions"], **_versions(_SCORE_WITH)}
        comparisons = [
            {"detector": facts[other]["detector"], **compare(scores[model_id], scores[other])}
            for other in facts
            if other != model_id
        ]
        reports[CHOICES[model_id].metrics_filename(settings)] = report.build(
            dataset,
            scores[model_id],
            **{**mine, "versions": versions},
            created=_now(),
            comparisons=comparisons,
        )
    return reports, [store.ground_truth, *(path for model_id in runs for path in store.files(model_id))]


def _write(made: report.Report, path: Path) -> report.Report:
    """Write a report, unless the file differs by nothing but its date: the report that is in the file."""
    with contextlib.suppress(MetricsError):
        there = report.read(path)
        if {**there, "created": ""} == {**made, "created": ""}:
            return there
    path.parent.mkdir(parents=True, exist_ok=True)
    report.write(made, path)
    return made


def _versions(distributions: Iterable[str]) -> dict[str, str]:
    """Versions of BoneFX and of those that are installed."""
    versions = {"bonefx": bonefx.__version__}
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _progress(items: Sequence[T], title: str, done: int = 0) -> tqdm[T]:
    return tqdm(items, title, initial=done, total=done + len(items), unit=" images")


def _say(text: str) -> None:
    print(text, file=sys.stderr)
