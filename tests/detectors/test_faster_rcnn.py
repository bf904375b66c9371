"""Faster R-CNN: equality with Detectron2, strict loading, settings beside the weights."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bonefx.detections import Detections
from bonefx.detectors import faster_rcnn
from bonefx.detectors.base import Stopwatch
from bonefx.detectors.conversion import convert
from bonefx.detectors.engines.openvino_engine import OpenVINOEngine
from bonefx.detectors.graph_detector import GraphDetector
from bonefx.errors import WeightsError
from bonefx.sources.hub import local_weights
from tests.golden import make_checkpoint

GOLDEN = Path(make_checkpoint.__file__).parent
REFERENCE = json.loads((GOLDEN / "detectron2_reference.json").read_text(encoding="utf-8"))["images"]
IMAGES = make_checkpoint.images()


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in make_checkpoint.state_dict().items()}


@pytest.fixture(scope="module")
def checkpoint(state, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("golden") / "model_final.pth"
    torch.save({"model": state, "iteration": 14_999}, path)
    return path


@pytest.fixture(scope="module")
def detector(checkpoint):
    return faster_rcnn.load(checkpoint, None, "torchvision")


def share_found(expected: dict, found: Detections) -> float:
    """Detectron2's boxes found: same class, every corner within 0.05 px, score within 5e-4."""
    corners = np.abs(np.array(expected["boxes"])[:, None] - found.boxes[None]).max(axis=2) <= 0.05
    scores = np.abs(np.array(expected["scores"])[:, None] - found.scores[None]) <= 5e-4
    classes = np.array(expected["classes"])[:, None] == found.class_ids[None]
    return float((corners & scores & classes).any(axis=1).mean())


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.slow
def test_detectron2s_own_boxes_are_found(detector, name):
    found = detector.detect(IMAGES[name], Stopwatch())
    assert len(found) == 300
    assert share_found(REFERENCE[name], found) >= 0.97


@pytest.fixture(scope="module")
def graph(checkpoint):
    """The whole network as OpenVINO's graph, twice: as it is made, and from OpenVINO's own cache."""
    source = faster_rcnn.convertible(local_weights(checkpoint))
    card = checkpoint.with_suffix(".float.json")
    about = {"model": "faster_rcnn", "form": "float", "weights": "", "config": None, "processing": {}}
    convert.save(convert.trace(source), card, about)

    def made():
        ranks = source.processing.ranks
        engine = OpenVINOEngine(card.with_suffix(".xml"), "float32", ranks, checkpoint.parent / "compiled")
        return GraphDetector(source.processing, engine)

    return made(), made()


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.slow
def test_openvino_finds_detectron2s_own_boxes_too(graph, name):
    for detector in graph:
        stopwatch = Stopwatch()
        found = detector.detect(IMAGES[name], stopwatch)
        assert stopwatch.runtime.engine.startswith("openvino 20")
        assert stopwatch.runtime.precision == "float32"
        assert share_found(REFERENCE[name], found) >= 0.97


@pytest.mark.skipif(importlib.util.find_spec("detectron2") is None, reason="detectron2 is not installed")
def test_detectron2_itself_behind_the_same_function(checkpoint):
    detector = faster_rcnn.load(checkpoint, None, "detectron2")
    assert detector.runtime.engine.startswith("detectron2")
    name = "square_640"
    assert share_found(REFERENCE[name], detector.detect(IMAGES[name], Stopwatch())) >= 0.97


@pytest.mark.slow
def test_a_single_dark_pixel_is_an_image_too(detector):
    assert len(detector.detect(np.zeros((1, 1, 3), np.uint8), Stopwatch())) <= 300


@pytest.mark.slow
def test_no_setting_gives_more_detections_than_any_detector_may_return(checkpoint, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("TEST: {DETECTIONS_PER_IMAGE: 900}", encoding="utf-8")
    detector = faster_rcnn.load(checkpoint, config, "torchvision")
    assert len(detector.detect(IMAGES["square_640"], Stopwatch())) == 300


BOX_LAYER = "roi_heads.box_head.fc1.weight"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        # a tensor left out
        (lambda s: s.pop("backbone.fpn_output3.bias"), "backbone.fpn_output3.bias is missing"),
        # one that the network does not have
        (lambda s: s.update(extra=torch.zeros(1)), "'extra' is unknown"),
        # one of another shape
        (
            lambda s: s.update({"backbone.bottom_up.stem.conv1.weight": torch.zeros(64, 1, 7, 7)}),
            r"stem.conv1.weight has the shape \(64, 1, 7, 7\) instead of \(64, 3, 7, 7\)",
        ),
        # a head for other classes
        (
            lambda s: s.update({"roi_heads.box_predictor.cls_score.weight": torch.zeros(81, 1024)}),
            "80 classes, not 6",
        ),
        # three anchors, while the settings make five
        (
            lambda s: s.update(
                {"proposal_generator.rpn_head.objectness_logits.weight": torch.zeros(3, 256, 1, 1)}
            ),
            "3 anchors a position",
        ),
        # a thousand blocks: names alone
        (
            lambda s: s.update(
                {f"backbone.bottom_up.res2.{i}.conv1.weight": torch.zeros(1) for i in range(1000)}
            ),
            "1000 blocks in stage res2",
        ),
        # no detector at all
        (lambda s: s.clear(), "no ResNet trunk"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(state, tmp_path, change, words):
    changed = dict(state)
    change(changed)
    path = tmp_path / "model_final.pth"
    torch.save({"model": changed}, path)
    with pytest.raises(WeightsError, match=words):
        faster_rcnn.load(path, None)


class _Hostile:
    def __reduce__(self):
        return (Path.write_text, (Path("ran.txt"), "code from a weight file ran"))


@pytest.mark.parametrize(
    "make",
    [
        lambda path: torch.save({"model": _Hostile()}, path),  # code in the pickle
        lambda path: path.write_bytes(b""),  # empty
        lambda path: path.write_bytes(b"<html>404</html>"),  # not a checkpoint
        lambda path: torch.save([1, 2], path),  # no table
        lambda path: torch.save({"model": {"a": 1}}, path),  # a table without tensors
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused_and_runs_nothing(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model_final.pth"
    make(path)
    with pytest.raises(WeightsError):
        faster_rcnn.load(path, None)
    assert not (tmp_path / "ran.txt").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("buffers", "words"),
    [
        # Older versions of Detectron2 kept them: those of the settings are nothing new
        ({"pixel_mean": torch.tensor([103.53, 116.28, 123.675]).view(3, 1, 1)}, None),
        ({"pixel_std": torch.ones(3, 1, 1)}, None),
        ({"proposal_generator.anchor_generator.cell_anchors.0": "own"}, None),
        # and others say that the settings are another network's
        ({"pixel_mean": torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)}, "another pixel_mean"),
        ({"pixel_mean": torch.zeros(1)}, "another pixel_mean"),
        ({"pixel_std": torch.tensor([57.375, 57.12, 58.395]).view(3, 1, 1)}, "another pixel_std"),
        ({"proposal_generator.anchor_generator.cell_anchors.0": torch.ones(5, 4)}, "cell_anchors.0"),
        ({"proposal_generator.anchor_generator.cell_anchors.9": "own"}, "cell_anchors.9"),
    ],
)
def test_settings_that_a_checkpoint_keeps_itself_must_agree(state, tmp_path, buffers, words):
    path = tmp_path / "model_final.pth"
    widths, ratios = 32.0, torch.tensor([0.33, 0.5, 1.0, 2.0, 3.0])
    half = torch.stack([widths / ratios.sqrt(), widths * ratios.sqrt()], dim=1) / 2
    own = torch.cat([-half, half], dim=1)
    buffers = {name: own if isinstance(value, str) else value for name, value in buffers.items()}
    torch.save({"model": {**state, **buffers}}, path)
    if words is None:
        faster_rcnn.load(path, None, "torchvision")
    else:
        with pytest.raises(WeightsError, match=words):
            faster_rcnn.load(path, None, "torchvision")


def test_a_truncated_checkpoint_is_refused(checkpoint, tmp_path):
    path = tmp_path / "model_final.pth"
    with checkpoint.open("rb") as whole:
        path.write_bytes(whole.read(1_000_000))
    with pytest.raises(WeightsError, match="damaged"):
        faster_rcnn.load(path, None)


@pytest.mark.parametrize(
    ("size", "expected"),  # (height, width) before and after
    [
        ((640, 640), (1024, 1024)),
        ((512, 406), (1024, 812)),  # the long side decides
        ((700, 1500), (478, 1024)),  # rounded half up
    ],
)
def test_images_are_resized_as_in_detectron2(size, expected):
    assert faster_rcnn.resize(np.zeros((*size, 3), np.uint8), 1024, 1024).shape[:2] == expected
