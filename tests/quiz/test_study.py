"""Several readers: their links, their orders, their file."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from bonefx.errors import RequestError
from bonefx.quiz.answers import Answer, append
from bonefx.quiz.cases import pack
from bonefx.quiz.study import Study, Waiting, evaluate, new_plan, plan_of

CASES = pack()[:6]
MODELS = ["faster-rcnn", "yolo"]


def plan(readers=3, washout=None, seed="0123456789abcdef", models=MODELS):
    return new_plan(CASES, readers, models, washout, seed)


@pytest.fixture
def study(tmp_path):
    return Study.open(plan(), CASES, tmp_path / "answers.jsonl")


def order(round_):
    return [(step.case.id, step.arm) for step in round_.steps]


def read(study, reader, count=None, time=None):
    """Answer what is next, without marks."""
    made = study.round_of(reader)
    for step in made.steps[:count]:
        said = made.answer([], {})
        study.keep(said if time is None else said.model_copy(update={"time": time}))
        made.take(said)
        assert said.case == step.case.id


def test_each_reader_has_an_order_of_their_own_that_stays(study):
    orders = [order(study.round_of(reader)) for reader in (1, 2, 3)]
    assert orders == [order(study.round_of(reader)) for reader in (1, 2, 3)]
    assert len({tuple(each) for each in orders}) == 3
    for each in orders:
        assert sorted(each) == sorted((case.id, arm) for case in CASES for arm in ("alone", "with marks"))
        assert [arm for _, arm in each] == ["alone", "with marks"] * len(CASES)


def test_a_link_is_one_readers_and_cannot_be_guessed(study):
    links = [study.plan.link(reader) for reader in (1, 2, 3)]
    assert [study.reader_of(link) for link in links] == [1, 2, 3]
    assert all(len(link) >= 18 for link in links)
    assert plan(seed="fedcba9876543210").link(1) != links[0]
    for wrong in ("", "1", "1-", links[0][:-1], links[0].replace("1-", "2-"), links[0] + "0"):
        with pytest.raises(RequestError, match="personal links"):
            study.reader_of(wrong)


def test_a_restart_goes_on_where_it_was(study):
    whole = order(study.round_of(2))
    read(study, 2, 5)
    again = Study.open(plan(seed="another seed of this"), CASES, study.path)
    assert again.plan.seed == study.plan.seed
    assert order(again.round_of(2)) == whole[5:]
    assert again.round_of(2).earlier.case == whole[5][0]  # said alone, now with marks
    assert order(again.round_of(1)) == order(study.round_of(1))
    read(again, 2)
    assert again.round_of(2).step is None


@pytest.mark.parametrize(
    "other",
    [
        {"readers": 4},
        {"washout": 3},
        {"models": ["yolo"]},
    ],
)
def test_another_study_does_not_go_into_the_file(study, other):
    before = study.path.read_bytes()
    with pytest.raises(RequestError, match="holds a study with other"):
        Study.open(plan(**other), CASES, study.path)
    with pytest.raises(RequestError, match="holds a study with other"):
        Study.open(new_plan(pack()[:5], 3, MODELS, None, "0123456789abcdef"), pack()[:5], study.path)
    assert study.path.read_bytes() == before


def test_with_a_washout_readers_begin_in_different_arms_and_come_again(tmp_path):
    study = Study.open(plan(washout=7), CASES, tmp_path / "answers.jsonl")
    first, second = study.round_of(1), study.round_of(2)
    assert {step.arm for step in first.steps} == {"alone"}
    assert {step.arm for step in second.steps} == {"with marks"}
    eight_days_ago = (datetime.now(timezone.utc) - timedelta(days=8)).strftime("%Y-%m-%dT%H:%M:%SZ")
    read(study, 1, time=eight_days_ago)
    read(study, 2)
    again = study.round_of(1)
    assert {step.arm for step in again.steps} == {"with marks"}
    assert [step.case.id for step in again.steps] != [step.case.id for step in first.steps]
    assert again.earlier is None  # what was said last time is not shown
    waiting = study.round_of(2)
    assert isinstance(waiting, Waiting)
    assert timedelta(days=6.9) < waiting.until - datetime.now(timezone.utc) <= timedelta(days=7)


def test_the_file_is_evaluated_without_its_pictures_and_about_who_has_finished(study):
    read(study, 1)
    read(study, 2, 3)
    shown = {"yolo": "ab" * 32}
    append(study.path, Answer(case=CASES[0].id, arm="with marks", marks=[], seconds=1, reader=3, shown=shown))
    append(study.path, Answer(case=CASES[0].id, arm="alone", marks=[], seconds=1, reader=99))
    result = evaluate(study.path)
    assert result.complete == (1,)
    assert result.answers == 12 + 3 + 1 + 1
    assert result.comparison.readers == 1
    assert result.comparison.cases == len(CASES)
    assert result.weights == {"faster-rcnn": (), "yolo": ("ab" * 32,)}


def test_a_study_that_nobody_has_finished_has_no_figures(study):
    assert evaluate(study.path).comparison is None


@pytest.mark.parametrize(
    "content", [b"", b"{}\n", b"not JSON\n", b'{"bonefx": "reader study"}\n', b"\0" * 100]
)
def test_what_is_no_file_of_answers_is_refused(tmp_path, content):
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(RequestError, match="no file of answers"):
        plan_of(path)
    if content:
        with pytest.raises(RequestError, match="no file of answers"):
            Study.open(plan(), CASES, path)


def test_the_first_line_is_the_study(study):
    first = json.loads(study.path.read_text().splitlines()[0])
    assert first["bonefx"] == "reader study"
    assert [case["id"] for case in first["cases"]] == [case.id for case in CASES]
    assert first["cases"][0]["boxes"] == CASES[0].boxes.tolist()
