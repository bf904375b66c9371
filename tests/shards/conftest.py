"""A folder of small radiographs, one of them unreadable, and what the models find in each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bonefx import images, inference
from bonefx.detectors import Registry
from bonefx.errors import ImageError
from bonefx.results import Outcome
from bonefx.settings import Settings, packaged

MODELS = ("faster-rcnn", "yolo")
THRESHOLD = 0.05
BROKEN = "ward b/broken.png"
GOOD = {  # name: the example that it is, made smaller
    "a.png": "wrist-1.png",
    "b.png": "elbow-1.png",
    "c.png": "wrist-2.png",
    "ward b/a.png": "fingers-1.png",
    "ward b/ä #1.png": "shoulder-1.png",
}


@pytest.fixture(scope="session")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    (folder / "ward b").mkdir()
    (folder / ".hidden").mkdir()
    for name, example in GOOD.items():
        with Image.open(packaged("examples") / example) as picture:
            picture.thumbnail((400, 400))
            picture.save(folder / name)
    (folder / BROKEN).write_bytes((folder / "a.png").read_bytes()[:200])
    for passed_over in (".hidden/a.png", "README.txt", "ward b/labels.csv"):
        (folder / passed_over).write_bytes(b"no image")
    return folder


@pytest.fixture(scope="session")
def expected(source) -> dict[tuple[str, str], dict[str, Any]]:
    """The results of each image by each model, as `bonefx.detect` gives them, by name and model."""
    registry = Registry(Settings(hub=False))
    results = {}
    for name in (*GOOD, BROKEN):
        for model in MODELS:
            try:
                (outcome,) = inference.run(images.read(source / name), [model], registry)
            except ImageError as error:
                outcome = Outcome(name, 0, 0, model, error=str(error))
            results[name, model] = {**outcome.to_result(THRESHOLD), "image": name, "timings_ms": None}
    assert sum(len(each.get("detections", ())) for each in results.values()) > 5  # or nothing is compared
    return results
