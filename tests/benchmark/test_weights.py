"""The full-size networks with random weights: the published architectures, with realistic box counts."""

from __future__ import annotations

import pytest

from bonefx import images
from bonefx.benchmark import weights
from bonefx.benchmark.pictures import phantoms
from bonefx.detectors import MODELS, Registry
from bonefx.detectors.base import Stopwatch
from bonefx.settings import Settings

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("model_id", "write", "size"),
    [("faster-rcnn", weights.write_faster_rcnn, 1024), ("yolo", weights.write_yolo, 640)],
)
def test_they_are_taken_for_the_published_ones(tmp_path, model_id, write, size):
    settings = Settings(hub=False, weights_dir=tmp_path, runtime="torch")
    names = {
        "faster-rcnn": MODELS["faster-rcnn"].weights_file(settings),
        "yolo": MODELS["yolo"].weights_file(settings),
    }
    write(tmp_path / names[model_id])
    loaded = Registry(settings).get(model_id)
    assert loaded.weights.source == "local"
    assert loaded.detector.image_size == size
    assert len(loaded.detector.detect(images.read(phantoms()[4]).rgb, Stopwatch())) > 50
