"""The folded part of the Metrics tab: tables, further figures, limits, and where all of it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from itertools import combinations

from bonefx.evaluation import report, summary
from bonefx.evaluation.schema import Rule
from bonefx.evaluation.summary import FIRST_SET, HOSPITALS
from bonefx.inference import CHOICES
from bonefx.numbers import whole
from bonefx.settings import NOTICE
from bonefx.ui.metrics import plots, tables
from bonefx.ui.metrics.shown import Shown, compared, download, wrap
from bonefx.ui.metrics.store import ELSEWHERE, MetricsStore
from bonefx.ui.metrics.tables import REPORT_KINDS, Series, text


def rest_html(store: MetricsStore, shown: Shown, rule: Rule) -> str:
    """All else, each part folded until somebody opens it."""
    home = shown.series(store)
    if not home:
        return ""
    every = [*home, *(replace(each, name=f"{each.name}, elsewhere") for each in shown.series_away(store))]
    further = summary.headlines([entry.report for entry in shown.home.values()])
    said = "".join(f"<p>{text(words)}</p>" for words in further)
    figures = "".join(_differences(home, shown.rule(rule)))
    parts = [
        ("Is the difference between the models chance?", f"{said}<div class='figures'>{figures}</div>"),
        (
            "Each class, and precision against recall",
            f"<div class='figures'>{plots.per_class(home)}{plots.precision_recall(home)}</div>",
        ),
        ("What is a score worth?", _reliability(store, shown)),
        ("Small and large fractures, and each site", tables.strata(every)),
        ("All figures in one table", tables.summary_table(every)),
        ("Is there a fracture in the image at all?", tables.image_level(every)),
        ("Limits of this evidence", f"<ul class='limits'>{_limits(shown)}</ul>"),
        ("Where the figures come from", _provenance(store, shown, every)),
    ]
    return wrap("".join(_folded(title, content) for title, content in parts if content))


def _reliability(store: MetricsStore, shown: Shown) -> str:
    home = plots.reliability(shown.series(store), where=f"on {FIRST_SET}")
    away = plots.reliability(shown.series_away(store), "reliability-elsewhere", f"on {HOSPITALS}")
    return f"<div class='figures'>{home}{away}</div>" if home or away else ""


def _differences(series: Sequence[Series], rule: Rule) -> Iterator[str]:
    """A figure for each two that were compared on the same resamples."""
    for first, second in combinations(series, 2):
        points = compared(first, second, rule)
        if points:
            key = f"difference-{first.report['detector']['id']}-{second.report['detector']['id']}"
            yield plots.difference(first, second, points, rule, key)


def _folded(title: str, content: str) -> str:
    return f"<details class='part'><summary><h3>{escape(title)}</h3></summary><div>{content}</div></details>"


def _limits(shown: Shown) -> str:
    datasets = {
        f"{whole(dataset['images'])} images with {whole(dataset['boxes'])} boxes "
        f"({dataset['name']}, {dataset['split']})"
        for dataset in (entry.report["dataset"] for entry in shown.home.values())
    }
    elsewhere = (
        "What the models do on images from another hospital, device or country is not known."
        if not shown.away
        else "One further data set stands for all hospitals. The demo weights have learnt from other "
        "pictures of both; on pictures of a hospital that they have not seen, expect less."
    )
    sentences = [
        f"One split of one public data set: {'; '.join(sorted(datasets))}. {elsewhere}",
        "The data set names no patients: images of one person may be in training and in validation, which "
        "flatters every figure.",
        "The training part holds augmented copies of its images, which add no patients.",
        "The labels are noisy: plates and screws often lie inside boxes, healed fractures do not, and nobody "
        "knows of a second reading.",
        "Some classes have few boxes. Intervals are about the choice of these images only, and know nothing "
        "of the points above.",
        NOTICE,
    ]
    return "".join(f"<li>{text(sentence)}</li>" for sentence in sentences)


def _provenance(store: MetricsStore, shown: Shown, every: Sequence[Series]) -> str:
    """Where each report came from, all it takes to repeat it, and the files."""
    entries = [*shown.home.values(), *shown.away.values()]
    sources: dict[str, list[str]] = {}
    for entry in entries:
        note = f" {entry.note}" if entry.note else ""
        words = f"{REPORT_KINDS[entry.report['kind']]}; {store.where(entry)}.{note}"
        elsewhere = ", elsewhere" if entry.folder == ELSEWHERE else ""
        sources.setdefault(words, []).append(CHOICES[entry.model].name + elsewhere)
    items = "".join(
        f"<li><b>{escape(', '.join(names))}:</b> {text(words)}</li>" for words, names in sources.items()
    )
    files = [(entry.file, entry.folder, entry.report) for entry in entries]
    files += [("metrics_yours.json", "", shown.brought)] if shown.brought else []
    links = "".join(
        f"<li>{download(f'{folder}_{name}'.lstrip('_'), report.dumps(made), 'application/json')}</li>"
        for name, folder, made in files
    )
    return f"<ul class='sources'>{items}</ul>{tables.provenance(every)}<ul class='downloads'>{links}</ul>"
