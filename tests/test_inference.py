"""One radiograph in, each model's outcome out: on the real bundled weights."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest

import bonefx
from bonefx import detectors, images, inference
from bonefx.calibration import calibration_of
from bonefx.detectors import MODELS, Registry
from bonefx.errors import BoneFXError, ImageError, RequestError, WeightsError
from bonefx.fusion import fuse
from bonefx.settings import NOTICE, Settings, packaged
from tests.loads import load_by


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(Settings(hub=False))


@pytest.fixture(scope="module")
def radiograph() -> images.Radiograph:
    phantom = images.read(packaged("examples") / "wrist-1.png")
    return images.from_array(phantom.rgb[::3, ::3], "arm.png")


@pytest.mark.slow
def test_both_models_answer_in_the_order_asked(registry, radiograph):
    outcomes = inference.run(radiograph, ["yolo", "faster-rcnn"], registry)
    assert [outcome.model for outcome in outcomes] == ["yolo", "faster-rcnn"]
    for outcome in outcomes:
        assert outcome.error is None
        assert len(outcome.detections) <= 300
        assert outcome.weights.source == "bundled"
        assert len(outcome.weights.sha256) == 64
        assert outcome.runtime.precision in ("float32", "bfloat16", "int8")
        assert {"preprocess", "network", "postprocess", "total"} <= set(outcome.timings_ms)


def test_a_result_says_all_that_it_rests_on(registry, radiograph):
    (outcome,) = inference.run(radiograph, ["yolo"], registry)
    result = json.loads(json.dumps(outcome.to_result(0.25)))
    assert list(result) == [
        "schema_version", "image", "width", "height", "model", "weights", "runtime", "threshold",
        "timings_ms", "notes", "notice", "detections",
    ]  # fmt: skip
    assert (result["image"], result["width"], result["height"]) == ("arm.png", 171, 299)
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


@pytest.mark.slow
def test_a_forked_worker_has_the_models_and_sends_plain_values_back(radiograph):
    """As on ZeroGPU: the parent has loaded the models, the worker ends with its call."""
    registry = Registry(Settings(hub=False, runtime="torch"))
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("load", "words"),
    [
        (_no_weights, "No weights of YOLO could be used.*of something else"),  # nothing loads
        (lambda weights, settings: _Breaks(), "failed on this image"),  # it loads, then fails
    ],
)
def test_one_models_failure_leaves_the_others_result(radiograph, monkeypatch, load, words):
    load_by(monkeypatch, "yolo", load)
    rcnn, yolo = inference.run(radiograph, ["faster-rcnn", "yolo"], Registry(Settings(hub=False)))
    assert rcnn.error is None
    assert yolo.detections is None
    result = yolo.to_result(0.25)
    assert "detections" not in result
    assert "traceback" not in result["error"]
    with pytest.raises(BoneFXError, match=words):
        raise BoneFXError(result["error"])


def test_an_unknown_model_is_refused_before_anything_runs(registry, radiograph):
    with pytest.raises(RequestError, match=r"no model 'x'\. The models are: faster-rcnn, yolo, consensus"):
        inference.run(radiograph, ["yolo", "x"], registry)


# The consensus


def test_the_consensus_is_made_of_its_members_detections(registry):
    radiograph = images.read(packaged("examples") / "wrist-1.png")  # both models find something in it
    asked = ["consensus", "yolo", "faster-rcnn"]
    consensus, yolo, rcnn = inference.run(radiograph, asked, registry)
    members = [rcnn, yolo]  # in this order, whatever was asked for first
    calibrations = [calibration_of(m.as_member().identity) for m in members]
    expected = fuse([member.detections for member in members], calibrations)
    assert (consensus.model, consensus.error) == ("consensus", None)
    assert len(consensus.detections) > 0
    assert np.array_equal(consensus.detections.boxes, expected.boxes)
    assert np.array_equal(consensus.detections.scores, expected.scores)


def test_its_members_run_once_each(registry, radiograph, monkeypatch):
    ran = []
    real = inference._forward
    monkeypatch.setattr(
        inference, "_forward", lambda rgb, blanks, *more: ran.append(blanks) or real(rgb, blanks, *more)
    )
    told = set()
    for asked in (["consensus"], ["yolo", "consensus"], ["consensus", "consensus"]):
        inference.run(radiograph, asked, registry, lambda model_id, step: told.add(model_id))
    assert [sorted(each.model for (each,) in blanks) for blanks in ran] == [
        ["faster-rcnn", "yolo"]
    ] * 3  # one call, for the one GPU
    assert told == set(MODELS)


def test_a_consensus_says_all_that_it_rests_on(registry, radiograph):
    noted = replace(radiograph, notes=("of the image",))
    consensus, rcnn, yolo = inference.run(noted, ["consensus", *MODELS], registry)
    result = json.loads(json.dumps(consensus.to_result(0.0)))
    assert list(result) == [
        "schema_version", "image", "width", "height", "model", "weights", "members", "runtime", "threshold",
        "timings_ms", "notes", "notice", "detections",
    ]  # fmt: skip
    assert result["weights"] is result["runtime"] is None
    for member, outcome in zip(result["members"], (rcnn, yolo), strict=True):
        own = json.loads(json.dumps(outcome.to_result(0.0)))
        assert list(member) == ["model", "weights", "nms", "image_size", "runtime"]
        assert {key: own[key] for key in ("model", "weights", "runtime")}.items() <= member.items()
        assert (member["nms"], member["image_size"]) == (outcome.nms, outcome.image_size)
    *parts, total = consensus.timings_ms.values()
    assert list(consensus.timings_ms) == ["faster-rcnn", "yolo", "fusion", "total"]
    assert total == pytest.approx(sum(parts))
    notes = [
        f"{name}: {note}" for name, one in (("Faster R-CNN", rcnn), ("YOLO", yolo)) for note in one.notes[1:]
    ]
    assert result["notes"] == ["of the image", *notes]
    assert notes
    assert "members" not in rcnn.to_result(0.0)


def test_a_consensus_of_scores_without_calibration_says_so(registry, radiograph, monkeypatch):
    monkeypatch.setattr(inference, "calibration_of", lambda identity: None)
    (consensus,) = inference.run(radiograph, ["consensus"], registry)
    said = [note for note in consensus.notes if "no calibration" in note]
    assert [note.split(" are fused")[0] for note in said] == [
        "The scores of Faster R-CNN",
        "The scores of YOLO",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("load", "words"),
    [
        (_no_weights, "YOLO: No weights of YOLO could be used.*of something else"),
        (lambda weights, settings: _Breaks(), "YOLO: The model failed on this image"),
    ],
)
def test_a_members_failure_is_the_consensus_error(radiograph, monkeypatch, load, words):
    load_by(monkeypatch, "yolo", load)
    asked = ["consensus", "faster-rcnn"]
    consensus, rcnn = inference.run(radiograph, asked, Registry(Settings(hub=False)))
    assert rcnn.error is None
    assert consensus.detections is None
    assert re.match(f"There is no consensus without all models. {words}", consensus.error)
    result = json.loads(json.dumps(consensus.to_result(0.25)))
    assert [member["model"] for member in result["members"]] == ["faster-rcnn", "yolo"]
    assert result["members"][0]["weights"] == rcnn.weights.to_record()


def test_choices_are_the_models_then_the_consensus():
    assert list(inference.CHOICES) == [*MODELS, "consensus"]
    for model_id, choice in inference.CHOICES.items():
        assert choice.id == model_id
        assert choice.name
        assert choice.summary.endswith(".")
        assert choice.metrics_file(Settings()).endswith(".json")


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
