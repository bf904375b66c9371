"""What a hostile or confused client sends to the mode's events, past the page."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bonefx.detectors import Registry
from bonefx.quiz.cases import pack
from bonefx.quiz.study import Study, new_plan
from bonefx.settings import Settings
from bonefx.ui.metrics.store import MetricsStore
from bonefx.ui.quiz.desk import Desk, Seat

SETTINGS = Settings(hub=False)
GOOD = {"setting": "never", "models": ["yolo"], "played": []}


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk(Registry(SETTINGS), MetricsStore(SETTINGS))


def event(data):
    return SimpleNamespace(_data=data)


@pytest.mark.parametrize(
    "sent",
    [
        None,
        [],
        "x",
        {},
        {**GOOD, "setting": ["never"]},
        {**GOOD, "setting": None},
        {**GOOD, "models": "yolo"},
        {**GOOD, "models": []},
        {**GOOD, "models": [{}]},
        {**GOOD, "models": ["other"]},
    ],
    ids=str,
)
def test_what_are_no_settings_begins_nothing(desk, sent):
    seat = Seat()
    assert desk.begin(seat, event(sent))["phase"] == "wait"
    assert seat.round is None


def test_cases_that_are_no_cases_are_not_looked_at(desk):
    played = [None, 7, {}, "case-01"] * 1000
    assert desk.begin(Seat(), event({**GOOD, "played": played}))["phase"] == "read"


@pytest.mark.parametrize("change", [{"step": 1}, {"step": None}, {"round": "x"}, {"round": None}])
def test_an_answer_to_another_step_changes_nothing(desk, change):
    seat = Seat()
    shown = desk.begin(seat, event(GOOD))
    sent = {"round": shown["round"], "step": 0, "marks": [], **change}
    again = desk.answer(seat, event(sent))
    assert (again["phase"], again["step"], again["truth"]) == ("read", 0, None)
    assert seat.round.answers == {}


@pytest.mark.parametrize("marks", [None, "x", [1], [{"box": [0, 0, 1], "confidence": "sure"}]])
def test_what_are_no_marks_is_said_and_shows_nothing_more(desk, marks):
    seat = Seat()
    shown = desk.begin(seat, event(GOOD))
    again = desk.answer(seat, event({"round": shown["round"], "step": 0, "marks": marks}))
    assert (again["phase"], again["step"], again["truth"]) == ("read", 0, None)
    assert "no marks" in again["problem"]


def test_an_answer_without_a_round_is_told_to_begin_one(desk):
    assert "Begin another" in desk.answer(Seat(), event({"step": 0}))["sentence"]


def test_each_visitor_has_a_seat_of_their_own():
    import copy

    first = Seat()
    assert copy.deepcopy(first) is not first


@pytest.mark.slow
def test_an_answer_that_cannot_be_kept_is_said_and_not_taken(desk, tmp_path):
    cases = pack()[:3]
    plan = new_plan(cases, 1, ["yolo"], None, "0123456789abcdef")
    study = Study.open(plan, cases, tmp_path / "answers.jsonl")
    mine = Desk(Registry(SETTINGS), MetricsStore(SETTINGS), cases, study)
    seat = Seat()
    shown = mine.begin(seat, event({"link": plan.link(1)}))
    study.path.rename(tmp_path / "moved.jsonl")
    study.path.mkdir()
    again = mine.answer(seat, event({"round": shown["round"], "step": 0, "marks": []}))
    assert "could not be kept" in again["problem"]
    assert (again["step"], seat.round.answers) == (0, {})
    study.path.rmdir()
    (tmp_path / "moved.jsonl").rename(study.path)
    assert mine.answer(seat, event({"round": shown["round"], "step": 0, "marks": []}))["step"] == 1


@pytest.mark.slow
def test_a_study_shows_no_truth_and_other_links_nothing(tmp_path):
    cases = pack()[:2]
    plan = new_plan(cases, 1, ["yolo"], None, "0123456789abcdef")
    study = Study.open(plan, cases, tmp_path / "answers.jsonl")
    mine = Desk(Registry(SETTINGS), MetricsStore(SETTINGS), cases, study)
    for link in (None, "", "1", "1-0", plan.link(1)[:-1], ["x"]):
        assert mine.begin(Seat(), event({**GOOD, "link": link}))["phase"] == "wait"
    seat = Seat()
    shown = mine.begin(seat, event({"link": plan.link(1)}))
    for step in range(4):
        assert (shown["phase"], shown["step"], shown["truth"]) == ("read", step, None)
        shown = mine.answer(seat, event({"round": shown["round"], "step": step, "marks": []}))
    assert shown["phase"] == "wait"
    assert "Thank you" in shown["sentence"]
