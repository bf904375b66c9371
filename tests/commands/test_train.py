"""The command: what it takes, what it writes, what it says when it cannot."""

from __future__ import annotations

import json

import pytest

from bonefx.__main__ import main
from bonefx.training import data
from tests.training import toy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return toy.write(tmp_path_factory.mktemp("toys") / "set", images=24)


def run(*arguments) -> int:
    return main(["train", *map(str, arguments)])


SMALL = ("--epochs", 1, "--image-size", 96, "--device", "cpu")


@pytest.mark.parametrize(
    ("model", "suffix"),
    [("yolo", "pt"), ("faster-rcnn", "pth")],
)
def test_a_run_from_end_to_end(root, tmp_path, capsys, model, suffix):
    out = tmp_path / "run"
    arguments = (model, "--data", root, "--out", out, *SMALL, "--hold-out")
    assert run(*arguments) == 0
    assert f"model_final.{suffix}" in capsys.readouterr().out
    assert {file.name for file in out.iterdir()} >= {
        f"model_final.{suffix}",
        f"model_best.{suffix}",
        "last.pth",
        "run.json",
        "losses.jsonl",
        "validation.jsonl",
        "curves.svg",
    }
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert record["finished"]
    (learnt,), (held,) = record["data"], record["held_out"]
    assert learnt["images"] + held["images"] == 24
    assert learnt["repeat"] == 1
    assert record["recipe"]["epochs"] == 1
    assert record["recipe"]["seed"] == 2026
    figures = {f"set: {name}" for name in ("ap", "ap50", "any_fracture", "class_aware")}
    assert set(record["curves"]["validation"]) == {"epoch", "mean_sensitivity", *figures}
    assert "loss" in record["curves"]["losses"]

    assert run(*arguments) == 1
    assert "holds a run already" in capsys.readouterr().err
    assert run(*arguments, "--resume") == 0
    assert run(*arguments, "--resume", "--epochs", 2) == 1
    assert "another recipe" in capsys.readouterr().err


def test_phantoms_are_learnt_from_and_said_to_be(root, tmp_path):
    """Phantoms are among the images of a pass, and are there again on resuming."""
    out = tmp_path / "run"
    arguments = ("faster-rcnn", "--data", root, "--out", out, *SMALL)
    assert run(*arguments, "--phantoms", 8) == 0
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert record["phantoms"]["images"] == 8
    assert [part["images"] for part in record["data"]] == [24]
    assert (
        len((out / "losses.jsonl").read_text(encoding="utf-8").splitlines())
        == 32 // record["recipe"]["batch"]
    )
    rendered = {file: file.stat().st_mtime_ns for file in (out / "phantoms").rglob("*.png")}
    assert run(*arguments, "--phantoms", 8, "--resume") == 0
    assert {file: file.stat().st_mtime_ns for file in (out / "phantoms").rglob("*.png")} == rendered
    assert run(*arguments, "--resume") == 1  # another run: without phantoms


def test_two_data_sets_are_mixed_and_each_holds_some_out(root, tmp_path, capsys):
    """Of each of 24 + 12 images 20 + 10 are learnt from: half of the first's, the second's twice."""
    other = toy.write(tmp_path / "other", images=12)
    data = ("--data", root, other, "--repeat", 0.5, 2, "--hold-out")
    assert run("faster-rcnn", *data, "--out", tmp_path / "run", *SMALL) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert [(part["name"], part["images"], part["repeat"]) for part in record["data"]] == [
        ("set", 20, 0.5),
        ("other", 10, 2.0),
    ]
    assert [(part["name"], part["images"]) for part in record["held_out"]] == [("set", 4), ("other", 2)]
    steps = (tmp_path / "run" / "losses.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(steps) == (10 + 20) // record["recipe"]["batch"]
    assert {"set: ap50", "other: ap50"} <= set(record["curves"]["validation"])


def test_not_every_epoch_need_be_measured(root, tmp_path):
    arguments = ("yolo", "--data", root, "--out", tmp_path / "run", *SMALL, "--hold-out")
    assert run(*arguments, "--epochs", 5, "--measure-every", 2) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["curves"]["validation"]["epoch"] == [2, 4, 5]


def test_each_data_set_needs_its_number(root, tmp_path, capsys):
    assert run("yolo", "--data", root, root, "--repeat", 2, "--out", tmp_path / "run", *SMALL) == 1
    assert "one number for each folder" in capsys.readouterr().err


@pytest.mark.parametrize("held", [True, False])
def test_an_image_that_cannot_be_read_is_named_and_left_out(tmp_path, capsys, held):
    """Of 24 images, 20 are learnt from and four held out; one of either side is cut off."""
    root = toy.write(tmp_path / "set", images=24)
    _, left = data.hold_out(data.load(root))
    names = {image.file_name for image in left.images}
    lost = next(f"arm{i}.png" for i in range(24) if (f"arm{i}.png" in names) == held)
    path = root / "train" / "images" / lost
    path.write_bytes(path.read_bytes()[:2000])
    arguments = ("faster-rcnn", "--data", root, "--out", tmp_path / "run", *SMALL, "--hold-out")
    assert run(*arguments) == 0
    assert lost in capsys.readouterr().err
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    counts = [part["images"] for part in (*record["data"], *record["held_out"])]
    assert counts == ([20, 3] if held else [19, 4])


def bad_row(root):
    (root / "train/labels/arm0.txt").write_text("0 0.5 0.5 0.2")


def no_positives(root):
    for file in (root / "train/labels").iterdir():
        file.write_text("")


@pytest.mark.parametrize(
    ("damage", "more", "words"),
    [
        (bad_row, (), "arm0.txt, line 1"),
        (no_positives, (), "no lesion in any image"),
        (lambda root: (root / "train/images/arm0.png").unlink(), (), "no image of this name"),
        (lambda root: None, ("--init", "lost.pt"), "There is no file lost.pt"),
        (lambda root: None, ("--resume",), "no run to go on with"),
        (lambda root: None, ("--device", "cuda"), "There is no GPU"),
    ],
)
@pytest.mark.parametrize("model", ["yolo", "faster-rcnn"])
def test_what_cannot_be_done_is_said_in_words(tmp_path, capsys, model, damage, more, words):
    root = toy.write(tmp_path / "set")
    damage(root)
    assert run(model, "--data", root, "--out", tmp_path / "run", *SMALL, *more) == 1
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("retinanet", "--data", "x", "--out", "y"),
        ("yolo", "--out", "y"),  # no data
        ("yolo", "--data", "x"),  # no folder
        ("yolo", "--data", "x", "--out", "y", "--epochs", "0"),
        ("yolo", "--data", "x", "--out", "y", "--image-size", "100"),  # no multiple of the stride
        ("yolo", "--data", "x", "--out", "y", "--recipe", "mine"),
        ("yolo", "--data", "x", "--out", "y", "--repeat", "0"),
        ("yolo", "--data", "x", "--out", "y", "--repeat", "nan"),
    ],
)
def test_wrong_arguments_are_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        run(*arguments)
    assert left.value.code == 2
    assert "usage" in capsys.readouterr().err
