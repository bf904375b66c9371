from __future__ import annotations

import copy
import json
import os

import pytest

from bonefx.errors import MetricsError
from bonefx.evaluation import report
from bonefx.results import Identity
from tests.evaluation import toy

BOX, FAR, FURTHER = [100, 100, 50, 50], [400, 100, 50, 50], [500, 400, 50, 50]


@pytest.fixture(scope="module")
def measured():
    return toy.measure(*toy.random_case(4))


def test_write_and_read(measured, tmp_path):
    report.write(measured, tmp_path / "metrics.json")
    assert report.read(tmp_path / "metrics.json") == measured
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_the_same_input_gives_the_same_text(measured):
    text = report.dumps(measured)
    assert report.dumps(toy.measure(*toy.random_case(4))) == text
    assert report.dumps(report.loads(text)) == text
    assert max(map(len, text.splitlines())) > 200  # lists of numbers share a line
    assert measured["schema_version"] == 5


def at(value, path):
    for key in path[:-1]:
        value = value[key]
    return value, path[-1]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["coco", "ap50"], 1.5, r"coco.ap50 must be less than or equal to 1, not 1.5"),
        (["coco", "ap"], "0.1", "coco.ap must be a valid number"),
        (["coco", "ap"], True, "coco.ap must be a valid number"),
        (["dataset", "sha256"], None, "dataset.sha256 is missing"),
        (["dataset", "boxes_per_class"], {"elbow": 1}, "dataset.boxes_per_class.* is missing"),
        (["froc", "lenient"], None, "froc.lenient is missing"),
        (
            ["froc", "any_fracture", "points", 3, "n"],
            1.5,
            r"froc.any_fracture.points\[3\].n must be a valid integer",
        ),
        (["froc", "any_fracture", "points", 0, "interval"], [0.9, 0.1], r"interval must be \[lower, upper\]"),
        (["froc", "any_fracture", "points", 0, "interval"], [0.9], "interval must have at least 2 items"),
        (["froc", "any_fracture", "curve", "sensitivity"], [0.5], "curve must be lists of one length"),
        (["detector", "members", 0, "image_size"], "640", r"members\[0\].image_size must be a valid integer"),
        (["image_level", "auc"], -0.1, "image_level.auc must be greater than or equal to 0"),
        (
            ["timing", "ms_per_image", "model"],
            -1,
            "timing.ms_per_image.model must be greater than or equal to 0",
        ),
        (["kind"], "guessed", "kind must be 'measured' or 'reported'"),
        (["schema_version"], 4, "schema_version 4"),
        (["surprise"], 1, "surprise is not a known field"),
        (["created"], "", "created must have at least 1 character"),
    ],
)
def test_a_broken_field_is_named(measured, path, value, message):
    broken = copy.deepcopy(measured)
    parent, key = at(broken, path)
    parent[key] = value
    with pytest.raises(MetricsError, match=message):
        report.loads(json.dumps(broken))


@pytest.mark.parametrize("path", [["protocol"], ["coco", "per_class"], ["froc", "class_aware", "band"]])
def test_a_missing_field_is_named(measured, path):
    broken = copy.deepcopy(measured)
    parent, key = at(broken, path)
    del parent[key]
    with pytest.raises(MetricsError, match=f"{key} is missing"):
        report.loads(json.dumps(broken))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ("<html>", "not JSON"),
        ("[" * 100_000, "not JSON"),  # nested too deep for the parser
        ("9" * 5000, "not JSON"),  # more digits than Python reads
        ("[]", "must be a valid dictionary"),
        ("{}", "schema_version None"),
        ('{"version": 2}', "schema_version None"),
    ],
)
def test_what_is_no_metrics_file(text, message):
    with pytest.raises(MetricsError, match=message):
        report.loads(text)


@pytest.mark.parametrize(
    "value",
    [10**400, -(10**400), 10**16, 1e300, float("inf"), float("-inf"), float("nan"), True, "1", [1], None],
)
def test_numbers_that_are_none_to_compute_with(measured, value):
    changed = json.loads(json.dumps(measured))
    changed["froc"]["any_fracture"]["points"][0]["fp_per_image"] = value
    with pytest.raises(MetricsError, match=r"points\[0\]\.fp_per_image must be (a|less)"):
        report.loads(json.dumps(changed))
    changed = json.loads(json.dumps(measured))
    changed["image_level"]["positive"] = value
    with pytest.raises(MetricsError, match=r"image_level\.positive must be (a|less|greater)"):
        report.loads(json.dumps(changed))


def test_a_text_that_is_a_book(measured):
    with pytest.raises(MetricsError, match=r"notes\[0\] must have at most"):
        report.loads(json.dumps({**measured, "notes": ["x" * 10_000]}))


def fill(path):
    path.touch()
    os.truncate(path, 10_000_001)


@pytest.mark.parametrize(
    ("make", "words"), [(fill, "too large: at most 10 MB"), (os.mkfifo, "no regular file")]
)
def test_a_file_that_is_not_read(tmp_path, make, words):
    make(tmp_path / "metrics.json")
    with pytest.raises(MetricsError, match=words):
        report.read(tmp_path / "metrics.json")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MetricsError, match=r"gone\.json cannot be read"):
        report.read(tmp_path / "gone.json")


@pytest.mark.parametrize(
    ("used", "applies"),
    [
        ([Identity("sha-YOLO.pt", "nms", 640)], True),
        ([Identity("sha-other.pt", "nms", 640)], False),
        ([Identity("sha-YOLO.pt", "nms-free", 640)], False),
        ([Identity("sha-YOLO.pt", "nms", 512)], False),
        ([Identity("sha-YOLO.pt", "nms", 640), Identity("sha-other.pt", "nms", 640)], False),
    ],
)
def test_applies_to(measured, used, applies):
    assert report.applies_to(measured, used) is applies


def test_applies_to_a_consensus_in_any_order(measured):
    consensus = {**measured, "detector": toy.detector("Consensus", "a.pth", "b.pt")}
    consensus["detector"]["method"] = "fused"
    used = [Identity(f"sha-{file}", "nms", 640) for file in ("b.pt", "a.pth")]
    assert report.applies_to(consensus, used, "fused")
    assert not report.applies_to(consensus, used, "fused otherwise")
    assert not report.applies_to(consensus, used)
    assert not report.applies_to(consensus, used[:1], "fused")
    nobody = {**measured, "detector": toy.detector("Mine")}
    assert not report.applies_to(nobody, [])


def test_threshold_for_every_rate(measured):
    for point in measured["froc"]["any_fracture"]["points"]:
        assert report.threshold_for(measured, point["fp_per_image"]) == point["threshold"]
    dataset = toy.dataset([[(0, BOX)], [(0, BOX)]])
    rows = [(0, 0, FAR, 0.9), (0, 0, BOX, 0.8), (1, 0, FAR, 0.7), (1, 0, FURTHER, 0.6), (1, 0, BOX, 0.5)]
    found = toy.measure(dataset, toy.results(rows))
    # The first hit costs 1 false positive in 2 images, the second 3 in 2.
    expected = {0.3: None, 0.5: 0.8, 1.4: 0.8, 1.5: 0.5, 100: 0.5}
    assert {rate: report.threshold_for(found, rate) for rate in expected} == expected
