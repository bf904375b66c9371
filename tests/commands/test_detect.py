"""`python -m bonefx detect` on folders and archives."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from bonefx.settings import NOTICE, packaged
from tests.processes import environment, unreadable, without_root_rights
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_an_archive_and_a_file_together_without_what_was_written_before(folder):
    with zipfile.ZipFile(folder / "arms.zip", "w") as file:
        file.write(folder / "arms" / "elbow-1.png", "elbow-1.png")
    more = ("--model", "yolo", "--json", "--out", "out", "--format", "coco", "--format", "label-studio")
    done = run(folder, "detect", "arms.zip", "arms/left/humerus-2.dcm", *more)
    assert (done.returncode, done.stderr) == (0, "")
    results = json.loads(done.stdout)
    assert [result["image"] for result in results] == ["arms.zip/elbow-1.png", "humerus-2.dcm"]
    out = folder / "out"
    assert json.loads((out / "results.json").read_text("utf-8"))["results"] == results
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == [
        "annotated",
        "coco",
        "label-studio",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("arms", "--out", "arms"), "Choose another folder"),
        (("empty", "--out", "out"), "There is no file"),
        (("arms", "--format", "coco"), "give that with --out"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(folder, arguments, words):
    (folder / "empty").mkdir()
    done = run(folder, "detect", *arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "out").exists()


# --- stopped ----------------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path):
    """More copies of an example than are looked at in the time that a test waits."""
    content = (packaged("examples") / "elbow-1.png").read_bytes()
    with zipfile.ZipFile(tmp_path / "arms.zip", "w") as file:
        for number in range(150):
            file.writestr(f"{number}.png", content)
    (tmp_path / "tmp").mkdir()
    return tmp_path / "arms.zip"


def started(archive, *arguments: str) -> subprocess.Popen[str]:
    """A command on the archive, its temporary files in a folder of their own, as a shell starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "bonefx", "detect", archive.name, *arguments],
        cwd=archive.parent,
        env=environment(TMPDIR=str(archive.parent / "tmp")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come")


@pytest.mark.parametrize(
    ("number", "arguments", "pictures"),
    [
        (signal.SIGINT, (), 1),
        (signal.SIGINT, ("--json",), 2),
        (signal.SIGTERM, (), 1),
        (signal.SIGINT, (), 0),  # before anything is found
    ],
)
@pytest.mark.slow
def test_a_batch_that_is_stopped_leaves_what_is_finished(archive, number, arguments, pictures):
    out = archive.parent / "out"
    process = started(archive, "--out", "out", *arguments)
    wait_for(lambda: len(list(out.glob("annotated/*.png"))) >= pictures and out.exists())
    os.killpg(process.pid, number)  # as Ctrl-C does: to all that the command has started, too
    printed, complaints = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    saved = json.loads((out / "results.json").read_text("utf-8"))
    found = [result["image"] for result in saved["results"]]
    finished = len(found) // 2
    assert pictures <= finished < 150
    assert found == [f"{i}.png" for i in range(finished) for _ in range(2)]
    assert saved["complete"] is False
    assert complaints == f"Stopped: {finished} of 150 files are finished.\n"
    assert sorted(saved["pictures"].values()) == sorted(
        f"annotated/{p.name}" for p in out.glob("annotated/*")
    )
    assert "ended early" in (out / "README.txt").read_text("utf-8")
    assert len((out / "results.csv").read_text("utf-8").splitlines()) > finished
    assert sorted(path.name for path in archive.parent.glob("tmp/bonefx-*")) == []
    assert json.loads(printed) == saved["results"] if arguments else NOTICE in printed


@pytest.mark.slow
def test_a_batch_is_complete_where_nothing_stopped_it(folder):
    assert run(folder, "detect", "arms/left", "--model", "yolo", "--out", "out").returncode == 0
    assert json.loads((folder / "out" / "results.json").read_text("utf-8"))["complete"] is True
    assert "ended early" not in (folder / "out" / "README.txt").read_text("utf-8")


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_the_batch_without_a_word(archive):
    process = started(archive, "--model", "yolo", "--out", "out")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 128 + signal.SIGPIPE
    assert process.stderr.read() == ""
    process.stderr.close()
    saved = json.loads((archive.parent / "out" / "results.json").read_text("utf-8"))
    assert 1 <= len(saved["results"]) < 150


# --- disks and permissions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "arguments", "words", "written"),
    [
        # Pictures are too large for this disk, the tables are not.
        (
            20_000,
            ("elbow-1.png", "--out", "out"),
            "out/annotated/001-elbow-1.png cannot be used: File too large.",
            ["README.txt", "results.csv", "results.json"],
        ),
        # Nothing is small enough.
        (10, ("elbow-1.png", "--out", "out"), "out/results.json cannot be used: File too large.", []),
        # What lies in an archive has no room in the temporary folder.
        (20_000, ("arms.zip",), "", None),
    ],
)
@pytest.mark.slow
def test_a_full_disk_is_named_with_the_file_and_holds_no_half_of_it(
    tmp_path, limit, arguments, words, written
):
    (tmp_path / "elbow-1.png").write_bytes((packaged("examples") / "elbow-1.png").read_bytes())
    with zipfile.ZipFile(tmp_path / "arms.zip", "w") as file:
        file.write(tmp_path / "elbow-1.png", "elbow-1.png")
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "bonefx", "detect", *arguments, "--model", "yolo"],
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path / "tmp"), BONEFX_RUNTIME="torch"),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr == (f"{words}\n" if words else "")
    if written is None:
        assert "elbow-1.png, yolo: There is no room to unpack this file (File too large)." in done.stdout
    else:
        assert sorted(p.name for p in (tmp_path / "out").rglob("*") if p.is_file()) == written
    assert not list(tmp_path.glob("tmp/bonefx-*"))


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_an_output_that_takes_no_more_is_said_once(folder, arguments):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bonefx", "detect", "arms/left", "--model", "yolo", *arguments],
            cwd=folder,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "Standard output cannot be used: No space left on device.\n"


@pytest.mark.slow
def test_a_folder_that_cannot_be_read_is_named_and_the_rest_is_done(folder):
    (folder / "arms" / "forearm.png").unlink()
    (folder / "arms" / "right").mkdir()
    arguments = ("-m", "bonefx", "detect", "arms", "--model", "yolo", "--json")
    with unreadable(folder / "arms" / "right"):
        done = without_root_rights(*arguments, cwd=folder)
    assert (done.returncode, done.stderr) == (1, "")
    good, other, bad = sorted(json.loads(done.stdout), key=lambda result: "error" in result)
    assert [good["image"], other["image"]] == ["elbow-1.png", "left/humerus-2.dcm"]
    assert bad["image"] == "right"
    assert bad["error"] == "This folder cannot be read (Permission denied). What is in it is left out."
    with unreadable(folder / "arms"):
        done = without_root_rights(*arguments, cwd=folder)
    assert [each["image"] for each in json.loads(done.stdout)] == ["arms"]


@pytest.mark.slow
def test_a_file_below_a_folder_that_cannot_be_entered_does_not_end_the_batch(folder):
    with unreadable(folder / "arms" / "left"):
        done = without_root_rights(
            *(
                "-m",
                "bonefx",
                "detect",
                "arms/left/humerus-2.dcm",
                "arms/elbow-1.png",
                "--model",
                "yolo",
                "--json",
            ),
            cwd=folder,
        )
    assert (done.returncode, done.stderr) == (1, "")
    bad, good = json.loads(done.stdout)
    assert bad["error"] == "This file cannot be opened. Check its name and who may read it."
    assert "detections" in good
