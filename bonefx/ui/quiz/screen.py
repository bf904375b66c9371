"""From where a reader stands to what the page shows: only what is due, as plain data.

phase       "read", "truth", "end", or "wait" with `sentence` alone
round       tells one round from another
step        the place in it; an answer carries it, so that one that comes twice counts once
number, of  which case this is, and of how many
arm         how it is read; None when the truth is looked at
title       for the heading; sentence: below it
image       as of `viewer_image`
mine        the reader's own marks, [{"box", "confidence", "verdict"}]; verdicts with the truth only
shown       the models' marks, [{"id", "name", "tag", "color", "line", "error", "marks"}], each mark
            {"box", "score", "label", "verdict"}; empty before they are due
truth       None before it is due, then [{"label", "box", "found"}]
said        what the truth shows, sentence by sentence
weights     whose marks these are
end         see `bonefx.ui.quiz.results`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bonefx.inference import CHOICES
from bonefx.labels import place
from bonefx.numbers import counted
from bonefx.quiz.answers import Answer
from bonefx.quiz.cases import Case
from bonefx.quiz.rounds import Round
from bonefx.quiz.scoring import Judged, judge, judged_answer
from bonefx.ui.operating import DEFAULT_RATE, RATES
from bonefx.ui.quiz.model_marks import ModelMarks

_SOURCES = {"bundled": "demo weights", "local": "a local file"}


def reading(
    round_: Round, image: Mapping[str, Any], models: Mapping[str, ModelMarks] | None
) -> dict[str, Any]:
    """A case that is to be read. `models`: what they found, where it is due."""
    step = round_.step
    assert step is not None
    shown = [] if models is None else [_shown(models[each], None) for each in round_.models]
    earlier = round_.earlier
    again = step.arm == "with marks" and earlier is not None
    sentence = "Mark what looks broken, or say that there is nothing."
    if step.arm == "with marks":
        sentence = f"With marks of {_names(round_.models)}. " + (
            "Change your answer, or leave it as it is." if again else sentence
        )
    return {
        **_placed(round_, step.case, image),
        "phase": "read",
        "arm": step.arm,
        "title": "Now with marks" if again else "Is anything broken?",
        "sentence": sentence,
        "mine": [] if earlier is None else [_mine(box, c, None) for box, c in _marks(earlier)],
        "shown": shown,
        "truth": None,
        "said": [],
        "weights": "" if models is None else _weights([models[each] for each in round_.models]),
    }


def revealed(
    round_: Round, case: Case, phase: str, image: Mapping[str, Any], models: Mapping[str, ModelMarks]
) -> dict[str, Any]:
    """The truth of a case, what the reader said of it, and what the models did.

    Args:
        phase: "truth" when it is due, "again" when it is looked at once more.
    """
    answer = last_answer(round_, case)
    judged = judged_answer(answer, case)
    by_model = [(one, _judged(one, case)) for one in models.values()]
    boxes = zip(_marks(answer), judged.verdicts, strict=True)
    return {
        **_placed(round_, case, image),
        "phase": phase,
        "arm": None,
        "title": _verdict(case, judged),
        "sentence": "This is what is true of it.",
        "mine": [_mine(box, confidence, verdict) for (box, confidence), verdict in boxes],
        "shown": [_shown(*each) for each in by_model],
        "truth": [
            {"label": label, "box": _box(box), "found": found is not None}
            for label, box, found in zip(case.labels, case.boxes, judged.found, strict=True)
        ],
        "said": [_of_reader(case, judged), *(_of_model(case, *each) for each in by_model)],
        "weights": _weights(list(models.values())),
    }


def last_answer(round_: Round, case: Case) -> Answer:
    """The reader's last word on a case."""
    return round_.answers.get((case.id, "with marks")) or round_.answers[case.id, "alone"]


def _placed(round_: Round, case: Case, image: Mapping[str, Any]) -> dict[str, Any]:
    cases = round_.cases
    number = cases.index(case) + 1
    return {
        "round": round_.id,
        "step": round_.position,
        "number": number,
        "of": len(cases),
        "image": {**image, "alt": f"Radiograph {number} of {len(cases)}"},
    }


def _verdict(case: Case, judged: Judged) -> str:
    total, found = len(case.boxes), judged.hits
    if not total:
        return "Nothing is broken here." if judged.false_alarms else "Right: nothing is broken here."
    if total == 1:
        return "You found the fracture." if found else "You missed the fracture."
    return f"You found {found} of {total} fractures."


def _of_reader(case: Case, judged: Judged) -> str:
    places = [
        f"{label}: {'found' if found is not None else 'missed'}"
        for label, found in zip(case.labels, judged.found, strict=True)
    ]
    near, false = (judged.verdicts.count(each) for each in ("near miss", "false alarm"))
    alarms = [f"{near} near miss{'' if near == 1 else 'es'}"] if near else []
    alarms += [counted(false, "false alarm")] if false else []
    words = "; ".join([*places, *alarms])
    return f"You: {words}." if words else "You: no mark, and nothing to find."


def _of_model(case: Case, one: ModelMarks, judged: Judged | None) -> str:
    name = CHOICES[one.outcome.model].name
    if judged is None:
        return f"{name}: {one.outcome.error}"
    words = [f"found {judged.hits} of {len(case.boxes)}"] if len(case.boxes) else []
    alarms = counted(judged.false_alarms, "false alarm") if judged.false_alarms else "no false alarms"
    return f"{name}: {', '.join([*words, alarms])}."


def _judged(one: ModelMarks, case: Case) -> Judged | None:
    """A model's marks, judged; None after a failure."""
    found = one.shown
    return None if found is None else judge(found.boxes.astype(np.float64), found.scores, case)


def _shown(one: ModelMarks, judged: Judged | None) -> dict[str, Any]:
    """A model's marks; where they are judged, each with its verdict."""
    choice, found = CHOICES[one.outcome.model], one.shown
    marks: list[dict[str, Any]] = []
    if found is not None:
        rows = zip(found.boxes.tolist(), found.scores.tolist(), found.labels, strict=True)
        marks = [
            {"box": _box(box), "score": round(score, 3), "label": place(label)} for box, score, label in rows
        ]
    if judged is not None:
        for mark, verdict in zip(marks, judged.verdicts, strict=True):
            mark["verdict"] = verdict
    return {
        "id": one.outcome.model,
        "name": choice.name,
        **choice.look.of_boxes(),
        "error": one.outcome.error or "",
        "marks": marks,
    }


def _weights(models: Sequence[ModelMarks]) -> str:
    """Where the marks come from, and at what price they are shown."""
    files = []
    for one in models:
        weights = one.outcome.weights
        if weights is not None:
            source = _SOURCES.get(weights.source, weights.repo or "")
            files.append(f"{CHOICES[one.outcome.model].name}: {weights.file} ({source})")
    if not files:
        return ""
    price = f"scores from {models[0].threshold:.2f}"
    if all(one.measured for one in models):
        price = f"the setting for about {RATES[DEFAULT_RATE]} false alarm per image"
    return f"Marks of {'; '.join(files)}; at {price}."


def _names(models: Sequence[str]) -> str:
    return " and ".join(CHOICES[each].name for each in models)


def _marks(answer: Answer) -> list[tuple[list[float], str]]:
    return [(mark.box, mark.confidence) for mark in answer.marks]


def _mine(box: Sequence[float], confidence: str, verdict: str | None) -> dict[str, Any]:
    return {"box": _box(box), "confidence": confidence, "verdict": verdict}


def _box(box: Sequence[float] | np.ndarray) -> dict[str, float]:
    return {name: round(float(value), 1) for name, value in zip(("x1", "y1", "x2", "y2"), box, strict=True)}
