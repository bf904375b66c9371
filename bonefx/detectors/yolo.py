"""The YOLO adapter: an Ultralytics detection checkpoint in, `Detections` out."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from bonefx import labels, matching
from bonefx.detections import SCORE_FLOOR, Detections
from bonefx.detectors.acceleration import Acceleration
from bonefx.detectors.base import MAX_DETECTIONS, USUAL_SIZES, Runtime, Stopwatch, processor_name
from bonefx.detectors.ultralytics_guard import VERSION, YOLO, AutoBackend, LetterBox
from bonefx.detectors.yolo_network import read
from bonefx.errors import WeightsError

if TYPE_CHECKING:  # it imports OpenVINO
    from bonefx.detectors.openvino_network import OpenVINONetwork

IOU = 0.7


def load(path: Path, acceleration: Acceleration | None = None) -> YOLODetector:
    """Load a checkpoint without running code from it.

    Args:
        path: the checkpoint.
        acceleration: how OpenVINO may take over the network on a CPU; None leaves it to torch.

    Raises:
        WeightsError: it is no Ultralytics detection checkpoint, or has classes other than ours.
    """
    network, image_size = read(path)
    names = network.names
    try:
        class_ids = np.array([labels.class_id(names[i]) for i in range(len(names))])
    except KeyError as error:
        raise WeightsError(f"{path.name} has the class {error}, which is none of ours") from None
    detector = YOLODetector(_predictor(network), image_size, names, class_ids)
    if acceleration is not None and not torch.cuda.is_available():
        detector.accelerate(acceleration)
    return detector


def convertible(path: Path, config_path: Path | None, precision: str) -> torch.nn.Module:
    """What `convert` converts: the network as `predict` runs it, decoded boxes and scores before NMS.

    Raises:
        WeightsError: the checkpoint has no one-to-many head left.
    """
    network, image_size = read(path)
    backend = AutoBackend(network, torch.device("cpu"), verbose=False, end2end=False)
    if backend.end2end:
        raise WeightsError(f"{path.name} has an NMS-free head alone")
    backend.model.model[-1].dynamic = True  # compute the anchors anew for every image: they enter the trace
    return _Decoded(backend.model, image_size)


def _predictor(network: torch.nn.Module) -> YOLO:
    """What runs `predict` on a network that was not loaded by Ultralytics."""

    class Predictor(YOLO):
        def _new(self, *args: Any, **kwargs: Any) -> None:
            self.model, self.overrides["task"] = network, "detect"

    return Predictor("network.yaml", task="detect")


class _Decoded(torch.nn.Module):
    def __init__(self, network: torch.nn.Module, image_size: int) -> None:
        super().__init__()
        self.network = network
        letterbox = LetterBox((image_size, image_size), auto=True, stride=int(network.stride.max()))
        seen = (letterbox(image=np.zeros((*size, 3), np.uint8)) for size in USUAL_SIZES)
        self.usual_shapes = sorted({image.shape[:2] for image in seen})
        # Little work: the layer that sees the pixels, and at each level the last ones of both branches, boxes
        # and scores. On the bundled weights, bfloat16 in them would double its whole error in the scores.
        head = len(network.model) - 1
        last = (
            f"{head}.cv{branch}.{level}.2" for branch in (2, 3) for level in range(network.model[head].nl)
        )
        self.float32_layers = tuple(f"__module.network.model.{layer}" for layer in ("0.", *last))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images)[0]


class _OpenVINOModule(torch.nn.Module):
    """A network converted from `convertible`, in the place of the torch network that `predict` runs.

    `predict` runs any module, and asks it for `names` and `stride` alone.
    """

    def __init__(self, network: OpenVINONetwork, replaced: torch.nn.Module) -> None:
        super().__init__()
        self._network, self.names, self.stride = network, replaced.names, replaced.stride

    def __deepcopy__(self, memo: dict[int, Any]) -> _OpenVINOModule:
        return self  # predict would copy it, to keep changes to itself

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self._network(images.numpy())[0].clone()


class YOLODetector:
    """See `bonefx.detectors.base.Detector`.

    YOLO26 has two heads; this is always the one-to-many head with NMS, said explicitly because the
    library's default has changed between versions.
    """

    nms = f"one-to-many head, per class, IoU {IOU:g}"

    def __init__(self, model: YOLO, image_size: int, names: dict[int, str], class_ids: np.ndarray) -> None:
        self._model, self._names, self._class_ids = model, names, class_ids
        self._merged = np.flatnonzero(np.bincount(class_ids) > 1)
        self._lock = threading.Lock()  # predict keeps state in the model
        self._device = "cuda:0" if torch.cuda.is_available() else "cpu"
        self._acceleration: Acceleration | None = None
        self.image_size = image_size
        name = torch.cuda.get_device_name(0) if self._device != "cpu" else processor_name()
        self.runtime = Runtime(f"ultralytics {VERSION}", "float32", name)

    def detect(self, rgb: np.ndarray, stopwatch: Stopwatch) -> Detections:
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        with self._lock:
            stopwatch.runtime = self.runtime
            threads = torch.get_num_threads()
            try:
                result = self._model.predict(
                    bgr,
                    imgsz=self.image_size,
                    conf=SCORE_FLOOR,
                    iou=IOU,
                    max_det=MAX_DETECTIONS,
                    nms=None,
                    agnostic_nms=False,
                    device=self._device,
                    half=False,
                    verbose=False,
                    save=False,
                )[0]
            finally:  # predict leaves one core idle, also for whoever computes next
                torch.set_num_threads(threads)
        if self._acceleration is not None:
            self._acceleration.begin()
        for stage, source in (("preprocess",) * 2, ("network", "inference"), ("postprocess",) * 2):
            stopwatch.add(stage, result.speed[source])
        with stopwatch("postprocess"):
            found = result.boxes.cpu().numpy()
            model_ids = found.cls.astype(np.int64)
            class_ids = self._class_ids[model_ids]
            # Two of the model's classes may be one of ours: one lesion must not be found twice. Boxes of any
            # other class have been through NMS, so each is a group of its own.
            groups = np.where(np.isin(class_ids, self._merged), class_ids, -1 - np.arange(len(class_ids)))
            keep = matching.nms(found.xyxy, found.conf, IOU, groups)
            model_labels = tuple(self._names[i] for i in model_ids[keep])
            return Detections(found.xyxy[keep], found.conf[keep], class_ids[keep], model_labels)

    def settle(self) -> None:
        if self._acceleration is not None:
            self._acceleration.settle()

    def accelerate(self, acceleration: Acceleration) -> None:
        """Let OpenVINO take over the network: now if it can, else after the first detection.

        Preprocessing, NMS and all else stay Ultralytics', in float32, whatever the precision of OpenVINO.
        """

        def take_over(network: OpenVINONetwork) -> None:
            with self._lock:
                self._model.model = _OpenVINOModule(network, self._model.model)
                self._model.predictor = self._model.ckpt = None  # both hold the torch network
                self.runtime = network.runtime

        self._acceleration = acceleration
        acceleration.attach(take_over)
