"""What a person takes away: JSON, CSV and the annotated picture."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from PIL import ImageColor

from bonefx import export, images
from bonefx.detections import Detections
from bonefx.drawing import Pane, draw
from bonefx.inference import CHOICES
from bonefx.results import Member, Outcome, Runtime, Weights
from bonefx.settings import NOTICE

BOXES = [[100, 200, 300, 400], [10, 20, 30, 40]]


def weights(name: str) -> Weights:
    return Weights("hub", "o/r", "f" * 40, f"{name}.pt", name[0] * 64)


def outcome(model: str = "yolo", **changes) -> Outcome:
    facts = {
        "image": "arm.png",
        "width": 800,
        "height": 700,
        "model": model,
        "detections": Detections(BOXES, [0.9, 0.1], [0, 5], ("elbow", "wrist")),
        "weights": weights(model),
        "runtime": Runtime("torch 2", "float32", "a processor"),
        "timings_ms": {"total": 12.0},
    }
    return Outcome(**{**facts, **changes})


def consensus(**changes) -> dict:
    members = tuple(
        Member(model, weights(model), "", 640, Runtime(engine, "bfloat16", "a processor"))
        for model, engine in (("faster-rcnn", "torch 2"), ("yolo", "OpenVINO 1"))
    )
    return outcome("consensus", weights=None, runtime=None, members=members, **changes).to_result(0.25)


def rows(results: list[dict]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(export.to_csv(results), newline="")))


def radiograph(height: int = 700, width: int = 800) -> images.Radiograph:
    return images.from_array(np.full((height, width), 90, np.uint8), "arm.png")


def painted(image, model: str) -> np.ndarray:
    return (np.asarray(image) == ImageColor.getrgb(CHOICES[model].look.color)).all(axis=2)


def test_json_has_the_results_and_the_notice():
    results = [outcome().to_result(0.25), outcome("faster-rcnn", detections=None, error="é").to_result(0.25)]
    read = json.loads(export.to_json(results, schema_version=1, agreement=None))
    assert read == {"schema_version": 1, "agreement": None, "notice": NOTICE, "results": results}


def test_csv_has_a_row_for_each_detection():
    first, second = rows([outcome().to_result(0)])
    assert list(first) == list(export.COLUMNS)
    assert (first["image"], first["model"], first["label"]) == ("arm.png", "yolo", "elbow positive")
    assert [float(first[corner]) for corner in ("x1", "y1", "x2", "y2")] == BOXES[0]
    assert (first["weights_file"], first["weights_source"]) == ("yolo.pt", "hub")
    assert (first["weights_sha256"], first["weights_revision"]) == ("y" * 64, "f" * 40)
    assert (first["engine"], first["precision"], first["device"]) == ("torch 2", "float32", "a processor")
    assert (float(first["threshold"]), first["notice"], first["error"]) == (0, NOTICE, "")
    assert float(second["score"]) == pytest.approx(0.1)
    assert (first["share"], second["share"]) == ("", "")


def test_csv_has_the_share_of_marks_where_it_is_known():
    result = outcome().to_result(0)
    result["detections"][0]["share"] = 0.61
    assert [row["share"] for row in rows([result])] == ["0.61", ""]


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (outcome().to_result(1.0), ""),  # none above the threshold
        (outcome(detections=Detections.empty()).to_result(0.0), ""),
        (outcome(detections=None, error="It failed.").to_result(0.25), "It failed."),
        (Outcome("bad.png", 0, 0, "yolo", error="It failed.").to_result(0.25), "It failed."),
    ],
)
def test_csv_has_a_row_without_a_box_where_there_is_none(result, error):
    (row,) = rows([result])
    assert (row["label"], row["x1"], row["error"], row["notice"]) == ("", "", error, NOTICE)
    assert row["model"] == "yolo"


def test_csv_names_the_weights_of_a_consensus():
    row = rows([consensus()])[0]
    assert row["weights_file"] == "faster-rcnn.pt + yolo.pt"
    assert row["weights_sha256"] == "f" * 64 + " + " + "y" * 64
    assert (row["engine"], row["precision"]) == ("torch 2 + OpenVINO 1", "bfloat16")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("=HYPERLINK(1).png", "'=HYPERLINK(1).png"),
        ("+1.png", "'+1.png"),
        ("-1.png", "'-1.png"),
        ("@SUM(A1).png", "'@SUM(A1).png"),
        ("  =1.png", "'  =1.png"),  # some programs trim
        ("\t=1.png", "'\t=1.png"),
        ("＝1.png", "'＝1.png"),  # full width
        ('a",=1.png', 'a",=1.png'),  # quoted, so it stays one cell
        ("a\n=1.png", "a\n=1.png"),
        ("arm-1.png", "arm-1.png"),
    ],
)
def test_csv_holds_no_formula(name, written):
    (row,) = rows([outcome(image=name, detections=Detections.empty()).to_result(0.25)])
    assert row["image"] == written


def test_csv_leaves_negative_numbers_as_numbers():
    found = Detections([[-1, -2, 3, 4]], [0.9], [0], ("elbow",))
    assert rows([outcome(detections=found).to_result(0.25)])[0]["x1"] == "-1.0"


def test_each_model_has_its_own_look_in_the_picture():
    results = [
        outcome("faster-rcnn").to_result(0.25),
        outcome("yolo", detections=Detections([[400, 300, 700, 600]], [0.5], [1], ("fingers",))).to_result(
            0.25
        ),
    ]
    image = export.annotated(radiograph(), results)
    factor = 2  # a small picture is enlarged
    orange, blue = painted(image, "faster-rcnn"), painted(image, "yolo")
    assert orange[factor * 400, factor * 100 : factor * 300].all()
    assert blue[factor * 600, factor * 400 : factor * 700].mean() < 0.1  # two lines, with a dark one between
    assert blue[factor * 600 - 4 : factor * 600 + 5, factor * 550].sum() > 1
    assert not orange[: factor * 700, factor * 420 :].any()


@pytest.mark.parametrize(
    ("height", "width"),
    [
        (700, 800),
        (100, 90),  # enlarged ninefold
        (20, 3000),
    ],
)
def test_words_stand_below_the_picture_and_hide_nothing(height, width):
    nothing = outcome(detections=Detections.empty()).to_result(0.25)
    shown = np.asarray(export.annotated(radiograph(height, width), [nothing]))
    plain = np.asarray(draw(radiograph(height, width).rgb, [Pane("", ())], []))
    assert np.array_equal(shown[: plain.shape[0], : plain.shape[1]], plain)
    assert shown.shape[0] > plain.shape[0] + 50
    assert shown[plain.shape[0] :].max() > 200


def test_boxes_grow_with_a_small_picture():
    small = outcome(width=90, height=100, detections=Detections([[10, 20, 30, 40]], [0.9], [0], ("elbow",)))
    drawn = painted(export.annotated(radiograph(100, 90), [small.to_result(0.25)]), "yolo")
    down, across = np.nonzero(drawn[190:880])  # below the label, above the words
    np.testing.assert_allclose((across.min(), across.max(), down.max() + 190), (90, 270, 360), atol=8)


def test_the_words_tell_model_weights_threshold_failure_and_notice():
    """The same words give the same picture: the strip of each result is that of its sentence."""
    failed = outcome("faster-rcnn", detections=None, error="No weights could be used.").to_result(0.25)
    image = export.annotated(radiograph(), [outcome().to_result(0.25), failed, consensus()])
    expected = [
        "arm.png, 800 x 700 pixels",
        "Y, yolo: 1 detection with a score of 0.25 or more; weights yolo.pt (hub, yyyyyyyyyyyy)",
        "faster-rcnn: No weights could be used.",
        "C, consensus: 1 detection with a score of 0.25 or more; weights "
        "faster-rcnn.pt (hub, ffffffffffff) and yolo.pt (hub, yyyyyyyyyyyy)",
        NOTICE,
    ]
    strip = draw(radiograph().rgb, [Pane("", ())], expected)
    assert image.size == strip.size
    assert np.array_equal(np.asarray(image)[1400:], np.asarray(strip)[1400:])
    for nothing in (Detections.empty(), None):
        words = export.annotated(radiograph(), [outcome(detections=nothing, error="x").to_result(0.25)])
        assert words.height < image.height
