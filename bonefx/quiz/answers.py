"""What a reader has said of a case, and the file that keeps it: one line of JSON an answer.

A line is written whole and flushed to the disk before the reader is shown what comes next. A process that
is killed leaves at most half a last line, which is passed over when the file is read, and ended before
more is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from bonefx.errors import RequestError

Arm = Literal["alone", "with marks"]
"""How a case is read: as it is, or with the marks of models."""

Confidence = Literal["sure", "perhaps"]

RATINGS: dict[Confidence, int] = {"perhaps": 1, "sure": 2}
"""Higher is surer. A place without a mark is below both."""

MAX_MARKS = 50
"""Marks on one image: more than anybody sets, and few enough to judge at once."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class ReaderMark(_Line):
    """A place that a reader takes for a fracture.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the image; of a tapped place the ring that was drawn around it.
        confidence: how sure the reader is.
    """

    box: Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)]
    confidence: Confidence

    def within(self, width: int, height: int) -> ReaderMark:
        """The part of it that lies in the image.

        Raises:
            RequestError: no part of it does.
        """
        x1, y1, x2, y2 = (
            round(min(max(value, 0.0), float(end)), 1)
            for value, end in zip(self.box, [width, height] * 2, strict=True)
        )
        if not (x1 < x2 and y1 < y2):
            raise RequestError("A mark lies outside of the image. Remove it, and answer again.")
        return ReaderMark(box=[x1, y1, x2, y2], confidence=self.confidence)


class Answer(_Line):
    """One reading of one case. Without marks it says: nothing here.

    Attributes:
        case: the case's id.
        arm: how it was read.
        marks: the places, in the order in which they were set.
        seconds: from when the case was handed out until the answer came.
        shown: ids of the models whose marks the reader saw, with the SHA-256 of their weights.
        reader: the reader's number, from 1; 0 outside of a study.
        time: when the answer came, ISO 8601 in UTC.
    """

    case: str
    arm: Arm
    marks: Annotated[list[ReaderMark], Field(max_length=MAX_MARKS)]
    seconds: Annotated[FiniteFloat, Field(ge=0)]
    shown: dict[str, str] = {}
    reader: Annotated[int, Field(ge=0)] = 0
    time: str = ""

    @property
    def boxes(self) -> np.ndarray:
        """float64 (n, 4)"""
        return np.array([mark.box for mark in self.marks], dtype=np.float64).reshape(-1, 4)

    @property
    def ratings(self) -> np.ndarray:
        """int64 (n,)"""
        return np.array([RATINGS[mark.confidence] for mark in self.marks], dtype=np.int64)


_MARKS = TypeAdapter(Annotated[list[ReaderMark], Field(max_length=MAX_MARKS)])


def marks_from(sent: Any, width: int, height: int) -> list[ReaderMark]:
    """The marks that a browser sends, as far as they lie in the image of this size.

    Raises:
        RequestError: it is something else.
    """
    try:
        marks = _MARKS.validate_python(sent)
    except ValidationError:
        raise RequestError("These are no marks. Reload the page, and read this case again.") from None
    return [mark.within(width, height) for mark in marks]


def append(path: Path, record: BaseModel) -> None:
    """Add a line to a file, and have it on the disk.

    Raises:
        OSError: it cannot be written.
    """
    line = record.model_dump_json().encode() + b"\n"
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line  # half a line, of a process that was killed
        if os.write(descriptor, line) != len(line):
            raise OSError(None, "the disk may be full", str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def objects_in(path: Path) -> list[dict[str, Any]]:
    """The lines of a file that are JSON objects; half a line is none.

    Raises:
        OSError: it cannot be read.
    """
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            found.append(record)
    return found


def answers_in(records: Iterable[dict[str, Any]], cases: Iterable[str]) -> list[Answer]:
    """The answers among the lines: of each reader to each case in each arm the first, for nobody may change
    one when the marks or the truth have been seen, in another window.

    Args:
        records: from `objects_in`.
        cases: ids; an answer to another case is none.
    """
    known = set(cases)
    first: dict[tuple[int, str, Arm], Answer] = {}
    for record in records:
        try:
            answer = Answer.model_validate(record)
        except ValidationError:
            continue
        if answer.case in known:
            first.setdefault((answer.reader, answer.case, answer.arm), answer)
    return list(first.values())
