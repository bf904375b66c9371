"""A study: several readers, each with a link and a fixed order of cases, and one file with all they say.

The file's first line is the study itself, so that it can be evaluated without its pictures, and taken up
again after the app was stopped. Without a washout each case is read alone and at once again with marks.
With one, readers read all cases in one arm, and after so many days again in the other one, in another
order; every other reader begins with marks, so that what is learnt in the first reading helps both arms
alike.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bonefx.errors import RequestError
from bonefx.provenance import now
from bonefx.quiz.answers import Answer, Arm, answers_in, append, objects_in
from bonefx.quiz.cases import Case
from bonefx.quiz.figures import Comparison, compare, readings
from bonefx.quiz.rounds import Round, Step

ARMS: tuple[Arm, Arm] = ("alone", "with marks")
MAX_READERS = 500


class CaseRecord(BaseModel):
    """What the file says of a case: all but the picture. Fields as of `Case`."""

    model_config = ConfigDict(frozen=True)

    id: str
    width: int
    height: int
    boxes: list[Annotated[list[float], Field(min_length=4, max_length=4)]]
    labels: list[str]
    site: str = ""
    difficulty: str = ""

    @classmethod
    def of(cls, case: Case) -> CaseRecord:
        boxes = [[round(value, 1) for value in box] for box in case.boxes.tolist()]
        return cls(
            id=case.id,
            width=case.width,
            height=case.height,
            boxes=boxes,
            labels=list(case.labels),
            site=case.site,
            difficulty=case.difficulty,
        )

    def case(self) -> Case:
        """The case, whose picture is nowhere."""
        boxes = np.array(self.boxes, dtype=np.float64).reshape(-1, 4)
        labels = tuple(self.labels)
        return Case(self.id, Path(), self.width, self.height, boxes, labels, self.site, self.difficulty)


class Plan(BaseModel):
    """The first line of a file of answers.

    Attributes:
        bonefx: the format of the file.
        readers: how many there are.
        seed: of orders and links: who knows it can tell them all.
        washout_days: between the two readings of a case; None: it is read again at once.
        models: ids of the models whose marks are shown.
        cases: in no order of anybody's.
        time: when the study was set up, ISO 8601 in UTC.
    """

    model_config = ConfigDict(frozen=True)

    bonefx: Literal["reader study"] = "reader study"
    format: Literal[1] = 1
    readers: Annotated[int, Field(ge=1, le=MAX_READERS)]
    seed: Annotated[str, Field(min_length=16)]
    washout_days: Annotated[float, Field(ge=0)] | None = None
    models: list[str]
    cases: Annotated[list[CaseRecord], Field(min_length=1)]
    time: str

    def same_as(self, other: Plan) -> bool:
        """Whether both are one study, whenever each was set up."""
        free = {"seed", "time"}
        return self.model_dump(exclude=free) == other.model_dump(exclude=free)

    def link(self, reader: int) -> str:
        """What a reader's address ends in: the number, and letters that nobody guesses."""
        secret = hashlib.sha256(f"{self.seed} reader {reader}".encode()).hexdigest()
        return f"{reader}-{secret[:16]}"


@dataclass(frozen=True)
class Waiting:
    """A reader has to come again.

    Attributes:
        until: from when on the second reading is open.
    """

    until: datetime


class Study:
    """A study that is being run. Its methods may be called from several threads.

    Args:
        plan: what it is.
        cases: with their pictures, those of the plan.
        path: of the file of answers; it begins with the plan.
    """

    def __init__(self, plan: Plan, cases: Sequence[Case], path: Path) -> None:
        self.plan = plan
        self.path = path
        self._cases = {case.id: case for case in cases}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, plan: Plan, cases: Sequence[Case], path: Path) -> Study:
        """Begin a file of answers, or go on with the one that is there.

        Raises:
            RequestError: the file holds another study, or none.
            OSError: it cannot be read or written.
        """
        if path.exists() and path.stat().st_size:
            there = plan_of(path)
            if not there.same_as(plan):
                raise RequestError(
                    f"{path.name} holds a study with other readers, cases, models or washout. Name "
                    "another file, or give the same again."
                )
            return cls(there, cases, path)
        append(path, plan)
        return cls(plan, cases, path)

    def reader_of(self, link: str) -> int:
        """The reader whose link this is.

        Raises:
            RequestError: it is nobody's.
        """
        for reader in range(1, self.plan.readers + 1):
            if link == self.plan.link(reader):
                return reader
        raise RequestError("This study is read by personal links. Ask for yours, and open it.")

    def round_of(self, reader: int) -> Round | Waiting:
        """What is left for a reader to do, or when to come again."""
        with self._lock:
            said = [answer for answer in self._answers() if answer.reader == reader]
        done = {(answer.case, answer.arm) for answer in said}
        sessions = self._sessions(reader)
        for number, steps in enumerate(sessions):
            left = [step for step in steps if (step.case.id, step.arm) not in done]
            if not left:
                continue
            if number and (until := self._opens(said)) > datetime.now(timezone.utc):
                return Waiting(until)
            # What was said before stays where the same case is read again at once, and nowhere else.
            earlier = said if len(sessions) == 1 else ()
            return Round(left, self.plan.models, reader=reader, answers=earlier)
        return Round((), self.plan.models, reader=reader)

    def keep(self, answer: Answer) -> None:
        """Write an answer down.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            append(self.path, answer)

    def _answers(self) -> list[Answer]:
        return answers_in(objects_in(self.path), self._cases)

    def _sessions(self, reader: int) -> list[list[Step]]:
        """What a reader reads, one list for each sitting."""
        if self.plan.washout_days is None:
            return [[Step(case, arm) for case in self._order(reader, 0) for arm in ARMS]]
        arms = ARMS if reader % 2 else ARMS[::-1]
        return [[Step(case, arm) for case in self._order(reader, number)] for number, arm in enumerate(arms)]

    def _order(self, reader: int, sitting: int) -> list[Case]:
        digest = hashlib.sha256(f"{self.plan.seed} order {reader} {sitting}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        ids = [each.id for each in self.plan.cases]
        return [self._cases[ids[i]] for i in rng.permutation(len(ids))]

    def _opens(self, said: Sequence[Answer]) -> datetime:
        """When the second sitting opens."""
        last = max(datetime.fromisoformat(answer.time.replace("Z", "+00:00")) for answer in said)
        return last + timedelta(days=self.plan.washout_days or 0)


def new_plan(
    cases: Sequence[Case], readers: int, models: Sequence[str], washout_days: float | None, seed: str
) -> Plan:
    """A plan that begins now. `seed`: nobody may guess it."""
    return Plan(
        readers=readers,
        seed=seed,
        washout_days=washout_days,
        models=list(models),
        cases=[CaseRecord.of(case) for case in cases],
        time=now(),
    )


def plan_of(path: Path) -> Plan:
    """The plan in a file of answers.

    Raises:
        RequestError: there is none.
        OSError: the file cannot be read.
    """
    for record in objects_in(path)[:1]:
        try:
            return Plan.model_validate(record)
        except ValidationError:
            break
    raise RequestError(f"{path.name} is no file of answers: it does not begin with a reader study.")


@dataclass(frozen=True)
class Result:
    """What a file of answers comes to.

    Attributes:
        plan: the study.
        answers: how many there are.
        complete: numbers of the readers who have answered everything; figures are about them.
        comparison: their figures; None where nobody has.
        weights: the SHA-256 of each model's weights whose marks were shown, by model id.
    """

    plan: Plan
    answers: int
    complete: tuple[int, ...]
    comparison: Comparison | None
    weights: dict[str, tuple[str, ...]]


def evaluate(path: Path) -> Result:
    """
    Raises:
        RequestError: it is no file of answers.
        OSError: it cannot be read.
    """
    plan = plan_of(path)
    cases = [record.case() for record in plan.cases]
    answers = answers_in(objects_in(path), [case.id for case in cases])
    said: dict[tuple[int, Arm], dict[str, Answer]] = {}
    for answer in answers:
        said.setdefault((answer.reader, answer.arm), {})[answer.case] = answer
    complete = tuple(
        reader
        for reader in range(1, plan.readers + 1)
        if all(len(said.get((reader, arm), {})) == len(cases) for arm in ARMS)
    )
    comparison = None
    if complete:
        comparison = compare(
            {arm: readings(cases, [said[reader, arm] for reader in complete]) for arm in ARMS}
        )
    weights = {
        model: tuple(sorted({answer.shown[model] for answer in answers if model in answer.shown}))
        for model in plan.models
    }
    return Result(plan, len(answers), complete, comparison, weights)
