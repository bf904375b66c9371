"""What made a run is written down, also when the run was stopped and resumed."""

from __future__ import annotations

import json

import pytest

from bonefx.errors import RequestError
from bonefx.training import journal
from bonefx.training.journal import RunRecord
from bonefx.training.validation import BEST_BY

IDENTITY = {"model": "yolo", "recipe": {"name": "bundled", "stages": (1, 2)}, "data": {"sha256": "a"}}


def record(out):
    return json.loads((out / "run.json").read_text(encoding="utf-8"))


def test_a_record_is_there_from_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["bonefx", "train", "yolo", "--out", "a b"])
    RunRecord(tmp_path, IDENTITY, "cpu", resume=False)
    written = record(tmp_path)
    assert written["recipe"] == {"name": "bundled", "stages": [1, 2]}
    assert written["finished"] is False
    (part,) = written["parts"]
    assert part["command"] == "python -m bonefx train yolo --out 'a b'"
    assert {"python", "torch", "bonefx"} <= set(part["versions"])
    assert part["hardware"]["device"]
    assert part["hardware"]["threads"] > 0


@pytest.mark.slow
def test_a_resumed_run_has_two_parts_and_one_curve(tmp_path):
    first = RunRecord(tmp_path, IDENTITY, "cpu", resume=False)
    for step in (1, 2, 3):
        first.step(step, {"loss": 4.0 - step})
    first.epoch(1, {BEST_BY: 0.25})
    for step in (4, 5):
        first.step(step, {"loss": 0.5})
    with (tmp_path / "losses.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # killed in the midst of a line

    second = RunRecord(tmp_path, IDENTITY, "cpu", resume=True)
    for step in (4, 5, 6):
        second.step(step, {"loss": 0.25})
    second.epoch(2, {BEST_BY: 0.5})
    weights = tmp_path / "model_final.pt"
    weights.write_bytes(b"weights")
    second.finish([weights])

    written = record(tmp_path)
    assert [part["from_step"] for part in written["parts"]] == [1, 4]
    assert written["curves"] == {
        "losses": {"step": [1, 2, 3, 4, 5, 6], "loss": [3.0, 2.0, 1.0, 0.25, 0.25, 0.25]},
        "validation": {"epoch": [1, 2], BEST_BY: [0.25, 0.5]},
    }
    assert written["finished"] is True
    assert [(file["file"], file["bytes"]) for file in written["files"]] == [("model_final.pt", 7)]
    assert (tmp_path / "curves.svg").read_text(encoding="utf-8").count("<svg") == 1


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ([0.1, 0.3, 0.2], [True, True, False]),
        ([0.1, 0.1], [True, False]),  # only more is better
        ([None, 0.1], [True, True]),  # undefined counts as nothing
        ([None, None], [True, False]),
    ],
)
def test_the_best_epoch(tmp_path, figures, best):
    run = RunRecord(tmp_path, IDENTITY, "cpu", resume=False)
    assert [run.epoch(epoch, {BEST_BY: value}) for epoch, value in enumerate(figures, 1)] == best


def test_an_epoch_that_is_measured_again_competes_with_the_others_not_itself(tmp_path):
    run = RunRecord(tmp_path, IDENTITY, "cpu", resume=False)
    run.epoch(1, {BEST_BY: 0.1})
    run.epoch(2, {BEST_BY: 0.2})
    assert RunRecord(tmp_path, IDENTITY, "cpu", resume=True).epoch(2, {BEST_BY: 0.2})


def test_what_was_not_measured_is_never_best(tmp_path):
    assert RunRecord(tmp_path, IDENTITY, "cpu", resume=False).epoch(1, {}) is False
    assert record(tmp_path)["curves"]["validation"] == {}


def test_long_curves_are_thinned_to_means(tmp_path):
    run = RunRecord(tmp_path, IDENTITY, "cpu", resume=False)
    for step in range(1, 1502):
        run.step(step, {"loss": float(step)})
    run.epoch(1, {})
    losses = record(tmp_path)["curves"]["losses"]
    assert len(losses["step"]) == len(losses["loss"]) <= journal.POINTS
    assert (losses["step"][0], losses["loss"][0]) == (4, 2.5)
    assert losses["step"][-1] == 1501


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "faster-rcnn"}, "another model"),
        ({"data": {"sha256": "b"}}, "another data"),
        ({"recipe": {"name": "original"}, "data": None}, "another recipe and data"),
    ],
)
def test_another_run_is_not_resumed(tmp_path, change, words):
    RunRecord(tmp_path, IDENTITY, "cpu", resume=False)
    with pytest.raises(RequestError, match=words):
        RunRecord(tmp_path, {**IDENTITY, **change}, "cpu", resume=True)


def test_a_run_is_not_overwritten(tmp_path):
    RunRecord(tmp_path, IDENTITY, "cpu", resume=False)
    with pytest.raises(RequestError, match="holds a run already"):
        RunRecord(tmp_path, IDENTITY, "cpu", resume=False)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(RequestError, match="no run to go on with"):
        RunRecord(tmp_path, IDENTITY, "cpu", resume=True)


def test_a_damaged_record_is_said(tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RequestError, match="cannot be read"):
        RunRecord(tmp_path, IDENTITY, "cpu", resume=True)
