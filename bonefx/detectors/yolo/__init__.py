"""YOLO: an Ultralytics detection checkpoint in, a detector out.

Nothing here imports torch or Ultralytics before a checkpoint is loaded: `Processing` serves every engine.
What it does before and after the network equals Ultralytics' own `predict`, which a test holds it to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bonefx import labels, matching
from bonefx.detections import SCORE_FLOOR, Detections
from bonefx.detectors.base import MAX_DETECTIONS
from bonefx.detectors.graph_detector import GraphDetector
from bonefx.detectors.loading import require
from bonefx.detectors.yolo.opencv_import import cv2
from bonefx.errors import WeightsError
from bonefx.settings import Settings
from bonefx.sources.hub import WeightFile

if TYPE_CHECKING:
    from torch import nn

    from bonefx.detectors.conversion.convert import Convertible
    from bonefx.detectors.engines.torch_engine import TorchEngine

NMS_IOU = 0.7
_PADDING = 114
_CLASS_OFFSET = np.float32(7680)  # Ultralytics' own: with it boxes of two classes never meet


@dataclass(frozen=True)
class Processing:
    """See `bonefx.detectors.base.Processing`.

    YOLO26 has two heads; this is always the one-to-many head with NMS.

    Attributes:
        image_size: the longest side, in pixels, that the network sees.
        stride: the graph's images have sides that are multiples of it.
        names: the model's own label of each of its classes.
    """

    image_size: int
    stride: int
    names: tuple[str, ...]

    nms = f"one-to-many head, per class, IoU {NMS_IOU:g}"
    ranks = (4,), (3,)

    def prepare(self, rgb: np.ndarray) -> list[np.ndarray]:
        """The letterboxed image, float32 (1, 3, H, W) on the scale 0 to 1."""
        height, width = rgb.shape[:2]
        (new_height, new_width), (full_height, full_width) = self._seen(height, width)
        if (new_height, new_width) != (height, width):
            rgb = cv2.resize(rgb, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
        top, left = _half(full_height - new_height), _half(full_width - new_width)
        image = np.full((1, 3, full_height, full_width), np.float32(_PADDING) / 255, np.float32)
        inside = image[0, :, top : top + new_height, left : left + new_width]
        np.divide(rgb.transpose(2, 0, 1), np.float32(255), out=inside)
        return [image]

    def finish(self, outputs: Sequence[np.ndarray], height: int, width: int) -> Detections:
        """Of (1, 4 + classes, n): centres, sizes and scores of each place."""
        (places,) = outputs[0]
        own_ids, scores = places[4:].argmax(axis=0), places[4:].max(axis=0)
        found = np.flatnonzero(scores > SCORE_FLOOR)
        own_ids, scores = own_ids[found], scores[found]
        centre, half = places[:2, found].T, places[2:4, found].T / 2
        boxes = np.concatenate([centre - half, centre + half], axis=1)
        # With the rounding of boxes that are moved apart, as Ultralytics moves them.
        moved = boxes + own_ids[:, None].astype(np.float32) * _CLASS_OFFSET
        keep = matching.nms(moved, scores, NMS_IOU)[:MAX_DETECTIONS]
        boxes, scores, own_ids = self._scaled(boxes[keep], height, width), scores[keep], own_ids[keep]
        return self._unified(boxes, scores, own_ids)

    def to_record(self) -> dict[str, Any]:
        return {"image_size": self.image_size, "stride": self.stride, "names": list(self.names)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Processing:
        """The other way round.

        Raises:
            WeightsError: a value is missing, or one that no network can have.
        """
        size: Any = record.get("image_size")
        stride: Any = record.get("stride")
        names: Any = record.get("names")
        numbers = type(size) is int and type(stride) is int and 32 <= size <= 4096 and 1 <= stride <= 128
        if not numbers or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise WeightsError("the settings in its card are unusable")
        return cls(size, stride, tuple(names)).checked()

    def checked(self) -> Processing:
        """This, if its classes are ours.

        Raises:
            WeightsError: they are not.
        """
        try:
            for name in self.names:
                labels.class_id(name)
        except KeyError as error:
            raise WeightsError(f"the model has the class {error}, which is none of ours") from None
        return self

    def _seen(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """(height, width) of the resized image, and of it with the least padding that the stride allows."""
        scale = min(self.image_size / height, self.image_size / width)
        resized = max(round(height * scale), 1), max(round(width * scale), 1)
        height, width = (side + (self.image_size - side) % self.stride for side in resized)
        return resized, (height, width)

    def _scaled(self, boxes: np.ndarray, height: int, width: int) -> np.ndarray:
        """Boxes in pixels of the letterboxed image to those of the original one."""
        resized, padded = self._seen(height, width)
        top, left = (_half(full - side) for full, side in zip(padded, resized, strict=True))
        scale = np.array([resized[1] / width, resized[0] / height] * 2, np.float32)
        corner, size = (np.array(pair * 2, np.float32) for pair in ([left, top], [width, height]))
        return np.clip((boxes - corner) / scale, 0, size)

    def _unified(self, boxes: np.ndarray, scores: np.ndarray, own_ids: np.ndarray) -> Detections:
        """In the unified classes. Two of the model's may be one of ours: one lesion is not found twice."""
        unified = np.array([labels.class_id(name) for name in self.names])
        class_ids = unified[own_ids]
        merged = np.flatnonzero(np.bincount(unified) > 1)
        # Boxes of any other class have been through NMS, so each is a group of its own.
        groups = np.where(np.isin(class_ids, merged), class_ids, -1 - np.arange(len(class_ids)))
        keep = matching.nms(boxes, scores, NMS_IOU, groups)
        own = tuple(self.names[i] for i in own_ids[keep])
        return Detections(boxes[keep], scores[keep], class_ids[keep], own)


def load(path: Path) -> GraphDetector:
    """Load a checkpoint for torch, on the GPU if there is one, without running code from it.

    Raises:
        WeightsError: it is no Ultralytics detection checkpoint, or has classes other than ours.
    """
    return GraphDetector(*_torch_engine(path, None))


def needs_torch(settings: Settings) -> bool:
    """Whether the settings choose an engine that no graph is made of: there is none."""
    return False


def torch_engine(
    weights: WeightFile, settings: Settings, device: str | None
) -> tuple[Processing, TorchEngine]:
    """The parts of a detector that torch runs; `device` None takes the GPU if there is one.

    Raises:
        WeightsError: see `load`; or torch or Ultralytics is not installed.
    """
    require("torch", "ultralytics")
    return _torch_engine(weights.path, device)


def _torch_engine(path: Path, device: str | None) -> tuple[Processing, TorchEngine]:
    import torch

    from bonefx.detectors.engines.torch_engine import TorchEngine, best_device
    from bonefx.detectors.yolo.network import OneToMany

    processing, model = _read(path)
    place = best_device() if device is None else torch.device(device)
    graph = OneToMany(model)
    model.fuse(verbose=False)  # of the head that is not used, and after that was chosen
    return processing, TorchEngine(graph, place)


def convertible(weights: WeightFile, folded: bool = False) -> Convertible:
    """What `convert` turns into a graph for OpenVINO.

    Args:
        weights: the checkpoint.
        folded: have normalisation folded into the convolutions: quantisation needs that, and compression of
            half a checkpoint's numbers does not allow it.

    Raises:
        WeightsError: see `load`.
    """
    from bonefx.detectors.conversion.convert import Convertible
    from bonefx.detectors.yolo.network import OneToMany

    processing, model = _read(weights.path)
    graph = OneToMany(model)
    if folded:
        model.fuse(verbose=False)
    head = len(model.model) - 1
    levels = range(model.model[head].nl)
    first = [f"network.model.{layer}" for layer in range(3)]
    branches = [f"network.model.{head}.cv{branch}.{level}" for branch in (2, 3) for level in levels]
    return Convertible(
        processing,
        graph,
        (np.zeros((1, 3, 4 * processing.stride, 6 * processing.stride), np.float32),),
        reduced=(*(f"network.model.{layer}" for layer in range(head)), *branches),
        # Little work: the layer that sees the pixels, and the head. On 448 images of FracAtlas the bundled
        # weights then lose 3 of 144 lesions at worst; with only the head's last layers in float32, 4.
        float32=("network.model.0", *branches),
        # The inputs of layers 1 and 2 alone make half of the shift that all scores get from eight bits.
        quantised_without=(
            (),
            (*first, *branches),
            (*first, "network.model.10", *branches),
        ),
        fast_bias_correction=False,
    )


def _read(path: Path) -> tuple[Processing, nn.Module]:
    from bonefx.detectors.yolo.network import read

    model, image_size = read(path)
    names = tuple(str(model.names[i]) for i in range(len(model.names)))
    try:
        return Processing(image_size, int(model.stride.max()), names).checked(), model
    except WeightsError as error:
        raise WeightsError(f"{path.name}: {error}") from None


def _half(padding: int) -> int:
    """Of the padding, what lies before the image: the smaller half."""
    return round(padding / 2 - 0.1)
