"""`python -m bonefx evaluate`: predict a split, score it by the protocol, write and publish the metrics.

Predicting and scoring are apart: predictions are stored first (`bonefx.evaluation.store`), and every metrics
file is made from what is stored; that of the consensus from what is stored of its members.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bonefx import __version__, provenance
from bonefx.calibration import Calibration, calibration_of
from bonefx.consensus import CONSENSUS
from bonefx.detectors import MODELS, Registry
from bonefx.errors import DatasetError, MetricsError
from bonefx.evaluation import Score, apart, calibration, compare, consensus, failures, publish, report, score
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.predict import load, predict, say
from bonefx.evaluation.store import METRICS, PREDICTIONS, Store, read_ground_truth, read_results
from bonefx.evaluation.summary import headline, headlines, markdown_table
from bonefx.inference import CHOICES
from bonefx.results import Identity
from bonefx.settings import Settings, packaged
from bonefx.shards import check_installed

_SCORE_WITH = ("numpy", "pycocotools")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer the command's arguments."""
    what = parser.add_argument_group("what to score, one of the three (--data may go with --predictions)")
    what.add_argument(
        "--data", type=Path, metavar="DIR", help="a data set in YOLO or COCO format, to predict"
    )
    what.add_argument("--predictions", type=Path, metavar="FILE", help="anyone's COCO results list")
    what.add_argument("--rescore", action="store_true", help="the predictions stored below --out")
    parser.add_argument("--split", default="valid", help="split of --data (default: valid)")
    parser.add_argument("--model", choices=[*MODELS, "all"], help="model to predict with (default: all)")
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
        help=f"folder for metrics and predictions (default: {METRICS}, or a folder in it where that "
        "holds those on other data); with --predictions the JSON file to write (default: none)",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="also write a page that shows on which images the models fail; it opens without a server",
    )
    parser.add_argument(
        "--thumbnails",
        action="store_true",
        help="with --report and --data: the page holds small copies of the images",
    )
    parser.add_argument("--push", action="store_true", help="publish to the Hub, HF_METRICS_REPO_ID")
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="with --data: predict on a Ray cluster, or, without an address, on all cores of this machine",
    )
    parser.set_defaults(run=run, usage_error=parser.error)


def run(options: argparse.Namespace) -> int:
    """Run the command; its exit status."""
    foreign, data = options.predictions is not None, options.data is not None
    if options.rescore + foreign + (data and not foreign) != 1:
        options.usage_error("give --data, --predictions or --rescore")
    if options.model and (foreign or not data):
        options.usage_error("--model is for --data alone")
    if options.ray is not None and (foreign or not data):
        options.usage_error("--ray is for --data alone")
    if options.push and foreign:
        options.usage_error("--push is for BoneFX's own models, not for --predictions")
    if options.ground_truth and (data or not foreign):
        options.usage_error("--ground-truth is for --predictions, in place of --data")
    if options.thumbnails and not (options.report and data):
        options.usage_error("--thumbnails is for --report with --data, where the images are")
    try:
        (_score_foreign if foreign else _evaluate)(options)
    except KeyboardInterrupt:
        say("\nStopped. The same command goes on from here.")
        return 130
    return 0


def _score_foreign(options: argparse.Namespace) -> None:
    """Score predictions that somebody brings."""
    results = read_results(options.predictions)
    if options.data:
        dataset = load(options.data, options.split)
    else:
        stored = Store(packaged(METRICS) / PREDICTIONS).ground_truth
        dataset = read_ground_truth(options.ground_truth or stored)
    name = options.predictions.stem
    detector = {"id": name, "name": name, "method": None, "members": []}
    made = report.build(
        dataset,
        score(dataset, results),
        detector,
        created=provenance.now(),
        versions={"bonefx": __version__, **provenance.versions(_SCORE_WITH)},
    )
    print(f"{markdown_table([made])}\n{headline(made)}")
    if options.report:
        failures.write(options.report, dataset, {name: results}, options.thumbnails)
    if options.out:
        _write(made, options.out / f"{name}_metrics.json" if options.out.is_dir() else options.out)


def _evaluate(options: argparse.Namespace) -> None:
    """Predict what is not stored yet, score all that is stored, publish it if asked to."""
    settings = Settings.from_env()
    if options.push:
        publish.check(settings)
    out = options.out or _folder(options.data)
    store = Store(out / PREDICTIONS)
    if options.data:
        dataset = load(options.data, options.split)
        store.write_ground_truth(dataset)
        registry = Registry(settings)
        wanted = [model for model in MODELS.values() if options.model in (None, "all", model.id)]
        if options.ray is None:
            for model in wanted:
                predict(model, registry, dataset, store)
        else:
            check_installed()
            from bonefx.evaluation.cluster import predict_on_cluster

            predict_on_cluster(wanted, registry, dataset, store, options.ray or None)
    else:
        dataset = read_ground_truth(store.ground_truth)
    measured = _measure(store, dataset)
    reports, files = _score_stored(store, settings, dataset, measured)
    if options.report:
        failures.write(
            options.report,
            dataset,
            {name: each.results for name, each in measured.items()},
            options.thumbnails,
        )
    reports = {name: _write(made, out / name) for name, made in reports.items()}
    made = list(reports.values())
    print(markdown_table(made), *headlines(made), sep="\n")
    if options.push:
        # Other data beside those that the models know best have a folder of their own, there as here.
        place = f"{out.resolve().name}/" if _above(store).ground_truth.is_file() else ""
        pushed = publish.push(settings, out, reports, files, place)
        print(f"Published: {pushed.url}" if pushed.changed else f"Nothing changed: {pushed.url}")


@dataclass(frozen=True)
class _Measured:
    """The stored predictions of a model on one data set, or those of the consensus, and their score.

    Attributes:
        facts: `detector`, `versions`, `timing` and perhaps `notes`, as in a report.
        results: COCO results list.
        calibration: of the model; None of a consensus, and where there is none.
    """

    facts: dict[str, Any]
    results: list[dict[str, Any]]
    score: Score
    calibration: Calibration | None


def _score_stored(
    store: Store, settings: Settings, dataset: Dataset, measured: Mapping[str, _Measured]
) -> tuple[dict[str, report.Report], list[Path]]:
    """Score all that is stored, and the consensus where its members are, each compared with the others.

    Returns:
        Reports by the file name under which the app fetches them, and the files that they were made from.
    """
    if not measured:
        raise DatasetError(f"{store.folder} holds no predictions: evaluate with --data.")
    home = _home(store, dataset)
    reports = {}
    for model_id, mine in measured.items():
        comparisons = [
            {"detector": other.facts["detector"], **compare(mine.score, other.score)}
            for other in measured.values()
            if other is not mine
        ]
        reports[CHOICES[model_id].metrics_file(settings)] = report.build(
            dataset,
            mine.score,
            **{**mine.facts, "versions": {**mine.facts["versions"], **provenance.versions(_SCORE_WITH)}},
            created=provenance.now(),
            comparisons=comparisons,
            calibration=_calibrated(model_id, measured, dataset),
            home=_apart(mine, home.get(model_id)),
        )
    runs = [model_id for model_id in measured if model_id != CONSENSUS.id]
    return reports, [store.ground_truth, *(path for model_id in runs for path in store.files(model_id))]


def _measure(store: Store, dataset: Dataset) -> dict[str, _Measured]:
    """What is stored about a data set by model, then the consensus if all models are there."""
    measured = {}
    for model_id in MODELS:
        run = store.run(model_id)
        if run and run.key["dataset"] != dataset.sha256:
            say(f"{store.predictions(model_id)} is about other data; its metrics are left as they are.")
        elif run:
            results = read_results(store.predictions(model_id))
            facts = {"detector": run.detector, "versions": run.key["versions"], "timing": run.timing}
            (member,) = run.detector["members"]
            calibration = calibration_of(Identity.from_record(member))
            measured[model_id] = _Measured(facts, results, score(dataset, results), calibration)
    members = [measured[model_id] for model_id in CONSENSUS.members if model_id in measured]
    if len(members) == len(CONSENSUS.members):
        fused = consensus.results(
            dataset, [each.results for each in members], [each.calibration for each in members]
        )
        facts = consensus.described([each.facts for each in members])
        measured[CONSENSUS.id] = _Measured(facts, fused, score(dataset, fused), None)
    return measured


def _calibrated(model_id: str, measured: Mapping[str, _Measured], dataset: Dataset) -> dict[str, Any] | None:
    """The calibration of a report. A consensus has one if all its members have."""
    mine = measured[model_id]
    ids = CONSENSUS.members if model_id == CONSENSUS.id else (model_id,)
    learnt = [known for each in ids if (known := measured[each].calibration) is not None]
    if len(learnt) < len(ids):
        return None
    fitted_on = {data["sha256"]: dict(data) for each in learnt for data in each.fitted_on}
    if dataset.sha256 in fitted_on:
        return None
    own = mine.calibration
    return {
        "slope": own and own.slope,
        "offset": own and own.offset,
        "fitted_on": list(fitted_on.values()),
        **calibration.reliability(dataset, mine.results, own),
    }


def _folder(data: Path | None) -> Path:
    """Where metrics on a data set go: a folder in that of the metrics where those are on other data."""
    folder = Path(METRICS)
    there = Store(folder / PREDICTIONS).ground_truth
    if data is None or not there.is_file() or read_ground_truth(there).name == data.resolve().name:
        return folder
    return folder / data.resolve().name


def _above(store: Store) -> Store:
    return Store(store.folder.resolve().parent.parent / PREDICTIONS)


def _home(store: Store, dataset: Dataset) -> dict[str, tuple[_Measured, Dataset]]:
    """What is stored about the data set of the folder above, which is the one that the models know best."""
    above = _above(store)
    if not above.ground_truth.is_file():
        return {}
    known = read_ground_truth(above.ground_truth)
    if known.sha256 == dataset.sha256:
        return {}
    return {model_id: (each, known) for model_id, each in _measure(above, known).items()}


def _apart(mine: _Measured, home: tuple[_Measured, Dataset] | None) -> dict[str, Any] | None:
    """How a model's figures differ from those at home; None where other weights were measured there."""
    if home is None:
        return None
    there, known = home

    def identity(measured: _Measured) -> list[tuple[Any, ...]]:
        return [(m["sha256"], m["nms"], m["image_size"]) for m in measured.facts["detector"]["members"]]

    if identity(mine) != identity(there):
        return None
    return {"dataset": known.summary(), **apart(mine.score, there.score)}


def _write(made: report.Report, path: Path) -> report.Report:
    """Write a report, unless the file differs by nothing but its date: the report that is in the file."""
    with contextlib.suppress(MetricsError):
        there = report.read(path)
        if {**there, "created": ""} == {**made, "created": ""}:
            return there
    path.parent.mkdir(parents=True, exist_ok=True)
    report.write(made, path)
    return made
