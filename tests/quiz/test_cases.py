"""The pack of cases, and one's own labelled folder as cases."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

from bonefx import images
from bonefx.errors import DatasetError
from bonefx.phantoms.scenes import REGIONS
from bonefx.quiz.cases import DIFFICULTIES, labelled, pack
from bonefx.settings import packaged

FOLDER = packaged("examples") / "cases"


def test_the_pack_has_what_a_round_needs():
    cases = pack()
    assert len(cases) >= 60
    assert sum(not len(case.boxes) for case in cases) == len(cases) / 3
    assert {case.site for case in cases} == set(REGIONS)
    for site in REGIONS:
        of_site = [case.difficulty for case in cases if case.site == site]
        assert set(of_site) == {*DIFFICULTIES, ""}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 5_000_000


def test_a_case_is_what_is_in_its_file():
    for case in pack():
        radiograph = images.read(case.path)
        assert (radiograph.width, radiograph.height) == (case.width, case.height)
        assert len(case.boxes) == len(case.labels)
        assert bool(case.difficulty) == bool(len(case.boxes))
        if len(case.boxes):
            assert (case.boxes[:, :2] < case.boxes[:, 2:]).all()
            assert (case.boxes[:, :2] >= 0).all()
            assert (case.boxes[:, 2:] <= [case.width, case.height]).all()


def test_no_name_tells_what_is_on_a_case():
    numbers = [int(re.fullmatch(r"case-(\d+)", case.id)[1]) for case in pack()]
    assert numbers == list(range(1, len(numbers) + 1))
    broken = np.array([len(case.boxes) > 0 for case in pack()])
    assert np.count_nonzero(broken[1:] != broken[:-1]) > 5  # not sorted by it


def test_no_model_can_have_learnt_from_a_case():
    script = (FOLDER / "make_cases.py").read_text("utf-8")
    training = (packaged("phantoms") / "dataset.py").read_text("utf-8")
    assert "FIRST_SEED = 2**31" in script
    assert "rng.integers(2**31)" in training


def test_a_plate_would_tell_that_nothing_is_broken_so_there_is_none():
    assert "plate" not in (FOLDER / "make_cases.py").read_text("utf-8")


@pytest.fixture
def yolo(tmp_path):
    (tmp_path / "valid" / "images").mkdir(parents=True)
    (tmp_path / "valid" / "labels").mkdir()
    (tmp_path / "data.yaml").write_text("val: valid/images\nnc: 1\nnames: [fracture]\n")
    for name in ("a", "b"):
        Image.fromarray(np.full((80, 100), 90, np.uint8)).save(tmp_path / "valid" / "images" / f"{name}.png")
    (tmp_path / "valid" / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.25\n")
    (tmp_path / "valid" / "labels" / "b.txt").write_text("")
    return tmp_path


def test_a_folder_in_yolo_format_becomes_cases(yolo):
    first, second = labelled(yolo, "valid")
    assert (first.id, second.id) == ("case-1", "case-2")
    assert (first.width, first.height) == (100, 80)
    assert first.boxes.tolist() == [[40, 30, 60, 50]]
    assert first.labels == ("fracture",)
    assert len(second.boxes) == 0


def test_a_folder_in_coco_format_becomes_cases(tmp_path):
    (tmp_path / "valid").mkdir()
    Image.fromarray(np.full((80, 100), 90, np.uint8)).save(tmp_path / "valid" / "a.png")
    content = {
        "images": [{"id": 7, "file_name": "a.png", "width": 100, "height": 80}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 2, "bbox": [10, 20, 30, 40]}],
        "categories": [{"id": 2, "name": "wrist positive"}],
    }
    (tmp_path / "valid" / "_annotations.coco.json").write_text(json.dumps(content))
    (case,) = labelled(tmp_path, "valid")
    assert case.boxes.tolist() == [[10, 20, 40, 60]]
    assert case.labels == ("wrist",)


def test_a_folder_without_a_fracture_is_refused(yolo):
    (yolo / "valid" / "labels" / "a.txt").write_text("")
    with pytest.raises(DatasetError, match="nothing to find"):
        labelled(yolo, "valid")
