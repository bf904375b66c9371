"""What a reader says is checked, and kept whatever happens to the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from bonefx.errors import RequestError
from bonefx.quiz.answers import MAX_MARKS, Answer, ReaderMark, answers_in, append, marks_from, objects_in


def mark(x=10.0, y=20.0, side=30.0, confidence="sure") -> ReaderMark:
    return ReaderMark(box=[x, y, x + side, y + side], confidence=confidence)


def answer(case="case-01", arm="alone", reader=1, **more) -> Answer:
    return Answer(**{"case": case, "arm": arm, "marks": [mark()], "seconds": 3.5, "reader": reader, **more})


def test_marks_come_from_a_browser_as_they_are_and_stay_in_the_picture():
    sent = [
        {"box": [1, 2, 30.44, 40], "confidence": "sure"},
        {"box": [-20, 90, 50, 170], "confidence": "perhaps"},
    ]
    first, second = marks_from(sent, 100, 120)
    assert first.box == [1, 2, 30.4, 40]
    assert second.box == [0, 90, 50, 120]
    assert marks_from([], 100, 120) == []


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "marks",
        {},
        [None],
        [{}],
        [{"box": [1, 2, 3, 4]}],
        [{"box": [1, 2, 3], "confidence": "sure"}],
        [{"box": [1, 2, 3, 4, 5], "confidence": "sure"}],
        [{"box": ["1", 2, 3, 4], "confidence": "sure"}],
        [{"box": [True, 2, 3, 4], "confidence": "sure"}],
        [{"box": [1, 2, float("nan"), 4], "confidence": "sure"}],
        [{"box": [1, 2, float("inf"), 4], "confidence": "sure"}],
        [{"box": [1, 2, 3, 4], "confidence": "certain"}],
        [{"box": [1, 2, 3, 4], "confidence": "sure"}] * (MAX_MARKS + 1),
        [{"box": [5, 2, 3, 4], "confidence": "sure"}],
        [{"box": [200, 2, 300, 4], "confidence": "sure"}],
    ],
    ids=str,
)
def test_what_is_no_mark_is_refused(sent):
    with pytest.raises(RequestError):
        marks_from(sent, 100, 100)


def test_an_answer_is_a_line_that_comes_back(tmp_path):
    path = tmp_path / "answers.jsonl"
    said = [answer(), answer(case="case-02", arm="with marks", marks=[], shown={"yolo": "ab" * 32}, reader=2)]
    for each in said:
        append(path, each)
    assert len(path.read_text().splitlines()) == 2
    assert answers_in(objects_in(path), ["case-01", "case-02"]) == said
    assert answers_in(objects_in(path), ["case-02"]) == said[1:]
    assert path.stat().st_mode & 0o077 == 0  # nobody else's


def test_half_a_line_is_passed_over_wherever_it_ends_and_the_next_one_begins_anew(tmp_path):
    path = tmp_path / "answers.jsonl"
    append(path, answer())
    whole = path.read_bytes()
    append(path, answer(case="case-02"))
    both = path.read_bytes()
    for end in range(len(whole), len(both)):
        path.write_bytes(both[:end])
        append(path, answer(case="case-03"))
        found = [each.case for each in answers_in(objects_in(path), ["case-01", "case-02", "case-03"])]
        # Without its line end alone a line is whole.
        assert found == (
            ["case-01", "case-02", "case-03"] if end == len(both) - 1 else ["case-01", "case-03"]
        )


def test_what_is_no_answer_is_passed_over(tmp_path):
    path = tmp_path / "answers.jsonl"
    append(path, answer())
    lines = ["[]", "{}", "null", "\udcff", "{" * 5000, '{"case": "case-01", "arm": "third"}', ""]
    with path.open("ab") as file:
        file.write("\n".join(lines).encode("utf-8", "surrogateescape") + b"\n")
    append(path, answer(case="case-02"))
    assert [each.case for each in answers_in(objects_in(path), ["case-01", "case-02"])] == [
        "case-01",
        "case-02",
    ]


def test_the_first_answer_counts():
    first = answer(seconds=1.0).model_dump()
    later = answer(seconds=2.0, marks=[]).model_dump()
    other = answer(arm="with marks").model_dump()
    found = answers_in([first, later, other], ["case-01"])
    assert [each.seconds for each in found] == [1.0, 3.5]


WRITER = """
import sys
from pathlib import Path
from bonefx.quiz.answers import Answer, append
for number in range(int(sys.argv[3])):
    case = f"{sys.argv[2]}-{number}"
    append(Path(sys.argv[1]), Answer(case=case, arm="alone", marks=[], seconds=1.0, reader=1))
    print(number, flush=True)
"""


def test_a_process_that_is_killed_loses_no_answer_that_it_has_acknowledged(tmp_path):
    path = tmp_path / "answers.jsonl"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), "a", "100000"], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(40)][-1]
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait(10)
    found = {each["case"] for each in objects_in(path)}
    assert {f"a-{number}" for number in range(acknowledged + 1)} <= found


def test_two_processes_that_write_at_once_lose_nothing(tmp_path):
    path = tmp_path / "answers.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, "60"], stdout=subprocess.DEVNULL)
        for name in ("a", "b")
    ]
    end = time.monotonic() + 60
    for writer in writers:
        assert writer.wait(max(0.1, end - time.monotonic())) == 0
    found = [each["case"] for each in objects_in(path)]
    assert sorted(found) == sorted(f"{name}-{number}" for name in ("a", "b") for number in range(60))
