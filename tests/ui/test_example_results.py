"""Kept results of the examples: those that travel with the code, and those that the app keeps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bonefx import images, inference
from bonefx.detectors import MODELS, Registry
from bonefx.settings import Settings, packaged
from bonefx.sources.hub import WeightFile, sha256_of
from bonefx.ui import example_results as kept
from bonefx.ui.examples import THUMBNAIL, THUMBNAILS, contact_sheet, examples

OTHERS = WeightFile(Path("w.pt"), "hub", "owner/others", "1" * 40, "w.pt", "a" * 64)
AGAIN = "Run `python -m bonefx examples`: what travels with the code is not of these weights or examples."


def test_there_is_a_result_of_every_example_by_the_bundled_weights():
    for each in examples().values():
        outcomes = kept.bundled(each)
        assert [outcome.model for outcome in outcomes] == list(MODELS), AGAIN
        for outcome in outcomes:
            if outcome.model in MODELS:
                file = packaged("bundled") / MODELS[outcome.model].bundled
                assert outcome.weights.sha256 == sha256_of(file), AGAIN
            assert outcome.image == each.path.name


@pytest.mark.slow
@pytest.mark.parametrize("example_id", ["wrist-1", "humerus-2"])  # a PNG, and a DICOM file of 16 bits
def test_they_are_what_the_bundled_weights_find(example_id):
    ours = examples()[example_id]
    registry = Registry(Settings(hub=False, precision="float32"))
    fresh = inference.run(images.read(ours.path), list(MODELS), registry)
    for was, now in zip(kept.bundled(ours), fresh, strict=True):
        assert (was.width, was.height, was.nms, was.image_size) == (
            now.width,
            now.height,
            now.nms,
            now.image_size,
        ), AGAIN
        clear = 0.05  # below that, other processors order boxes otherwise
        was_found, now_found = was.detections.above(clear), now.detections.above(clear)
        assert was_found.labels == now_found.labels, AGAIN
        np.testing.assert_allclose(was_found.scores, now_found.scores, atol=5e-3, err_msg=AGAIN)
        np.testing.assert_allclose(was_found.boxes, now_found.boxes, atol=0.5, err_msg=AGAIN)


def test_thumbnails_are_those_of_the_examples():
    from PIL import Image

    with Image.open(packaged("examples") / THUMBNAILS) as sheet:
        assert sheet.size == (THUMBNAIL[0] * len(examples()), THUMBNAIL[1]), AGAIN
        apart = np.abs(np.asarray(sheet, int) - np.asarray(contact_sheet(), int))
    assert apart.mean() < 4, AGAIN


def test_a_record_is_the_outcome(tmp_path):
    ours = examples()["wrist-1"]
    for outcome in kept.bundled(ours)[:2]:
        record = json.loads(json.dumps(kept.to_record(outcome)))
        again = kept.from_record(record, ours, outcome.model)
        assert again.detections.scores.tolist() == outcome.detections.scores.tolist()
        np.testing.assert_allclose(again.detections.boxes, outcome.detections.boxes, atol=0.01)
        assert replace(again, detections=None) == replace(outcome, detections=None)


def test_other_weights_are_kept_by_hash(tmp_path):
    ours, other = examples()["wrist-1"], examples()["elbow-1"]
    results = kept.ExampleResults(Settings(cache_dir=tmp_path))
    used = dict.fromkeys(MODELS, OTHERS)
    outcomes = tuple(
        replace(each, weights=replace(each.weights, sha256="a" * 64), notes=("the Hub was silent",))
        for each in kept.bundled(ours)[:2]
    )
    assert results.find(ours, used) == ()
    results.keep(ours, outcomes)
    found = kept.ExampleResults(Settings(cache_dir=tmp_path)).find(ours, used)
    assert [each.model for each in found] == list(MODELS)
    assert {each.weights.repo for each in found[:2]} == {"owner/others"}
    assert found[0].notes == ()  # why other weights were not used is no part of it
    assert results.find(other, used) == ()
    assert results.find(ours, {**used, "yolo": replace(OTHERS, sha256="b" * 64)}) == ()
    assert kept.ExampleResults(Settings(cache_dir=tmp_path, precision="float32")).find(ours, used) == ()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"boxes": [1]}'])
def test_half_a_file_is_no_result(tmp_path, content):
    ours = examples()["wrist-1"]
    results = kept.ExampleResults(Settings(cache_dir=tmp_path))
    used = dict.fromkeys(MODELS, OTHERS)
    outcomes = [replace(o, weights=replace(o.weights, sha256="a" * 64)) for o in kept.bundled(ours)[:2]]
    results.keep(ours, tuple(outcomes))
    assert results.find(ours, used)
    results = kept.ExampleResults(Settings(cache_dir=tmp_path))  # as another process does it
    for path in tmp_path.rglob("*.json"):
        path.write_text(content)
    assert results.find(ours, used) == ()


SERVER = """
import sys
from bonefx.detectors import Registry
from bonefx.settings import Settings
from bonefx.ui.build import build, launch_options
demo = build(Registry(Settings(hub=False)))
_, address, _ = demo.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **launch_options())
print("at", address, flush=True)
sys.stdin.readline()
print(sorted(each for each in ("torch", "openvino", "ultralytics") if each in sys.modules), flush=True)
"""


@pytest.mark.slow
def test_examples_need_no_model():
    """Two of them, in a process of its own: nothing that computes was even imported."""
    from playwright.sync_api import expect

    from tests.browser import free_port, open_browser

    environment = {**os.environ, "GRADIO_SERVER_PORT": str(free_port())}
    root = Path(kept.__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=root,
    ) as server:
        address = next(line.split()[1] for line in server.stdout if line.startswith("at "))
        with open_browser() as browser:
            page = browser.new_page()
            page.goto(address)
            page.locator('.viewer[data-example="wrist-1"][data-settled="true"]').wait_for()
            page.locator('.examples [data-id="humerus-2"]').click()
            page.locator('.viewer[data-example="humerus-2"][data-done="true"]').wait_for()
            expect(page.locator(".view .mark").first).to_be_attached()
        answer, _ = server.communicate("\n", timeout=60)
    assert answer.strip() == "[]"
