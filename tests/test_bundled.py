"""The demo weights that travel with the code: small, measured, and with a card that says so."""

from __future__ import annotations

import hashlib

import pytest

from bonefx.detectors import MODELS
from bonefx.evaluation import report
from bonefx.evaluation.summary import markdown_table
from bonefx.settings import Settings, packaged


def sha256(model_id: str) -> str:
    return hashlib.sha256((packaged("bundled") / MODELS[model_id].bundled).read_bytes()).hexdigest()


def test_together_they_stay_under_35_megabytes():
    files = [packaged("bundled") / model.bundled for model in MODELS.values()]
    assert sum(file.stat().st_size for file in files) < 35_000_000


@pytest.mark.parametrize("model_id", MODELS)
def test_the_packaged_metrics_are_theirs(model_id):
    file = packaged("precomputed_metrics") / MODELS[model_id].metrics_filename(Settings())
    (member,) = report.read(file)["detector"]["members"]
    assert member["sha256"] == sha256(model_id)


@pytest.mark.parametrize("model_id", MODELS)
def test_the_card_is_about_this_file_and_these_metrics(model_id):
    model = MODELS[model_id]
    card = (packaged("bundled") / model.bundled).with_suffix(".md").read_text(encoding="utf-8")
    made = report.read(packaged("precomputed_metrics") / model.metrics_filename(Settings()))
    assert sha256(model_id) in card
    assert markdown_table([made]).splitlines()[-1] in card
    assert "not a medical device" in card.lower()
