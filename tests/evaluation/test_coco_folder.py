"""A folder in COCO format, of one class or of ours, is measured by the same command as one in YOLO format."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from bonefx.errors import DatasetError
from bonefx.evaluation import coco_folder, report, score
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.predict import load
from bonefx.evaluation.store import Store, read_ground_truth
from bonefx.labels import ANY_SITE
from tests.evaluation import toy

BOX = [10.0, 20.0, 30.0, 15.0]
ROBOFLOW, OWN = "valid/_annotations.coco.json", "annotations/instances_valid.json"


def write(root, *, place=ROBOFLOW, images="valid", categories=("fractured",), notes=None, number=3):
    """`number` images of 100 by 80, the first with a box of category 1, the second with one of the last."""
    if notes is None:
        notes = [
            {"id": 1, "image_id": 7, "category_id": 1, "bbox": BOX},
            {"id": 2, "image_id": 8, "category_id": len(categories), "bbox": BOX},
        ]
    (root / images).mkdir(parents=True, exist_ok=True)
    listed = []
    for i in range(number):
        Image.fromarray(np.full((80, 100), 10 * i, np.uint8)).save(root / images / f"{i}.png")
        listed.append({"id": 7 + i, "file_name": f"{i}.png", "width": 100, "height": 80})
    kinds = [{"id": i, "name": name} for i, name in enumerate(categories, 1)]
    (root / place).parent.mkdir(exist_ok=True)
    content = {"images": listed, "annotations": notes, "categories": kinds}
    (root / place).write_text(json.dumps(content), encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("place", "images"),
    [
        (ROBOFLOW, "valid"),
        (OWN, "images/valid"),
        (OWN, "valid"),
        (OWN, "images"),
        (OWN, "."),
        ("annotations/valid.json", "valid"),
    ],
)
def test_the_layouts(tmp_path, place, images):
    dataset = load(write(tmp_path / "set", place=place, images=images), "valid")
    assert [image.file_name for image in dataset.images] == ["0.png", "1.png", "2.png"]
    assert dataset.bbox.tolist() == [BOX, BOX]
    assert dataset.box_images.tolist() == [0, 1]
    assert dataset.problems == ()


@pytest.mark.parametrize(
    ("categories", "class_ids"),
    [
        (("fracture",), [ANY_SITE, ANY_SITE]),
        (("Bone Fracture",), [ANY_SITE, ANY_SITE]),
        # one class that is a site of ours is that site
        (("forearm fracture",), [2, 2]),
        (("elbow positive", "wrist_positive"), [0, 5]),
    ],
)
def test_the_classes(tmp_path, categories, class_ids):
    dataset = load(write(tmp_path, categories=categories), "valid")
    assert dataset.class_ids.tolist() == class_ids
    assert dataset.tells_sites == (ANY_SITE not in class_ids)


def test_a_category_that_no_annotation_has_does_not_matter(tmp_path):
    """As the one of number 0 that Roboflow adds."""
    notes = [{"id": 1, "image_id": 7, "category_id": 2, "bbox": BOX}]
    dataset = load(write(tmp_path, categories=("things", "fracture"), notes=notes), "valid")
    assert dataset.class_ids.tolist() == [ANY_SITE]


def note(**changes):
    return [{"id": 1, "image_id": 7, "category_id": 1, "bbox": BOX, **changes}]


@pytest.mark.parametrize(
    ("notes", "left", "words"),
    [
        (note(bbox=[90, 70, 30, 30]), [[90, 70, 10, 10]], None),  # cut at the edge
        (note(bbox=[120, 20, 10, 10]), [], "no box of four numbers inside"),
        (note(bbox=[10, 20, 0, 10]), [], "no box of four numbers inside"),
        (note(bbox=[10, 20, 30]), [], "no box of four numbers inside"),
        (note(bbox=["a", 1, 2, 3]), [], "no box of four numbers inside"),
        (note(bbox=[float("nan"), 1, 2, 3]), [], "no box of four numbers inside"),
        (note(image_id=99), [], "of no image that is listed"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, notes, left, words):
    dataset = load(write(tmp_path, notes=notes), "valid")
    assert dataset.bbox.tolist() == left
    assert [words in problem.reason for problem in dataset.problems] == ([True] if words else [])


@pytest.mark.parametrize("name", ["../0.png", "/etc/hostname", "lost.png"])
def test_an_image_that_is_not_in_the_folder_is_left_out(tmp_path, name):
    root = write(tmp_path / "set")
    Image.new("L", (8, 8)).save(tmp_path / "0.png")
    content = json.loads((root / ROBOFLOW).read_text())
    content["images"][0]["file_name"] = name
    (root / ROBOFLOW).write_text(json.dumps(content))
    dataset = load(root, "valid")
    assert [image.file_name for image in dataset.images] == ["1.png", "2.png"]
    assert [problem.file for problem in dataset.problems] == [name]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not a COCO annotation file"),
        ("[]", "is not a COCO annotation file"),
        ('{"images": [{}], "annotations": [], "categories": []}', "is not a COCO annotation file"),
        ('{"images": [], "annotations": [], "categories": []}', "no readable image"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}',
            "person.*is not known.*named fracture",
        ),
    ],
)
def test_another_file_is_refused_in_words(tmp_path, text, words):
    root = write(tmp_path)
    (root / ROBOFLOW).write_text(text)
    with pytest.raises(DatasetError, match=words):
        load(root, "valid")


def test_two_files_of_one_split_are_refused(tmp_path):
    write(tmp_path, place=OWN)
    write(tmp_path, place="annotations/person_valid.json")
    with pytest.raises(DatasetError, match="two files for the split"):
        coco_folder.annotation_file(tmp_path, "valid")


def one_class(lesions) -> Dataset:
    dataset = toy.dataset(lesions)
    dataset.class_ids[:] = ANY_SITE
    return dataset


def test_without_sites_a_mark_of_any_class_is_right():
    """A mark on each of two fractures, one of them twice with another class: AP is 1."""
    dataset = one_class([[(0, BOX)], [(0, BOX)], []])
    results = toy.results([(0, 3, BOX, 0.9), (0, 5, BOX, 0.8), (1, 1, BOX, 0.7)])
    figures = score(dataset, results).figures
    assert figures["coco"]["ap"] == pytest.approx(1.0)
    assert [(each["label"], each["boxes"]) for each in figures["coco"]["per_class"]] == [("fracture", 2)]
    assert figures["froc"]["class_aware"] is None
    assert figures["froc"]["any_fracture"]["points"][0]["sensitivity"] == 1.0
    assert figures["strata"]["site"] == []
    made = toy.measure(dataset, results)
    assert report.loads(report.dumps(made)) == made


def test_ground_truth_without_sites_is_stored_and_read(tmp_path):
    dataset = one_class([[(0, BOX)], []])
    store = Store(tmp_path)
    store.write_ground_truth(dataset)
    read = read_ground_truth(store.ground_truth)
    assert not read.tells_sites
    assert read.summary() == dataset.summary()
    assert sum(read.summary()["boxes_per_class"].values()) == 0
