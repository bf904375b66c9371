"""Predictions that a visitor brings: scored by the same protocol, on the same images, against each model."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from bonefx import __version__, provenance
from bonefx.detectors import MODELS
from bonefx.errors import DatasetError, RequestError
from bonefx.evaluation import Score, compare, report, score
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.report import Report
from bonefx.evaluation.store import Store, read_ground_truth, read_results

MAX_BYTES, MAX_ENTRIES = 20_000_000, 200_000
"""Of the predictions that somebody brings."""


def image_list(dataset: Dataset) -> str:
    """CSV of the images: which number, file name and size in pixels each has."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(("image_id", "file_name", "width", "height"))
    rows.writerows(
        (number, image.file_name, image.width, image.height) for number, image in enumerate(dataset.images, 1)
    )
    return file.getvalue()


def score_file(path: Path, kept: Store, wanted: Mapping[str, Report]) -> Iterator[str | Report]:
    """The report of a COCO results file, compared with the models whose predictions travel with the app.

    Args:
        path: the file.
        kept: ground truth and predictions of the models.
        wanted: by model id, the reports that the page shows: only what they are about is compared with.

    Yields:
        What is being done, in words; the report last.

    Raises:
        BoneFXError: the file is too large, not JSON, breaks the format, or holds nothing to score.
    """
    dataset, results = read_ground_truth(kept.ground_truth), _read(path)
    yield "Scoring yours…"
    scored = score(dataset, results)
    if not scored.figures["froc"]["class_aware"]["curve"]["threshold"]:
        raise RequestError("No detection in the file has a score of at least 0.001, so there is no curve.")
    comparisons = []
    for model_id, made in wanted.items():
        run = kept.run(model_id) if model_id in MODELS else None
        if run is None or run.detector != made["detector"]:
            continue
        yield f"Comparing with {MODELS[model_id].name}…"
        other = _score_of(kept, model_id, run.predictions_sha256)
        comparisons.append({"detector": run.detector, **compare(scored, other)})
    yield report.build(
        dataset,
        scored,
        {"id": "brought", "name": f"Yours ({path.stem[:40]})", "method": None, "members": []},
        created=provenance.now(),
        versions={"bonefx": __version__},
        comparisons=comparisons,
        notes=["Predictions that a visitor brought."],
    )


@lru_cache(maxsize=len(MODELS))
def _score_of(kept: Store, model_id: str, predictions_sha256: str) -> Score:
    """A model's score, which takes seconds; the hash tells stored predictions from those before them."""
    return score(read_ground_truth(kept.ground_truth), read_results(kept.predictions(model_id)))


def _read(path: Path) -> Any:
    if path.stat().st_size > MAX_BYTES:
        raise RequestError(
            f"The file is larger than {MAX_BYTES // 10**6} MB. Keep the best 100 detections of each image."
        )
    try:
        results = read_results(path)
    except DatasetError:  # which names the path on this server
        raise RequestError("The file is not JSON. It must be a COCO results list.") from None
    if isinstance(results, list) and len(results) > MAX_ENTRIES:
        raise RequestError(
            f"The file has {len(results)} detections; at most {MAX_ENTRIES} are scored here. Keep the best "
            "100 of each image."
        )
    return results
