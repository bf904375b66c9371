"""What a reader is shown next: a round is a list of steps, and stands at one of them.

Only what belongs to the step where it stands may reach the reader: neither a model's marks nor the truth
before.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bonefx.provenance import now
from bonefx.quiz.answers import Answer, Arm, marks_from
from bonefx.quiz.cases import Case

CASES = 10
"""In a round."""

FEWEST_INTACT, MOST_INTACT = 2, 5
"""Cases without a fracture in a round: how many is left to chance, so that nobody can count."""

Setting = Literal["afterwards", "at once", "never"]
"""When the models' marks are shown: after the reader's own answer, with the picture, or not at all."""

PHASES: dict[Setting, tuple[Arm, ...]] = {
    "afterwards": ("alone", "with marks"),
    "at once": ("with marks",),
    "never": ("alone",),
}


@dataclass(frozen=True)
class Step:
    """A case to be read in an arm, or, with `arm` None, its truth to be looked at."""

    case: Case
    arm: Arm | None


class Round:
    """Where a reader stands.

    Args:
        steps: in their order.
        models: ids of the models whose marks are shown.
        reader: of a study, its number; 0 outside of one.
        answers: what this reader has said before, of steps that are not in `steps`.

    Attributes:
        id: tells one round from another.
        position: the number of the step where it stands.
    """

    def __init__(
        self, steps: Sequence[Step], models: Sequence[str], *, reader: int = 0, answers: Sequence[Answer] = ()
    ) -> None:
        self.id = uuid.uuid4().hex
        self.steps = tuple(steps)
        self.models = tuple(models)
        self.reader = reader
        self.answers: dict[tuple[str, Arm], Answer] = {(each.case, each.arm): each for each in answers}
        self.position = 0
        self._since = time.monotonic()

    @property
    def step(self) -> Step | None:
        """The step where it stands; None at the end."""
        return self.steps[self.position] if self.position < len(self.steps) else None

    @property
    def cases(self) -> tuple[Case, ...]:
        """Each once, in order."""
        return tuple({step.case.id: step.case for step in self.steps}.values())

    @property
    def earlier(self) -> Answer | None:
        """What the reader said of this case before, in this round: with marks it may be changed."""
        step = self.step
        return None if step is None or step.arm != "with marks" else self.answers.get((step.case.id, "alone"))

    def answer(self, marks: Any, shown: dict[str, str]) -> Answer:
        """What the reader says to the step where it stands; it is kept by `take`.

        Args:
            marks: as the browser sends them.
            shown: ids of the models whose marks are on the screen, with the SHA-256 of their weights.

        Raises:
            RequestError: these are no marks.
        """
        step = self.step
        if step is None or step.arm is None:
            raise ValueError("there is nothing to answer")
        case = step.case
        return Answer(
            case=case.id,
            arm=step.arm,
            marks=marks_from(marks, case.width, case.height),
            seconds=round(time.monotonic() - self._since, 2),
            shown=shown if step.arm == "with marks" else {},
            reader=self.reader,
            time=now(),
        )

    def take(self, answer: Answer) -> None:
        """Keep an answer, and go on."""
        self.answers[answer.case, answer.arm] = answer
        self.go_on()

    def go_on(self) -> None:
        """To the next step."""
        self.position += 1
        self._since = time.monotonic()


def draw(
    cases: Sequence[Case], setting: Setting, models: Sequence[str], played: Sequence[str], seed: int
) -> Round:
    """A round by chance.

    Args:
        cases: to draw from.
        setting: when marks are shown.
        models: whose.
        played: ids of cases that the reader has had; they come again only where there are no others.
        seed: of what is left to chance.
    """
    rng, stale = np.random.default_rng(seed), set(played)

    def shuffled(some: Sequence[Case]) -> list[Case]:
        return [some[i] for i in rng.permutation(len(some))]

    there = sum(not len(case.boxes) for case in cases)
    intact = int(rng.integers(FEWEST_INTACT, MOST_INTACT + 1))
    intact = min(max(intact, CASES - (len(cases) - there)), there)
    chosen: list[Case] = []
    for count, broken in ((intact, False), (CASES - intact, True)):
        of_kind = shuffled([case for case in cases if bool(len(case.boxes)) == broken])
        chosen += sorted(of_kind, key=lambda case: case.id in stale)[:count]
    steps = [Step(case, arm) for case in shuffled(chosen) for arm in (*PHASES[setting], None)]
    return Round(steps, () if setting == "never" else models)
