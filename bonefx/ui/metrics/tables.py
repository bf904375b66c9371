"""The numbers of metrics reports as HTML tables, and how a number is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

from bonefx.evaluation.report import Report, operating_point
from bonefx.evaluation.schema import ImageLevel, Point, Rule, Stratum, StratumPoint
from bonefx.evaluation.summary import HEADLINE_RATE
from bonefx.looks import Look
from bonefx.numbers import UNKNOWN, decimal, decimals, percent, percents, whole
from bonefx.ui.viewer.panes import RATES

RULES: dict[Rule, str] = {
    "any_fracture": "Any fracture",
    "class_aware": "Right class",
    "lenient": "Roughly in place",
}
"""What counts as a hit, for the names of `bonefx.evaluation.froc.RULES`."""

REPORT_KINDS = {
    "measured": "measured by the protocol of BoneFX",
    "reported": "reported by the original authors, not measured here",
}
"""What a report's `kind` means."""

_COCO = {
    "ap": "AP (IoU 0.5 to 0.95)",
    "ap50": "AP50 (IoU 0.5)",
    "ap75": "AP75 (IoU 0.75)",
    "ap_small": "AP, small (under 32 × 32 px)",
    "ap_medium": "AP, medium",
    "ap_large": "AP, large (from 96 × 96 px)",
    "ar_1": "Recall with 1 detection",
    "ar_10": "Recall with 10 detections",
    "ar_100": "Recall with 100 detections",
}


_MemberFact = Literal["file", "sha256", "source", "repo", "revision", "nms"]


@dataclass(frozen=True)
class Series:
    """A report as figures and tables show it.

    Attributes:
        name: what it is called.
        report: as `bonefx.evaluation.report` reads it.
        look: of its lines and marks.
        origin: where the report came from, in words.
    """

    name: str
    report: Report
    look: Look
    origin: str = ""


def text(words: str) -> str:
    """Escaped for HTML; a number stays with its unit."""
    return escape(words).replace(" %", "\N{NO-BREAK SPACE}%")


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column names its rows.

    All text is escaped. In a cell, what comes after a line break is set in smaller lines below.
    """

    def cell(words: str) -> str:
        first, *others = words.split("\n")
        return text(first) + "".join(f"<small>{text(line)}</small>" for line in others)

    header = "".join(f'<th scope="col">{cell(name)}</th>' for name in head)
    body = []
    for name, *values in rows:
        cells = "".join(f"<td>{cell(value)}</td>" for value in values)
        body.append(f'<tr><th scope="row">{cell(name)}</th>{cells}</tr>')
    # What scrolls must be reachable by keyboard, and so must have a name. The caption stands outside, so that
    # it does not scroll away.
    return (
        f'<p class="caption" aria-hidden="true">{text(caption)}</p>'
        f'<div class="scroller" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><thead><tr>{header}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def percent_cell(share: float | None, interval: Sequence[float] | None = None) -> str:
    """A cell such as "41 %" with "34 to 48 %" below."""
    return _above(percent(share), percents(interval) if share is not None and interval else "")


def decimal_cell(value: float | None, interval: Sequence[float] | None = None) -> str:
    """A cell such as "0.412" with "0.341 to 0.480" below."""
    return _above(decimal(value), decimals(interval) if value is not None and interval else "")


def _above(figure: str, below: str) -> str:
    return f"{figure}\n{below}" if below else figure


def summary_table(series: Sequence[Series]) -> str:
    """The figures that models are usually compared by."""
    reports = [each.report for each in series]
    rows: list[tuple[str, ...]] = []
    for rule, name in RULES.items():
        points = [operating_point(report, HEADLINE_RATE, rule) for report in reports]
        label = f"Sensitivity at {HEADLINE_RATE:g} false alarm per image\n{name.lower()}"
        rows.append((label, *(_found(point, point and point["lesions"]) for point in points)))
    levels = [report["image_level"] for report in reports]
    label = "Area under the ROC curve\nis there a fracture in the image at all?"
    rows.append(
        (label, *(decimal_cell(level and level["auc"], level and level["auc_interval"]) for level in levels))
    )
    figures: list[Mapping[str, Any]] = [report["coco"] for report in reports]
    rows += [(name, *(decimal_cell(coco[key]) for coco in figures)) for key, name in _COCO.items()]
    rows.append(("Time per image", *map(_timing, reports)))
    return table(
        "With 95 % intervals, where they are known", ("Figure", *(each.name for each in series)), rows
    )


def image_level(series: Sequence[Series]) -> str:
    """Whether there is a fracture in the image at all, at each operating point; empty where nobody knows."""
    known = [(each.name, level) for each in series if (level := each.report["image_level"])]
    if not known:
        return ""
    rows = [
        (name, *(cell for _, level in known for cell in _image_point(level, rate)))
        for rate, name in RATES.items()
    ]
    figures = ("sensitivity", "specificity")
    head = ("False alarms per image", *(f"{name}: {figure}" for name, _ in known for figure in figures))
    _, level = known[0]
    caption = (
        f"An image is called positive when it has a detection at the operating point's threshold. "
        f"{whole(level['positive'])} images have a fracture, {whole(level['negative'])} have none. With 95 % "
        "intervals."
    )
    return table(caption, head, rows)


def _image_point(level: ImageLevel, rate: float) -> tuple[str, str]:
    """Sensitivity and specificity at a rate, as cells."""
    point = next((point for point in level["points"] if point["fp_per_image"] == rate), None)
    if point is None:
        return UNKNOWN, UNKNOWN
    return (
        percent_cell(point["sensitivity"], point["sensitivity_interval"]),
        percent_cell(point["specificity"], point["specificity_interval"]),
    )


def strata(series: Sequence[Series]) -> str:
    """What is found of small and large fractures and at each site; empty where nobody measured it."""
    known = [(each.name, made) for each in series if (made := each.report["strata"])]
    kinds = (
        ("of the image", [made["size"] for _, made in known]),
        ("site", [made["site"] for _, made in known]),
    )
    rows = []
    for words, columns in kinds:
        names = dict.fromkeys(part["name"] for parts in columns for part in parts)
        rows += [(f"{name}\n{words}", *(_found_of(parts, name) for parts in columns)) for name in names]
    caption = f"Found at {HEADLINE_RATE:g} false alarm per image, whatever the class, with 95 % intervals"
    return table(caption, ("Fractures", *(name for name, _ in known)), rows) if known else ""


def _found_of(parts: Sequence[Stratum], name: str) -> str:
    """What is found of one kind of lesion, as a cell."""
    part = next((part for part in parts if part["name"] == name), None)
    point = next((p for p in part["points"] if p["fp_per_image"] == HEADLINE_RATE), None) if part else None
    return _found(point, part["lesions"] if part else 0)


def provenance(series: Sequence[Series]) -> str:
    """All it takes to repeat the figures."""
    facts = [_facts(each) for each in series]
    rows = [(name, *(fact[name] for fact in facts)) for name in facts[0]]
    return table("All it takes to repeat them", ("Fact", *(each.name for each in series)), rows)


def _facts(series: Series) -> dict[str, str]:
    report = series.report
    dataset, members, timing = report["dataset"], report["detector"]["members"], report["timing"]
    protocol = report["protocol"] or {}

    def of_members(*keys: _MemberFact, short: int | None = None) -> str:
        facts = [
            " ".join(str(member[key])[:short] for key in keys if member[key] is not None)
            for member in members
        ]
        return "\n".join(filter(None, facts)) or "not stated"

    runtimes = [" ".join(map(str, member["runtime"].values())) for member in members if member["runtime"]]
    pixels = [f"{member['image_size']} px" for member in members if member["image_size"]]
    return {
        "Kind": REPORT_KINDS[report["kind"]],
        "This report": series.origin,
        "Date": report["created"],
        "Weights": of_members("file"),
        "Fused by": report["detector"]["method"] or UNKNOWN,
        "SHA-256 of the weights": of_members("sha256", short=12),
        "Source of the weights": of_members("source", "repo", "revision"),
        "Run with": "\n".join(runtimes) or "not stated",
        "NMS": of_members("nms"),
        "Image size": "\n".join(pixels) or "not stated",
        "Data set": f"{dataset['name']}, {dataset['split']}",
        "SHA-256 of the data set": (dataset["sha256"] or "not stated")[:12],
        "Images": f"{whole(dataset['images'])}\n{whole(dataset['fracture_free'])} without a fracture",
        "Boxes": whole(dataset["boxes"]),
        "Label rows left out": whole(dataset["problems"]),
        "Protocol": "\n".join(f"{_words(key)}: {value}" for key, value in protocol.items()) or UNKNOWN,
        "Versions": "\n".join(f"{key} {value}" for key, value in report["versions"].items()) or UNKNOWN,
        "Processor": timing["processor"] if timing else "not stated",
        "Notes": "\n".join(report["notes"]) or UNKNOWN,
    }


def _words(key: str) -> str:
    return key.replace("_", " ").replace("iou", "IoU").replace("nms", "NMS")


def _found(point: Point | StratumPoint | None, lesions: int | None) -> str:
    """The share of the lesions that is found, and how many these are, as a cell."""
    if point is None:
        return UNKNOWN
    hits = "" if point["n"] is None else f"\n{point['n']} of {lesions}"
    return percent_cell(point["sensitivity"], point["interval"]) + hits


def _timing(report: Report) -> str:
    if not report["timing"]:
        return UNKNOWN
    stages = report["timing"]["ms_per_image"]
    return "\n".join(f"{stage} {ms:.0f} ms" for stage, ms in stages.items()) or UNKNOWN
