"""What the Metrics tab says, as HTML: headline and sources; figures, tables, provenance and limits."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import combinations
from pathlib import Path
from typing import Any

from bonefx.consensus import CONSENSUS
from bonefx.evaluation import report, summary
from bonefx.evaluation.report import Report
from bonefx.inference import CHOICES
from bonefx.settings import NOTICE
from bonefx.ui import plots, tables
from bonefx.ui.axes import Look
from bonefx.ui.metrics_store import Entry, MetricsStore
from bonefx.ui.tables import KINDS, RULES, Series, text

InUse = Mapping[str, tuple[str, str, int]]
"""SHA-256, NMS mode and image size of each model that is in memory, by model id."""


def top_html(store: MetricsStore, shown: Mapping[str, Entry], in_use: InUse) -> str:
    """The headline, and for each model where its figures came from and whether its weights are theirs.

    Args:
        store: where the reports are from.
        shown: of them those that are shown, by model id.
        in_use: what they must belong to.
    """
    reports = [entry.report for entry in shown.values()]
    first, *further = summary.headlines(reports) if reports else ["There are no such figures."]
    items = []
    for model_id, model in CHOICES.items():
        entry = shown.get(model_id)
        if entry is None and model_id == CONSENSUS.id:
            continue  # whoever publishes metrics of the models need not publish any of it
        said = _source(store, entry, _used(model_id, in_use)) if entry else "no such figures."
        color = _look(model_id).color
        items.append(f'<li style="--mark:{color}"><b>{escape(model.name)}:</b> {text(said)}</li>')
    items += [f'<li class="problem">{escape(problem)}</li>' for problem in store.problems()]
    asking = "" if store.settled() else "<p role='status'>Asking the Hub for newer figures…</p>"
    headline = f"<h2 class='headline'>{text(first)}</h2>"
    headline += "".join(f"<p class='further'>{text(words)}</p>" for words in further)
    return wrap(f"{headline}<ul class='sources'>{''.join(items)}</ul>{asking}")


def body_html(
    store: MetricsStore, shown: Mapping[str, Entry], rule: str, brought: Report | None = None
) -> str:
    """Figures, tables, provenance, limits and downloads.

    Args:
        store, shown: as in `top_html`.
        rule: what counts as a hit. Where nobody has figures by it, another rule is taken, and that is said.
        brought: the report of somebody's own predictions.
    """
    series = [
        Series(CHOICES[model_id].name, entry.report, _look(model_id), store.place(entry))
        for model_id, entry in shown.items()
    ]
    files = [(Path(entry.file).name, entry.report) for entry in shown.values()]
    if brought:
        series.append(Series(brought["detector"]["name"], brought, plots.BROUGHT, "scored here"))
        files.append(("metrics_yours.json", brought))
    if not series:
        return ""
    known = [key for key in (rule, *RULES) if any(each.report["froc"][key] for each in series)]
    warnings = _warnings(series)
    if known[0] != rule:
        warnings.append(f"{RULES[rule]}: no such figures. Shown instead: {RULES[known[0]].lower()}.")
    figures = [plots.froc(series, known[0]), *_differences(series, known[0])]
    figures += [plots.per_class(series), plots.precision_recall(series)]
    level = tables.image_level(series)
    return wrap(
        "".join(f"<p class='problem'>{text(warning)}</p>" for warning in warnings)
        + f"<div class='figures'>{''.join(figures)}</div>"
        f"<h2>Summary</h2>{tables.summary(series)}"
        + (f"<h2>Is there a fracture in the image at all?</h2>{level}" if level else "")
        + f"<h2>Provenance</h2>{tables.provenance(series)}"
        f"<h2>Limits of this evidence</h2><ul class='limits'>{_limits(series)}</ul>"
        f"<h2>Download</h2><ul class='downloads'>{''.join(_download(*file) for file in files)}</ul>"
    )


def wrap(content: str) -> str:
    """HTML in the dress of `static/metrics.css`."""
    return f'<div class="metrics">{content}</div>'


def _look(model_id: str) -> Look:
    return plots.LOOKS.get(model_id, plots.FURTHER_MODEL)


def _used(model_id: str, in_use: InUse) -> tuple[Any, Any, Any] | None:
    """SHA-256, NMS mode and image size; of the consensus those of all members. None: not known yet."""
    if model_id != CONSENSUS.id:
        return in_use.get(model_id)
    if not in_use.keys() >= set(CONSENSUS.members):
        return None
    sha256, nms, image_size = zip(*(in_use[member] for member in CONSENSUS.members), strict=True)
    return sha256, nms, image_size


def _source(store: MetricsStore, entry: Entry, used: tuple[Any, Any, Any] | None) -> str:
    note = f" {entry.note}" if entry.note else ""
    return f"{KINDS[entry.report['kind']]}; {store.where(entry)}.{note} {_belongs(store, entry, used)}"


def _belongs(store: MetricsStore, entry: Entry, used: tuple[Any, Any, Any] | None) -> str:
    """Whether the figures are those of the weights in use."""
    if used is None:
        who = "Not all of its models are" if entry.model == CONSENSUS.id else "The model is not"
        return f"{who} loaded yet, so it is not known whether these figures are those of its weights."
    if entry.applies_to(*used):
        return "These are the figures of the weights in use."
    said = "These are the figures of other weights than those in use."
    if not entry.report["detector"]["members"]:
        said = "The report does not name its weights, so nobody can tell whether they are those in use."
    better = store.find(entry.model, *used)
    hashes = [used[0]] if isinstance(used[0], str) else used[0]
    weights = f"the weights in use (SHA-256 {', '.join(f'{sha256[:12]}…' for sha256 in hashes)})"
    if better is None:
        return f"{said} No figures are known of {weights}."
    return f"{said} Those of {weights} are {store.place(better)}."


def _warnings(series: Sequence[Series]) -> list[str]:
    """Why these figures must not be compared with one another."""
    if any(each.report["kind"] == "reported" for each in series):
        return [
            "Reported figures were not measured by one protocol: do not compare them with measured ones, "
            "nor one model's with the other's."
        ]
    if len({each.report["dataset"]["sha256"] for each in series}) > 1:
        return ["These figures were measured on different data: do not compare them."]
    return []


def _differences(series: Sequence[Series], rule: str) -> Iterator[str]:
    """A figure for each two models that were compared on the same resamples."""
    for first, second in combinations(series, 2):
        for comparison in first.report["comparisons"]:
            if comparison["detector"] == second.report["detector"]:
                key = f"difference-{first.report['detector']['id']}-{second.report['detector']['id']}"
                yield plots.difference(first, second, comparison["froc"][rule], rule, key)


def _limits(series: Sequence[Series]) -> str:
    datasets = {
        f"{tables.count(dataset['images'])} images with {tables.count(dataset['boxes'])} boxes "
        f"({dataset['name']}, {dataset['split']})"
        for dataset in (each.report["dataset"] for each in series)
    }
    sentences = [
        f"One split of one public data set: {'; '.join(sorted(datasets))}. What the models do on images from "
        "another hospital, device or country is not known.",
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


def _download(name: str, content: Report) -> str:
    """A link that holds the file itself: the server keeps nothing for it, and it never expires."""
    data = base64.b64encode(report.dumps(content).encode()).decode()
    return (
        f'<li><a download="{escape(name)}" href="data:application/json;base64,{data}">{escape(name)}</a></li>'
    )
