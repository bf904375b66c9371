"""The reference for YOLO: Ultralytics' own `predict`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from bonefx.detections import SCORE_FLOOR, Detections
from bonefx.detectors.base import MAX_DETECTIONS, Stopwatch, processor_name
from bonefx.detectors.yolo import NMS_IOU
from bonefx.detectors.yolo.ultralytics_guard import THREADS, VERSION, YOLO
from bonefx.labels import class_id
from bonefx.results import Runtime

__all__ = ["THREADS", "Predictor", "predictor"]


class Predictor:
    """Detects as a `bonefx.detectors.base.Detector`; for one thread, and for weights that are trusted."""

    def __init__(self, path: Path) -> None:
        self._model = YOLO(path, task="detect")
        self.image_size = int(self._model.overrides.get("imgsz", 640))
        self.runtime = Runtime(f"ultralytics {VERSION}", "float32", processor_name())

    def detect(self, rgb: np.ndarray, stopwatch: Stopwatch) -> Detections:
        stopwatch.runtime, threads = self.runtime, torch.get_num_threads()
        bgr = np.ascontiguousarray(rgb[:, :, ::-1])
        arguments = {"imgsz": self.image_size, "conf": SCORE_FLOOR, "iou": NMS_IOU, "max_det": MAX_DETECTIONS}
        try:
            result = self._model.predict(bgr, **arguments, nms=None, device="cpu", verbose=False)[0]
        finally:  # predict leaves one core idle, also for whoever computes next
            torch.set_num_threads(threads)
        for stage, source in (("preprocess",) * 2, ("network", "inference"), ("postprocess",) * 2):
            stopwatch.add(stage, result.speed[source])
        found = result.boxes.cpu().numpy()
        names = tuple(result.names[int(i)] for i in found.cls)
        return Detections(found.xyxy, found.conf, np.array([class_id(name) for name in names]), names)


@lru_cache(maxsize=1)
def predictor(path: Path) -> Predictor:
    """The one of this process."""
    return Predictor(path)
