"""Several images at once, as a GPU takes them; here on the processor, where torch does the same sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.backends import cudnn

from bonefx import images, inference
from bonefx.detections import Detections
from bonefx.detectors import MODELS, Registry
from bonefx.detectors.engines import torch_engine
from bonefx.detectors.engines.torch_engine import TorchEngine
from bonefx.detectors.graph_detector import GraphDetector
from bonefx.errors import EngineError
from bonefx.settings import Settings, packaged
from tests.loads import load_by

CPU = torch.device("cpu")


class Doubles(nn.Module):
    """Notes how many images it is given, and whether a GPU might round."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[int] = []
        self.may_round: list[bool] = []

    def forward(self, image):
        return self.together([(image,)])[0][0]

    def together(self, several):
        self.given.append(len(several))
        self.may_round.append(cudnn.allow_tf32)
        assert len({image.shape for (image,) in several}) == 1
        return [(image * 2,) for (image,) in several]


def test_images_of_one_shape_go_together_and_each_answer_to_its_image(monkeypatch):
    graph = Doubles()
    monkeypatch.setattr(torch_engine, "ON_CPU", 2)
    engine = TorchEngine(graph, CPU)
    sides = [4, 6, 4, 4, 6, 8, 4, 4]
    several = [[np.full((1, side), place, np.float32)] for place, side in enumerate(sides)]
    for place, (found,) in enumerate(engine.together(several)):
        np.testing.assert_array_equal(found, np.full((1, sides[place]), 2 * place))
    assert sorted(graph.given) == [1, 1, 2, 2, 2]
    graph.given.clear()
    np.testing.assert_array_equal(engine([np.ones((1, 3), np.float32)])[0], [[2, 2, 2]])


def test_a_gpu_computes_in_the_float32_that_results_name():
    graph, before = Doubles(), cudnn.allow_tf32
    TorchEngine(graph, CPU)([np.ones((1, 3), np.float32)])
    assert graph.may_round == [False]
    assert cudnn.allow_tf32 == before


def test_a_graph_for_one_image_gets_one_image(monkeypatch):
    monkeypatch.setattr(torch_engine, "ON_CPU", 4)
    engine = TorchEngine(nn.Identity(), CPU)
    several = [[np.full((1, 2), number, np.float32)] for number in range(3)]
    assert [found[0, 0] for (found,) in engine.together(several)] == [0, 1, 2]


@pytest.fixture(scope="module")
def radiographs() -> list[images.Radiograph]:
    """Examples made smaller, the same upside down, and one of another shape."""
    made = []
    for name in ("wrist-1", "fingers-1"):
        with Image.open(packaged("examples") / f"{name}.png") as picture:
            picture.thumbnail((300, 300))
            rgb = np.asarray(picture.convert("RGB"))
        made += [images.from_array(rgb, name), images.from_array(rgb[::-1].copy(), f"{name} down")]
    return [*made, images.from_array(made[0].rgb[:, 40:].copy(), "cut")]


@pytest.fixture(scope="module", params=MODELS)
def model_on_torch(request) -> tuple[str, Registry]:
    registry = Registry(Settings(hub=False, runtime="torch"))
    registry.get(request.param)
    return request.param, registry


@pytest.mark.slow
def test_each_image_has_the_answer_that_it_has_alone(model_on_torch, radiographs, monkeypatch):
    model, registry = model_on_torch
    alone = [inference.run(each, [model], registry)[0] for each in radiographs]
    detector = registry.in_memory(model).detector
    given = batches(detector, 4, monkeypatch)
    assert inference.at_once([model], registry) == 4
    together = [found for (found,) in inference.run_together(radiographs, [model], registry)]
    assert max(given) > 1  # or nothing went together
    for one, other in zip(alone, together, strict=True):
        assert len(one.detections) == len(other.detections) > 0
        np.testing.assert_allclose(other.detections.boxes, one.detections.boxes, rtol=0, atol=1e-3)
        np.testing.assert_allclose(other.detections.scores, one.detections.scores, rtol=0, atol=1e-4)
        assert other.detections.model_labels == one.detections.model_labels
        assert (other.image, other.weights, other.runtime) == (one.image, one.weights, one.runtime)
        assert set(other.timings_ms) == set(one.timings_ms)


def batches(detector: GraphDetector, size: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have a detector take so many images at once, as on a GPU; the sizes of the batches as they come."""
    engine, given = detector._engine, []
    run = engine._run

    def counted(several):
        given.append(len(several))
        return run(several)

    monkeypatch.setattr(engine, "at_once", size)
    monkeypatch.setattr(engine, "_run", counted)
    return given


class Fails:
    """Its answer for dark images is a failure; together with others, theirs too."""

    runtime, nms, image_size, at_once = None, "none", 8, 3

    def detect(self, rgb, stopwatch):
        if not rgb.any():
            raise EngineError("it is dark")
        return Detections.empty()

    def detect_together(self, rgbs, stopwatch):
        return [self.detect(rgb, stopwatch) for rgb in rgbs]


def test_what_fails_together_is_tried_one_by_one(monkeypatch):
    load_by(monkeypatch, "yolo", lambda weights, settings: Fails())
    light, dark = np.full((8, 8, 3), 9, np.uint8), np.zeros((8, 8, 3), np.uint8)
    several = [images.from_array(rgb, str(place)) for place, rgb in enumerate((light, dark, light))]
    found = inference.run_together(several, ["yolo"], Registry(Settings(hub=False)))
    assert [outcome.error for (outcome,) in found] == [None, "it is dark", None]


def test_no_image_is_no_outcome():
    assert inference.run_together([], ["yolo"], Registry(Settings(hub=False))) == []
