"""Which metrics reports are shown, and how each looks: what all parts of the Metrics tab share."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from bonefx.evaluation.report import Report
from bonefx.evaluation.schema import FrocDifference, Rule
from bonefx.inference import CHOICES
from bonefx.looks import BROUGHT
from bonefx.ui.metrics.store import KnownReport, MetricsStore
from bonefx.ui.metrics.tables import RULES, Series


@dataclass(frozen=True, eq=False)
class Shown:
    """The reports that the page shows.

    Attributes:
        home: by model id, on pictures of the first data set.
        away: of the same weights, on hospital pictures; empty where nobody measured that.
        brought: the report of somebody's own predictions.
    """

    home: Mapping[str, KnownReport]
    away: Mapping[str, KnownReport]
    brought: Report | None = None

    @classmethod
    def of(cls, store: MetricsStore, home: Mapping[str, KnownReport], brought: Report | None = None) -> Shown:
        """These reports, with those of the same weights on hospital pictures."""
        away = {model_id: store.elsewhere(entry) for model_id, entry in home.items()}
        return cls(home, {model_id: entry for model_id, entry in away.items() if entry}, brought)

    def series(self, store: MetricsStore) -> list[Series]:
        """As figures show it: those of the first data set, somebody's own predictions last."""
        found = [_series(store, entry) for entry in self.home.values()]
        return [*found, brought_series(self.brought)] if self.brought else found

    def series_away(self, store: MetricsStore) -> list[Series]:
        """The same on hospital pictures."""
        return [_series(store, entry) for entry in self.away.values()]

    def rule(self, wanted: Rule) -> Rule:
        """The wanted rule of what counts as a hit, or where nobody has figures by it, another."""
        reports = [entry.report for entry in self.home.values()]
        return next((key for key in (wanted, *RULES) if any(r["froc"][key] for r in reports)), wanted)


def brought_series(brought: Report) -> Series:
    """Somebody's own predictions as figures show them."""
    return Series(brought["detector"]["name"], brought, BROUGHT, "scored here")


def compared(first: Series, second: Series, rule: Rule) -> list[FrocDifference] | None:
    """The points of the comparison of two on the same resamples; None where nobody made it."""
    for comparison in first.report["comparisons"]:
        if comparison["detector"] == second.report["detector"]:
            return comparison["froc"][rule]
    return None


def wrap(content: str) -> str:
    """HTML in the dress of `static/metrics/metrics.css`."""
    return f'<div class="metrics">{content}</div>'


def download(name: str, content: str, kind: str) -> str:
    """A link that holds the file itself: the server keeps nothing for it, and it never expires."""
    data = base64.b64encode(content.encode()).decode()
    return f'<a download="{escape(name)}" href="data:{kind};base64,{data}">{escape(name)}</a>'


def _series(store: MetricsStore, entry: KnownReport) -> Series:
    return Series(CHOICES[entry.model].name, entry.report, CHOICES[entry.model].look, store.place(entry))
