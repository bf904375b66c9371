"""`python -m bonefx convert`, on a network so small that it takes seconds."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bonefx import images
from bonefx.__main__ import main
from bonefx.commands import convert
from bonefx.detections import Detections
from bonefx.detectors import Registry, graphs
from bonefx.detectors.base import Stopwatch
from bonefx.detectors.conversion import make, verification
from bonefx.evaluation import folder
from bonefx.settings import Settings, packaged
from bonefx.training import data
from tests.hub_server import WRITER
from tests.training import toy

pytestmark = pytest.mark.slow

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A Faster R-CNN with random weights, and the graphs that the command makes of it."""
    import torch

    from bonefx.training import faster_rcnn

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model_final_frcnn.pth"
    faster_rcnn.write(faster_rcnn.build(toy.TINY_FASTER_RCNN).eval(), path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make, "has_int8", lambda: True)  # whatever the processor here does
        assert main(["convert", str(path)]) == 0
    return path


def card(weights: Path, form: str) -> graphs.Card:
    return graphs.Card.from_json(graphs.card_path(weights.parent, weights.stem, form).read_text())


def test_the_float_graph_agrees_with_torch_and_says_so(weights):
    made = card(weights, "float")
    assert made.checks["float32"]["share"] == 1.0
    assert made.passed("float32")
    assert {"openvino", "torch"} <= set(made.versions)
    assert made.config is not None


def test_eight_bits_are_kept_only_if_they_agree(weights):
    pytest.importorskip("nncf")
    there = graphs.card_path(weights.parent, weights.stem, "int8").exists()
    if there:
        made = card(weights, "int8")
        assert made.passed("int8")
        assert "backbone.bottom_up.stem" in made.float_layers
        assert made.calibration == "every second example image"
    assert all(file.exists() == there for file in graphs.files(weights.with_suffix(".int8.json")))


def test_the_graph_answers_with_the_boxes_of_the_checkpoint(weights):
    common = {"hub": False, "weights_dir": weights.parent, "precision": "float32"}
    fast = Registry(Settings(**common)).get("faster-rcnn").detector
    slow = Registry(Settings(**common, runtime="torch")).get("faster-rcnn").detector
    assert fast.runtime.engine.startswith("openvino")
    rgb = images.read(packaged("examples") / "wrist-1.png").rgb
    expected, found = slow.detect(rgb, Stopwatch()), fast.detect(rgb, Stopwatch())
    assert verification.agreement([expected], [found])["share"] == 1.0


def test_graphs_are_published_beside_the_weights(weights, hub, monkeypatch):
    from bonefx.sources import hub as sources

    made = {file.name: file for file in graphs.files(weights.with_suffix(".float.json"))}
    settings = Settings(repo_id="owner/weights", endpoint=hub.url, token=WRITER)
    pushed = sources.push_beside_weights(settings, made, "Graphs")
    assert pushed.changed
    repo = hub.repos["model", "owner/weights"]
    assert set(made) <= set(repo.commits[repo.head])


def test_where_eight_bits_are_added_up_otherwise_none_are_made(weights, tmp_path, monkeypatch, capsys):
    shutil.copy(weights.with_suffix(".yaml"), tmp_path)
    copy = shutil.copy(weights, tmp_path)
    monkeypatch.setattr(make, "has_int8", lambda: False)
    assert main(["convert", str(copy)]) == 0
    assert "8 bits are left out: this processor" in capsys.readouterr().err
    assert {file.suffix for file in tmp_path.glob("*.float.*")} == {".json", ".xml", ".bin"}
    assert not list(tmp_path.glob("*.int8.*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["weights.onnx"],
            "Give it one of these names: model_final_frcnn.pth",
        ),
        (["missing.pth"], "missing.pth cannot be read"),
        (["--calibrate", "DATA", "train", "--check", "DATA", "train"], "other images"),
        (["--push"], "HF_TOKEN"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_made(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["convert", *arguments]) == 1
    assert words in capsys.readouterr().err


def test_graphs_are_checked_on_what_training_leaves_out_and_calibrated_on_the_rest(tmp_path):
    root = toy.write(tmp_path / "set")
    toy.write_groups(root)
    parser = argparse.ArgumentParser()
    convert.add_arguments(parser)
    words = ["--calibrate", str(root), "train", "--check", str(root), "held-out"]
    pictures = convert._pictures(parser.parse_args(words))
    train, held = data.hold_out(data.load(root))
    assert list(pictures.checked) == [image.file for image in held.images]
    assert list(pictures.calibration) == [image.file for image in train.dataset.images]
    assert pictures.calibrated_on == "3 images of set, train"
    fewer = convert._pictures(parser.parse_args([*words, "--calibration-images", "1"]))
    assert len(fewer.calibration) == 1
    assert len(fewer.checked) == len(pictures.checked)


# The check


def found(*rows: tuple[float, float]) -> Detections:
    """Boxes of 10 pixels, each given by its left side and its score."""
    boxes = np.array([[left, 0, left + 10, 10] for left, _ in rows])
    return Detections(boxes, np.array([score for _, score in rows]), np.zeros(len(rows)), ("a",) * len(rows))


@pytest.mark.parametrize(
    ("graph", "share"),
    [
        (found((0, 0.8), (50, 0.7)), 1.0),
        (found((0.2, 0.78), (50, 0.7)), 1.0),  # a little off
        (found((2, 0.8), (50, 0.7)), 0.5),  # too far to the right
        (found((0, 0.7), (50, 0.7)), 0.5),  # of another score
        (found((0, 0.8)), 0.5),
        (found(), 0.0),
    ],
)
def test_agreement_counts_the_best_boxes_one_an_image(graph, share):
    reference = [found((0, 0.8), (50, 0.7), (90, 0.1)), found()]
    made = verification.agreement(reference, [graph, found()])
    assert (made["boxes"], made["share"], made["passed"]) == (2, share, share >= 0.97)


@pytest.mark.parametrize(
    ("change", "passed"),
    [
        (lambda one: one, True),
        (lambda one: one[:0], False),  # nothing is found any more
        (lambda one: Detections(one.boxes + 30, one.scores, one.class_ids, one.model_labels), False),
    ],
)
def test_with_labels_what_counts_is_what_is_lost(tmp_path, change, passed):
    dataset = folder.load(toy.write(tmp_path, images=6), "train")
    lesions = [dataset.bbox[dataset.box_images == i] for i in range(len(dataset.images))]
    reference = []
    for boxes in lesions:
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        n = len(corners)
        reference.append(Detections(corners, np.linspace(0.9, 0.5, n), np.zeros(n), ("a",) * n))
    made = verification.labelled(dataset, reference, [change(one) for one in reference])
    assert made["passed"] == passed
    assert json.loads(json.dumps(made)) == made
