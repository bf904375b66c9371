"""One radiograph in, each model's outcome out: on the real bundled weights."""

from __future__ import annotations

import json
import multiprocessing
import pickle
from dataclasses import replace

import numpy as np
import pytest

import bonefx
from bonefx import detectors, images, inference
from bonefx.detectors import MODELS, Registry
from bonefx.errors import BoneFXError, ImageError, RequestError, WeightsError
from bonefx.settings import NOTICE, Settings


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(Settings(hub=False))


@pytest.fixture(scope="module")
def radiograph() -> images.Radiograph:
    rows, columns = np.mgrid[:240, :320]
    grey = 40 + 150 * np.exp(-(((columns - 160) / 40) ** 2)) + 20 * np.sin(rows / 9)
    return images.from_array(grey.astype(np.uint8), "arm.png")


def test_both_models_answer_in_the_order_asked(registry, radiograph):
    outcomes = inference.run(radiograph, ["yolo", "faster-rcnn"], registry)
    assert [outcome.model for outcome in outcomes] == ["yolo", "faster-rcnn"]
    for outcome in outcomes:
        assert outcome.error is None
        assert len(outcome.detections) <= 300
        assert outcome.weights["source"] == "bundled"
        assert len(outcome.weights["sha256"]) == 64
        assert outcome.runtime.precision == "float32"
        assert {"preprocess", "network", "postprocess", "total"} <= set(outcome.timings_ms)


def test_a_result_says_all_that_it_rests_on(registry, radiograph):
    (outcome,) = inference.run(radiograph, ["yolo"], registry)
    result = json.loads(json.dumps(outcome.to_result(0.25)))
    assert list(result) == [
        "schema_version", "image", "width", "height", "model", "weights", "runtime", "threshold",
        "timings_ms", "notes", "notice", "detections",
    ]  # fmt: skip
    assert (result["image"], result["width"], result["height"]) == ("arm.png", 320, 240)
    assert set(result["weights"]) == {"source", "repo", "revision", "file", "sha256"}
    assert set(result["runtime"]) == {"engine", "precision", "device"}
    assert result["notice"] == NOTICE


def test_a_threshold_filters_and_never_runs_a_model(registry, radiograph):
    (outcome,) = inference.run(radiograph, ["yolo"], registry)
    everything = outcome.to_result(0.0)["detections"]
    assert len(everything) == len(outcome.detections)
    score = everything[len(everything) // 2]["score"]
    kept = outcome.to_result(score)["detections"]
    assert kept == [record for record in everything if record["score"] >= score]
    assert outcome.to_result(1.0)["detections"] == []


def test_outcomes_cross_a_process(registry, radiograph):
    outcomes = inference.run(radiograph, list(MODELS), registry)
    again = pickle.loads(pickle.dumps(outcomes))
    assert [one.to_result(0.1) for one in again] == [one.to_result(0.1) for one in outcomes]


def _answer_in_a_fork(connection, registry, radiograph):
    import torch

    torch.set_num_threads(1)  # the parent's thread pool does not exist here
    connection.send_bytes(pickle.dumps(inference.run(radiograph, list(MODELS), registry)))


def test_a_forked_worker_has_the_models_and_sends_plain_values_back(registry, radiograph):
    """As on ZeroGPU: the parent has loaded the models, the worker ends with its call."""
    here = inference.run(radiograph, list(MODELS), registry)
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    worker = fork.Process(target=_answer_in_a_fork, args=(sender, registry, radiograph))
    worker.start()
    assert receiver.poll(60)
    there = pickle.loads(receiver.recv_bytes())
    worker.join(10)
    assert worker.exitcode == 0
    for ours, theirs in zip(here, there, strict=True):
        assert theirs.weights == ours.weights
        np.testing.assert_allclose(theirs.detections.scores, ours.detections.scores, atol=1e-5)


def _no_weights(weights, settings):
    raise WeightsError("the checkpoint is of something else")


class _Breaks:
    """A detector whose forward pass fails, as one that runs out of memory does."""

    runtime, nms, image_size = None, "", 0

    def detect(self, rgb, stopwatch):
        raise MemoryError("a traceback that nobody should see")


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (_no_weights, "No weights of YOLO could be used.*of something else"),  # nothing loads
        (lambda weights, settings: _Breaks(), "failed on this image"),  # it loads, then fails
    ],
)
def test_one_models_failure_leaves_the_others_result(radiograph, monkeypatch, load, words):
    monkeypatch.setitem(detectors.MODELS, "yolo", replace(MODELS["yolo"], load=load))
    rcnn, yolo = inference.run(radiograph, ["faster-rcnn", "yolo"], Registry(Settings(hub=False)))
    assert rcnn.error is None
    assert yolo.detections is None
    result = yolo.to_result(0.25)
    assert "detections" not in result
    assert "traceback" not in result["error"]
    with pytest.raises(BoneFXError, match=words):
        raise BoneFXError(result["error"])


def test_an_unknown_model_is_refused_before_anything_runs(registry, radiograph):
    with pytest.raises(RequestError, match="no model 'x'"):
        inference.run(radiograph, ["yolo", "x"], registry)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "0.5", True, None])
def test_an_impossible_threshold_is_refused(value):
    with pytest.raises(RequestError, match="from 0 to 1"):
        inference.check_threshold(value)


def test_from_python(tmp_path, monkeypatch):
    monkeypatch.setenv("BONEFX_HUB", "off")
    detectors.default_registry.cache_clear()
    array = np.random.default_rng(0).integers(0, 65535, (120, 100), dtype=np.uint16)
    result = bonefx.detect(array, threshold=0.001)
    assert (result["model"], result["width"], result["height"]) == ("yolo", 100, 120)
    assert result["weights"]["source"] == "bundled"
    with pytest.raises(ImageError):
        bonefx.detect(tmp_path / "missing.png")
    with pytest.raises(RequestError):
        bonefx.detect(array, model="x")
