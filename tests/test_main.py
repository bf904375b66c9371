"""The command line, as a shell sees it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bonefx
from bonefx.__main__ import main
from tests.processes import environment


@pytest.fixture
def files(tmp_path):
    grey = np.random.default_rng(0).integers(0, 255, (150, 130), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "arm.png")
    (tmp_path / "bad.png").write_bytes(b"not an image")
    return tmp_path


def run(folder, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bonefx", *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_json_has_one_result_per_image_and_model(files):
    done = run(files, "detect", "arm.png", "--json", "--threshold", "0")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert [(r["image"], r["model"]) for r in results] == [("arm.png", "faster-rcnn"), ("arm.png", "yolo")]
    assert all(r["schema_version"] == 1 and "detections" in r for r in results)


@pytest.mark.slow
def test_a_bad_file_is_said_and_the_others_are_done(files):
    done = run(files, "detect", "bad.png", "arm.png", "--model", "yolo", "--json")
    assert done.returncode == 1
    bad, good = json.loads(done.stdout)
    assert "error" in bad
    assert "detections" in good
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_words_for_people(files):
    done = run(files, "detect", "arm.png", "--model", "yolo", "--threshold", "1")
    assert done.returncode == 0
    assert "no detection above the threshold" in done.stdout
    assert "bundled" in done.stdout
    assert "not a medical device" in done.stdout.lower()
    assert "no fracture" not in done.stdout.lower()


@pytest.mark.slow
def test_the_consensus_names_the_weights_of_both(files):
    done = run(files, "detect", "bad.png", "arm.png", "--model", "consensus", "--threshold", "0.001")
    assert done.returncode == 1
    assert "bad.png, consensus: " in done.stdout
    words = r"arm.png, consensus: weights faster\S+ \(bundled\) and yolo\S+ \(bundled\), threshold 0.001\n"
    assert re.search(words, done.stdout)
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        (),  # no command
        ("detect",),  # no file
        ("detect", "arm.png", "--threshold", "2"),
        ("detect", "arm.png", "--threshold", "low"),
        ("detect", "arm.png", "--model", "retinanet"),
    ],
)
def test_wrong_arguments_are_status_2(files, arguments):
    done = run(files, *arguments)
    assert done.returncode == 2
    assert "usage" in done.stderr
    assert "Traceback" not in done.stderr


LONG = "q" * 5000


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ((LONG,), 2),
        (("detect", "arm.png", f"--{LONG}"), 2),
        (("detect", "arm.png", *["--q" for _ in range(2000)]), 2),
        (("detect", "arm.png", "--threshold", LONG), 2),
        (("detect", "arm.png", f"--threshold={LONG}"), 2),
        (("detect", "arm.png", "--model", f"{LONG}'\\"), 2),
        (("detect", LONG, "--model", "yolo"), 1),  # longer than a file name may be
        (("detect", "/".join([LONG[:250]] * 15), "--model", "yolo"), 1),
        (("detect", "arm.png", "--out", LONG), 1),
        (("evaluate", "--data", LONG), 1),
        (("evaluate", "--data", ".", "--split", LONG), 1),
        (("evaluate", "--rescore", "--out", LONG), 1),
        (("evaluate", "--predictions", LONG, "--data", "."), 1),
        (("train", "yolo", "--data", LONG, "--out", "runs"), 1),
        (("train", LONG, "--data", ".", "--out", "runs"), 2),
        (("benchmark", f"--{LONG}"), 2),
        (("docs", LONG), 1),
    ],
)
def test_no_message_repeats_more_than_200_characters_of_what_was_sent(
    files, arguments, status, monkeypatch, capsys
):
    (files / "data.yaml").write_text("names: [humerus]")
    monkeypatch.chdir(files)
    monkeypatch.setenv("BONEFX_HUB", "off")
    monkeypatch.setattr(sys, "argv", ["bonefx", *arguments])
    try:
        ended = main()
    except SystemExit as end:  # argparse's way
        ended = end.code
    assert ended == status
    said = "".join(capsys.readouterr())
    assert 40 < said.count("q") <= 200 + len("unrecognized arguments: , required ")


@pytest.mark.slow
def test_a_long_setting_is_not_repeated_whole(files, monkeypatch):
    monkeypatch.setenv("BONEFX_PRECISION", LONG)
    done = run(files, "detect", "arm.png", "--model", "yolo")
    assert done.returncode == 1
    assert 50 < done.stderr.count("q") <= 200


def test_ctrl_c_while_a_command_starts_is_no_traceback(files):
    code = "import signal, bonefx.__main__ as m; m._run = lambda a: signal.raise_signal(2); print(m.main([]))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("130\n", "")


def test_a_setting_that_is_not_offered_is_a_sentence(files, monkeypatch):
    monkeypatch.setenv("BONEFX_FRCNN_ENGINE", "perhaps")
    done = run(files, "detect", "arm.png", "--model", "yolo")
    assert done.returncode == 1
    assert "BONEFX_FRCNN_ENGINE is 'perhaps'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_an_app_with_a_setting_that_is_not_offered_says_so_and_ends():
    app = Path(bonefx.__file__).resolve().parents[1] / "app.py"
    environment = {**os.environ, "BONEFX_HUB": "perhaps", "GRADIO_ANALYTICS_ENABLED": "False"}
    done = subprocess.run(
        [sys.executable, str(app)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "BONEFX_HUB" in done.stderr
    assert "Traceback" not in done.stderr
