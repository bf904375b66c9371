from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bonefx import images
from bonefx.errors import DatasetError
from bonefx.evaluation import dataset as ground_truth
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.folder import load
from bonefx.labels import DATASET_CLASSES
from tests.processes import unreadable, without_root_rights

WIDTH, HEIGHT = 200, 100


def save(path: Path, orientation: int | None = None, size=(WIDTH, HEIGHT)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.new("L", size, 128).save(path, exif=exif)


def make(root: Path, labels: dict[str, str | None], layout="{split}/{kind}", names=DATASET_CLASSES) -> Path:
    """A data set of one split `valid`: an image for each name, and its label file unless that is None."""
    for name, text in labels.items():
        save(root / layout.format(split="valid", kind="images") / f"{name}.jpg")
        folder = root / layout.format(split="valid", kind="labels")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            (folder / f"{name}.txt").write_text(text)
    (root / "data.yaml").write_text(json.dumps({"names": names}))
    return root


@pytest.mark.parametrize("layout", ["{split}/{kind}", "{kind}/{split}"])
def test_boxes_and_polygons_in_both_layouts(tmp_path, layout):
    rows = "0 0.5 0.5 0.5 0.2\n\n6 0.1 0.2 0.3 0.2 0.2 0.6\n"
    root = make(tmp_path, {"b": rows, "a": "", "c": None}, layout)
    data = load(root, "valid")
    assert [image.file_name for image in data.images] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [(image.width, image.height) for image in data.images] == [(WIDTH, HEIGHT)] * 3
    np.testing.assert_allclose(data.boxes, [[50, 40, 150, 60], [20, 20, 60, 60]], atol=1e-9)
    assert data.box_images.tolist() == [1, 1]
    assert data.class_ids.tolist() == [0, 5]
    assert data.problems == ()
    assert data.lesions.tolist() == [0, 2, 0]
    assert data.summary()["fracture_free"] == 2


@pytest.mark.parametrize(
    ("names", "row", "class_id"),
    [
        (DATASET_CLASSES, "3 .5 .5 .1 .1", 3),  # humerus fracture becomes humerus
        (DATASET_CLASSES, "4 .5 .5 .1 .1", 3),
        (DATASET_CLASSES, "5.0 .5 .5 .1 .1", 4),
        (["Wrist Positive"], "0 .5 .5 .1 .1", 5),  # by name, not by place
        ({0: "elbow positive", 1: "shoulder_fracture"}, "1 .5 .5 .1 .1", 4),  # a mapping
    ],
)
def test_class_names(tmp_path, names, row, class_id):
    root = make(tmp_path, {"a": row})
    listed = {int(k): v for k, v in names.items()} if isinstance(names, dict) else list(names)
    (root / "data.yaml").write_text(f"names: {listed}")
    assert load(root, "valid").class_ids.tolist() == [class_id]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("0 0.5 0.5 0.5", "4 columns"),
        ("0 0.5 0.5 0.5 0.5 0.5", "6 columns"),  # neither box nor polygon
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "8 columns"),  # half a corner
        ("0 0.5 x 0.5 0.5", "not a number"),
        ("0 0.5 nan 0.5 0.5", "not a number"),
        ("elbow 0.5 0.5 0.5 0.5", "not a number"),
        ("7 0.5 0.5 0.5 0.5", "class 7"),
        ("-1 0.5 0.5 0.5 0.5", "class -1"),
        ("1.5 0.5 0.5 0.5 0.5", "class 1.5"),
        ("0 0.9 0.5 0.4 0.5", "out of the image"),
        ("0 100 50 20 20", "out of the image"),  # pixels
        ("0 0.1 0.1 0.2 1.2 0.3 0.3", "out of the image"),
        ("0 0.5 0.5 0 0.5", "no area"),
        ("0 0.5 0.5 -0.1 0.5", "no area"),
        ("0 0.1 0.1 0.2 0.1 0.3 0.1", "no area"),  # all corners on a line
    ],
)
def test_a_bad_row_is_named_and_the_rest_stays(tmp_path, row, reason):
    data = load(make(tmp_path, {"a": f"0 0.5 0.5 0.5 0.5\n{row}\n1 0.5 0.5 0.5 0.5\n"}), "valid")
    assert data.class_ids.tolist() == [0, 1]
    assert data.summary()["problems"] == 1
    assert str(data.problems[0]).startswith("a.txt, line 2: ")
    assert reason in data.problems[0].reason


@pytest.mark.parametrize(
    "row", ["0 0.9 0.5 0.2000010 1.0", "0 -0.0002 0.0 0.5 0.5 1.0005 1.0", "0 0.5 0.5 1.0001 1.0001"]
)
def test_rounding_beyond_the_edge_is_moved_to_it(tmp_path, row):
    data = load(make(tmp_path, {"a": row}), "valid")
    assert data.problems == ()
    assert (data.boxes >= 0).all()
    assert (data.boxes <= [[WIDTH, HEIGHT, WIDTH, HEIGHT]]).all()


def test_files_that_do_not_fit_are_named(tmp_path):
    root = make(tmp_path, {"a": "0 .5 .5 .5 .5", "b": ""})
    save(root / "valid/images/a.png")  # shares a.txt with a.jpg
    (root / "valid/images/broken.jpg").write_bytes(b"no image")
    (root / "valid/images/notes.txt").write_text("not an image file at all")
    (root / "valid/labels/gone.txt").write_text("0 .5 .5 .5 .5")
    data = load(root, "valid")
    assert [image.file_name for image in data.images] == ["a.jpg", "b.jpg"]
    assert [str(problem).split(":")[0] for problem in data.problems] == ["a.png", "broken.jpg", "gone.txt"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("jpg", {}),
        ("png", {}),
        ("webp", {}),
        ("tif", {}),  # Pillow turns a TIFF by itself
        ("TIFF", {"compression": "tiff_lzw"}),  # read by libtiff, in another way
        ("bmp", {"exif": None}),  # has no room for an orientation
    ],
)
def test_the_size_is_that_of_the_picture_that_the_models_see(tmp_path, suffix, options, orientation):
    root = make(tmp_path, {"a": "0 .5 .5 1 .5"})
    (root / "valid/images/a.jpg").unlink()
    path = root / f"valid/images/a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("L", (WIDTH, HEIGHT), 128).save(path, **{"exif": exif, **options})
    data, seen = load(root, "valid"), images.read(path)
    assert (data.images[0].width, data.images[0].height) == (seen.width, seen.height)
    turned = orientation > 4 and suffix != "bmp"
    assert (seen.width, seen.height) == ((HEIGHT, WIDTH) if turned else (WIDTH, HEIGHT))
    np.testing.assert_allclose(data.bbox, [[0, seen.height / 4, seen.width, seen.height / 2]])


def test_damaged_camera_data_turn_nothing_as_in_the_reader(tmp_path):
    root = make(tmp_path, {"a": ""})
    Image.new("L", (WIDTH, HEIGHT)).save(root / "valid/images/a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert load(root, "valid").images[0].width == images.read(root / "valid/images/a.jpg").width == WIDTH


BOX = "0 0.5 0.5 0.2 0.4"


@pytest.mark.parametrize(
    ("rows", "class_ids", "repeated"),
    [
        ([BOX, BOX, BOX], [0], [2, 3]),
        ([BOX, "1 0.5 0.5 0.2 0.4", BOX], [0, 1], [3]),  # another class is another lesion
        (["3 0.5 0.5 0.2 0.4", "4 0.5 0.5 0.2 0.4"], [3], [2]),  # humerus fracture and humerus are one class
        ([BOX, "0 0.4 0.3 0.6 0.3 0.6 0.7 0.4 0.7"], [0], [2]),  # the same box as a polygon
        ([BOX, "0 0.500001 0.5 0.199999 0.4"], [0], [2]),  # written with other rounding
        ([BOX, "0 0.5010 0.5 0.2 0.4"], [0, 0], []),  # beside it
        (["0 0.500 0.5 1.0005 1", "0 0.5 0.5 1 1"], [0], [2]),  # the same where the image ends
    ],
)
def test_a_lesion_that_is_named_again_counts_once_and_is_reported(tmp_path, rows, class_ids, repeated):
    data = load(make(tmp_path, {"a": "\n".join(rows)}), "valid")
    assert data.class_ids.tolist() == class_ids
    assert [problem.line for problem in data.problems] == repeated
    assert all(problem.repeats for problem in data.problems)
    assert all("names the lesion of line 1 again" in str(problem) for problem in data.problems)


def test_equal_lesions_of_two_images_are_two(tmp_path):
    data = load(make(tmp_path, {"a": BOX, "b": BOX}), "valid")
    assert (data.lesions.tolist(), data.problems) == ([1, 1], ())


@pytest.mark.parametrize(
    ("shape", "row", "box"),
    [
        ("[2, 3]", "0 .5 .5 .2 .4 .45 .4 2 .55 .6 0", [80, 30, 120, 70]),
        ("[2, 2]", "0 .5 .5 .2 .4 .45 .4 .55 .6", [80, 30, 120, 70]),  # as many columns as a polygon
        ("[2, 2]", BOX, [80, 30, 120, 70]),
        ("[2, 2]", "0 .1 .1 .2 .1 .2 .2", "7 columns; a box has 5, one with the key points of kpt_shape 9"),
        # Without kpt_shape they are known by visibilities of 0, 1 and 2, and key points in the box.
        (None, "0 .5 .5 .2 .4 .45 .4 1 .55 .6 1", "looks like a box with key points"),
        (None, "0 .5 .5 .2 .4 .45 .4 2 0 0 0", "looks like a box with key points"),
        (None, "0 .3 0 .3 .2 0 .2 0 .1 .1 0", [0, 0, 60, 20]),  # a polygon in the corner of the image
        (None, "0 .45 .4 .55 .4 .55 .6 .5 .7 .45 .6", [90, 40, 110, 70]),  # any polygon of five corners
    ],
)
def test_a_pose_is_its_box_and_no_polygon(tmp_path, shape, row, box):
    root = make(tmp_path, {"a": row})
    if shape:
        kpt_shape(root, shape)
    data = load(root, "valid")
    if isinstance(box, str):
        assert len(data.bbox) == 0
        assert box in data.problems[0].reason
    else:
        np.testing.assert_allclose(data.boxes, [box], atol=1e-9)


def test_endings_in_upper_case_are_read(tmp_path):
    root = make(tmp_path, {"a": BOX, "b": None})
    (root / "valid/labels/a.txt").rename(root / "valid/labels/a.TXT")
    (root / "valid/images/b.jpg").rename(root / "valid/images/b.JPG")
    data = load(root, "valid")
    assert (data.lesions.tolist(), data.problems) == ([1, 0], ())
    assert data.images[0].label_path.name == "a.TXT"


@pytest.mark.parametrize(
    ("name", "put", "reason"),
    [
        ("images/b.jpg", os.mkfifo, "it is a device or a pipe"),
        ("images/b.jpg", lambda path: path.symlink_to("/dev/zero"), "it is a device or a pipe"),
        ("images/b.jpg", lambda path: path.symlink_to("gone"), "it cannot be read"),
        # An image whose label file cannot be read may have a fracture.
        ("labels/b.txt", os.mkfifo, "label file b.txt is not read: it is a device or a pipe"),
        ("labels/b.txt", lambda path: path.symlink_to("gone"), "b.txt is not read: it cannot be read"),
        ("labels/b.txt", lambda path: path.write_text("\n" * 1001), "b.txt is not read: it has 1001 rows"),
        ("labels/b.TXT", lambda path: path.write_text(BOX), "two label files, b.TXT and b.txt"),
    ],
)
def test_what_cannot_be_read_is_left_out_and_named(tmp_path, name, put, reason):
    root = make(tmp_path, {"a": BOX, "b": BOX})
    path = root / "valid" / name
    path.unlink(missing_ok=True)
    put(path)
    data = load(root, "valid")
    assert [image.file_name for image in data.images] == ["a.jpg"]
    (problem,) = data.problems
    assert str(problem).startswith("b.jpg: ")
    assert reason in str(problem)


def test_a_folder_may_be_called_like_an_image(tmp_path):
    root = make(tmp_path, {"x.jpg/a": BOX, "x.jpg/y.txt/a": BOX})
    data = load(root, "valid")
    assert [image.file_name for image in data.images] == ["x.jpg/a.jpg", "x.jpg/y.txt/a.jpg"]
    assert (data.lesions.tolist(), data.problems) == ([1, 1], ())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["images", "labels"])
def test_a_folder_that_cannot_be_read_is_named(tmp_path, kind):
    root = make(tmp_path, {"sub/a": BOX, "b": BOX})
    folder = root / "valid" / kind / "sub"
    with unreadable(folder):
        done = without_root_rights(
            "-m", "bonefx", "evaluate", "--data", str(root), "--out", str(tmp_path / "out")
        )
    assert done.returncode == 1
    assert f"The folder {folder} cannot be read (Permission denied)." in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "data.yaml").unlink(), "must list the class names, but it cannot be read"),
        (lambda root: fifo(root / "data.yaml"), "must list the class names, but it is a device or a pipe"),
        (lambda root: (root / "data.yaml").write_bytes(b"#" * 17_000_000), "larger than 16 MB"),
        (lambda root: (root / "data.yaml").write_text("train: x"), "no list of class names"),
        (lambda root: (root / "data.yaml").write_text("just text"), "no list of class names"),
        (lambda root: (root / "data.yaml").write_text("names: elbow positive"), "no list of class names"),
        (lambda root: (root / "data.yaml").write_text("names: {0: humerus, 2: humerus}"), "no list of class"),
        (lambda root: (root / "data.yaml").write_text("names: [[elbow positive]]"), "no list of class names"),
        (
            lambda root: (root / "data.yaml").write_text("a: 1\nnames: [a"),
            "cannot be parsed, line 2, column 10",
        ),
        (lambda root: (root / "data.yaml").write_text("a: !x 1"), "cannot be parsed, line 1, column 4"),
        (lambda root: (root / "data.yaml").write_text("[" * 10_000), "nested too deeply"),
        (lambda root: (root / "data.yaml").write_bytes(b"names: [\xff]"), "cannot be parsed"),
        (lambda root: (root / "data.yaml").write_text(f"names: [{'cat' * 999}]"), "class '(cat)+.{,9}…"),
        (lambda root: kpt_shape(root, "5"), "kpt_shape is 5; it must be"),
        (lambda root: kpt_shape(root, "[2, 4]"), r"kpt_shape is \[2, 4\]"),
        (lambda root: (root / "data.yaml").write_text("names: [elbow positive, cat]"), "class 'cat'"),
        (lambda root: shutil.rmtree(root / "valid/labels"), "no split 'valid'"),
        (lambda root: (root / "valid/images/a.jpg").unlink(), "no readable image"),
        (
            lambda root: fifo(root / "valid/images/a.jpg"),
            "no readable image.*a.jpg: it is a device or a pipe",
        ),
    ],
)
def test_a_folder_of_another_form(tmp_path, spoil, message):
    root = make(tmp_path, {"a": ""})
    spoil(root)
    with pytest.raises(DatasetError, match=message) as raised:
        load(root, "valid")
    assert len(str(raised.value).replace(str(root), "")) < 500


def fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def kpt_shape(root: Path, shape: str) -> None:
    (root / "data.yaml").write_text(f"names: {list(DATASET_CLASSES)}\nkpt_shape: {shape}\n")


def test_hash_is_of_content_not_of_place(tmp_path):
    text = {"a": "0 .5 .5 .5 .5", "b": ""}
    first = load(make(tmp_path / "one", text), "valid").sha256
    assert load(make(tmp_path / "two", text, "{kind}/{split}"), "valid").sha256 == first
    assert load(make(tmp_path / "three", {**text, "b": "0 .5 .5 .5 .5"}), "valid").sha256 != first
    assert load(make(tmp_path / "four", {"a": text["a"], "c": ""}), "valid").sha256 != first
    assert load(make(tmp_path / "five", text, names=DATASET_CLASSES[::-1]), "valid").sha256 != first
    save(tmp_path / "one/valid/images/b.jpg", size=(201, 100))
    assert load(tmp_path / "one", "valid").sha256 != first


def test_coco_and_back(tmp_path):
    data = load(make(tmp_path, {"a": "", "b": "0 .5 .5 .5 .2\n3 .1 .2 .3 .2 .2 .6"}), "valid")
    coco = data.to_coco()
    assert [(a["id"], a["image_id"], a["category_id"], a["iscrowd"]) for a in coco["annotations"]] == [
        (1, 2, 1, 0),
        (2, 2, 4, 0),
    ]
    assert coco["annotations"][0]["area"] == pytest.approx(100 * 20)
    again = Dataset.from_coco(json.loads(json.dumps(coco)))
    assert again.sha256 == data.sha256
    np.testing.assert_array_equal(again.bbox, data.bbox)
    assert {**again.summary(), "problems": 0} == data.summary()


@pytest.mark.parametrize(
    "coco",
    [
        {},
        {"info": {"description": "x", "split": "y"}, "images": [{"id": 1}], "annotations": []},
        {**Dataset("x", "y", (), *[np.zeros((0, 4))] * 3).to_coco(), "annotations": [{"image_id": 1}]},
        {  # a class that there is not
            "info": {"description": "x", "split": "y"},
            "images": [{"id": 1, "file_name": "a", "width": 9, "height": 9, "sha256": "0"}],
            "annotations": [{"image_id": 1, "category_id": 99, "bbox": [0, 0, 1, 1]}],
        },
    ],
)
def test_foreign_coco_is_refused(coco):
    with pytest.raises(DatasetError, match="not ground truth that BoneFX wrote"):
        Dataset.from_coco(coco)


def test_subset_keeps_lesions_with_their_images(tmp_path):
    row = "{} .5 .5 .5 .5\n"
    data = load(
        make(tmp_path, {"a": row.format(0), "b": row.format(1) + row.format(3), "c": row.format(2)}), "valid"
    )
    part = data.subset([2, 1])
    assert [image.file_name for image in part.images] == ["b.jpg", "c.jpg"]
    assert part.box_images.tolist() == [0, 0, 1]
    assert part.class_ids.tolist() == [1, 3, 2]
    assert part.sha256 != data.sha256


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("arm_png.rf.3d1e56f022463d81ebeb8574717e0619.jpg", "arm"),
        ("arm_JPEG.rf.00ff.jpg", "arm"),
        ("sub/image1_88_png.rf.aa11.jpg", "sub/image1_88"),
        ("phantom-1.png", "phantom-1"),
        ("arm.v2_png.rf.aa11.jpg", "arm.v2"),
    ],
)
def test_the_source_of_a_copy(name, source):
    assert ground_truth.source(name) == source


def test_fold_keeps_copies_together():
    names = [f"image{i // 3}_png.rf.{i:032x}.jpg" for i in range(300)]
    images = [ground_truth.LabelledImage(name, None, 1, 1, "") for name in names]
    train, held_out = ground_truth.fold(images, 0.15, seed=7)
    assert sorted([*train, *held_out]) == list(range(300))
    assert len(held_out) == 45
    assert not {ground_truth.source(names[i]) for i in train} & {
        ground_truth.source(names[i]) for i in held_out
    }
    np.testing.assert_array_equal(ground_truth.fold(images, 0.15, seed=7)[1], held_out)
    assert ground_truth.fold(images, 0.15, seed=8)[1].tolist() != held_out.tolist()
