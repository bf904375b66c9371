from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from bonefx.evaluation import report
from bonefx.inference import CHOICES
from bonefx.looks import BROUGHT, Look
from bonefx.settings import packaged
from bonefx.ui.metrics import plots
from bonefx.ui.metrics.axes import nice_steps
from bonefx.ui.metrics.tables import (
    RULES,
    Series,
    image_level,
    percent_cell,
    provenance,
    summary_table,
    table,
)
from tests.evaluation import toy
from tests.ui import reports
from tests.ui.reports import BOX, FAR, FRCNN, YOLO

EVIL = "<img src=x onerror=alert(1)>\"'&"


def look_of(model_id: str) -> Look:
    return CHOICES[model_id].look if model_id in CHOICES else BROUGHT


def series(**made: report.Report) -> list[Series]:
    made = made or {key.replace("-", "_"): value for key, value in reports.measured().items()}
    return [
        Series(each["detector"]["name"], each, look_of(key.replace("_", "-"))) for key, each in made.items()
    ]


def reported() -> list[Series]:
    folder = packaged("precomputed_metrics")
    return series(
        faster_rcnn=report.read(folder / "reported_frcnn.json"),
        yolo=report.read(folder / "reported_yolo.json"),
    )


def parse(markup: str) -> ET.Element:
    """As XML, which is stricter than a browser: everything closed, everything escaped."""
    return ET.fromstring(f"<all>{markup}</all>")


def words(element: ET.Element) -> str:
    return " ".join("".join(element.itertext()).replace("\N{NO-BREAK SPACE}", " ").split())


def rows(markup: ET.Element) -> list[list[str]]:
    """The cells of the table, row by row; smaller lines after a blank."""
    return [[" ".join(cell.itertext()) for cell in row] for row in markup.iter("tr")]


def all_figures(some: list[Series], rule: str = "any_fracture") -> str:
    comparison = some[0].report["comparisons"][0]["froc"][rule]
    return (
        plots.froc(some, rule)
        + plots.difference(some[0], some[1], comparison, rule)
        + plots.per_class(some)
        + plots.precision_recall(some)
        + summary_table(some)
        + image_level(some)
        + provenance(some)
    )


@pytest.mark.parametrize("rule", RULES)
def test_every_figure_has_a_picture_words_and_a_table(rule):
    page = parse(all_figures(series(), rule))
    ids = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    figures = page.findall("figure")
    assert len(figures) == 4
    for figure in figures:
        picture = next(element for element in figure.iter() if element.get("role") == "img")
        assert set(picture.get("aria-labelledby").split()) <= set(ids)
        assert len(words(figure.find("figcaption"))) > 100
        assert len(list(next(figure.iter("details")).iter("tr"))) > 5
        assert figure.get("aria-labelledby") in ids
        # A screen reader takes an image as one thing: what it should read stands outside.
        assert not list(picture.iter("table"))


def test_the_same_reports_give_the_same_markup():
    assert all_figures(series()) == all_figures(series())


def test_nothing_that_a_report_says_becomes_markup():
    made = reports.measured()
    for each in made.values():
        each["detector"]["name"] = EVIL
        each["detector"]["members"][0].update(file=EVIL, repo=EVIL, revision=EVIL, nms=EVIL)
        each["detector"]["members"][0]["runtime"] = dict.fromkeys(("engine", "precision", "device"), EVIL)
        each["dataset"]["name"] = each["created"] = EVIL
        each["versions"] = {EVIL: EVIL}
        each["protocol"] = {EVIL: 1}
        each["timing"] = {"ms_per_image": {EVIL: 1.0}, "processor": EVIL}
        each["notes"] = [EVIL]
    some = [Series(EVIL, each, BROUGHT, EVIL) for each in made.values()]
    markup = all_figures(some)
    assert "<img" not in markup
    assert not [element for element in parse(markup).iter() if element.tag == "img" or element.get("onerror")]


def test_the_froc_table_says_what_the_report_says():
    some = series()
    table_rows = rows(parse(plots.froc(some, "any_fracture")))
    assert table_rows[0] == ["False alarms per image", "Faster R-CNN", "YOLO"]
    assert [row[0] for row in table_rows[1:]] == ["1/8", "1/4", "1/2", "1", "2", "4", "8"]
    point = reports.measured()[YOLO]["froc"]["any_fracture"]["points"][3]
    cell = table_rows[4][2].replace("\N{NO-BREAK SPACE}", " ")
    assert cell.startswith(f"{100 * point['sensitivity']:.0f} % {100 * point['interval'][0]:.0f} to ")
    assert f" {point['n']} of 30 " in cell
    assert f"score from {point['threshold']:.3f}" in cell
    assert cell.endswith("curve ends at 0.83")  # 50 false alarms in 60 images
    assert "ends" not in table_rows[4][1]


def test_the_curve_goes_in_steps_and_ends_where_it_ends():
    # 2 lesions in 4 images; a false alarm between the hits, and one after them: 0.25, then 0.5 an image.
    dataset = toy.dataset([[(0, BOX)], [(0, BOX)], [], []])
    found = [(0, 0, BOX, 0.9), (0, 0, FAR, 0.8), (1, 0, BOX, 0.7), (1, 0, FAR, 0.6)]
    made = toy.measure(dataset, toy.results(found))
    markup = parse(plots.froc(series(yolo=made), "any_fracture"))
    path = next(e for e in markup.iter("path") if e.get("class") == "line").get("d")
    corners = [tuple(map(float, point.split())) for point in path[1:].split("L")]
    # From 1/8 to 8 are six octaves; 50 % lies half way up to 100 %.
    assert corners == [(0, 50), (16.67, 50), (16.67, 0), (33.33, 0), (33.33, 0)]
    beyond = next(e for e in markup.iter("path") if e.get("class") == "beyond").get("d")
    assert beyond == "M33.33 0.00L100.00 0.00"
    marks = [e.get("class") for e in markup.iter("path") if e.get("class") in ("mark", "hollow")]
    assert marks == ["mark"] + ["mark"] * 3 + ["hollow"] * 4  # the legend's, then 1/8 to 8
    assert "goes on where a curve has ended" in words(markup.find("figure/figcaption"))


def test_a_curve_of_no_detection_and_one_of_no_lesion():
    nothing = toy.measure(toy.dataset([[(0, BOX)], []]), [])
    markup = parse(plots.froc(series(yolo=nothing), "any_fracture"))
    assert rows(markup)[1][1].replace("\N{NO-BREAK SPACE}", " ").startswith("0 %")
    assert not [e for e in markup.iter("path") if e.get("class") == "line"]
    free = toy.measure(toy.dataset([[], []]), [])
    assert plots.froc(series(yolo=free), "any_fracture") == ""
    assert "–" in summary_table(series(yolo=free))
    parse(plots.per_class(series(yolo=free)) + plots.precision_recall(series(yolo=free)))


def test_models_are_told_apart_without_colour():
    made = {"faster_rcnn": reports.measured()[FRCNN], "yolo": reports.measured()[YOLO]}
    markup = plots.froc(series(**made, consensus=reports.fused()), "any_fracture")
    own = [choice.look for choice in CHOICES.values()]
    for look in own:
        assert f"--mark:{look.color}" in markup
    looks = (*own, BROUGHT)
    for name in ("tag", "color", "line", "dash", "mark"):
        assert len({getattr(look, name) for look in looks}) == len(looks) == 4, name
    assert len(set(re.findall(r'stroke-dasharray="([^"]*)"', markup))) == 3


def test_the_difference_says_who_finds_more_and_whether_that_is_chance():
    first, second = series()
    points = first.report["comparisons"][0]["froc"]["any_fracture"]
    markup = parse(plots.difference(first, second, points, "any_fracture"))
    assert "Faster R-CNN finds more than chance explains at 1" in words(markup.find("figure/figcaption"))
    turned = [
        {**p, "difference": -p["difference"], "interval": [-p["interval"][1], -p["interval"][0]]}
        for p in points
    ]
    markup = parse(plots.difference(second, first, turned, "any_fracture"))
    assert "Faster R-CNN finds more than chance explains at 1" in words(markup.find("figure/figcaption"))
    even = [{"fp_per_image": 1.0, "difference": 0.004, "interval": [-0.02, 0.03]}]
    markup = parse(plots.difference(first, second, even, "any_fracture"))
    assert "may be chance" in words(markup.find("figure/figcaption"))
    assert rows(markup)[1] == ["1", "0", "−2 to +3"]
    unknown = [{"fp_per_image": 1.0, "difference": None, "interval": None}]
    assert rows(parse(plots.difference(first, second, unknown, "any_fracture")))[1] == ["1", "–", "–"]


def test_bars_are_as_long_as_their_numbers():
    made = reports.measured()
    some = series(yolo=made[YOLO])
    markup = parse(plots.per_class(some))
    bars = [float(re.search(r"width:([\d.]+)%", bar.get("style"))[1]) for bar in markup.iter("i")]
    aps = [row["ap"] or 0 for row in made[YOLO]["coco"]["per_class"]]
    full = nice_steps(aps)[-1]
    assert bars == [pytest.approx(100 * ap / full, abs=0.01) for ap in aps]
    assert max(bars) > 40
    assert [row[1] for row in rows(markup)[1:]] == ["6 boxes"] * 5 + ["0 boxes"]
    assert rows(markup)[6][2] == "–"  # a class without lesions has no AP


def test_reported_figures_draw_what_they_have():
    some = reported()
    assert plots.froc(some, "any_fracture") == ""
    assert plots.precision_recall(some) == ""
    assert image_level(some) == ""
    markup = parse(
        plots.froc(some, "class_aware") + plots.per_class(some) + summary_table(some) + provenance(some)
    )
    text = words(markup)
    assert "47 %" in text
    assert "96 of 204" in text
    assert "boxes not stated" in text
    assert "reported by the original authors, not measured here" in text


def test_one_model_has_no_curve_by_the_rule():
    some = [series()[0], reported()[1]]
    markup = parse(plots.froc(some, "any_fracture"))
    assert "YOLO has no curve by this rule." in words(markup)
    assert rows(markup)[0] == ["False alarms per image", "Faster R-CNN"]


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ([], [0, 0.01, 0.02, 0.03, 0.04, 0.05]),  # an axis is never without length
        ([0.21], [0, 0.1, 0.2, 0.3]),
        ([0.1, 0.61], [0, 0.2, 0.4, 0.6, 0.8]),
        ([1.0], [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
    ],
)
def test_nice_steps(values, steps):
    assert nice_steps(values) == pytest.approx(steps)


def test_percent_cell():
    assert percent_cell(None) == "–"
    assert percent_cell(0.406) == "41 %"
    assert percent_cell(0.406, [0.341, 0.48]) == "41 %\n34 to 48 %"


def test_table():
    markup = table("A & B", ("", "<b>"), [("first", "1 %\nof 2")])
    assert rows(parse(markup)) == [["", "<b>"], ["first", "1\N{NO-BREAK SPACE}% of 2"]]
    scroller = parse(markup).find("div")
    assert (scroller.get("tabindex"), scroller.get("role"), scroller.get("aria-label")) == (
        "0",
        "region",
        "A & B",
    )


def test_provenance_shows_what_it_takes_to_repeat():
    made = reports.measured()[FRCNN]
    facts = dict(rows(parse(provenance(series(faster_rcnn=made)))))
    assert facts["Weights"] == "frcnn.pth"
    assert facts["SHA-256 of the weights"] == "sha-frcnn.pt"
    assert facts["SHA-256 of the data set"] == made["dataset"]["sha256"][:12]
    assert facts["Images"] == "60 30 without a fracture"
    assert "bootstrap seed: 20261101" in facts["Protocol"]
    assert facts["Versions"] == "bonefx 1"
    assert facts["Processor"] == "a test's"


def test_reliability_says_what_a_score_is_worth():
    folder = packaged("precomputed_metrics")
    some = series(
        yolo=report.read(folder / "metrics_yolo.json"), faster_rcnn=report.read(folder / "metrics_frcnn.json")
    )
    markup = parse(plots.reliability(some, where="on some pictures"))
    bins = some[0].report["calibration"]["bins"]
    assert len(markup.findall(".//figure//table/tbody/tr")) == sum(n > 0 for n in bins["n"])
    text = words(markup)
    assert "What a score is worth, on some pictures" in text
    assert f"YOLO is off by {100 * some[0].report['calibration']['ece']:.1f} percentage points" in text
    assert plots.reliability(reported()) == ""
