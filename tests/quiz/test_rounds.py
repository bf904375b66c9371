"""What a reader is shown next."""

from __future__ import annotations

from collections import Counter

import pytest

from bonefx.errors import RequestError
from bonefx.quiz.answers import Answer
from bonefx.quiz.cases import pack
from bonefx.quiz.rounds import CASES, FEWEST_INTACT, MOST_INTACT, Round, Step, draw

MODELS = ("faster-rcnn", "yolo")


def intact(round_) -> int:
    return sum(not len(case.boxes) for case in round_.cases)


def test_a_round_has_ten_cases_of_which_nobody_knows_how_many_are_intact():
    counts = Counter()
    for seed in range(60):
        made = draw(pack(), "never", MODELS, [], seed)
        assert len(made.cases) == CASES
        counts[intact(made)] += 1
    assert set(counts) == set(range(FEWEST_INTACT, MOST_INTACT + 1))


def test_intact_cases_stand_anywhere():
    places = Counter()
    for seed in range(60):
        cases = draw(pack(), "never", MODELS, [], seed).cases
        places.update(i for i, case in enumerate(cases) if not len(case.boxes))
    assert set(places) == set(range(CASES))


def test_one_seed_gives_one_round_and_another_another():
    first, same, other = (draw(pack(), "never", MODELS, [], seed).cases for seed in (1, 1, 2))
    assert [case.id for case in first] == [case.id for case in same]
    assert [case.id for case in first] != [case.id for case in other]


def test_what_was_played_comes_last():
    played = [case.id for case in pack()]
    fresh = draw(pack(), "never", MODELS, [], 0)
    unplayed = {case.id for case in fresh.cases}
    made = draw(pack(), "never", MODELS, [each for each in played if each not in unplayed], 5)
    assert sum(case.id in unplayed for case in made.cases) >= CASES - 3  # but for how many are intact
    assert len(draw(pack(), "never", MODELS, played, 0).cases) == CASES


@pytest.mark.parametrize("count", [(0, 12), (1, 20), (12, 0), (1, 4), (20, 2)])
def test_a_folder_that_has_too_few_of_a_kind_still_gives_ten_where_it_can(count):
    whole = [case for case in pack() if not len(case.boxes)][: count[0]]
    broken = [case for case in pack() if len(case.boxes)][: count[1]]
    for seed in range(10):
        made = draw([*whole, *broken], "never", MODELS, [], seed)
        assert len(made.cases) == min(CASES, sum(count))


@pytest.mark.parametrize(
    ("setting", "arms", "models"),
    [
        ("afterwards", ["alone", "with marks", None], MODELS),
        ("at once", ["with marks", None], MODELS),
        ("never", ["alone", None], ()),
    ],
)
def test_the_steps_of_a_setting(setting, arms, models):
    made = draw(pack(), setting, MODELS, [], 0)
    assert [step.arm for step in made.steps] == arms * CASES
    assert made.models == models


def test_an_answer_moves_a_round_on_and_is_there_to_be_changed():
    case = pack()[0]
    made = Round([Step(case, "alone"), Step(case, "with marks"), Step(case, None)], MODELS, reader=4)
    assert made.earlier is None
    said = made.answer([{"box": [1, 2, 30, 40], "confidence": "perhaps"}], {"yolo": "ab"})
    assert (said.case, said.arm, said.reader, said.shown) == (case.id, "alone", 4, {})
    assert said.time.endswith("Z")
    made.take(said)
    assert made.earlier == said
    assert made.answer([], {"yolo": "ab"}).shown == {"yolo": "ab"}
    made.take(made.answer([], {"yolo": "ab"}))
    assert made.step == Step(case, None)
    with pytest.raises(ValueError, match="nothing to answer"):
        made.answer([], {})
    made.go_on()
    assert made.step is None
    assert list(made.answers) == [(case.id, "alone"), (case.id, "with marks")]


def test_what_is_no_answer_leaves_a_round_where_it_is():
    case = pack()[0]
    made = Round([Step(case, "alone")], MODELS)
    with pytest.raises(RequestError):
        made.answer("nothing", {})
    assert (made.position, made.answers) == (0, {})


def test_what_was_said_before_a_restart_is_there_to_be_changed():
    case = pack()[0]
    before = Answer(case=case.id, arm="alone", marks=[], seconds=2.0, reader=1)
    assert Round([Step(case, "with marks")], MODELS, reader=1, answers=[before]).earlier == before
