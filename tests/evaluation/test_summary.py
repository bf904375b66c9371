from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from bonefx.evaluation import compare, report, score, summary
from tests.evaluation import toy
from tests.evaluation.test_original import V3

BOX, FAR = [100, 100, 50, 50], [400, 100, 50, 50]


@pytest.fixture(scope="module")
def old() -> dict[str, Any]:
    return report.loads(json.dumps(V3), "yolo", "Old")


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return toy.measure(*toy.random_case(4))


def pair(first_rows, second_rows, dataset):
    """Two reports that know of each other."""
    a, b = (score(dataset, toy.results(rows)) for rows in (first_rows, second_rows))
    comparison = {"detector": toy.detector("YOLO", "YOLO.pt"), **compare(a, b)}
    return (
        toy.measure(dataset, toy.results(first_rows), "R-CNN", [comparison]),
        toy.measure(dataset, toy.results(second_rows), "YOLO"),
    )


@pytest.mark.slow
def test_headline():
    dataset = toy.dataset([[(0, BOX)]] * 40 + [[]] * 40)
    everything = [(i, 0, BOX, 0.9) for i in range(40)]
    noise = [(i, 0, FAR, 0.1) for i in range(80)]
    strong, weak = pair(everything + noise, everything[:10] + noise, dataset)
    low, high = strong["comparisons"][0]["froc"]["any_fracture"][3]["interval"]
    assert 0 < low < high
    sentence = summary.headline(strong, weak)
    assert sentence.startswith(
        "At 1 false alarm per image, R-CNN finds 100 % of fractures (100 to 100 %), YOLO "
    )
    assert sentence.endswith("the difference is more than chance explains.")
    assert summary.headline(weak, strong).endswith("the difference is more than chance explains.")
    assert "25 % (" in sentence
    assert ";" not in summary.headline(strong)

    even, close = pair(everything[:11] + noise, everything[1:11] + noise, dataset)
    assert summary.headline(even, close).endswith("; the difference may be chance.")
    assert summary.headline(strong, strong).endswith("; whether the difference is chance was not measured.")


def test_what_is_found_at_home_and_elsewhere():
    """All of 40 and 10 of 40, with one false mark in each image."""
    dataset = toy.dataset([[(0, BOX)]] * 40 + [[]] * 40)
    noise = [(i, 0, FAR, 0.1) for i in range(80)]
    found = [(i, 0, BOX, 0.9) for i in range(40)]
    home, away = (toy.measure(dataset, toy.results(rows + noise)) for rows in (found, found[:10]))
    away["dataset"]["name"] = "elsewhere"
    low, high = (100 * value for value in report.operating_point(away, 1.0)["interval"])
    assert summary.both_sets(home, away) == (
        "At 1 false alarm per image, YOLO finds 100 % (100 to 100 %) of fractures on pictures of the "
        f"first data set (toy) and 25 % ({low:.0f} to {high:.0f} %) on hospital pictures (elsewhere)."
    )


def test_without_a_fracture_nothing_is_said_of_either_set():
    empty = toy.measure(toy.dataset([[]]), [])
    assert summary.both_sets(empty, empty) == summary.headline(empty)


@pytest.mark.slow
def test_headlines_of_three():
    dataset = toy.dataset([[(0, BOX)]] * 40 + [[]] * 40)
    rows = [(i, 0, BOX, 0.9) for i in range(40)] + [(i, 0, FAR, 0.1) for i in range(80)]
    first, second = pair(rows, rows[30:], dataset)
    third = score(dataset, toy.results(rows[29:]))
    comparisons = [
        {"detector": before["detector"], **compare(third, score(dataset, toy.results(found)))}
        for before, found in ((first, rows), (second, rows[30:]))
    ]
    fused = toy.measure(dataset, toy.results(rows[29:]), "Fused", comparisons)
    both, said = summary.headlines([first, second, fused])
    assert both == summary.headline(first, second)
    assert said.startswith("At 1 false alarm per image, Fused finds 28 % of fractures (")
    assert said.endswith(
        "). Against R-CNN, the difference is more than chance explains; against YOLO, the difference may be "
        "chance."
    )
    assert summary.headlines([first, second]) == [both]
    assert summary.headlines([first]) == [summary.headline(first)]
    free = toy.measure(toy.dataset([[]]), [])
    assert summary.headlines([free] * 3) == [summary.headline(free)] * 2


def test_headline_where_the_curve_ends_early():
    dataset = toy.dataset([[(0, BOX)], [(0, BOX)]])
    sentence = summary.headline(toy.measure(dataset, toy.results([(0, 0, BOX, 0.9), (1, 0, FAR, 0.8)])))
    assert "finds 50 % of fractures (0 to 100 %; it makes only 0.50)" in sentence


def test_headline_of_what_cannot_be_compared(measured, old):
    assert summary.headline(old, old).startswith("As reported, not measured here: at 1 false alarm")
    assert "of fractures with the right class" in summary.headline(old)
    assert summary.headline(measured, old).endswith("not measured alike, so they cannot be compared.")
    other = toy.measure(*toy.random_case(5, images=20))
    assert summary.headline(measured, other).endswith("on different data, so they cannot be compared.")
    free = toy.measure(toy.dataset([[]]), [])
    assert "no fracture" in summary.headline(free)
    without = copy.deepcopy(old)
    without["froc"]["class_aware"]["points"] = []
    assert "same rule" in summary.headline(without, old)


def test_markdown_table(measured, old):
    lines = summary.markdown_table([measured, old]).splitlines()
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {9}
    assert "`YOLO.pt`" in lines[2]
    point = measured["froc"]["any_fracture"]["points"][3]
    assert f"{point['sensitivity']:.3f} ({point['interval'][0]:.3f} to" in lines[2]
    assert f"{point['n']}/{point['lesions']}" in lines[2]
    assert lines[3].startswith(
        "| Old | as reported, not measured here | 0.050 | 0.160 | – | 0.500, 2/4 | – |"
    )
