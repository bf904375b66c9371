"""What a visitor takes away: made at the browser's thresholds, and only at valid ones."""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from bonefx.detections import Detections
from bonefx.errors import ImageError, RequestError
from bonefx.results import Outcome, Weights
from bonefx.settings import NOTICE, packaged
from bonefx.ui.session import DOWNLOADS, Session
from bonefx.ui.viewer.downloads import write
from bonefx.ui.viewer.screen import Screen

BOTH = ("faster-rcnn", "yolo")
WEIGHTS = Weights("hub", "a/b", "1" * 40, "w.pt", "2" * 64)


@pytest.fixture
def session(tmp_path) -> Session:
    path = tmp_path / "My wrist (left).png"
    Image.fromarray(np.full((80, 100), 90, np.uint8)).save(path)
    found = Detections([[10, 10, 30, 30], [50, 50, 70, 70]], [0.6, 0.1], [0, 5], ("a", "b"))
    facts = {"detections": found, "weights": WEIGHTS, "timings_ms": {"total": 1.0}}
    (tmp_path / "folder" / DOWNLOADS).mkdir(parents=True)
    outcomes = tuple(Outcome(path.name, 100, 80, model, **facts) for model in BOTH)
    return Session(path=path, folder=tmp_path / "folder", outcomes=outcomes)


def test_json_has_thresholds_weights_notice_and_agreement(session):
    age = session.folder.stat().st_mtime
    path = write(session, "json", Screen("compare", {"faster-rcnn": 0.5, "yolo": 0.05}))
    assert path.name == "My_wrist_left__compare.json"
    assert session.folder in path.parents  # deleted with it
    assert session.folder.stat().st_mtime == age  # and not one minute later than before
    content = json.loads(path.read_text("utf-8"))
    assert [(r["model"], r["threshold"], len(r["detections"])) for r in content["results"]] == [
        ("faster-rcnn", 0.5, 1),
        ("yolo", 0.05, 2),
    ]
    assert content["results"][0]["weights"] == WEIGHTS.to_record()
    assert content["notice"] == NOTICE
    assert len(content["agreement"]["both"]) == 1
    assert content["agreement"]["only"] == {"faster-rcnn": [], "yolo": [1]}


def test_csv_has_a_row_for_each_detection_of_the_tab(session):
    path = write(session, "csv", Screen("yolo", {"yolo": 0.0}))
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert [(row["model"], float(row["score"])) for row in rows] == [
        ("yolo", pytest.approx(0.6)),
        ("yolo", pytest.approx(0.1)),
    ]


def test_the_picture_has_the_boxes(session):
    shown, hidden = (
        np.asarray(Image.open(write(session, "png", Screen("yolo", {"yolo": level}))))
        for level in (0.5, None)  # None: an operating point that no score reaches
    )
    colour = (0x56, 0xB4, 0xE9)
    assert (shown == colour).all(axis=-1).any()
    assert not (hidden == colour).all(axis=-1).any()


@pytest.mark.parametrize(
    "thresholds",
    [None, [], "yolo", {}, {"faster-rcnn": 0.5}, {"yolo": "0.5"}, {"yolo": 1.5}, {"yolo": True}],
)
def test_what_the_browser_sends_is_checked(session, thresholds):
    with pytest.raises(RequestError):
        write(session, "json", Screen("yolo", thresholds))


@pytest.mark.parametrize(("kind", "view"), [("exe", "yolo"), ("json", "knee")])
def test_nor_is_any_other_kind_or_view_made(session, kind, view):
    with pytest.raises(RequestError):
        write(session, kind, Screen(view, {"yolo": 0.5}))


def test_after_the_image_was_deleted_there_is_nothing_to_download(session):
    shutil.rmtree(session.folder)
    with pytest.raises(RequestError, match="no results"):
        write(session, "csv", Screen("yolo", {"yolo": 0.5}))
    assert not Path(session.folder).exists()


def names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("coco", ["coco/images.json", "coco/faster-rcnn.json", "coco/yolo.json"]),
        ("label-studio", ["label-studio/config.xml", "label-studio/tasks.json"]),
    ],
)
def test_what_is_shown_for_other_tools(session, kind, files):
    path = write(session, kind, Screen("compare", {"faster-rcnn": 0.5, "yolo": 0.05}))
    assert path.name == f"My_wrist_left__compare_{kind}.zip"
    assert names(path) == files


def test_yolo_text_has_what_is_above_the_threshold(session):
    path = write(session, "yolo", Screen("yolo", {"yolo": 0.5}))
    with zipfile.ZipFile(path) as archive:
        (text,) = (name for name in archive.namelist() if name.endswith(".txt"))
        assert len(archive.read(text).decode().splitlines()) == 1


def test_only_on_a_dicom_image_there_is_a_dicom_report(session):
    with pytest.raises(ImageError, match="Only on a DICOM image"):
        write(session, "dicom", Screen("yolo", {"yolo": 0.5}))


def test_the_dicom_report_belongs_to_the_study_of_the_image(session):
    image = packaged("examples") / "humerus-2.dcm"
    shutil.copy(image, session.folder / "mine.dcm")
    path = write(replace(session, path=session.folder / "mine.dcm"), "dicom", Screen("yolo", {"yolo": 0.5}))
    assert names(path) == ["sr.dcm", "sc.dcm"]
    with zipfile.ZipFile(path) as archive:
        report = pydicom.dcmread(io.BytesIO(archive.read("sr.dcm")))
    assert report.StudyInstanceUID == pydicom.dcmread(image).StudyInstanceUID
    assert report.Modality == "SR"
