"""Graphs on disk: only a whole one that belongs to the weights in use counts."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bonefx.detectors import faster_rcnn, graphs, yolo
from bonefx.detectors.faster_rcnn.config import FasterRCNNConfig
from bonefx.detectors.graphs import Card
from bonefx.errors import WeightsError
from bonefx.sources.hub import WeightFile, local_weights, sha256_of


@pytest.fixture
def weights(tmp_path) -> WeightFile:
    (tmp_path / "w.pt").write_bytes(b"weights")
    return local_weights(tmp_path / "w.pt")


def put(folder: Path, stem: str, of: WeightFile, form: str = "float", **changes) -> Path:
    """A graph of small files."""
    card = graphs.card_path(folder, stem, form)
    _, xml, binary = graphs.files(card)
    xml.write_text("<net/>")
    binary.write_bytes(b"\0\1")
    fields = {
        "model": "yolo",
        "form": form,
        "weights": of.sha256,
        "config": graphs.config_sha256(of),
        "processing": {},
        "xml": sha256_of(xml),
        "bin": sha256_of(binary),
        "versions": {},
    }
    card.write_text(Card(**{**fields, **changes}).to_json())
    return card


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def test_a_graph_beside_the_weights_is_found(weights):
    put(weights.path.parent, "w", weights)
    put(weights.path.parent, "w", weights, "int8", float_layers=("a",), checks={"int8": {"passed": True}})
    found, problems = graphs.find("yolo", weights, None)
    assert problems == []
    assert {form: graph.path.name for form, graph in found.items()} == {
        "float": "w.float.xml",
        "int8": "w.int8.xml",
    }
    assert found["int8"].card.float_layers == ("a",)
    assert found["int8"].card.passed("int8")
    assert not found["float"].card.passed("bfloat16")


def test_a_graph_in_the_cache_is_found(weights, tmp_path):
    folder = tmp_path / "cache" / graphs.folder_name("yolo", weights)
    folder.mkdir(parents=True)
    put(folder, "yolo", weights)
    found, _ = graphs.find("yolo", weights, tmp_path / "cache")
    assert list(found) == ["float"]
    assert graphs.find("faster_rcnn", weights, tmp_path / "cache") == ({}, [])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda card, w: card.with_suffix(".bin").write_bytes(b"\0\2"), "damaged"),  # a bit has flipped
        (lambda card, w: card.with_suffix(".xml").write_text(""), "damaged"),  # the disk was full
        (lambda card, w: card.with_suffix(".bin").unlink(), "cannot be read"),
        (lambda card, w: card.write_text("{"), "card is damaged"),  # no JSON
        (lambda card, w: card.write_text("[]"), "card is damaged"),  # no table
        (lambda card, w: card.write_bytes(b"\xff"), "cannot be read"),  # no text
        (lambda card, w: card.write_text("[" * 500_000), "card is damaged"),  # nested deeper than is followed
        (lambda card, w: card.write_text("9" * 2_000_000), "too large"),
        (lambda card, w: pipe(card), "no regular file"),  # nobody would ever write into it
        (lambda card, w: pipe(card.with_suffix(".bin")), "no regular file"),
        (lambda card, w: card.write_text('{"format": 0}'), "another version"),
        (lambda card, w: put(card.parent, "w", w, weights="0" * 64), "other weights"),
        (lambda card, w: put(card.parent, "w", w, model="faster_rcnn"), "other weights"),
        (lambda card, w: put(card.parent, "w", w, config="0" * 64), "other weights or settings"),
        (lambda card, w: put(card.parent, "w", w, checks={"int8": "yes"}), "card is damaged"),
        (lambda card, w: shutil.copy(put(card.parent, "w", w, "int8"), card), "another form"),
    ],
)
def test_a_damaged_or_foreign_graph_is_not_used_and_that_is_said(weights, damage, words):
    card = put(weights.path.parent, "w", weights)
    damage(card, weights)
    found, problems = graphs.find("yolo", weights, None)
    assert "float" not in found
    assert any(words in problem and "w.float.json" in problem for problem in problems)


@pytest.mark.parametrize(
    "change",
    [
        lambda w: replace(w, sha256="b" * 64),  # other weights
        lambda w: replace(w, config=w.path),  # settings beside them
    ],
)
def test_other_weights_have_another_folder_in_the_cache(weights, change):
    assert graphs.folder_name("yolo", change(weights)) != graphs.folder_name("yolo", weights)


def test_a_card_survives_its_file(weights):
    text = put(weights.path.parent, "w", weights, float_layers=("a", "b")).read_text()
    assert Card.from_json(text).to_json() == text
    values = json.loads(text)
    for missing in values:
        with pytest.raises(WeightsError):
            Card.from_json(json.dumps({name: value for name, value in values.items() if name != missing}))


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"image_size": 448, "stride": 32},
        {"image_size": "448", "stride": 32, "names": ["humerus"]},
        {"image_size": 10**9, "stride": 32, "names": ["humerus"]},
        {"image_size": 448, "stride": 0, "names": ["humerus"]},
        {"image_size": 448, "stride": 32, "names": ["person"]},
        {"image_size": 448, "stride": 32, "names": "humerus"},
    ],
)
def test_settings_in_a_yolos_card_are_checked(record):
    with pytest.raises(WeightsError):
        yolo.Processing.from_record(record)


@pytest.mark.parametrize(
    "change",
    [
        {"max_size": 10**9},
        {"pixel_std": [0.0, 1.0, 1.0]},
        {"pixel_mean": [1.0]},
        {"pixel_mean": [float("nan")] * 3},
        {"input_format": "GREY"},
        {"nms": "half"},
    ],
)
def test_settings_in_a_faster_rcnns_card_are_checked(change):
    good = json.loads(json.dumps(faster_rcnn.Processing(FasterRCNNConfig(), 32).to_record()))
    assert faster_rcnn.Processing.from_record(good) == faster_rcnn.Processing(FasterRCNNConfig(), 32)
    for bad in ({**good, "config": {**good["config"], **change}}, {**good, "divisor": 0}, {}):
        with pytest.raises(WeightsError):
            faster_rcnn.Processing.from_record(bad)
