"""The demo weights that travel with the code: small, measured, and with a card that says so."""

from __future__ import annotations

import hashlib
import json

import pytest

from bonefx.calibration import FILE, calibration_of
from bonefx.detectors import MODELS
from bonefx.evaluation import report
from bonefx.evaluation.summary import markdown_table
from bonefx.fusion import RULE
from bonefx.results import Identity
from bonefx.settings import Settings, packaged


def sha256(model_id: str) -> str:
    return hashlib.sha256((packaged("bundled") / MODELS[model_id].bundled).read_bytes()).hexdigest()


def test_together_they_stay_under_35_megabytes():
    files = [packaged("bundled") / model.bundled for model in MODELS.values()]
    assert sum(file.stat().st_size for file in files) < 35_000_000


@pytest.mark.parametrize("data_set", ["", "FracAtlasUpper"])
@pytest.mark.parametrize("model_id", MODELS)
def test_the_packaged_metrics_are_theirs(model_id, data_set):
    file = packaged("precomputed_metrics") / data_set / MODELS[model_id].metrics_file(Settings())
    made = report.read(file)
    (member,) = made["detector"]["members"]
    assert member["sha256"] == sha256(model_id)
    learnt = calibration_of(Identity(member["sha256"], member["nms"], member["image_size"]))
    told = made["calibration"]
    assert (told["slope"], told["offset"]) == (learnt.slope, learnt.offset)
    assert made["dataset"]["sha256"] not in [data["sha256"] for data in told["fitted_on"]]


def test_the_rule_of_the_consensus_is_the_best_on_the_held_out_images():
    tried = json.loads((packaged("precomputed_metrics") / FILE).read_text(encoding="utf-8"))["consensus"]
    assert tried["rule"] == RULE
    assert tried["trials"][RULE] == max(tried["trials"].values())
    assert tried["trials"][RULE] > max(tried["members"].values())


@pytest.mark.parametrize("model_id", MODELS)
def test_the_card_is_about_this_file_and_these_metrics(model_id):
    model = MODELS[model_id]
    card = (packaged("bundled") / model.bundled).with_suffix(".md").read_text(encoding="utf-8")
    name = model.metrics_file(Settings())
    both = [report.read(packaged("precomputed_metrics") / name) for name in (name, f"FracAtlasUpper/{name}")]
    assert sha256(model_id) in card
    assert markdown_table(both) in card
    assert "not a medical device" in card.lower()
