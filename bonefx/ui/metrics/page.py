"""What the Metrics tab says first, as HTML: headline, large figures, curves, and what somebody brought."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from bonefx.consensus import CONSENSUS
from bonefx.evaluation import report, summary
from bonefx.evaluation.report import Report
from bonefx.evaluation.schema import FrocDifference, Point, Rule
from bonefx.evaluation.summary import FIRST_SET, HEADLINE_RATE, HOSPITALS
from bonefx.inference import CHOICES
from bonefx.numbers import percent, percents, whole
from bonefx.results import Identity
from bonefx.ui.metrics import plots
from bonefx.ui.metrics.shown import Shown, brought_series, compared, wrap
from bonefx.ui.metrics.store import KnownReport, MetricsStore
from bonefx.ui.metrics.tables import RULES, Series, text

InUse = Mapping[str, Identity]
"""SHA-256, NMS mode and image size of each model that is in memory, by model id."""


def top_html(store: MetricsStore, shown: Shown, in_use: InUse) -> str:
    """The headline, two large figures for each set of pictures, and in one line what they are about.

    Args:
        store: where the reports are from.
        shown: what is shown.
        in_use: what the reports must belong to.
    """
    reports = [entry.report for entry in shown.home.values()]
    none = "There are no such figures."
    said = _headline(shown) or summary.headline(*reports[:2]) if reports else none
    sets = _large_figures(f"On {FIRST_SET}", shown.home)
    if sets:
        sets += _large_figures(f"On {HOSPITALS}", shown.away) or (
            f'<section class="set none"><h3>On {HOSPITALS}</h3><p>Nobody has measured these weights '
            "there.</p></section>"
        )
    problems = "".join(f'<p class="problem">{escape(problem)}</p>' for problem in store.problems())
    warnings = "".join(f'<p class="problem">{text(words)}</p>' for words in _warnings(shown))
    asking = "" if store.settled() else "<p role='status'>Asking the Hub for newer figures…</p>"
    belongs = "".join(f"<p class='belongs'>{line}</p>" for line in _belonging(store, shown.home, in_use))
    return wrap(
        f"<h2 class='headline'>{text(said)}</h2>{warnings}{problems}<div class='sets'>{sets}</div>"
        f"{belongs}{asking}"
    )


def curves_html(store: MetricsStore, shown: Shown, rule: Rule) -> str:
    """The FROC curves, one figure for each set of pictures."""
    home, away, by = shown.series(store), shown.series_away(store), shown.rule(rule)
    if not home:
        return ""
    where = f"on {FIRST_SET}" if away else ""
    figures = plots.froc(home, by, away, where=where)
    figures += plots.froc(away, by, home, key="froc-away", where=f"on {HOSPITALS}")
    instead = f"{RULES[rule]}: no such figures. Shown instead: {RULES[by].lower()}."
    warning = "" if by == rule else f"<p class='problem'>{text(instead)}</p>"
    return wrap(f"{warning}<div class='curves'>{figures}</div>")


def brought_html(brought: Report, against: Sequence[Series]) -> str:
    """What somebody's own predictions are worth, and how they differ from each model's.

    Args:
        brought: their report.
        against: the models of the page. Who was not compared on the same resamples is said.
    """
    own = brought_series(brought)
    sentences, figures = [summary.headline(brought)], []
    for each in against:
        points = compared(own, each, "any_fracture")
        if points is None:
            sentences.append(
                f"{each.name}: no predictions of these weights travel with the app to compare with."
            )
            continue
        sentences.append(_difference_in_words(each.name, points))
        key = f"brought-{each.report['detector']['id']}"
        figures.append(plots.difference(own, each, points, "any_fracture", key))
    said = "".join(f"<p>{text(words)}</p>" for words in sentences)
    return wrap(f"<div role='status'>{said}</div><div class='figures'>{''.join(figures)}</div>")


def _point(entry: KnownReport) -> Point | None:
    """Sensitivity at the headline's rate, by the first rule that the report has."""
    rule = next((rule for rule in RULES if entry.report["froc"][rule]), None)
    point = report.operating_point(entry.report, HEADLINE_RATE, rule) if rule else None
    return point if point and point["sensitivity"] is not None else None


def _headline(shown: Shown) -> str:
    """One sentence on both sets of pictures; empty where there is only one."""
    models = [model_id for model_id in shown.home if model_id in shown.away and model_id != CONSENSUS.id]
    shares = [
        [_point(entries[model_id]) for model_id in models] for entries in (shown.home, shown.away) if models
    ]
    if not shares or None in (*shares[0], *shares[1]):
        return ""
    (name, share), *others = zip((CHOICES[m].name for m in models), _shares(shares[0]), strict=True)
    more = "".join(f", and {other} {each}" for other, each in others)
    return (
        f"On {FIRST_SET}, {name} finds {share} of fractures{more}, at 1 false alarm per image; on "
        f"{HOSPITALS}, {' and '.join(_shares(shares[1]))}."
    )


def _shares(points: Sequence[Point | None]) -> list[str]:
    return [percent(point["sensitivity"]) for point in points if point]


def _large_figures(title: str, entries: Mapping[str, KnownReport]) -> str:
    """A large figure for each model; empty where there is none."""
    numbers = []
    for model_id, entry in entries.items():
        point = _point(entry)
        if point is None or model_id == CONSENSUS.id:
            continue
        interval = ""
        if point["interval"]:
            interval = percents(point["interval"])
        numbers.append(
            f'<div class="number" style="--mark:{CHOICES[model_id].look.color}">'
            f"<dt>{escape(CHOICES[model_id].name)}</dt>"
            f"<dd><strong>{text(*_shares([point]))}</strong> {text(interval)}</dd></div>"
        )
    if not numbers:
        return ""
    dataset = next(iter(entries.values())).report["dataset"]
    of = (
        f"of {whole(dataset['boxes'])} fractures in {whole(dataset['images'])} images "
        f"({dataset['name']}, {dataset['split']}), at 1 false alarm per image, with 95 % intervals"
    )
    return (
        f'<section class="set"><h3>{escape(title)}</h3><dl>{"".join(numbers)}</dl><p>{text(of)}</p></section>'
    )


def _belonging(store: MetricsStore, entries: Mapping[str, KnownReport], in_use: InUse) -> Iterator[str]:
    """Whether the figures are those of the weights in use; models of which the same is true share a line."""
    said: dict[str, list[str]] = {}
    for model_id, entry in entries.items():
        said.setdefault(_belongs(store, entry, _used(model_id, in_use)), []).append(CHOICES[model_id].name)
    for words, names in said.items():
        yield text(words) if len(said) == 1 else f"<b>{escape(', '.join(names))}:</b> {text(words)}"


def _used(model_id: str, in_use: InUse) -> tuple[Identity, ...] | None:
    """Of the model, or of all members of the consensus. None: not known yet."""
    members = CONSENSUS.members if model_id == CONSENSUS.id else (model_id,)
    return tuple(in_use[member] for member in members) if in_use.keys() >= set(members) else None


def _belongs(store: MetricsStore, entry: KnownReport, used: tuple[Identity, ...] | None) -> str:
    if used is None:
        return "Not loaded yet, so it is not known whether these figures are those of the weights in use."
    if entry.applies_to(used):
        return "These are the figures of the weights in use."
    said = "These are the figures of other weights than those in use."
    if not entry.report["detector"]["members"]:
        said = "The report does not name its weights, so nobody can tell whether they are those in use."
    better = store.find(entry.model, used)
    if better is None:
        return f"{said} No figures are known of the weights in use."
    return f"{said} Those of the weights in use are {store.place(better)}."


def _warnings(shown: Shown) -> list[str]:
    """Why these figures must not be compared with one another."""
    reports = [entry.report for entry in shown.home.values()]
    reports += [shown.brought] if shown.brought else []
    if any(each["kind"] == "reported" for each in reports):
        return [
            "Reported figures were not measured by one protocol: do not compare them with measured ones, "
            "nor one model's with the other's."
        ]
    if len({each["dataset"]["sha256"] for each in reports}) > 1:
        return ["These figures were measured on different data: do not compare them."]
    return []


def _difference_in_words(name: str, points: Sequence[FrocDifference]) -> str:
    point = next(point for point in points if point["fp_per_image"] == HEADLINE_RATE)
    if point["difference"] is None or not point["interval"]:
        return f"Against {name}: the data set has no fracture."
    low, high = (round(100 * limit) for limit in point["interval"])
    points_more = round(100 * point["difference"])
    more = f"{abs(points_more)} percentage points {'more' if points_more >= 0 else 'fewer'} found"
    chance = (
        "may be chance"
        if point["interval"][0] <= 0 <= point["interval"][1]
        else "is more than chance explains"
    )
    return f"Against {name}, at 1 false alarm per image: {more} ({low} to {high}); the difference {chance}."
