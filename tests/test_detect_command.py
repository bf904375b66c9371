"""`python -m bonefx detect` on folders and archives."""

from __future__ import annotations

import json
import zipfile

import pytest

from bonefx.settings import NOTICE, packaged
from tests.test_main import run


@pytest.fixture
def folder(tmp_path):
    """Two examples below a folder, a file that is no image, and one that does not say that it is."""
    (tmp_path / "arms" / "left").mkdir(parents=True)
    for name, place in (("elbow-1.png", "arms"), ("humerus-2.dcm", "arms/left")):
        (tmp_path / place / name).write_bytes((packaged("examples") / name).read_bytes())
    (tmp_path / "arms" / "forearm.png").write_text("no image")
    (tmp_path / "arms" / "notes.txt").write_text("no image")
    return tmp_path


def test_a_folder_becomes_a_folder_of_results(folder):
    done = run(folder, "detect", "arms", "--out", "arms/out")
    assert done.returncode == 1  # for forearm.png
    assert "forearm.png, yolo: This is not an image" in done.stdout
    assert NOTICE in done.stdout
    assert done.stderr == ""  # no progress where nobody looks
    out = folder / "arms" / "out"
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    pictures = ["annotated/001-elbow-1.png", "annotated/003-humerus-2.png"]
    assert written == ["README.txt", *pictures, "results.csv", "results.json"]
    saved = json.loads((out / "results.json").read_text("utf-8"))
    assert [result["image"] for result in saved["results"][::2]] == [
        "elbow-1.png",
        "forearm.png",
        "left/humerus-2.dcm",
    ]


def test_an_archive_and_a_file_together_without_what_was_written_before(folder):
    with zipfile.ZipFile(folder / "arms.zip", "w") as file:
        file.write(folder / "arms" / "elbow-1.png", "elbow-1.png")
    more = ("--model", "yolo", "--json", "--out", "out")
    done = run(folder, "detect", "arms.zip", "arms/left/humerus-2.dcm", *more)
    assert (done.returncode, done.stderr) == (0, "")
    results = json.loads(done.stdout)
    assert [result["image"] for result in results] == ["arms.zip/elbow-1.png", "humerus-2.dcm"]
    assert json.loads((folder / "out" / "results.json").read_text("utf-8"))["results"] == results


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("arms", "--out", "arms"), "Choose another folder"),
        (("empty", "--out", "out"), "There is no file"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(folder, arguments, words):
    (folder / "empty").mkdir()
    done = run(folder, "detect", *arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "out").exists()
