"""The page of failures: what it holds agrees with the FROC curve, and what it shows with what it holds."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from bonefx.__main__ import main
from bonefx.errors import DatasetError
from bonefx.evaluation import failures, froc
from bonefx.evaluation.predictions import Predictions
from bonefx.labels import ANY_SITE, CLASSES
from bonefx.settings import NOTICE
from tests.browser import open_browser, record_errors, record_requests, serious_violations
from tests.evaluation import toy

BOX = [100, 100, 100, 100]
HOSTILE = "</script><img src=x onerror=alert(1)>${alert(2)}.png"


@pytest.mark.parametrize("seed", range(4))
def test_the_numbers_are_those_of_the_curve(seed):
    data, rows = toy.random_case(seed)
    page = failures.collect(data, {"yolo": rows})
    judged = froc.any_fracture(data, Predictions.parse(rows, len(data.images)))
    found = [each for image in page["images"] for each in image["found"][0]]
    for point, threshold in zip(froc.operating_points(judged), page["models"][0]["thresholds"], strict=True):
        assert threshold == point["threshold"]
        shown = [each for each in found if threshold is not None and each["score"] >= threshold]
        assert sum(each["hit"] is not None for each in shown) == point["n"]
        alarms = sum(each["hit"] is None for each in shown)
        assert alarms == (~judged.hits[judged.scores >= (2 if threshold is None else threshold)]).sum()
        assert alarms <= point["fp_per_image"] * len(data.images)
    costs = page["models"][0]
    assert costs["misses"][-1] == len(data.bbox) - judged.hits.sum()
    assert len(costs["misses"]) == len(costs["false_alarms"]) == len(costs["threshold"])


def test_each_hit_is_a_lesion_of_its_own_image_with_enough_overlap():
    data, rows = toy.random_case(5)
    page = failures.collect(data, {"yolo": rows})
    hits = [
        (image, each) for image in page["images"] for each in image["found"][0] if each["hit"] is not None
    ]
    assert len(hits) > 20
    for image, each in hits:
        box, lesion = np.array(each["box"]), np.array(image["lesions"][each["hit"]]["box"])
        assert failures.iou_matrix(box[None], lesion[None])[0, 0] >= 0.49  # of rounded corners


@pytest.mark.parametrize(
    ("box", "near"),
    [
        ([100, 100, 100, 45], {"near": 0, "iou": 0.45}),  # too small
        ([130, 130, 20, 20], {"near": 0, "iou": 0.04}),  # its centre is in the lesion
        ([350, 100, 100, 100], {"near": 1, "iou": 0.333}),  # half beside the other lesion
        ([500, 500, 50, 50], {}),  # somewhere else
    ],
)
def test_a_near_miss_names_its_lesion(box, near):
    data = toy.dataset([[], [(0, BOX), (2, [300, 100, 100, 100])]])
    rows = toy.results([(1, 0, box, 0.9), (1, 2, [300, 100, 100, 100], 0.5)])
    (found, _) = failures.collect(data, {"yolo": rows})["images"][1]["found"][0]
    assert found["hit"] is None
    assert {key: found[key] for key in ("near", "iou") if key in found} == near


def test_a_data_set_of_one_class_has_a_label_of_its_own():
    data = toy.dataset([[(ANY_SITE, BOX)]])
    page = failures.collect(data, {"yolo": toy.results([(0, 3, BOX, 0.5)])})
    assert page["labels"][page["images"][0]["lesions"][0]["label"]] == "fracture"
    assert page["images"][0]["found"][0][0]["hit"] == 0


@pytest.fixture(scope="module")
def case():
    """Found by both; by YOLO alone, under another label; by none, with a box too far off; false alarms."""
    names = ("both.png", HOSTILE, "none.png", "empty.png", "dull.png")
    data = toy.dataset([[(0, BOX)], [(1, [10, 10, 200, 200])], [(2, BOX)], [], []])
    data = replace(
        data, images=tuple(replace(image, file_name=n) for image, n in zip(data.images, names, strict=True))
    )
    yolo = [
        (0, 0, BOX, 0.9),
        (1, 3, [10, 10, 200, 200], 0.8),
        (2, 2, [100, 100, 100, 45], 0.85),
        (3, 5, BOX, 0.82),
    ]
    other = [(0, 0, BOX, 0.7), (3, 5, BOX, 0.6), (4, 4, BOX, 0.65), (1, 1, [10, 10, 200, 199], 0.1)]
    other += [(4, 4, [300 + 40 * i, 300, 30, 30], 0.5) for i in range(4)]  # before the hit of 0.1
    return data, {"yolo": toy.results(yolo), "faster-rcnn": toy.results(other)}


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def page(case, browser, tmp_path):
    path = tmp_path / "failures.html"
    failures.write(path, *case)
    page = browser.new_page()
    page.seen = record_requests(page), record_errors(page)
    page.on("dialog", lambda dialog: pytest.fail("a file name was run"))
    page.goto(path.as_uri())
    yield page
    requests, errors = page.seen
    assert requests == [path.as_uri()]
    assert errors == []
    page.close()


def shown(page, **choices) -> list[str]:
    for name, value in choices.items():
        control = page.locator(f"[name={name}]")
        control.fill(value) if name == "text" else control.select_option(value)
    return [" | ".join(card.locator("p").all_inner_texts()) for card in page.locator("#cards li").all()]


def test_the_lists(page):
    expect(page.get_by_role("status")).to_have_text("1 entry")
    assert shown(page, list="missed") == ["none.png | forearm fracture: no detection on a lesion"]
    assert shown(page, list="single") == [f"{HOSTILE} | only yolo, score 0.800"]
    # The threshold of the Faster R-CNN is that of its one hit, above all its false alarms.
    assert shown(page, list="alarms") == [
        "none.png | yolo: forearm fracture, score 0.850",
        "empty.png | yolo: wrist positive, score 0.820",
    ]
    near = shown(page, list="near")
    assert near == [
        "none.png | yolo, forearm fracture: the box is too far off, IoU 0.45, score 0.850",
        f"{HOSTILE} | faster-rcnn, fingers positive: the score 0.100 is below the threshold",
    ]


def test_filters_and_order(page):
    assert len(shown(page, list="alarms")) == 2
    # At 2 false positives per image the hit at 0.1 counts, and so do the alarms before it.
    assert len(shown(page, rate="4")) == 8
    assert len(shown(page, model="0")) == 2
    assert shown(page, label="5") == ["empty.png | yolo: wrist positive, score 0.820"]
    dull = shown(page, label="", model="", text="DULL")
    assert dull[0] == "dull.png | faster-rcnn: shoulder fracture, score 0.650"
    assert len(dull) == 5
    names = [each.split(" | ")[0] for each in shown(page, text="", sort="name")]
    assert names == sorted(names)
    assert shown(page, list="single") == []
    assert len(shown(page, list="near")) == 1


def test_the_confusion_of_labels_and_the_cost(page):
    def rows(name):
        table = page.locator("table", has=page.locator("caption", has_text=name))
        return {
            row.locator("th").inner_text(): [cell.inner_text() for cell in row.locator("td").all()]
            for row in table.first.locator("tbody tr").all()
        }

    yolo = rows("yolo")
    assert list(yolo) == [*CLASSES, "no lesion"]
    assert yolo["elbow positive"] == ["1", "0", "0", "0", "0", "0", "0"]
    assert yolo["fingers positive"] == ["0", "0", "0", "1", "0", "0", "0"]  # found as a humerus
    assert yolo["forearm fracture"] == ["0", "0", "0", "0", "0", "0", "1"]  # missed
    assert yolo["no lesion"] == ["0", "0", "1", "0", "0", "1", ""]
    assert rows("Lowest cost")["yolo"] == ["0.8000", "2 of 3", "2", "0.40"]  # a second hit for two alarms
    page.locator("#cost").fill("1")
    assert rows("Lowest cost")["yolo"] == ["0.9000", "1 of 3", "0", "0.00"]
    page.locator("#cost").fill("0.001")
    assert rows("Lowest cost")["faster-rcnn"] == ["0.7000", "1 of 3", "0", "0.00"]


def test_it_can_be_read_by_everybody_and_says_what_it_is(page):
    assert serious_violations(page, "body") == []
    expect(page.locator("body")).to_contain_text(NOTICE)
    assert "no fracture" not in page.inner_text("body").lower()


def test_pictures_are_in_the_page_only_if_asked_for(tmp_path, case):
    data, results = case
    Image.fromarray(np.full((640, 640), 90, np.uint8)).save(tmp_path / "a.png")
    data = replace(data, images=tuple(replace(image, path=tmp_path / "a.png") for image in data.images))
    for pictures in (False, True):
        failures.write(tmp_path / "page.html", data, results, pictures)
        text = (tmp_path / "page.html").read_text("utf-8")
        assert text.count("data:image/jpeg;base64,") == (5 if pictures else 0)


def test_an_image_that_cannot_be_read_any_more_has_no_picture(tmp_path, case):
    data, results = case
    data = replace(data, images=tuple(replace(image, path=tmp_path / "gone.png") for image in data.images))
    failures.write(tmp_path / "page.html", data, results, pictures=True)
    assert "data:image" not in (tmp_path / "page.html").read_text("utf-8").replace("img-src data:", "")


def test_the_command_writes_it(tmp_path, case, monkeypatch, capsys):
    data, results = case
    monkeypatch.chdir(tmp_path)
    (tmp_path / "truth.json").write_text(json.dumps({**data.to_coco(), "problems": []}))
    (tmp_path / "mine.json").write_text(json.dumps(results["yolo"]))
    command = [
        "evaluate",
        "--predictions",
        "mine.json",
        "--ground-truth",
        "truth.json",
        "--report",
        "page.html",
    ]
    assert main(command) == 0
    assert '"id":"mine"' in (tmp_path / "page.html").read_text("utf-8")
    with pytest.raises(SystemExit) as ended:
        main([*command, "--thumbnails"])
    assert ended.value.code == 2
    assert "--thumbnails is for --report with --data" in capsys.readouterr().err


def test_results_that_break_the_format_are_refused(case, tmp_path):
    with pytest.raises(DatasetError, match="Entry 0"):
        failures.write(tmp_path / "page.html", case[0], {"yolo": [{"image_id": 99}]})
    assert not (tmp_path / "page.html").exists()
