"""What the browser shows, as far as a download repeats it: which marks stand in which view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bonefx import agreement, inference
from bonefx.detections import Detections
from bonefx.detectors import MODELS
from bonefx.drawing import Mark, Pane
from bonefx.errors import RequestError, quoted
from bonefx.inference import CHOICES
from bonefx.labels import place
from bonefx.looks import OTHER_NAME, SAME_NAME, TRUTH, Look
from bonefx.marks import box_of, marks_of, places_of
from bonefx.results import Outcome
from bonefx.settings import DEFAULT_THRESHOLD


@dataclass(frozen=True)
class Screen:
    """What the browser shows.

    Attributes:
        view: "compare", "agreement" or the id of one model.
        thresholds: by model id, a score from 0 to 1, or None where nothing is shown.
        stricts: by model id, the score from which lines are solid; None where none is. None: all are.
        truth: whether the ground truth is shown.
        pair: ids of the two models that are compared; None: the first two.
    """

    view: str
    thresholds: Any
    stricts: Any = None
    truth: bool = False
    pair: Any = None

    @property
    def models(self) -> tuple[str, ...]:
        """The ids of the models that are shown.

        Raises:
            RequestError: there is no such view, or there are no such two models.
        """
        if self.view in ("compare", "agreement"):
            return inference.pair_of(self.pair)
        if self.view in MODELS:
            return (self.view,)
        raise RequestError(f"There is no view {quoted(self.view)}. Reload the page, and try again.")

    def threshold(self, outcome: Outcome) -> float:
        """The score from which detections are shown; infinite where none is.

        Raises:
            RequestError: the browser has sent none, or one that is out of range.
        """
        if outcome.detections is None:
            return DEFAULT_THRESHOLD
        if not isinstance(self.thresholds, dict) or outcome.model not in self.thresholds:
            raise RequestError(f"There is no threshold of {outcome.model}. Reload the page, and try again.")
        threshold = self.thresholds[outcome.model]
        return math.inf if threshold is None else inference.check_threshold(threshold)

    def strict(self, outcome: Outcome) -> float:
        """The score from which marks are stronger ones.

        Raises:
            RequestError: it is out of range.
        """
        stricts = self.stricts if isinstance(self.stricts, dict) else {}
        strict = stricts.get(outcome.model, 0.0)
        return math.inf if strict is None else inference.check_threshold(strict)


@dataclass(frozen=True)
class _Shown:
    """A model's detections above its threshold, and which of them are weaker marks."""

    outcome: Outcome
    found: Detections
    weaker: np.ndarray

    @property
    def name(self) -> str:
        return CHOICES[self.outcome.model].name

    @property
    def look(self) -> Look:
        return CHOICES[self.outcome.model].look


def panes(screen: Screen, outcomes: Sequence[Outcome], lesions: Sequence[dict[str, Any]] = ()) -> list[Pane]:
    """The views that are on the screen.

    Args:
        screen: what the browser shows.
        outcomes: those of `screen.models`.
        lesions: the ground truth, of which nothing is drawn unless the screen shows it.
    """
    truth = [
        Mark((tuple(each["box"].values()),), f"broken: {place(each['label'])}", TRUTH.color, TRUTH.line)
        for each in (lesions if screen.truth else ())
    ]
    shown = []
    for outcome in outcomes:
        if outcome.detections is not None:
            found = outcome.detections.above(screen.threshold(outcome))
            shown.append(_Shown(outcome, found, found.scores < np.float32(screen.strict(outcome))))
    if screen.view == "agreement" and len(shown) >= 2:
        return [_agreement(shown[0], shown[1], truth)]
    return [Pane(_title(each), (*marks_of(each.found, each.look, each.weaker), *truth)) for each in shown]


def _agreement(first: _Shown, second: _Shown, truth: list[Mark]) -> Pane:
    rows = [[group[0] for group in places_of(each.found)] for each in (first, second)]
    found = agreement.agree(first.found[rows[0]], second.found[rows[1]])
    marks = []
    for look, pairs, sign in ((SAME_NAME, found.both, "+"), (OTHER_NAME, found.other_label, "/")):
        tag = sign.join((first.look.tag, second.look.tag))
        for i, j in pairs:
            a, b = rows[0][i], rows[1][j]
            labels = dict.fromkeys((place(first.found.labels[a]), place(second.found.labels[b])))
            weaker = bool(first.weaker[a] and second.weaker[b])
            words = f"{tag} {' / '.join(labels)}"
            boxes = box_of(first.found, a), box_of(second.found, b)
            marks.append(Mark(boxes, words, look.color, look.line, weaker))
    alone = ((first, rows[0], found.only_first), (second, rows[1], found.only_second))
    for each, leaders, only in alone:
        for i in only:
            row = leaders[i]
            words = f"{each.look.tag} {place(each.found.labels[row])}"
            look, weaker = each.look, bool(each.weaker[row])
            marks.append(Mark((box_of(each.found, row),), words, look.color, look.line, weaker))
    counts = [f"{len(found.both)} by both"]
    if found.other_label:
        counts.append(f"{len(found.other_label)} by both under different names")
    counts += [f"{len(only)} only by {each.name}" for each, _, only in alone]
    return Pane(f"Agreement: {', '.join(counts)}", (*marks, *truth))


def _title(shown: _Shown) -> str:
    n = len(shown.found)
    count = "no marks" if n == 0 else f"{n} mark{'s' * (n != 1)}"
    return f"{shown.look.tag} · {shown.name}: {count}"
