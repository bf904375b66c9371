"""The YOLO adapter on real Ultralytics checkpoints."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bonefx import images
from bonefx.detectors import yolo
from bonefx.detectors.base import Stopwatch
from bonefx.errors import WeightsError
from bonefx.settings import packaged

BUNDLED = packaged("bundled") / "yolo26n_448.pt"


@pytest.fixture(scope="module")
def detector():
    return yolo.load(BUNDLED)


def checkpoint_with(path: Path, names: list[str]) -> Path:
    """The bundled checkpoint under other class names, fewer of them where `names` is shorter."""
    from ultralytics.nn.tasks import DetectionModel, torch_safe_load

    content, _ = torch_safe_load(BUNDLED, safe_only=True)
    if len(names) == len(content["model"].names):
        model = content["model"]
    else:
        model = DetectionModel("yolo26n.yaml", nc=len(names), verbose=False)
    model.names = dict(enumerate(names))
    torch.save({**content, "model": model.half()}, path)
    return path


def picture(seed: int, size: tuple[int, int] = (300, 200)) -> np.ndarray:
    """A phantom in which the model finds something, darker by `seed`, of this height and width."""
    phantom = images.read(packaged("examples") / "wrist-1.png").rgb
    small = np.asarray(Image.fromarray(phantom).resize(size[::-1]))
    return (small * (1 - seed / 20)).astype(np.uint8)


def test_detections_are_ordered_and_inside_the_image(detector):
    found = detector.detect(picture(0), Stopwatch())
    assert 0 < len(found) <= 300
    assert found.scores.min() >= 0.001
    assert found.boxes.min() >= 0
    assert (found.boxes.max(axis=0) <= [200, 300, 200, 300]).all()


def test_stages_are_timed(detector):
    stopwatch = Stopwatch()
    detector.detect(picture(0), stopwatch)
    assert set(stopwatch.ms) == {"preprocess", "network", "postprocess"}
    assert stopwatch.ms["network"] > 0


def test_colours_are_not_swapped(detector):
    """The adapter's RGB must reach the network as Ultralytics' own RGB input, a PIL image, does."""
    rgb = picture(1)
    rgb[:, :, 2] = rgb[:, :, 2] * 0.7  # a swap of red and blue shows
    found = detector.detect(rgb, Stopwatch())
    own = detector._model.predict(
        Image.fromarray(rgb), imgsz=448, conf=0.001, iou=0.7, max_det=300, nms=None, verbose=False
    )[0]
    assert found.scores[0] == pytest.approx(float(own.boxes.conf[0]), abs=1e-6)


def test_two_model_classes_that_are_one_of_ours_give_one_box(tmp_path):
    """All seven classes named humerus: whatever overlaps must have been merged."""
    from bonefx.matching import iou_matrix

    detector = yolo.load(
        checkpoint_with(tmp_path / "a.pt", ["humerus", "humerus fracture"] * 3 + ["humerus"])
    )
    found = detector.detect(picture(2), Stopwatch())
    assert set(found.class_ids.tolist()) == {3}
    overlap = iou_matrix(found.boxes, found.boxes)
    np.fill_diagonal(overlap, 0)
    assert overlap.max() <= yolo.IOU + 1e-6
    assert set(found.model_labels) <= {"humerus", "humerus fracture"}


def test_a_checkpoint_of_the_six_unified_classes_is_accepted(tmp_path):
    from bonefx.labels import CLASSES

    found = yolo.load(checkpoint_with(tmp_path / "six.pt", list(CLASSES))).detect(picture(3), Stopwatch())
    assert all(label == unified for label, unified in zip(found.model_labels, found.labels, strict=True))


def test_foreign_classes_are_refused_by_name(tmp_path):
    with pytest.raises(WeightsError, match="person"):
        yolo.load(checkpoint_with(tmp_path / "coco.pt", ["person"] * 7))


class _Hostile:
    def __reduce__(self):
        return (Path.write_text, (Path("ran.txt"), "code from a weight file ran"))


@pytest.mark.parametrize(
    "make",
    [
        lambda path: torch.save({"model": _Hostile()}, path),  # code in the pickle
        lambda path: path.write_bytes(BUNDLED.read_bytes()[:100_000]),  # truncated
        lambda path: path.write_bytes(b""),  # empty
        lambda path: torch.save({"model": torch.zeros(1)}, path),  # a checkpoint of something else
        lambda path: None,  # missing: GitHub is not asked
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused_and_runs_nothing(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "best.pt"
    make(path)
    with pytest.raises(WeightsError):
        yolo.load(path)
    assert not (tmp_path / "ran.txt").exists()


def test_calls_from_several_threads_do_not_mix(detector):
    pictures = [picture(seed, (200 + 40 * seed, 260)) for seed in range(4)]
    alone = [detector.detect(rgb, Stopwatch()).scores for rgb in pictures]
    together: dict[int, np.ndarray] = {}

    def work(i: int) -> None:
        together[i] = detector.detect(pictures[i], Stopwatch()).scores

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        np.testing.assert_allclose(together[i], alone[i], atol=1e-6)


@pytest.fixture
def threads():
    """A number that nobody else would choose."""
    before = torch.get_num_threads()
    torch.set_num_threads(before + 3)
    yield before + 3
    torch.set_num_threads(before)


def test_the_threads_are_left_alone_by_a_failure_too(threads):
    def fail(*_) -> None:
        raise MemoryError

    failing = yolo.load(BUNDLED)
    failing._model.model.register_forward_pre_hook(fail)
    with pytest.raises(MemoryError):
        failing.detect(picture(0), Stopwatch())
    assert torch.get_num_threads() == threads


def test_ultralytics_leaves_pillow_and_the_threads_alone(detector, threads):
    from PIL import UnidentifiedImageError

    detector.detect(picture(0), Stopwatch())
    assert torch.get_num_threads() == threads
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(b"no image"))


@pytest.mark.parametrize("threads", [None, "3"])
def test_the_librarys_import_leaves_the_rest_of_the_process_alone(threads):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads:
        environment["OMP_NUM_THREADS"] = threads
    code = (
        "import os, PIL.Image; before = PIL.Image.open; from bonefx.detectors import ultralytics_guard; "
        "print(os.environ.get('OMP_NUM_THREADS'), PIL.Image.open is before)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert said.stdout.split() == [str(threads), "True"]
