"""A whole measurement, of as little as there can be."""

from __future__ import annotations

import json

import pytest

from bonefx.benchmark import pictures, report
from bonefx.benchmark.measure import Plan, measure
from bonefx.benchmark.worker import STAGES
from bonefx.errors import BoneFXError

pytestmark = pytest.mark.slow

TINY = Plan(
    models=("yolo",), images=2, rounds=1, starts=1, shapes=False, lengths=(64,), boxes=(0, 3), repeats=1
)


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def made(told):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        return measure(TINY, "python -m bonefx benchmark", told.append)


def test_both_sides_find_alike_with_their_own_runtimes(made):
    (model,) = made["models"]
    assert model["weights"]["source"] == "bundled"
    (reference,), (ours,) = model["reference"]["runtimes"], model["ours"]["runtimes"]
    assert reference["engine"].startswith("ultralytics")
    assert reference["precision"] == "float32"
    assert ours["engine"].startswith("openvino")
    assert model["ours"]["detections"] == pytest.approx(model["reference"]["detections"], rel=0.2)
    assert model["ratio"]["median"] > 0


def test_the_reference_computes_with_the_threads_that_its_library_takes(made):
    from bonefx.detectors.yolo.ultralytics_guard import THREADS

    (model,) = made["models"]
    assert model["reference"]["threads"] == THREADS
    assert model["ours"]["threads"] == 1
    assert ("ratio_to_all_threads" in model) == (THREADS != 1)


@pytest.mark.parametrize("side", ["reference", "ours"])
def test_stages_add_up(made, side):
    ms = {stage: found["low"] for stage, found in made["models"][0][side]["ms"].items()}
    assert tuple(ms) == STAGES
    assert ms["preprocess"] + ms["network"] + ms["postprocess"] <= ms["detection"] * 1.05
    assert made["models"][0][side]["ms"]["decode"]["n"] == 2  # images in one round; the warm-up is left out


def test_all_else_is_measured_too(made):
    assert [row["pixels"] for row in made["lengths"]] == [64]
    assert [row["boxes"] for row in made["boxes"]] == [0, 3]
    assert made["memory"]["ours"]["peak"] > 100
    assert 0 < made["start"]["import"]["median"] < made["start"]["page"]["empty"]["median"]
    assert made["start"]["first"]["ours"]["median"] > 0


def test_it_is_plain_and_can_be_read(made):
    assert json.loads(json.dumps(made)) == made
    assert "YOLO: " in report.as_text(made)


def test_who_waits_is_told_what_for(made, told):
    assert told[0] == "converting"
    assert "round 1 of 1, YOLO, ours" in told


def test_without_examples_there_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(pictures, "packaged", lambda name: tmp_path)
    with pytest.raises(BoneFXError, match="no example images in"):
        measure(TINY, "", lambda text: None)
