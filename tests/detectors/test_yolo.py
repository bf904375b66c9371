"""The YOLO adapter on real Ultralytics checkpoints."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bonefx import images
from bonefx.detectors import yolo
from bonefx.detectors.base import Stopwatch
from bonefx.detectors.graph_detector import GraphDetector
from bonefx.errors import BoneFXError, WeightsError
from bonefx.matching import iou_matrix
from bonefx.settings import packaged
from bonefx.sources.hub import local_weights

BUNDLED = packaged("bundled") / "yolo26n_512.pt"


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


def predicted(rgb: np.ndarray):
    """What Ultralytics' own `predict` finds, best first, with RGB given as it wants it, as a PIL image."""
    from bonefx.detectors.yolo.ultralytics_guard import YOLO

    own = YOLO(BUNDLED, task="detect").predict(
        Image.fromarray(rgb), imgsz=512, conf=0.001, iou=yolo.NMS_IOU, max_det=300, nms=None, verbose=False
    )
    return own[0].boxes


def odd_sizes() -> list[np.ndarray]:
    """Twenty radiographs of sizes that no stride divides; colours that a swap would change."""
    phantoms = sorted(packaged("examples").glob("*.png"))
    rng = np.random.default_rng(1)
    made = []
    for number in range(20):
        rgb = images.read(phantoms[number % len(phantoms)]).rgb
        height, width = (2 * rng.integers(50, 550, 2) + 1).tolist()
        small = np.asarray(Image.fromarray(rgb).resize((width, height)))
        made.append((small * np.array([1, 0.9, 0.7])).astype(np.uint8))
    return made


@pytest.mark.slow
def test_boxes_and_scores_are_those_of_ultralytics_own_predict(detector):
    found_any = 0
    for rgb in odd_sizes():
        found, own = detector.detect(rgb, Stopwatch()), predicted(rgb)
        order = np.lexsort((own.xyxy[:, 0], -own.conf))
        mine = np.lexsort((found.boxes[:, 0], -found.scores))
        assert len(found) == len(own.conf)
        np.testing.assert_allclose(found.scores[mine], own.conf.numpy()[order], atol=1e-5)
        np.testing.assert_allclose(found.boxes[mine], own.xyxy.numpy()[order], atol=1e-3)
        assert [detector.processing.names[int(i)] for i in own.cls[order]] == [
            found.model_labels[i] for i in mine
        ]
        found_any += len(found)
    assert found_any > 100


@pytest.mark.slow
def test_the_graph_finds_the_same_in_openvino(detector, tmp_path):
    pytest.importorskip("openvino")
    from bonefx.detectors.conversion import convert
    from bonefx.detectors.engines.openvino_engine import OpenVINOEngine

    source = yolo.convertible(local_weights(BUNDLED))
    about = {"model": "yolo", "form": "float", "weights": "", "config": None, "processing": {}}
    convert.save(convert.trace(source), tmp_path / "y.float.json", about)
    engine = OpenVINOEngine(tmp_path / "y.float.xml", "float32", source.processing.ranks, None)
    for rgb in odd_sizes()[:6]:
        expected = detector.detect(rgb, Stopwatch())
        found = GraphDetector(source.processing, engine).detect(rgb, Stopwatch())
        overlap = iou_matrix(expected.boxes, found.boxes)
        close = np.abs(expected.scores[:, None] - found.scores[None]) <= 1e-4
        same = (overlap > 0.999) & close & (expected.class_ids[:, None] == found.class_ids[None])
        assert same.any(axis=1)[expected.scores > 0.002].all()


@pytest.mark.slow
def test_a_layer_that_is_not_in_the_graph_is_an_error_of_the_conversion():
    pytest.importorskip("openvino")
    from bonefx.detectors.conversion import convert

    source = yolo.convertible(local_weights(BUNDLED))
    with pytest.raises(BoneFXError, match=r"no layer network\.model\.99"):
        convert.trace(replace(source, float32=(*source.float32, "network.model.99")))


def test_two_model_classes_that_are_one_of_ours_give_one_box(tmp_path):
    """All seven classes named humerus: whatever overlaps must have been merged."""
    detector = yolo.load(
        checkpoint_with(tmp_path / "a.pt", ["humerus", "humerus fracture"] * 3 + ["humerus"])
    )
    found = detector.detect(picture(2), Stopwatch())
    assert set(found.class_ids.tolist()) == {3}
    overlap = iou_matrix(found.boxes, found.boxes)
    np.fill_diagonal(overlap, 0)
    assert overlap.max() <= yolo.NMS_IOU + 1e-6
    assert set(found.model_labels) <= {"humerus", "humerus fracture"}


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_librarys_import_leaves_the_rest_of_the_process_alone():
    code = """
import logging, os, signal, warnings
import cv2, numpy as np, PIL.Image, torch
def state():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    functions = PIL.Image.open, torch.save, torch.load, cv2.imread, cv2.imwrite
    threads = cv2.getNumThreads(), torch.get_num_threads()
    root = logging.getLogger()
    printed = str(np.array([1 / 3])), str(torch.tensor([1 / 3]))
    filters = list(warnings.filters)
    return dict(os.environ), handlers, functions, threads, printed, filters, root.handlers[:], root.level
np.set_printoptions(precision=3)
before = state()
from bonefx.detectors import yolo
from bonefx.detectors.yolo import ultralytics_guard
print([number for number, (one, two) in enumerate(zip(before, state())) if one != two])
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split("\n")[-2] == "[]"
