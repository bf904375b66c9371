"""A study's figures, each computed a second time by another way."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy import stats

from bonefx.evaluation.bootstrap import SEED
from bonefx.quiz.answers import RATINGS, Answer, ReaderMark
from bonefx.quiz.cases import pack
from bonefx.quiz.figures import FIGURES, compare, jafroc, readings
from bonefx.quiz.scoring import judge
from bonefx.quiz.study import ARMS, Study, evaluate, new_plan
from bonefx.quiz.words import in_words

CASES = pack()[:24]


def reader(rng, skill, arm):
    """A made-up reader: finds with this probability, and is now and then alarmed by nothing."""
    answers = {}
    for case in CASES:
        marks = [
            ReaderMark(box=[float(v) for v in box], confidence=rng.choice(list(RATINGS)))
            for box in case.boxes
            if rng.random() < skill
        ]
        for _ in range(rng.choice([0, 0, 0, 1, 2])):
            x = rng.uniform(0, case.width - 9)
            marks.append(ReaderMark(box=[x, 1.0, x + 8, 9.0], confidence=rng.choice(list(RATINGS))))
        answers[case.id] = Answer(case=case.id, arm=arm, marks=marks, seconds=rng.uniform(2, 30))
    return answers


def study(readers=4, helped=0.4, seed=0):
    rng = random.Random(seed)
    skills = [rng.uniform(0.3, 0.6) for _ in range(readers)]
    return {
        "alone": [reader(rng, skill, "alone") for skill in skills],
        "with marks": [reader(rng, min(1, skill + helped), "with marks") for skill in skills],
    }


def ratings_of(answers, case):
    """Of each fracture, and of the surest false alarm."""
    answer = answers[case.id]
    judged = judge(answer.boxes, answer.ratings, case)
    lesions = [0 if mark is None else RATINGS[answer.marks[mark].confidence] for mark in judged.found]
    false = [
        RATINGS[mark.confidence]
        for mark, verdict in zip(answer.marks, judged.verdicts, strict=True)
        if verdict in ("near miss", "false alarm")
    ]
    return lesions, false


def slow(readers, cases):
    """All figures by loops over lists; a reader or a case that was drawn twice is there twice."""
    merits, found, lesions, alarms, intact, left = [], 0, 0, 0, 0, 0
    for answers in readers:
        lesion_ratings, surest = [], []
        for case in cases:
            own, false = ratings_of(answers, case)
            lesion_ratings += own
            found, lesions, alarms = found + sum(r > 0 for r in own), lesions + len(own), alarms + len(false)
            if not len(case.boxes):
                surest.append(max(false, default=0))
                intact, left = intact + 1, left + (not false)
        wins = sum(1.0 if y > x else 0.5 if y == x else 0.0 for y in lesion_ratings for x in surest)
        merits.append(wins / (len(lesion_ratings) * len(surest)))
    return {
        "jafroc": sum(merits) / len(merits),
        "sensitivity": found / lesions,
        "specificity": left / intact,
        "false_alarms_per_image": alarms / (len(readers) * len(cases)),
    }


def test_all_figures_agree_with_loops():
    made = study()
    got = compare({arm: readings(CASES, made[arm]) for arm in ARMS}, number=2)
    for arm in ARMS:
        expected = slow(made[arm], CASES)
        assert {name: got.arms[arm][name].value for name in FIGURES} == pytest.approx(expected)
    for name in FIGURES:
        difference = slow(made["with marks"], CASES)[name] - slow(made["alone"], CASES)[name]
        assert got.differences[name].value == pytest.approx(difference)
    assert got.seconds["alone"] == pytest.approx(
        np.median([a.seconds for r in made["alone"] for a in r.values()])
    )


def test_the_figure_of_merit_of_a_reader_is_mann_and_whitneys():
    answers = study(readers=1)["alone"]
    lesions = [rating for case in CASES for rating in ratings_of(answers[0], case)[0]]
    intact = [max(ratings_of(answers[0], case)[1], default=0) for case in CASES if not len(case.boxes)]
    u = stats.mannwhitneyu(lesions, intact).statistic
    made = jafroc(readings(CASES, answers), np.ones(1), np.ones(len(CASES)))
    assert made == pytest.approx(u / (len(lesions) * len(intact)))


def test_intervals_agree_with_a_bootstrap_that_copies_readers_and_cases():
    made, number = study(readers=3, seed=3), 60
    got = compare({arm: readings(CASES, made[arm]) for arm in ARMS}, number=number)
    rng = np.random.default_rng(SEED)
    broken = [i for i, case in enumerate(CASES) if len(case.boxes)]
    intact = [i for i, case in enumerate(CASES) if not len(case.boxes)]
    rows = []
    for _ in range(number):
        people = rng.integers(0, 3, 3)
        cases = [CASES[kind[i]] for kind in (broken, intact) for i in rng.integers(0, len(kind), len(kind))]
        rows.append([slow([made[arm][p] for p in people], cases) for arm in ARMS])
    for name in FIGURES:
        alone, helped = (np.array([row[i][name] for row in rows]) for i in (0, 1))
        for samples, figure in (
            (alone, got.arms["alone"][name]),
            (helped, got.arms["with marks"][name]),
            (helped - alone, got.differences[name]),
        ):
            assert figure.interval == pytest.approx(np.percentile(samples, [2.5, 97.5]).tolist())


def test_the_same_answers_twice_differ_by_nothing():
    one = readings(CASES, study()["alone"])
    for figure in compare({"alone": one, "with marks": one}, number=50).differences.values():
        assert figure.value == 0
        assert figure.interval == [0, 0]


def test_marks_that_help_much_are_told_from_chance_and_marks_that_do_nothing_are_not():
    helped = compare({arm: readings(CASES, each) for arm, each in study(5, 0.5, 1).items()}, number=300)
    assert helped.differences["sensitivity"].interval[0] > 0
    useless = compare({arm: readings(CASES, each) for arm, each in study(5, 0.0, 1).items()}, number=300)
    low, high = useless.differences["sensitivity"].interval
    assert low < 0 < high


def test_with_one_reader_cases_alone_are_drawn():
    made = study(readers=1)
    got = compare({arm: readings(CASES, made[arm]) for arm in ARMS}, number=40)
    twice = compare({arm: readings(CASES, made[arm] * 2) for arm in ARMS}, number=40)
    assert got.arms["alone"]["jafroc"].value == pytest.approx(twice.arms["alone"]["jafroc"].value)
    rng = np.random.default_rng(SEED)
    broken = [i for i, case in enumerate(CASES) if len(case.boxes)]
    first = rng.integers(0, len(broken), len(broken))  # the stream begins with the cases
    assert len(set(first.tolist())) < len(broken)
    assert got.arms["alone"]["jafroc"].interval is not None


def test_cases_without_an_intact_one_have_no_specificity():
    broken = [case for case in CASES if len(case.boxes)]
    answers = study()["alone"]
    got = compare({"alone": readings(broken, answers)}, number=5)
    assert got.arms["alone"]["specificity"].value is None
    assert got.arms["alone"]["specificity"].interval is None
    assert got.arms["alone"]["jafroc"].value is None
    assert got.arms["alone"]["sensitivity"].value is not None
    assert got.differences == {}


def test_the_report_says_what_may_be_chance(tmp_path):
    path = tmp_path / "answers.jsonl"
    plan = new_plan(CASES, 5, ["yolo"], None, "0123456789abcdef")
    kept = Study.open(plan, CASES, path)
    for arm, people in study(5, 0.5, 1).items():
        for number, answers in enumerate(people, 1):
            for answer in answers.values():
                kept.keep(answer.model_copy(update={"reader": number, "arm": arm}))
    words = "\n".join(in_words(evaluate(path)))
    assert "5 of 5 readers with all answers, 240 answers in all" in words
    assert "Fractures found: better with marks than chance explains." in words
    assert "False alarms per image: the difference may be chance, for its interval holds 0." in words
    assert "weights never shown" in words
