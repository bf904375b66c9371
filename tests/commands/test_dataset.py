"""The command `dataset`: FracAtlas' original download becomes a folder that the other commands read."""

from __future__ import annotations

import csv
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from bonefx import fracatlas
from bonefx.__main__ import main
from bonefx.evaluation import folder
from bonefx.labels import DATASET_CLASSES


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    """The folders and files of the download, with a tiny picture for each image that the table names."""
    root = tmp_path_factory.mktemp("download") / "FracAtlas"
    for part in ("images/Fractured", "images/Non_fractured", "Annotations/YOLO"):
        (root / part).mkdir(parents=True)
    pixels = np.arange(80, dtype=np.uint8).reshape(8, 10)
    Image.fromarray(pixels).save(root / "picture.jpg")
    picture = (root / "picture.jpg").read_bytes()
    rows = []
    for entry in fracatlas.read_table():
        kind = "Fractured" if entry.sites else "Non_fractured"
        # Some files there lack their last bytes: they are copied as they are.
        content = picture[:-2] if len(rows) % 50 == 0 else picture
        (root / "images" / kind / f"{entry.image}.jpg").write_bytes(content)
        boxes = [f"0 0.5{i:02d} 0.25 0.1 0.05\n" for i in range(len(entry.sites))]
        (root / "Annotations/YOLO" / f"{entry.image}.txt").write_text("".join(boxes), encoding="utf-8")
        rows.append({"image_id": f"{entry.image}.jpg", "hand": 1, "leg": 0, "hip": 0, "shoulder": 0})
    with (root / "dataset.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return root


def run(*arguments) -> int:
    return main(["dataset", "fracatlas", *map(str, arguments)])


def test_the_folder_is_that_of_the_table(laid_out, tmp_path, capsys):
    out = tmp_path / "FracAtlasUpper"
    assert run(laid_out, "--out", out) == 0
    assert "1205 images" in capsys.readouterr().out
    train, valid = (folder.load(out, split) for split in ("train", "valid"))
    assert (len(train.images), len(valid.images)) == (905, 300)
    assert (train.problems, valid.problems) == ((), ())
    sites = ("elbow positive", "fingers positive", "forearm fracture", "humerus", "shoulder fracture")
    counts = [Counter(each.class_ids.tolist()) for each in (train, valid)]
    assert [[each[i] for i in range(6)] for each in counts] == [
        [44, 18, 75, 13, 14, 124],
        [23, 5, 18, 3, 0, 54],
    ]
    assert set(sites) < set(DATASET_CLASSES)
    by_name = {image.file_name: image for image in (*train.images, *valid.images)}
    for entry in fracatlas.read_table():
        assert by_name[f"{entry.image}.jpg"].group == entry.group
    some = fracatlas.read_table()[0].image
    copied = next(out.rglob(f"{some}.jpg")).read_bytes()
    assert copied == next(laid_out.rglob(f"{some}.jpg")).read_bytes()


def test_near_twins_are_in_one_split():
    splits = {}
    for entry in fracatlas.read_table():
        splits.setdefault(entry.group, set()).add(entry.split)
    assert all(len(found) == 1 for found in splits.values())


def box_more(root):
    path = next((root / "Annotations/YOLO").glob("IMG0000019.txt"))
    path.write_text(path.read_text() * 2)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda root: shutil.rmtree(root / "Annotations"), "has no Annotations/YOLO"),
        (lambda root: (root / "dataset.csv").unlink(), "has no dataset.csv"),
        (lambda root: next(root.rglob("IMG0000019.jpg")).unlink(), "no image IMG0000019.jpg"),
        # another version of the download
        (box_more, "has 2 boxes and the table 1 sites"),
        (
            lambda root: (root / "dataset.csv").write_text("image_id,hand,leg,hip,shoulder\n"),
            "does not say of IMG",
        ),
    ],
)
def test_another_folder_is_refused_and_nothing_is_left(laid_out, tmp_path, capsys, damage, words):
    root = shutil.copytree(laid_out, tmp_path / "copy")
    damage(root)
    assert run(root, "--out", tmp_path / "out") == 1
    assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_a_folder_that_is_there_is_not_touched(laid_out, tmp_path, capsys):
    assert run(laid_out, "--out", tmp_path) == 1
    assert "there already" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
