"""`python -m bonefx calibrate`: learn what the scores mean, on images that no model has learnt from."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from bonefx.calibration import FILE, FORMAT, Calibration
from bonefx.consensus import CONSENSUS
from bonefx.detectors import MODELS, Registry
from bonefx.errors import DatasetError
from bonefx.evaluation.calibration import RATES, Results, learn, mean_sensitivity, trials
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.predict import held_out, predict
from bonefx.evaluation.store import METRICS, Store, read_ground_truth, read_results
from bonefx.files import replaced
from bonefx.fusion import RULE
from bonefx.settings import Settings

HELD_OUT = "held_out"
"""Folder of the stored predictions, with one for each data set, in that of the metrics."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Offer the command's arguments."""
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="data sets in YOLO format, of whose splits `train` the images are taken that `train --hold-out` "
        "leaves out (default: what is stored from an earlier time)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path(METRICS), help=f"folder of the metrics (default: {METRICS})"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; its exit status."""
    registry = Registry(Settings.from_env())
    for root in options.data:
        dataset = held_out(root)
        store = Store(options.out / HELD_OUT / dataset.name)
        store.write_ground_truth(dataset)
        for model in MODELS.values():
            predict(model, registry, dataset, store)
    stores = [Store(file.parent) for file in sorted((options.out / HELD_OUT).glob("*/ground_truth.json"))]
    if not stores:
        raise DatasetError(f"{options.out / HELD_OUT} holds no predictions: calibrate with --data.")
    content = calibrate(stores)
    for entry in content["models"]:
        print(f"{entry['model']}: slope {entry['slope']:.3f}, offset {entry['offset']:.3f}")
    tried = content["consensus"]
    for name, found in {**tried["members"], **tried["trials"]}.items():
        print(f"{name}: {found:.3f}{' (in use)' if name == RULE else ''}")
    with replaced(options.out / FILE) as beside:
        beside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def calibrate(stores: list[Store]) -> dict[str, Any]:
    """Learn from stored predictions of held-out images.

    Returns:
        The content of `FILE`: the calibration of each model, and what each model and each rule of the
        consensus finds on these images, as the mean over the rates and the sets.

    Raises:
        DatasetError: a model's predictions are missing, or those of two weight files are mixed.
    """
    datasets = [read_ground_truth(store.ground_truth) for store in stores]
    found = {model_id: _results(stores, datasets, model_id) for model_id in CONSENSUS.members}
    learnt = {
        model_id: learn(list(zip(datasets, results, strict=True))) for model_id, (_, results) in found.items()
    }
    held = [(dataset, [results[i] for _, results in found.values()]) for i, dataset in enumerate(datasets)]
    return {
        "format": FORMAT,
        "models": [
            {
                "model": model_id,
                **{name: member[name] for name in ("file", "sha256", "nms", "image_size")},
                **_values(learnt[model_id]),
                "fitted_on": [dataset.summary() for dataset in datasets],
            }
            for model_id, (member, _) in found.items()
        ],
        "consensus": {
            "rule": RULE,
            "fp_per_image": list(RATES),
            "members": {
                model_id: float(np.mean(list(map(mean_sensitivity, datasets, results))))
                for model_id, (_, results) in found.items()
            },
            "trials": dict(trials(held, list(learnt.values()))),
        },
    }


def _results(
    stores: list[Store], datasets: list[Dataset], model_id: str
) -> tuple[dict[str, Any], list[Results]]:
    """The weight file of a model, and its results on each set."""
    members, results = [], []
    for store, dataset in zip(stores, datasets, strict=True):
        made = store.run(model_id)
        if made is None or made.key["dataset"] != dataset.sha256:
            raise DatasetError(f"{store.folder} has no predictions of {model_id}: calibrate with --data.")
        members += made.detector["members"]
        results.append(read_results(store.predictions(model_id)))
    if len({(member["sha256"], member["nms"], member["image_size"]) for member in members}) > 1:
        raise DatasetError(f"The stored predictions of {model_id} are of several weights: use --data anew.")
    return members[0], results


def _values(calibration: Calibration) -> dict[str, float]:
    return {"slope": round(calibration.slope, 6), "offset": round(calibration.offset, 6)}
