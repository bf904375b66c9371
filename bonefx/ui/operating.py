"""Operating points: from false positives per image to each model's own score threshold, by its metrics.

Where no score of a model makes so few, its threshold is infinite here, and nothing is above it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bonefx.calibration import Calibration
from bonefx.errors import RequestError, quoted
from bonefx.evaluation.report import Report, curve_of, operating_point, threshold_for
from bonefx.evaluation.summary import HOSPITALS
from bonefx.inference import CHOICES, check_threshold
from bonefx.numbers import percent, percents
from bonefx.results import Outcome
from bonefx.settings import DEFAULT_THRESHOLD

RATES = {0.125: "1/8", 0.25: "1/4", 0.5: "1/2", 1.0: "1", 2.0: "2", 4.0: "4", 8.0: "8"}
"""False positives per image that can be chosen on the page, as people write them."""

DEFAULT_RATE = 1.0

STRICTER = 4
"""Lines are solid from the operating point that allows a quarter of the chosen false positives."""

MAX_RATE = 100.0
"""Metrics are about the best 100 detections of each image: no curve goes further."""


def check_rate(value: Any) -> float:
    """The false positives per image as a float above 0 and up to `MAX_RATE`.

    Raises:
        RequestError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= MAX_RATE:
        raise RequestError(
            f"fp_per_image is {quoted(value)}; it must be a number above 0 and at most {MAX_RATE:g}: the "
            "false positives per image that are accepted."
        )
    return float(value)


def viewer_points(
    reports: Mapping[str, Report], elsewhere: Mapping[str, Report | None] | None = None
) -> list[dict[str, Any]]:
    """The operating points of `RATES` as a viewer offers them.

    Args:
        reports: by model id. They set the score thresholds.
        elsewhere: reports of the same weights on hospital pictures. Where there is one, `notes` say
            what these thresholds find there: for a picture of which nobody knows where it comes from.
    """
    others = elsewhere or {}
    return [
        {
            "label": label,
            "fp_per_image": rate,
            "thresholds": {m: threshold_for(report, rate) for m, report in reports.items()},
            "strict": {m: threshold_for(report, rate / STRICTER) for m, report in reports.items()},
            "notes": {m: _in_words(report, rate, others.get(m)) for m, report in reports.items()},
        }
        for rate, label in RATES.items()
    ]


@dataclass(frozen=True)
class Cut:
    """From which score on detections become results.

    Attributes:
        threshold: the score.
        fp_per_image: in its place, the false positives per image for which each model's metrics tell its own.
        strict: metrics that are missing are an error. Otherwise `threshold` holds where those of one model
            are missing, for all of them: at different prices a comparison would mislead.
    """

    threshold: float = DEFAULT_THRESHOLD
    fp_per_image: float | None = None
    strict: bool = True

    @classmethod
    def requested(cls, threshold: Any, fp_per_image: Any) -> Cut:
        """That of an API request, which sends one of the two, or neither.

        Raises:
            RequestError: both are there, or one is out of range.
        """
        if threshold is not None and fp_per_image is not None:
            raise RequestError("Send either threshold or fp_per_image, not both: each sets the score.")
        if fp_per_image is not None:
            return cls(fp_per_image=check_rate(fp_per_image))
        return cls() if threshold is None else cls(check_threshold(threshold))

    def results(
        self, outcomes: Sequence[Outcome], report_for: Callable[[Outcome], Report | None]
    ) -> tuple[list[dict[str, Any]], list[float]]:
        """The API's result of each outcome, with `operating_point`, and the score from which it begins.

        Where a rate was asked for and the metrics tell what a score means, each detection has its `share`:
        of marks with such a score, how many lie on a fracture.

        Args:
            outcomes: of one image.
            report_for: the metrics that belong to an outcome.

        Raises:
            RequestError: metrics are missing, and this is strict.
        """
        reports: dict[str, Report | None] = {}
        if self.fp_per_image is not None:
            reports = {o.model: report_for(o) for o in outcomes if o.detections is not None}
        missing = [
            CHOICES[model_id].name
            for model_id, report in reports.items()
            if report is None or not report["froc"]["any_fracture"]
        ]
        if missing and self.strict:
            raise RequestError(
                f"No metrics belong to the weights of {' and '.join(missing)} that are in use, so no score "
                "is known for fp_per_image. Send a threshold instead."
            )
        results, scores = [], []
        for outcome in outcomes:
            report = None if missing else reports.get(outcome.model)  # nor has a failure one
            score, point = self.threshold, None
            if report is not None and self.fp_per_image is not None:
                score, point = _score_for(report, self.fp_per_image), _describe(report, self.fp_per_image)
            scores.append(score)
            result = {**result_above(outcome, score), "operating_point": point}
            if (calibration := calibration_in(report)) is not None:
                for record in result["detections"]:
                    record["share"] = round(float(calibration.probability(record["score"])), 4)
            results.append(result)
        return results, scores


def calibration_in(report: Report | None) -> Calibration | None:
    """What a score of a report's model means; None where nobody has measured that."""
    made = report["calibration"] if report else None
    if not made:
        return None
    if made["slope"] is None or made["offset"] is None:  # scores that are made of shares
        return Calibration(1.0, 0.0)
    return Calibration(made["slope"], made["offset"])


def _score_for(report: Report, rate: float) -> float:
    """The score threshold of a rate; infinity where no score makes so few false positives."""
    threshold = threshold_for(report, rate)
    return math.inf if threshold is None else threshold


def result_above(outcome: Outcome, threshold: float) -> dict[str, Any]:
    """`Outcome.to_result`; above an infinite threshold there is no detection, and `notes` say why."""
    if threshold <= 1:
        return outcome.to_result(threshold)
    result = outcome.to_result(1.0)  # JSON has no infinity
    if "detections" in result:
        result["detections"] = []
        result["notes"].append(
            "At no score does this model make so few false positives per image: no detection is shown."
        )
    return result


def _describe(report: Report, rate: float) -> dict[str, Any]:
    """What the API says of an operating point: `fp_per_image`, `sensitivity` and `interval`.

    The sensitivity is that for any fracture. Its interval is known at the rates that the report lists.
    """
    point = operating_point(report, rate)
    if point is not None:
        return {"fp_per_image": rate, "sensitivity": point["sensitivity"], "interval": point["interval"]}
    curve = curve_of(report)
    corners = zip(curve["fp_per_image"], curve["sensitivity"], strict=True) if curve else ()
    reached = [sensitivity for at, sensitivity in corners if at <= rate]
    return {"fp_per_image": rate, "sensitivity": max(reached, default=0.0), "interval": None}


def _in_words(report: Report, rate: float, elsewhere: Report | None) -> str:
    """What the threshold of a rate finds: on hospital pictures if that is known."""
    threshold = threshold_for(report, rate)
    curve = curve_of(elsewhere) if elsewhere else None
    if threshold is None or not curve:
        return _sensitivity_in_words(report, rate)
    columns = curve["threshold"], curve["sensitivity"], curve["fp_per_image"]
    found, alarms = max(
        (
            (found, alarms)
            for at, found, alarms in zip(*columns, strict=True)
            if at is not None and at >= threshold
        ),
        default=(0.0, 0.0),
    )
    return f"finds {percent(found)} of fractures on {HOSPITALS} ({alarms:.1f} false alarms per image)"


def _sensitivity_in_words(report: Report, rate: float) -> str:
    point = operating_point(report, rate)
    if point is None or point["sensitivity"] is None:
        return ""
    interval = ""
    if point["interval"]:
        interval = f" ({percents(point['interval'])})"
    return f"finds {percent(point['sensitivity'])} of fractures at this setting{interval}"
