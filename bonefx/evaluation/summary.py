"""Reports in words and as a table, for the page and the README. Computed, never written by hand."""

from __future__ import annotations

from collections.abc import Sequence

from bonefx.evaluation.report import Report, curve_of, operating_point
from bonefx.evaluation.schema import DatasetRecord, Point, Rule
from bonefx.numbers import UNKNOWN, decimal, decimals, percent, percents, whole

HEADLINE_RATE = 1.0
FIRST_SET, HOSPITALS = "pictures of the first data set", "hospital pictures"
_FINDS: dict[Rule, str] = {"any_fracture": "of fractures", "class_aware": "of fractures with the right class"}


def headline(report: Report, other: Report | None = None) -> str:
    """One sentence: how many fractures each model finds at 1 false alarm per image, and if that is chance.

    The difference is more than chance explains when its interval, over the same resamples for both models,
    does not hold 0. Where that was not measured, or not alike, the sentence says so instead.
    """
    reports = [report, other] if other else [report]
    rule = next((rule for rule in _FINDS if all(r["froc"][rule] for r in reports)), None)
    found_points = [operating_point(r, HEADLINE_RATE, rule) for r in reports] if rule else []
    points = [point for point in found_points if point is not None]
    if rule is None or len(points) < len(reports):
        return "These models were not measured by the same rule, so they cannot be compared."
    if any(point["sensitivity"] is None for point in points):
        return "The data set has no fracture, so nobody can say how many a model finds."
    found = [_found(r, point, rule) for r, point in zip(reports, points, strict=True)]
    names = [r["detector"]["name"] for r in reports]
    reported = all(r["kind"] == "reported" for r in reports)
    sentence = "As reported, not measured here: at" if reported else "At"
    sentence += f" 1 false alarm per image, {names[0]} finds {found[0][0]} {_FINDS[rule]}{found[0][1]}"
    if other:
        sentence += f", {names[1]} {found[1][0]}{found[1][1]}; {_verdict(report, other, rule)}"
    return sentence + "."


def headlines(reports: Sequence[Report]) -> list[str]:
    """`headline` of the first two, then one of each further report with how it differs from those before."""
    said = [headline(*reports[:2])]
    for number, further in enumerate(reports[2:], 2):
        words = headline(further)
        if further["dataset"]["boxes"]:
            verdicts = (
                f"gainst {before['detector']['name']}, {_verdict(further, before, 'any_fracture')}"
                for before in reports[:number]
            )
            words += f" A{'; a'.join(verdicts)}."
        said.append(words)
    return said


def both_sets(home: Report, away: Report) -> str:
    """One sentence: what a model finds on the first data set's pictures, and on hospital pictures.

    Args:
        home, away: reports on the same weights.
    """
    parts: list[str] = []
    for made, where in ((home, FIRST_SET), (away, HOSPITALS)):
        point = operating_point(made, HEADLINE_RATE)
        if point is None or point["sensitivity"] is None:
            continue
        share, details = _found(made, point, "any_fracture")
        of = "" if parts else f" {_FINDS['any_fracture']}"
        parts.append(f"{share}{details}{of} on {where} ({made['dataset']['name']})")
    if not parts:
        return headline(home)
    return f"At 1 false alarm per image, {home['detector']['name']} finds {' and '.join(parts)}."


def markdown_table(reports: Sequence[Report]) -> str:
    """One row a report, as Markdown. Intervals are 95 %; a dash is what nobody measured."""
    head = (
        "Model",
        "Weights",
        "AP",
        "AP50",
        "Any fracture, at 1 FP/image",
        "Right class, at 1 FP/image",
        "AUC, image level",
        "Data set: images, boxes",
    )
    rows = [head, ("---",) * len(head)]
    for report in reports:
        image_level = report["image_level"] or {"auc": None, "auc_interval": None}
        files = ", ".join(f"`{member['file']}`" for member in report["detector"]["members"])
        rows.append(
            (
                report["detector"]["name"],
                files or ("as reported, not measured here" if report["kind"] == "reported" else UNKNOWN),
                _decimal(report["coco"]["ap"], None),
                _decimal(report["coco"]["ap50"], None),
                _sensitivity(report, "any_fracture"),
                _sensitivity(report, "class_aware"),
                _decimal(image_level["auc"], image_level["auc_interval"]),
                _data(report["dataset"]),
            )
        )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _found(report: Report, point: Point, rule: Rule) -> tuple[str, str]:
    """Such as `41 %` and ` (34 to 48 %)`."""
    details = []
    if point["interval"]:
        details.append(percents(point["interval"]))
    if not point["reached"]:
        curve = curve_of(report, rule)
        rates = curve["fp_per_image"] if curve else []
        details.append(f"it makes only {rates[-1] if rates else 0:.2f}")
    return percent(point["sensitivity"]), f" ({'; '.join(details)})" if details else ""


def _verdict(report: Report, other: Report, rule: Rule) -> str:
    if "reported" in (report["kind"], other["kind"]):
        return "they were not measured alike, so they cannot be compared"
    if report["dataset"]["sha256"] != other["dataset"]["sha256"]:
        return "they were measured on different data, so they cannot be compared"
    for mine, theirs in ((report, other), (other, report)):
        for comparison in mine["comparisons"]:
            if comparison["detector"] == theirs["detector"]:
                points = comparison["froc"][rule] or []
                point = next((p for p in points if p["fp_per_image"] == HEADLINE_RATE), None)
                low, high = (point and point["interval"]) or (-1, 1)
                chance = low <= 0 <= high
                return f"the difference {'may be chance' if chance else 'is more than chance explains'}"
    return "whether the difference is chance was not measured"


def _sensitivity(report: Report, rule: Rule) -> str:
    point = operating_point(report, HEADLINE_RATE, rule)
    if point is None or point["sensitivity"] is None:
        return UNKNOWN
    hits = "" if point["n"] is None else f", {point['n']}/{point['lesions']}"
    return _decimal(point["sensitivity"], point["interval"]) + hits


def _decimal(value: float | None, interval: list[float] | None) -> str:
    return decimal(value) + (f" ({decimals(interval)})" if value is not None and interval else "")


def _data(dataset: DatasetRecord) -> str:
    return f"{dataset['name']}, {dataset['split']}: {whole(dataset['images'])}, {whole(dataset['boxes'])}"
