"""What a round comes to, for its last page.

sentences   what it means, the most important first
rows        [arm, fractures found, false alarms per image, seconds a case], as text with intervals
plot        the FROC plot: {"most", "curves": [{"name", "look", "steps"}], "points": [{"name", "look", "rate",
            "share", "low", "high"}]}; None without a fracture
tally       what the browser adds up over rounds: {"site": {name: [found, lesions]}, "difficulty": likewise,
            "images", "false_alarms", "played": ids of the cases}
again       the cases, [{"number", "short", "view"}], those that went wrong first; `view` as of `screen`
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from bonefx.inference import CHOICES
from bonefx.looks import Look
from bonefx.numbers import counted, listed, percent, percents
from bonefx.quiz.answers import Answer, Arm
from bonefx.quiz.cases import DIFFICULTIES, Case
from bonefx.quiz.rounds import Round
from bonefx.quiz.scoring import (
    Change,
    Tally,
    change,
    curve,
    judged_answer,
    judged_detections,
    rate_interval,
    share_interval,
    tally,
)
from bonefx.ui.quiz import screen
from bonefx.ui.quiz.model_marks import ModelMarks

READER: dict[Arm, Look] = {
    "alone": Look("", "#8a6fe8", "plain", "", "M0-7 7 5-7 5Z"),
    "with marks": Look("", "#009E73", "plain", "", "M0 7 7-5-7-5Z"),
}
"""Of a reader's points on the plot."""

NAMES: dict[Arm, str] = {"alone": "You, alone", "with marks": "You, with marks"}
MOST = 3.0
"""False alarms per image at the plot's right edge."""


def results(
    round_: Round, models: Mapping[str, Mapping[str, ModelMarks]], image_of: Mapping[str, Any]
) -> dict[str, Any]:
    """
    Args:
        round_: one that is over.
        models: by case id, what every model found there.
        image_of: by case id, the viewer's record of the picture.
    """
    arms: dict[Arm, Tally] = {}
    for arm in NAMES:
        tallies = [tally(case, judged_answer(answer, case)) for case, answer in _answers(round_, arm)]
        if tallies:
            arms[arm] = functools.reduce(operator.add, tallies)
    last = [
        (case, tally(case, judged_answer(screen.last_answer(round_, case), case))) for case in round_.cases
    ]
    return {
        "sentences": _sentences(round_, arms, models),
        "rows": [_row(arm, each, round_) for arm, each in arms.items()],
        "plot": _plot(round_.cases, arms, models),
        "tally": _browser_tally(last),
        "again": _again(round_, last, models, image_of),
    }


def _answers(round_: Round, arm: Arm) -> list[tuple[Case, Answer]]:
    found = ((case, round_.answers.get((case.id, arm))) for case in round_.cases)
    return [(case, answer) for case, answer in found if answer is not None]


def _sentences(
    round_: Round, arms: Mapping[Arm, Tally], models: Mapping[str, Mapping[str, ModelMarks]]
) -> list[str]:
    words = []
    if len(arms) == 2:
        words.append(_changed(_change(round_, models)))
    last = list(arms.values())[-1]
    end = "In the end you" if len(arms) == 2 else "You"
    words.append(
        f"{end} found {last.found} of {counted(last.lesions, 'fracture')}, with "
        f"{counted(last.false_alarms, 'false alarm')} on {last.images} images. Of "
        f"{counted(last.intact, 'image')} without a fracture you left {last.left_alone} unmarked."
    )
    words.append(
        f"{last.images} cases are few: the intervals below say how far chance alone may carry these figures."
    )
    return words


def _change(round_: Round, models: Mapping[str, Mapping[str, ModelMarks]]) -> Change:
    changes = []
    for case, second in _answers(round_, "with marks"):
        shown = {
            model: marks.boxes.astype(np.float64)
            for model in round_.models
            if (marks := models[case.id][model].shown) is not None
        }
        changes.append(change(case, round_.answers[case.id, "alone"], second, shown))
    return functools.reduce(operator.add, changes, Change())


def _changed(made: Change) -> str:
    """What the models' marks did, for better and worse."""
    parts = []
    if made.gained:
        parts.append(f"found {made.gained} more")
    if made.lost:
        parts.append(f"gave up {counted(made.lost, 'fracture')} that you had found")
    if made.believed:
        parts.append(f"believed {counted(made.believed, 'false mark')}")
    if made.own:
        parts.append(f"set {counted(made.own, 'false alarm')} of your own")
    if made.dropped:
        parts.append(f"took back {counted(made.dropped, 'false alarm')}")
    if not parts:
        return "The models' marks changed nothing that counts."
    return f"With the models' marks you {listed(parts)}."


def _row(arm: Arm, each: Tally, round_: Round) -> list[str]:
    limits = percents(share_interval(each.found, each.lesions))
    fewest, most = rate_interval(each.false_alarms, each.images)
    seconds = median(answer.seconds for _, answer in _answers(round_, arm))
    share = percent(each.found / each.lesions if each.lesions else None)
    return [
        NAMES[arm],
        f"{share} ({limits}), {each.found} of {each.lesions}",
        f"{each.false_alarms / each.images:.1f} ({fewest:.1f} to {most:.1f})",
        f"{seconds:.0f} s",
    ]


def _plot(
    cases: Sequence[Case], arms: Mapping[Arm, Tally], models: Mapping[str, Mapping[str, ModelMarks]]
) -> dict[str, Any] | None:
    """The reader's points among the models' curves, all on the same cases and by the same rule."""
    lesions = sum(len(case.boxes) for case in cases)
    if not lesions:
        return None
    curves = []
    for model in next(iter(models.values())):
        found = [(case, models[case.id][model].outcome.detections) for case in cases]
        judged = [judged_detections(each, case) for case, each in found if each is not None]
        if len(judged) == len(cases):
            steps = _steps(curve(judged, lesions))
            curves.append({"name": CHOICES[model].name, "look": _look(CHOICES[model].look), "steps": steps})
    points = []
    for arm, each in arms.items():
        low, high = share_interval(each.found, each.lesions)
        points.append(
            {
                "name": NAMES[arm],
                "look": _look(READER[arm]),
                "rate": min(each.false_alarms / each.images, MOST),
                "share": each.found / each.lesions,
                "low": low,
                "high": high,
            }
        )
    return {"most": MOST, "curves": curves, "points": points}


def _look(look: Look) -> dict[str, str]:
    return {"color": look.color, "dash": look.dash, "mark": look.mark}


def _steps(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The stairs of a curve, up to the plot's edge."""
    stairs = [corners[0]]
    for rate, share in corners[1:]:
        if rate > MOST:
            break
        stairs += [(rate, stairs[-1][1]), (rate, share)]
    return [*stairs, (min(max(corners[-1][0], stairs[-1][0]), MOST), stairs[-1][1])]


def _browser_tally(last: Sequence[tuple[Case, Tally]]) -> dict[str, Any]:
    sites: dict[str, list[int]] = {}
    grades: dict[str, list[int]] = {}
    for case, made in last:
        for name, table in ((case.site, sites), (case.difficulty, grades)):
            if name and made.lesions:
                row = table.setdefault(name, [0, 0])
                row[0] += made.found
                row[1] += made.lesions
    ordered = {grade: grades[grade] for grade in DIFFICULTIES if grade in grades}
    return {
        "site": dict(sorted(sites.items())),
        "difficulty": ordered,
        "images": len(last),
        "false_alarms": sum(made.false_alarms for _, made in last),
        "played": [case.id for case, _ in last],
    }


def _again(
    round_: Round,
    last: Sequence[tuple[Case, Tally]],
    models: Mapping[str, Mapping[str, ModelMarks]],
    image_of: Mapping[str, Any],
) -> list[dict[str, Any]]:
    rows = []
    for case, made in last:
        missed = made.lesions - made.found
        parts = [f"{missed} missed"] if missed else []
        parts += [counted(made.false_alarms, "false alarm")] if made.false_alarms else []
        view = screen.revealed(round_, case, "again", image_of[case.id], models[case.id])
        row = {"number": view["number"], "short": ", ".join(parts) or "right", "view": view}
        rows.append((-missed, -made.false_alarms, view["number"], row))
    return [row for *_, row in sorted(rows, key=lambda each: each[:3])]
