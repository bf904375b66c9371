"""Figures of metrics reports: each a picture, its meaning in words, and its numbers as a table.

Hand-written SVG: a plotting library's text shrinks with the figure to nothing on a phone, and its import
takes longer than all that is drawn here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from bonefx.evaluation.report import Report, curve_of
from bonefx.evaluation.schema import CalibrationRecord, ClassFigures, Curve, Froc, FrocDifference, Rule
from bonefx.labels import CLASSES
from bonefx.looks import Look
from bonefx.numbers import UNKNOWN, listed, percent, percents
from bonefx.ui.metrics.axes import Axes, Axis, legend, nice_steps
from bonefx.ui.metrics.tables import RULES, Series, decimal_cell, percent_cell, table, text
from bonefx.ui.viewer.panes import RATES

EXACT = Look("", "#8a919e", "plain", "2 5")
"""Of the line on which a figure would be exact."""

_FEW = 20  # marks: a share of fewer says little

_HIT = {
    "any_fracture": "A hit covers a fracture with an IoU of at least 0.5, whatever its class.",
    "class_aware": "A hit covers a fracture with an IoU of at least 0.5 and names its class.",
    "lenient": "A hit has its centre in a fracture's box or an IoU of at least 0.2, whatever its class.",
}
_LOWEST, _HIGHEST = min(RATES), max(RATES)


def froc(
    series: Sequence[Series], rule: Rule, beside: Sequence[Series] = (), *, key: str = "froc", where: str = ""
) -> str:
    """Sensitivity against false positives per image; empty where no report has a curve by the rule.

    Args:
        series: one a curve.
        rule: what counts as a hit.
        beside: what another such figure shows: the two have one scale.
        key: makes the figure's ids, one a page.
        where: on which pictures, for the title.
    """
    drawn = [each for each in series if curve_of(each.report, rule)]
    if not drawn:
        return ""
    figures = _figures_with_a_curve(drawn, rule)
    limits = [share for figure, _ in figures for share in _limits_of(figure)]
    steps = nice_steps(
        share
        for figure, curve in _figures_with_a_curve((*drawn, *beside), rule)
        for share in (*curve["sensitivity"], *_limits_of(figure))
    )
    ticks = tuple((step, percent(step)) for step in steps)
    axes = Axes(_rate_axis(), Axis(0, steps[-1], ticks, "Fractures found"))
    for each, (figure, _) in zip(drawn, figures, strict=True):
        if band := figure["band"]:
            axes.band(each.look, band["fp_per_image"], band["low"], band["high"])
    for each, (figure, curve) in zip(drawn, figures, strict=True):
        _draw_curve(axes, each.look, figure, curve)

    words = [
        "Higher up is better. For each number of false alarms per image, counted over all images, the curve "
        "gives the share of the fractures that a model finds.",
        _HIT[rule],
        "Marks are the operating points.",
    ]
    if limits:
        words.append("Shaded bands are 95 % intervals, from resampled images.")
    if any(not point["reached"] for figure, _ in figures for point in figure["points"]):
        words.append("A dotted line with hollow marks goes on where a curve has ended: no more detections.")
    words += [f"{each.name} has no curve by this rule." for each in series if each not in drawn]
    rows = [
        (name, *(_point(figure, curve, rate) for figure, curve in figures)) for rate, name in RATES.items()
    ]
    return _figure(
        key,
        f"Fractures found, against false alarms{f', {where}' if where else ''} (FROC)",
        legend((each.look, each.name) for each in drawn) + axes.html(_ids(key)),
        words,
        table(
            f"Operating points{f', {where}' if where else ''}: {RULES[rule].lower()}",
            ("False alarms per image", *(each.name for each in drawn)),
            rows,
        ),
    )


def difference(
    first: Series, second: Series, points: Sequence[FrocDifference], rule: Rule, key: str = "difference"
) -> str:
    """How much more `first` finds than `second`.

    Args:
        points: `fp_per_image`, `difference` (first minus second) and `interval`, from a comparison.
        rule: what counts as a hit.
        key: makes the figure's ids, one a page.
    """
    defined = [
        (point["fp_per_image"], point["difference"], point["interval"])
        for point in points
        if point["interval"] and point["difference"] is not None
    ]
    steps = nice_steps(abs(limit) for _, _, interval in defined for limit in interval)
    ticks = tuple((step, _signed(step)) for step in (*(-step for step in steps[:0:-1]), *steps))
    axes = Axes(_rate_axis(), Axis(-steps[-1], steps[-1], ticks, "Difference, percentage points"), inset=True)
    axes.level(0)
    sure: dict[str, list[str]] = {}  # by who finds more
    for rate, more, (low, high) in defined:
        better = first if more >= 0 else second
        axes.span(better.look, rate, low, high)
        axes.mark(better.look, rate, more, hollow=low <= 0 <= high)
        if not low <= 0 <= high:
            sure.setdefault(better.name, []).append(RATES.get(rate, f"{rate:g}"))
    claims = [f"{name} finds more than chance explains at {listed(at)}" for name, at in sure.items()]
    words = [
        f"Above 0, {first.name} finds more fractures at the same number of false alarms; below 0, "
        f"{second.name}. Lines are 95 % intervals of the difference, over the same resampled images for "
        "both; a mark is filled where its interval leaves out 0.",
        f"{'; '.join(claims)} false alarms per image, each point judged by itself."
        if claims
        else "Every interval holds 0: the difference may be chance.",
        _HIT[rule],
    ]
    rows = [
        (
            RATES.get(point["fp_per_image"], f"{point['fp_per_image']:g}"),
            _signed(point["difference"]),
            " to ".join(map(_signed, point["interval"] or ())) or UNKNOWN,
        )
        for point in points
    ]
    return _figure(
        key,
        f"Does {first.name} find more than {second.name}?",
        axes.html(_ids(key)),
        words,
        table(
            f"{first.name} minus {second.name}, percentage points: {RULES[rule].lower()}",
            ("False alarms per image", "Difference", "95 % interval"),
            rows,
        ),
    )


def per_class(series: Sequence[Series]) -> str:
    """Average precision of each class, with its number of boxes."""
    found = {label: [_of_class(each.report, label) for each in series] for label in CLASSES}
    top = nice_steps(row["ap"] or 0 for rows in found.values() for row in rows)[-1]
    blocks = []
    for label, rows in found.items():
        bars = []
        for each, row in zip(series, rows, strict=True):
            stripes = ' class="striped"' if each.look.dash else ""
            style = f"--mark:{each.look.color};width:{100 * (row['ap'] or 0) / top:.2f}%"
            bars.append(
                f'<div class="bar"><span class="name">{escape(each.name)}</span><span class="track">'
                f'<i style="{style}"{stripes}></i></span>'
                f'<span class="value">{decimal_cell(row["ap"])}</span></div>'
            )
        blocks.append(f"<div><p><b>{label}</b>, {_boxes(rows)}</p>{''.join(bars)}</div>")
    head = [f"{each.name}: {figure}" for each in series for figure in ("AP", "AP50", "AR")]
    table_rows = [
        (label, _boxes(rows), *(decimal_cell(row[key]) for row in rows for key in ("ap", "ap50", "ar_100")))
        for label, rows in found.items()
    ]
    return _figure(
        "class",
        "Average precision of each class",
        f'<div class="bars" role="img" aria-labelledby="{_ids("class")}">{"".join(blocks)}</div>',
        [
            "Longer is better. Average precision (AP) wants the right class and a box that fits, averaged "
            f"over IoU 0.5 to 0.95. A full bar is {top:g}; perfect would be 1.",
            "A class with few boxes says little. AP has no interval here.",
        ],
        table(
            "AP, AP at IoU 0.5, and recall with 100 detections (AR)", ("Class", "Boxes", *head), table_rows
        ),
    )


def precision_recall(series: Sequence[Series]) -> str:
    """Precision against recall at IoU 0.5, the mean of the classes; empty where no report has it."""
    drawn = [(each, made) for each in series if (made := each.report["coco"]["precision_recall"])]
    if not drawn:
        return ""
    ticks = tuple((i / 5, f"{20 * i} %") for i in range(6))
    axes = Axes(Axis(0, 1, ticks, "Recall"), Axis(0, 1, ticks, "Precision"))
    curves = []
    for each, figures in drawn:
        pairs = zip(figures["recall"], figures["precision"], strict=True)
        curves.append([(recall, precision) for recall, precision in pairs if precision is not None])
        axes.line(each.look, curves[-1])
    rows = [(f"{10 * i} %", *(percent_cell(_at(curve, i / 10)) for curve in curves)) for i in range(11)]
    return _figure(
        "pr",
        "Precision against recall",
        legend(((each.look, each.name) for each, _ in drawn), marks=False) + axes.html(_ids("pr")),
        [
            "Further up and to the right is better. The more of the fractures a model is made to find, the "
            "smaller the share of its detections that are right: class right, IoU at least 0.5, mean of the "
            "classes.",
            *(
                f"{each.name} has no such curve."
                for each in series
                if not each.report["coco"]["precision_recall"]
            ),
        ],
        table("Precision at IoU 0.5", ("Recall", *(each.name for each, _ in drawn)), rows),
    )


def reliability(series: Sequence[Series], key: str = "reliability", where: str = "") -> str:
    """Which share of marks lies on a fracture, against what their scores promise; empty where unmeasured.

    Args:
        series: one a curve.
        key: makes the figure's ids, one a page.
        where: on which pictures, for the title.
    """
    drawn = [(each, made) for each in series if (made := each.report["calibration"])]
    if not drawn:
        return ""
    ticks = ((0.0, "none"), *((i / 5, f"{2 * i} in 10") for i in range(1, 5)), (1.0, "all"))
    axes = Axes(Axis(0, 1, ticks, "Of marks with such a score, expected"), Axis(0, 1, ticks, "Found to be"))
    axes.line(EXACT, [(0, 0), (1, 1)])
    rows: dict[str, list[str]] = {}
    for number, (each, made) in enumerate(drawn):
        bins = made["bins"]
        columns = zip(bins["low"], bins["high"], bins["probability"], bins["share"], bins["n"], strict=True)
        points = [(low, high, expected, share, n) for low, high, expected, share, n in columns if n]
        axes.line(each.look, [(expected, share) for _, _, expected, share, _ in points])
        for low, high, expected, share, n in points:
            axes.mark(each.look, expected, share, hollow=n < _FEW)
            cells = rows.setdefault(percents((low, high)), [UNKNOWN] * len(drawn))
            cells[number] = f"{percent_cell(share)}\nof {n}"
    return _figure(
        key,
        f"What a score is worth{f', {where}' if where else ''}",
        legend((each.look, each.name) for each, _ in drawn) + axes.html(_ids(key)),
        [
            "On the straight line a calibrated score means what it says: of the marks that promise 6 in 10, "
            f"6 in 10 lie on a fracture. A mark is hollow where fewer than {_FEW} marks have such a score.",
            *(_error_in_words(each.name, made) for each, made in drawn),
        ],
        table(
            "Share of marks that lie on a fracture",
            ("Expected", *(each.name for each, _ in drawn)),
            [
                (name, *cells)
                for name, cells in sorted(rows.items(), key=lambda row: float(row[0].split()[0]))
            ],
        ),
    )


def _error_in_words(name: str, made: CalibrationRecord) -> str:
    if made["ece"] is None or made["ece_interval"] is None:
        return ""
    low, high = made["ece_interval"]
    return (
        f"{name} is off by {100 * made['ece']:.1f} percentage points on the average of all marks "
        f"({100 * low:.1f} to {100 * high:.1f})."
    )


def _figures_with_a_curve(series: Sequence[Series], rule: Rule) -> list[tuple[Froc, Curve]]:
    figures = [each.report["froc"][rule] for each in series]
    return [(figure, curve) for figure in figures if figure and (curve := figure["curve"])]


def _limits_of(figure: Froc) -> Sequence[float]:
    return figure["band"]["high"] if figure["band"] else ()


def _rate_axis() -> Axis:
    return Axis(_LOWEST, _HIGHEST, tuple(RATES.items()), "False alarms per image", log=True)


def _draw_curve(axes: Axes, look: Look, figure: Froc, curve: Curve) -> None:
    """The steps of a FROC curve from the first to the last operating point, and these points."""
    corners = list(zip(curve["fp_per_image"], curve["sensitivity"], strict=True))
    steps = [(_LOWEST, max((sensitivity for rate, sensitivity in corners if rate <= _LOWEST), default=0.0))]
    for rate, sensitivity in corners:
        if _LOWEST < rate <= _HIGHEST:
            steps += [(rate, steps[-1][1]), (rate, sensitivity)]
    end = max(_LOWEST, corners[-1][0]) if corners else _LOWEST
    if end > _HIGHEST:
        steps.append((_HIGHEST, steps[-1][1]))
    else:
        axes.faint(look, [(end, steps[-1][1]), (_HIGHEST, steps[-1][1])])
    if len(steps) > 1:
        axes.line(look, steps)
    for point in figure["points"]:
        if point["sensitivity"] is not None and point["fp_per_image"] in RATES:
            axes.mark(look, point["fp_per_image"], point["sensitivity"], hollow=not point["reached"])


def _point(figure: Froc, curve: Curve, rate: float) -> str:
    """An operating point in a cell of a table."""
    point = next((point for point in figure["points"] if point["fp_per_image"] == rate), None)
    if point is None:
        return UNKNOWN
    lines = [percent_cell(point["sensitivity"], point["interval"])]
    if point["n"] is not None:
        lines.append(f"{point['n']} of {point['lesions']}")
    if point["threshold"] is not None:
        lines.append(f"score from {point['threshold']:.3f}")
    if not point["reached"]:
        end = curve["fp_per_image"][-1:] or [0.0]
        lines.append(f"curve ends at {end[0]:.2f}")
    return "\n".join(lines)


def _of_class(report: Report, label: str) -> ClassFigures:
    rows = (row for row in report["coco"]["per_class"] if row["label"] == label)
    return next(rows, ClassFigures(label=label, boxes=None, ap=None, ap50=None, ar_100=None))


def _boxes(rows: Sequence[ClassFigures]) -> str:
    """How many boxes a class has; reports on different data differ."""
    counts = sorted({row["boxes"] for row in rows if row["boxes"] is not None})
    if not counts:
        return "boxes not stated"
    return f"{' or '.join(map(str, counts))} {'box' if counts == [1] else 'boxes'}"


def _at(curve: Sequence[tuple[float, float]], recall: float) -> float | None:
    return next((precision for at, precision in curve if math.isclose(at, recall, abs_tol=1e-6)), None)


def _signed(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{round(100 * value):+d}".replace("+0", "0").replace("-", "−")


def _ids(key: str) -> str:
    return f"metrics-{key}-title metrics-{key}-words"


def _figure(key: str, title: str, picture: str, words: Sequence[str], numbers: str) -> str:
    # The picture alone has the role of an image: that role hides what is inside from a screen reader, and the
    # table must not be hidden.
    return (
        f'<figure id="metrics-{key}" aria-labelledby="metrics-{key}-title">'
        f'<h3 id="metrics-{key}-title">{escape(title)}</h3><div>{picture}</div>'
        f'<figcaption><p id="metrics-{key}-words">{text(" ".join(words))}</p>'
        f"<details><summary>The numbers as a table</summary>{numbers}</details></figcaption></figure>"
    )
