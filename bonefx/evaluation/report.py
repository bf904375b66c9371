"""Metrics files: made from a `Score`, written, read, and asked whether they are about the weights in use."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bonefx.errors import MetricsError, SourceError
from bonefx.evaluation import PROTOCOL, Score, original
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.schema import REPORT_VERSION, Curve, Point, Report, Rule, validate
from bonefx.files import open_regular, whole
from bonefx.results import Identity
from bonefx.sources.hub import MAX_METRICS_BYTES


def build(
    dataset: Dataset,
    score: Score,
    detector: Mapping[str, Any],
    *,
    created: str,
    versions: Mapping[str, str],
    timing: Mapping[str, Any] | None = None,
    comparisons: Sequence[Mapping[str, Any]] = (),
    calibration: Mapping[str, Any] | None = None,
    home: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> Report:
    """A report of kind `measured`.

    Args:
        dataset, score: what was measured, and the figures.
        detector: `{"id", "name", "method", "members"}`; one member a weight file: `{"file", "sha256",
            "source", "repo", "revision", "nms", "image_size", "runtime"}`. `method` names how several were
            fused, otherwise None. Predictions that somebody brings have no members.
        created: when, as ISO 8601. This and `timing` are all that differs between two runs on one input.
        versions: of the libraries by name.
        timing: `{"ms_per_image": {stage: milliseconds}, "processor"}`.
        comparisons: `{"detector": of the other model, **evaluation.compare(score, other)}` each.
        calibration: `slope` and `offset` (None of a consensus, whose scores are probabilities already),
            `fitted_on`, the summaries of the data that it was learnt on, and what
            `bonefx.evaluation.calibration.reliability` says of it on `dataset`. None: nobody calibrated it.
        home: `{"dataset": summary of the data set that the model's training knows best, **evaluation.apart(
            score, that on it)}`; None on that data set itself.
        notes: sentences for the person who reads the page.

    Raises:
        MetricsError: an argument does not fit the schema; it is named.
    """
    report = {
        "schema_version": REPORT_VERSION,
        "kind": "measured",
        "created": created,
        "notes": list(notes),
        "protocol": dict(PROTOCOL),
        "dataset": dataset.summary(),
        "detector": dict(detector),
        "versions": dict(sorted(versions.items())),
        "timing": dict(timing) if timing else None,
        **score.figures,
        "calibration": dict(calibration) if calibration else None,
        "home": dict(home) if home else None,
        "comparisons": [dict(comparison) for comparison in comparisons],
    }
    return validate(report)


def dumps(report: Report) -> str:
    """As JSON that a person can read: lists of numbers on one line. The same report gives the same text."""
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    return re.sub(r"\[[^][{}\"]*]", lambda numbers: " ".join(numbers[0].split()), text) + "\n"


def write(report: Report, path: Path) -> None:
    """Write a report in one step: a reader never finds half a file."""
    with whole(path) as file:
        file.write(dumps(report).encode())


def loads(text: str | bytes, detector_id: str = "unknown", detector_name: str = "Unknown model") -> Report:
    """Read and check a metrics file.

    Args:
        text: the file's content, of this schema or of the original application's version 3.
        detector_id, detector_name: of the model that a version-3 file is about; it does not say so itself.

    Raises:
        MetricsError: what is wrong and where.
    """
    try:
        report = json.loads(text)
    except (ValueError, RecursionError) as error:  # the second: nested deeper than any report
        raise MetricsError(f"The metrics file is not JSON: {error}.") from None
    if isinstance(report, dict) and report.get("version") == original.VERSION:
        report = original.translate(report, detector_id, detector_name)
    return validate(report)


def read(path: Path, detector_id: str = "unknown", detector_name: str = "Unknown model") -> Report:
    """`loads` of a file.

    Raises:
        MetricsError: also when the file cannot be read.
    """
    try:
        with open_regular(path, MAX_METRICS_BYTES) as file:
            content = file.read()
    except SourceError as error:
        raise MetricsError(f"The metrics file {error}") from None
    return loads(content, detector_id, detector_name)


def identities(report: Report) -> tuple[Identity, ...]:
    """Of the weight files that the figures are of; empty where the report does not name them."""
    return tuple(map(Identity.from_record, report["detector"]["members"]))


def applies_to(report: Report, used: Sequence[Identity], method: str | None = None) -> bool:
    """Whether the figures are those of these weights, run this way; the order of several is free.

    `method` is how a consensus was fused, in the words of the report.
    """
    own = identities(report)
    return bool(own) and report["detector"]["method"] == method and Counter(used) == Counter(own)


def operating_point(report: Report, fp_per_image: float, rule: Rule = "any_fracture") -> Point | None:
    """The operating point at this rate; None where the report has none."""
    figures = report["froc"][rule]
    points = figures["points"] if figures else []
    return next((point for point in points if point["fp_per_image"] == fp_per_image), None)


def curve_of(report: Report, rule: Rule = "any_fracture") -> Curve | None:
    """The FROC curve by a rule; None where the report has none."""
    figures = report["froc"][rule]
    return figures["curve"] if figures else None


def threshold_for(report: Report, fp_per_image: float) -> float | None:
    """The highest score threshold with the best any-fracture sensitivity at no more than this rate.

    Works for every rate, from the curve. Where the curve ends below the rate it is the threshold that gives
    all of the curve. None where not even the first hit comes at so low a rate, and where the report knows
    no thresholds.
    """
    curve = curve_of(report)
    if not curve:
        return None
    best, threshold = 0.0, None
    for rate, sensitivity, at in zip(
        curve["fp_per_image"], curve["sensitivity"], curve["threshold"], strict=True
    ):
        if rate <= fp_per_image and sensitivity > best:
            best, threshold = sensitivity, at
    return threshold
