"""The YOLO adapter: an Ultralytics detection checkpoint in, `Detections` out."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import torch

from bonefx import labels, matching
from bonefx.detections import Detections
from bonefx.detectors.base import MAX_DETECTIONS, MIN_SCORE, Runtime, Stopwatch, processor_name
from bonefx.detectors.ultralytics_guard import VERSION, YOLO
from bonefx.errors import WeightsError

IOU = 0.7


def load(path: Path) -> YOLODetector:
    """Load a checkpoint without running code from it.

    Raises:
        WeightsError: it is no Ultralytics detection checkpoint, or has classes other than ours.
    """
    if not path.is_file():  # Ultralytics would ask GitHub for a file that is missing
        raise WeightsError(f"{path.name} does not exist")
    try:
        model = YOLO(path, task="detect")
        names = dict(model.names)
    except Exception as error:  # a damaged or hostile file fails in many ways, all of them meaning this
        raise WeightsError(f"{path.name} is damaged or is not an Ultralytics detection checkpoint") from error
    if model.task != "detect":
        raise WeightsError(f"{path.name} is an Ultralytics checkpoint for {model.task}, not for detection")
    try:
        class_ids = np.array([labels.class_id(names[i]) for i in range(len(names))])
    except KeyError as error:
        raise WeightsError(f"{path.name} has the class {error}, which is none of ours") from None
    return YOLODetector(model, names, class_ids)


class YOLODetector:
    """See `bonefx.detectors.base.Detector`.

    YOLO26 has two heads; this is always the one-to-many head with NMS, said explicitly because the
    library's default has changed between versions.
    """

    nms = f"one-to-many head, per class, IoU {IOU:g}"

    def __init__(self, model: YOLO, names: dict[int, str], class_ids: np.ndarray) -> None:
        self._model, self._names, self._class_ids = model, names, class_ids
        self._lock = threading.Lock()  # predict keeps state in the model
        self._device = "cuda:0" if torch.cuda.is_available() else "cpu"
        self.image_size = int(model.overrides.get("imgsz", 640))
        name = torch.cuda.get_device_name(0) if self._device != "cpu" else processor_name()
        self.runtime = Runtime(f"ultralytics {VERSION}", "float32", name)

    def detect(self, rgb: np.ndarray, stopwatch: Stopwatch) -> Detections:
        bgr = np.ascontiguousarray(rgb[:, :, ::-1])
        threads = torch.get_num_threads()
        with self._lock:
            result = self._model.predict(
                bgr,
                imgsz=self.image_size,
                conf=MIN_SCORE,
                iou=IOU,
                max_det=MAX_DETECTIONS,
                nms=None,
                agnostic_nms=False,
                device=self._device,
                half=False,
                verbose=False,
                save=False,
            )[0]
        torch.set_num_threads(threads)  # predict leaves one core idle, also for whoever computes next
        for stage, source in (("preprocess",) * 2, ("network", "inference"), ("postprocess",) * 2):
            stopwatch.add(stage, result.speed[source])
        with stopwatch("postprocess"):
            found = result.boxes.cpu().numpy()
            model_ids = found.cls.astype(np.int64)
            class_ids = self._class_ids[model_ids]
            # Two of the model's classes may be one of ours: one lesion must not be found twice.
            keep = matching.nms(found.xyxy, found.conf, IOU, class_ids)
            model_labels = tuple(self._names[i] for i in model_ids[keep])
            return Detections(found.xyxy[keep], found.conf[keep], class_ids[keep], model_labels)
