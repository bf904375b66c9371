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
        env={**os.environ, "BONEFX_HUB": "off", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_json_has_one_result_per_image_and_model(files):
    done = run(files, "detect", "arm.png", "--json", "--threshold", "0")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert [(r["image"], r["model"]) for r in results] == [("arm.png", "faster-rcnn"), ("arm.png", "yolo")]
    assert all(r["schema_version"] == 1 and "detections" in r for r in results)


def test_a_bad_file_is_said_and_the_others_are_done(files):
    done = run(files, "detect", "bad.png", "arm.png", "--model", "yolo", "--json")
    assert done.returncode == 1
    bad, good = json.loads(done.stdout)
    assert "error" in bad
    assert "detections" in good
    assert "Traceback" not in done.stderr


def test_words_for_people(files):
    done = run(files, "detect", "arm.png", "--model", "yolo", "--threshold", "1")
    assert done.returncode == 0
    assert "no detection above the threshold" in done.stdout
    assert "bundled" in done.stdout
    assert "not a medical device" in done.stdout.lower()
    assert "no fracture" not in done.stdout.lower()


def test_the_consensus_names_the_weights_of_both(files):
    done = run(files, "detect", "bad.png", "arm.png", "--model", "consensus", "--threshold", "0.001")
    assert done.returncode == 1
    assert "bad.png, consensus: " in done.stdout
    words = r"arm.png, consensus: weights faster\S+ \(bundled\) and yolo\S+ \(bundled\), threshold 0.001\n"
    assert re.search(words, done.stdout)
    assert "Traceback" not in done.stderr


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


def test_a_setting_that_is_not_offered_is_a_sentence(files, monkeypatch):
    monkeypatch.setenv("BONEFX_FRCNN_ENGINE", "perhaps")
    done = run(files, "detect", "arm.png", "--model", "yolo")
    assert done.returncode == 1
    assert "BONEFX_FRCNN_ENGINE is 'perhaps'" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_app_with_a_setting_that_is_not_offered_says_so_and_ends():
    app = Path(bonefx.__file__).resolve().parents[1] / "app.py"
    environment = {**os.environ, "BONEFX_HUB": "perhaps", "GRADIO_ANALYTICS_ENABLED": "False"}
    done = subprocess.run(
        [sys.executable, str(app)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "BONEFX_HUB" in done.stderr
    assert "Traceback" not in done.stderr
