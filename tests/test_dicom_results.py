"""DICOM reports, held to DCMTK and to a validator (dicom3tools), and silent about the patient."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess

import highdicom
import numpy as np
import pydicom
import pytest
from PIL import Image

from bonefx import dicom_results, images
from bonefx.detections import Detections
from bonefx.errors import ImageError
from bonefx.settings import NOTICE, packaged
from tests.test_export import consensus, outcome
from tests.test_main import run

BOXES = [[100, 200, 300, 400], [10, 20, 330, 40]]  # the second reaches out of the picture
PATIENT = {
    "SpecificCharacterSet": "ISO_IR 100",
    "PatientName": "Müller^Zyx",
    "PatientID": "ID-QWERTZ-77",
    "PatientBirthDate": "19510203",
    "PatientSex": "F",
    "StudyDate": "20240102",
    "StudyTime": "101112",
    "StudyID": "STUDY-QQ",
    "AccessionNumber": "ACC-QQ-9",
    "ReferringPhysicianName": "Xaver^Doctor",
}
JAPANESE = {
    "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
    "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
}


def tool(name: str, *arguments: str) -> str:
    """What a program of Debian's says; skips where it is not installed, and fails there in CI."""
    if not shutil.which(name):
        message = f"{name} is not installed (Debian: dcmtk, dicom3tools)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    done = subprocess.run([name, *arguments], capture_output=True, text=True, errors="replace", check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    # DCMTK 3.6.7 cannot check the length of Unicode texts, and says so.
    complaints = re.findall("^[EW]: .*", said, re.M)
    assert [line for line in complaints if "does not support this Specific Character Set" not in line] == []
    return said


@pytest.fixture
def source(tmp_path):
    """Writes an example as a hospital's file; tags that are None are left out."""

    def write(**tags):
        dataset = pydicom.dcmread(packaged("examples") / "humerus-2.dcm")
        for name, value in {**PATIENT, **tags}.items():
            if value is None:
                del dataset[name]
            else:
                setattr(dataset, name, value)
        dataset.PixelData *= int(tags.get("NumberOfFrames", 1))
        dataset.save_as(tmp_path / "arm.dcm")
        return tmp_path / "arm.dcm"

    return write


def results() -> list[dict]:
    found = Detections(BOXES, [0.9, 0.1], [0, 5], ("elbow", "wrist"))
    return [outcome(model, detections=found).to_result(0.05) for model in ("faster-rcnn", "yolo")]


def made(path, answers, folder) -> dict[str, pydicom.Dataset]:
    """Both documents, written and read again by pydicom, after DCMTK and the validator have read them."""
    header = dicom_results.header(path)
    side = header.get("ImageLaterality")
    for ending, content in dicom_results.documents(header, images.read(path), answers):
        (folder / f"{ending}.dcm").write_bytes(content)
    for ending in ("sr", "sc"):
        file = str(folder / f"{ending}.dcm")
        complaints = tool("dciodvfy", file).splitlines()
        # It knows no private coding scheme, and regrets that the side of the body is not known.
        known = ("ComprehensiveSR", "SCImage", "<99BONEFX>", *(() if side else ("<Laterality>",)))
        assert [line for line in complaints if not any(words in line for words in known)] == []
        tool("dcmdump", file)
    tool("dsrdump", str(folder / "sr.dcm"))
    return {ending: pydicom.dcmread(folder / f"{ending}.dcm") for ending in ("sr", "sc")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tags", "answers"),
    [
        ({}, results()),
        (JAPANESE, results()),
        ({"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Ωmega^Ж"}, results()),
        ({"ImageLaterality": None, "BurnedInAnnotation": None}, results()),
        ({"PatientOrientation": ["L", "F"], "BurnedInAnnotation": "NO"}, results()),
        ({}, [outcome(detections=Detections.empty()).to_result(0.25)]),  # nothing found
        ({}, [consensus()]),
    ],
)
def test_what_others_read_without_complaint_belongs_to_the_same_study(source, tmp_path, tags, answers):
    path = source(**tags)
    original = pydicom.dcmread(path)
    documents = made(path, answers, tmp_path)
    for document in documents.values():
        for name in ("StudyInstanceUID", "StudyDate", "PatientID", "PatientBirthDate", "AccessionNumber"):
            assert document[name].value == original[name].value
        assert str(document.PatientName) == str(original.PatientName)
        assert document.SeriesInstanceUID != original.SeriesInstanceUID
        assert document.SeriesDescription == "BoneFX. Research and education. Not a medical device."
    assert documents["sc"].get("BurnedInAnnotation") == original.get("BurnedInAnnotation")
    assert documents["sc"].Laterality == original.get("ImageLaterality", "")


def test_the_report_has_a_planar_region_a_detection(source, tmp_path):
    path = source()
    original = pydicom.dcmread(path)
    made(path, results(), tmp_path)
    report = highdicom.sr.srread(tmp_path / "sr.dcm")
    assert isinstance(report, highdicom.sr.ComprehensiveSR)
    groups = report.content.get_planar_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == [
        f"{model} {number}" for model in ("faster-rcnn", "yolo") for number in (1, 2)
    ]
    counts = report.content.get_image_measurement_groups()
    assert [(each.tracking_identifier, each.get_measurements()[0].value) for each in counts] == [
        ("faster-rcnn", 2),
        ("yolo", 2),
    ]
    first, second = groups[2:]
    np.testing.assert_allclose(first.roi.value.min(axis=0), [100, 200])
    np.testing.assert_allclose(first.roi.value.max(axis=0), [300, 400])
    np.testing.assert_allclose(second.roi.value.max(axis=0), [original.Columns, 40])
    referenced = first.roi.ContentSequence[0].ReferencedSOPSequence[0]
    assert referenced.ReferencedSOPInstanceUID == original.SOPInstanceUID
    (score,) = first.get_measurements()
    assert (round(score.value, 6), score.unit.value) == (0.9, "1")
    (label,) = [each for each in first.get_qualitative_evaluations() if each.name.value == "label"]
    assert label.value.meaning == "elbow positive"
    assert (first.finding_type.meaning, first.finding_sites[0].value.meaning) == ("Fracture", "Elbow joint")
    text = tool("dsrdump", "+Pl", str(tmp_path / "sr.dcm"))
    assert "Algorithm Name" in text
    assert f"SHA-256 {'y' * 64}" in text
    assert NOTICE in text


def test_the_report_says_what_there_is_not(source, tmp_path):
    nothing = outcome(detections=Detections.empty()).to_result(0.25)
    failed = outcome("faster-rcnn", detections=None, error="It failed.").to_result(0.25)
    made(source(), [nothing, failed], tmp_path)
    text = tool("dsrdump", "+Pl", str(tmp_path / "sr.dcm"))
    assert "yolo: no detection with a score of 0.25 or more." in text
    assert "faster-rcnn: no result. It failed." in text
    assert "no fracture" not in text.lower()


def test_the_picture_shows_the_boxes_as_dcmtk_opens_it(source, tmp_path):
    path = source()
    made(path, results(), tmp_path)
    tool("dcm2pnm", str(tmp_path / "sc.dcm"), str(tmp_path / "sc.ppm"))
    with Image.open(tmp_path / "sc.ppm") as picture:
        shown = np.asarray(picture).astype(int)
    assert (np.ptp(shown, axis=2) > 60).sum() > 500  # coloured lines on a grey picture
    expected = dicom_results.export.annotated(
        dicom_results.replace(images.read(path), name="Radiograph"), results()
    )
    np.testing.assert_array_equal(shown, np.asarray(expected))


def test_an_image_that_is_no_dicom_has_no_report():
    assert dicom_results.header(packaged("examples") / "wrist-1.png") is None


@pytest.mark.parametrize("name", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_without_a_study_there_is_no_report_and_nothing_is_quoted(source, name):
    with pytest.raises(ImageError, match="which study") as raised:
        dicom_results.header(source(**{name: None}))
    assert "Zyx" not in str(raised.value)


@pytest.mark.parametrize(
    "tags",
    [
        {"PatientBirthDate": "ZYX3.2.1951"},
        {"PatientSex": "ZYX"},
        {"StudyDate": "ZYX"},
        {"PatientID": "ZYX" * 40},
        {"StudyInstanceUID": "1.2.ZYX"},
        {"StudyTime": "ZYX"},
    ],
)
def test_values_that_break_the_standard_are_quoted_by_nobody(source, tags, capfd, caplog, recwarn):
    """pydicom and highdicom name such values in warnings and errors."""
    path = source()
    name, value = next(iter(tags.items()))
    with pydicom.config.disable_value_validation():
        dataset = pydicom.dcmread(path)
        dataset[name].value = value
        dataset.save_as(path)
    recwarn.clear()
    error = None
    try:
        list(dicom_results.documents(dicom_results.header(path), images.read(path), results()))
    except ImageError as raised:
        error = raised
    said = [*capfd.readouterr(), caplog.text, *(str(warning.message) for warning in recwarn), str(error)]
    assert "ZYX" not in "".join(said)
    assert error is None or error.__cause__ is error.__context__ is None


@pytest.mark.slow
def test_a_patient_is_in_the_reports_and_nowhere_else(source, tmp_path):
    source()
    more = ("--dicom", "--format", "coco", "--model", "yolo")
    done = run(tmp_path, "detect", "arm.dcm", "--out", "out", *more)
    assert (done.returncode, done.stderr) == (0, "")
    out = tmp_path / "out"
    written = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.*")}
    reports = {name for name in written if name.startswith("dicom/")}
    assert reports == {"dicom/001-arm-sr.dcm", "dicom/001-arm-sc.dcm"}
    for value in ("Zyx", "QWERTZ", "19510203", "ACC-QQ", "Xaver"):
        assert value not in done.stdout
        assert {name for name, content in written.items() if value.encode() in content} == reports


@pytest.mark.slow
def test_a_batch_says_which_image_has_no_report_and_writes_the_others(source, tmp_path):
    source(StudyInstanceUID=None).rename(tmp_path / "loose.dcm")
    source()
    shutil.copy(packaged("examples") / "wrist-1.png", tmp_path)
    files = ("loose.dcm", "arm.dcm", "wrist-1.png")
    done = run(tmp_path, "detect", *files, "--out", "out", "--dicom", "--model", "yolo")
    assert done.returncode == 0
    assert done.stderr == (
        "loose.dcm: This DICOM file does not say which study it belongs to: there is no report.\n"
    )
    assert sorted(path.name for path in (tmp_path / "out" / "dicom").iterdir()) == [
        "002-arm-sc.dcm",
        "002-arm-sr.dcm",
    ]


def test_where_no_model_has_a_result_there_is_no_report(source):
    path = source()
    failed = outcome(detections=None, error="It failed.").to_result(0.25)
    with pytest.raises(ImageError, match="No model has a result"):
        next(dicom_results.documents(dicom_results.header(path), images.read(path), [failed]))


@pytest.mark.parametrize(("tags", "frames"), [({}, None), ({"NumberOfFrames": 2}, 1)])
def test_of_several_frames_the_report_names_the_one_that_was_looked_at(source, tags, frames):
    path = source(**tags)
    documents = dict(dicom_results.documents(dicom_results.header(path), images.read(path), results()))
    report = pydicom.dcmread(io.BytesIO(documents["sr"]))
    referenced = [
        element.value[0].get("ReferencedFrameNumber")
        for element in report.iterall()
        if element.keyword == "ReferencedSOPSequence" and "ReferencedSOPClassUID" in element.value[0]
    ]
    assert frames in referenced
    assert set(referenced) <= {frames, None}
