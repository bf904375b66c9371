"""What other tools read: COCO, YOLO text, Label Studio, each held to its own tool where that is light."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import numpy as np
import pytest
import yaml

from bonefx import interchange
from bonefx.detections import Detections
from bonefx.evaluation.predictions import Predictions
from bonefx.labels import CLASSES
from bonefx.settings import NOTICE
from tests.test_export import consensus, outcome

BOXES = [[100, 200, 300, 400], [10, 20, 30, 40]]


@pytest.fixture
def results() -> list[dict]:
    """Two models on an image, one image without a detection, one that a model failed on, one unreadable."""
    nothing = Detections.empty()
    return [
        outcome("yolo", image="a/arm é.png").to_result(0.05),
        outcome("faster-rcnn", image="a/arm é.png").to_result(0.5),
        outcome("yolo", image="b.dcm", detections=nothing).to_result(0.05),
        outcome("faster-rcnn", image="b.dcm", detections=None, error="It failed.").to_result(0.5),
        outcome("yolo", image="bad.png", width=0, height=0, detections=None, error="No image.").to_result(
            0.05
        ),
    ]


def written(name: str, results: list[dict]) -> dict[str, str]:
    return dict(interchange.FORMATS[name](results))


def test_pycocotools_reads_the_results_with_their_image_list(results, tmp_path):
    from pycocotools.coco import COCO

    for path, text in written("coco", results).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    listed = COCO(str(tmp_path / "coco/images.json"))
    found = listed.loadRes(str(tmp_path / "coco/yolo.json"))
    assert [image["file_name"] for image in listed.loadImgs([1, 2])] == ["a/arm é.png", "b.dcm"]
    assert len(listed.imgs) == 2
    names = [listed.cats[row["category_id"]]["name"] for row in found.loadAnns(found.getAnnIds(imgIds=[1]))]
    assert names == [CLASSES[0], CLASSES[5]]
    assert [row["bbox"] for row in found.anns.values()] == [[100, 200, 200, 200], [10, 20, 20, 20]]
    assert [round(row["score"], 6) for row in found.anns.values()] == [0.9, 0.1]
    assert found.getAnnIds(imgIds=[2]) == []


def test_coco_says_what_made_it_and_what_failed(results):
    files = written("coco", results)
    listed = json.loads(files["coco/images.json"])
    assert listed["info"]["notice"] == NOTICE
    assert listed["info"]["models"]["yolo"].startswith("yolo.pt (hub, yyyyyyyyyyyy), threshold 0.05")
    assert [image.get("failed") for image in listed["images"]] == [None, ["faster-rcnn"]]
    assert [len(json.loads(files[f"coco/{model}.json"])) for model in ("yolo", "faster-rcnn")] == [2, 1]


def test_our_own_evaluation_reads_coco_results(results):
    parsed = Predictions.parse(json.loads(written("coco", results)["coco/yolo.json"]), 2)
    np.testing.assert_array_equal(parsed.boxes, BOXES)
    assert parsed.class_ids.tolist() == [0, 5]


def test_yolo_text_is_what_ultralytics_saves(results, tmp_path):
    import torch

    import bonefx.detectors.yolo.ultralytics_guard  # noqa: F401  first

    # isort: split
    from ultralytics.engine.results import Results

    rows = torch.tensor([[*BOXES[0], 0.9, 0], [*BOXES[1], 0.1, 5]])
    theirs = Results(np.zeros((700, 800, 3), np.uint8), "arm.png", dict(enumerate(CLASSES)), boxes=rows)
    theirs.save_txt(tmp_path / "arm.txt", save_conf=True)
    expected = np.loadtxt(tmp_path / "arm.txt")
    files = written("yolo", results)
    ours = np.loadtxt(files["yolo/yolo/a/arm é.txt"].splitlines())
    np.testing.assert_allclose(ours, expected, atol=1e-6)
    assert yaml.safe_load(files["yolo/data.yaml"])["names"] == dict(enumerate(CLASSES))
    assert NOTICE in files["yolo/data.yaml"]


def test_yolo_has_an_empty_file_for_no_detection_and_none_for_a_failure(results):
    files = written("yolo", results)
    assert files["yolo/yolo/b.txt"] == ""
    assert sorted(files) == [
        "yolo/data.yaml",
        "yolo/faster-rcnn/a/arm é.txt",
        "yolo/yolo/a/arm é.txt",
        "yolo/yolo/b.txt",
    ]


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["x.png", "x.dcm", "X.PNG"], ["x", "x (2)", "X (3)"]),  # they would share one label file
        (["1.2.840.10008"], ["1.2.840.10008"]),  # no ending
        (["C:/a?.png"], ["C_/a_"]),  # not a name everywhere
        (["ü" * 190 + ".png"], ["ü" * 100]),  # 380 bytes
    ],
)
def test_yolo_names_fit_every_file_system(names, files):
    made = written("yolo", [outcome(image=name).to_result(0.25) for name in names])
    assert list(made)[1:] == [f"yolo/yolo/{name}.txt" for name in files]


def test_label_studio_gets_a_task_an_image_and_a_prediction_a_model(results):
    files = written("label-studio", results)
    first, second = json.loads(files["label-studio/tasks.json"])
    assert unquote(first["data"]["image"]) == "/data/local-files/?d=images/a/arm é.png"
    assert first["data"]["image"].isascii()
    assert first["data"]["notice"] == NOTICE
    yolo, faster_rcnn = first["predictions"]
    assert yolo["model_version"].startswith("BoneFX yolo: yolo.pt (hub, yyyyyyyyyyyy)")
    assert faster_rcnn["model_version"].startswith("BoneFX faster-rcnn: ")
    assert (round(yolo["score"], 6), len(yolo["result"]), len(faster_rcnn["result"])) == (0.9, 2, 1)
    region = yolo["result"][0]
    value = region["value"]
    assert (region["original_width"], region["original_height"]) == (800, 700)
    percent = [value[name] for name in ("x", "y", "width", "height")]
    np.testing.assert_allclose(percent, [12.5, 200 / 7, 25, 200 / 7])
    assert value["rectanglelabels"] == [CLASSES[0]]
    # No detection is a prediction without a region; a failure is no prediction.
    assert [(each["score"], each["result"]) for each in second["predictions"]] == [(0.0, [])]


def test_the_regions_fit_the_labelling_interface(results):
    files = written("label-studio", results)
    view = ET.fromstring(files["label-studio/config.xml"])
    image, boxes = view.find("Image"), view.find("RectangleLabels")
    assert [label.get("value") for label in boxes] == list(CLASSES)
    (task, _) = json.loads(files["label-studio/tasks.json"])
    for region in task["predictions"][0]["result"]:
        assert (region["from_name"], region["to_name"]) == (boxes.get("name"), image.get("name"))
        assert region["type"] == boxes.tag.lower()
    assert {image.get("value"), view.find("Header").get("value")} <= {f"${name}" for name in task["data"]}


def test_the_consensus_is_a_model_like_any_other():
    result = consensus(detections=Detections(BOXES, [0.9, 0.4], [0, 5], ("", "")))
    assert len(json.loads(written("coco", [result])["coco/consensus.json"])) == 2
    (task,) = json.loads(written("label-studio", [result])["label-studio/tasks.json"])
    assert "faster-rcnn.pt" in task["predictions"][0]["model_version"]
