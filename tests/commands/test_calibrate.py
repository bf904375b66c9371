"""The command `calibrate`: from stored predictions of held-out images to what scores mean."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from bonefx import calibration
from bonefx.__main__ import main
from bonefx.evaluation import predict
from bonefx.evaluation.calibration import learn
from bonefx.evaluation.store import Store
from bonefx.fusion import RULES
from bonefx.results import Identity
from tests.evaluation import toy
from tests.training import toy as pictures


def run(*arguments) -> int:
    return main(["calibrate", *map(str, arguments)])


def put(store: Store, seed: int) -> dict:
    """Predictions of two models on a data set; the results by model."""
    dataset, results = toy.random_case(seed, images=60)
    store.write_ground_truth(dataset)
    found = {"yolo": results, "faster-rcnn": [{**row, "score": row["score"] ** 2} for row in results[::2]]}
    for model_id, rows in found.items():
        member = {**toy.detector(model_id, model_id)["members"][0], "sha256": f"sha of {model_id}"}
        detector = {"id": model_id, "name": model_id, "method": None, "members": [member]}
        timing = {"ms_per_image": {"total": 1.0}, "processor": "a test's"}
        store.write_run(model_id, rows, {"dataset": dataset.sha256, "versions": {}}, detector, timing)
    return {"dataset": dataset, **found}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "metrics"


def test_each_model_is_calibrated_on_all_sets(out, capsys, monkeypatch):
    one, two = (put(Store(out / "held_out" / name), seed) for seed, name in enumerate(("here", "there")))
    assert run("--out", out) == 0
    content = json.loads((out / "calibration.json").read_text(encoding="utf-8"))
    monkeypatch.setattr(calibration, "packaged", lambda name: out)
    calibration.stored.cache_clear()
    for entry in content["models"]:
        assert [data["images"] for data in entry["fitted_on"]] == [60, 60]
        learnt = learn([(each["dataset"], each[entry["model"]]) for each in (one, two)])
        stored = calibration.calibration_of(Identity(entry["sha256"], entry["nms"], entry["image_size"]))
        assert (stored.slope, stored.offset) == pytest.approx((learnt.slope, learnt.offset), abs=1e-6)
    calibration.stored.cache_clear()
    assert content["consensus"]["trials"].keys() == RULES.keys()
    assert content["consensus"]["members"].keys() == {"yolo", "faster-rcnn"}
    said = capsys.readouterr().out
    assert "yolo: slope" in said
    assert said.count("(in use)") == 1
    before = (out / "calibration.json").read_bytes()
    assert run("--out", out) == 0
    assert (out / "calibration.json").read_bytes() == before


def no_predictions(out):
    shutil.rmtree(out)


def one_model_lost(out):
    Store(out / "held_out/here").predictions("yolo").unlink()


def other_weights(out):
    store = Store(out / "held_out/there")
    made = store.run("yolo")
    detector = {**made.detector, "members": [{**made.detector["members"][0], "sha256": "other"}]}
    rows = json.loads(store.predictions("yolo").read_text(encoding="utf-8"))
    store.write_run("yolo", rows, made.key, detector, made.timing)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_predictions, "holds no predictions"),
        (one_model_lost, "has no predictions of yolo"),
        (other_weights, "are of several weights"),
    ],
)
def test_what_cannot_be_calibrated_is_said(out, capsys, damage, words):
    for seed, name in enumerate(("here", "there")):
        put(Store(out / "held_out" / name), seed)
    damage(out)
    assert run("--out", out) == 1
    assert words in capsys.readouterr().err
    assert not (out / "calibration.json").exists()


def test_the_images_are_those_that_training_leaves_out(tmp_path):
    from bonefx.training import data

    root = pictures.write(tmp_path / "set", images=12)
    held = predict.held_out(root)
    learnt, left = data.hold_out(data.load(root))
    assert [image.sha256 for image in held.images] == [image.sha256 for image in left.images]
    assert held.split == "train, held out"
    np.testing.assert_array_equal(held.bbox, left.bbox)
    assert not {image.file_name for image in held.images} & {s.path.name for s in learnt.samples}
