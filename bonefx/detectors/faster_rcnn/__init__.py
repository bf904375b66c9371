"""The Faster R-CNN: a Detectron2 checkpoint in, a detector out.

Nothing here imports torch before a checkpoint is loaded: `Processing` serves every engine.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from bonefx.detections import SCORE_FLOOR, Detections
from bonefx.detectors.base import MAX_DETECTIONS
from bonefx.detectors.faster_rcnn.config import FasterRCNNConfig
from bonefx.detectors.graph_detector import GraphDetector
from bonefx.detectors.loading import require
from bonefx.errors import WeightsError
from bonefx.labels import CLASSES
from bonefx.settings import Settings
from bonefx.sources.hub import WeightFile

if TYPE_CHECKING:
    from bonefx.detectors.conversion.convert import Convertible
    from bonefx.detectors.engines.torch_engine import TorchEngine


_ROI_ALIGN = "roi_heads.box_roi_pool/torchvision::roi_align/ROIAlign"


@dataclass(frozen=True)
class Processing:
    """See `bonefx.detectors.base.Processing`.

    Attributes:
        config: image size, colours and limits of the training run.
        divisor: the graph's images have sides that are multiples of it.
    """

    config: FasterRCNNConfig
    divisor: int

    ranks = (4, 1), (2, 1, 1)

    @property
    def nms(self) -> str:
        return f"per class, IoU {self.config.nms:g}"

    @property
    def image_size(self) -> int:
        return self.config.max_size

    def prepare(self, rgb: np.ndarray) -> list[np.ndarray]:
        """The padded image, float32 (1, 3, H, W), and its (height, width) before padding, float32."""
        resized = resize(rgb, self.config.min_size, self.config.max_size)
        size = np.array(resized.shape[:2], np.float32)
        return [normalise(resized, self.config, self.divisor), size]

    def finish(self, outputs: Sequence[np.ndarray], height: int, width: int) -> Detections:
        """Of boxes (n, 4) in pixels of the resized image, scores (n,) and class ids (n,), best first."""
        boxes, scores, class_ids = outputs
        seen = resized_size(height, width, self.config.min_size, self.config.max_size)
        scale = np.array([width / seen[1], height / seen[0]] * 2, np.float32)
        boxes = np.clip(boxes * scale, 0, np.array([width, height] * 2, np.float32))
        usable = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & (scores >= SCORE_FLOOR)
        keep = np.flatnonzero(usable)[:MAX_DETECTIONS]  # settings may allow more
        labels = tuple(CLASSES[i] for i in class_ids[keep])
        return Detections(boxes[keep], scores[keep], class_ids[keep], labels)

    def to_record(self) -> dict[str, Any]:
        return {"config": asdict(self.config), "divisor": self.divisor}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Processing:
        """The other way round.

        Raises:
            WeightsError: a value is missing, or one that no network can have.
        """
        config, divisor = record.get("config"), record.get("divisor")
        if not isinstance(config, Mapping) or divisor not in (8, 16, 32):
            raise WeightsError("the settings in its card are unusable")
        return cls(FasterRCNNConfig.from_record(config), divisor)


def load(path: Path, config_path: Path | None, engine: str = "auto") -> GraphDetector:
    """Load a checkpoint for torch, on the GPU if there is one.

    Args:
        path: a Detectron2 `model_final.pth`, or a bare state dict of the same names.
        config_path: Detectron2 YAML of the training run; None takes the published model's settings.
        engine: `torchvision`, `detectron2`, or `auto`: Detectron2 where it is installed and can build
            this network, else torchvision.

    Raises:
        WeightsError: the file is no such checkpoint, or the engine cannot run it.
    """
    return GraphDetector(*_torch_engine(path, config_path, engine, None))


def needs_torch(settings: Settings) -> bool:
    """Whether the settings choose an engine that no graph is made of: Detectron2's own."""
    return settings.frcnn_engine == "detectron2"


def torch_engine(
    weights: WeightFile, settings: Settings, device: str | None
) -> tuple[Processing, TorchEngine]:
    """The parts of a detector that torch runs; `device` None takes the GPU if there is one.

    Raises:
        WeightsError: see `load`; or torch is not installed.
    """
    require("torch", "torchvision")
    return _torch_engine(weights.path, weights.config, settings.frcnn_engine, device)


def _torch_engine(
    path: Path, config_path: Path | None, engine: str, device: str | None
) -> tuple[Processing, TorchEngine]:
    import torch

    from bonefx.detectors.engines.torch_engine import TorchEngine, best_device
    from bonefx.detectors.faster_rcnn import checkpoint

    network, state = checkpoint.build(path, config_path)
    processing = Processing(network.config, network.divisor)
    place = best_device() if device is None else torch.device(device)
    if engine == "detectron2" or (engine == "auto" and _detectron2_can_run(network.architecture)):
        from bonefx.detectors.faster_rcnn.detectron2_engine import Detectron2Graph

        graph = Detectron2Graph(network.architecture, network.config, state, place)
        return processing, TorchEngine(graph, place, graph.library)
    return processing, TorchEngine(network, place)


def convertible(weights: WeightFile, folded: bool = False) -> Convertible:
    """What `convert` turns into a graph for OpenVINO.

    Args:
        weights: the checkpoint.
        folded: changes nothing here: the frozen normalisation is folded into the convolutions anyhow.

    Raises:
        WeightsError: see `load`.
    """
    from bonefx.detectors.conversion.convert import Convertible
    from bonefx.detectors.faster_rcnn import checkpoint

    network, _ = checkpoint.build(weights.path, weights.config)
    sides = 4 * network.divisor, 6 * network.divisor
    outputs = (
        "proposal_generator.rpn_head.objectness_logits",
        "proposal_generator.rpn_head.anchor_deltas",
    )
    pyramid = tuple(
        f"backbone.fpn_{part}{level}"
        for part in ("lateral", "output")
        for level in network.architecture.levels
    )
    return Convertible(
        Processing(network.config, network.divisor),
        network,
        (np.zeros((1, 3, *sides), np.float32), np.array(sides, np.float32)),
        # Places of boxes and their selection need all digits. RoIAlign itself takes places in float32 beside
        # features in less; in float32 it would get these in a slow order.
        reduced=(
            "backbone",
            "proposal_generator.rpn_head",
            _ROI_ALIGN,
            "roi_heads.box_head",
        ),
        # Little work; the last ones say which proposals come first, and where they are.
        float32=("backbone.bottom_up.stem", *outputs),
        quantised_without=(
            ("backbone.bottom_up.stem", *outputs, _ROI_ALIGN),
            ("backbone.bottom_up.stem", *pyramid, "proposal_generator.rpn_head", _ROI_ALIGN),
        ),
        fast_bias_correction=True,
    )


def resized_size(height: int, width: int, min_size: int, max_size: int) -> tuple[int, int]:
    """Height and width as in Detectron2: short side `min_size`, long side at most `max_size`."""
    scale = min_size / min(height, width)
    if scale * max(height, width) > max_size:
        scale = max_size / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def resize(image: np.ndarray, min_size: int, max_size: int) -> np.ndarray:
    """An image, uint8 (h, w) or (h, w, 3), to `resized_size`: Pillow bilinear, as in Detectron2."""
    height, width = resized_size(image.shape[0], image.shape[1], min_size, max_size)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def normalise(resized: np.ndarray, config: FasterRCNNConfig, divisor: int) -> np.ndarray:
    """RGB uint8 (h, w, 3) to a float32 batch (1, 3, H, W), zero-padded to multiples of `divisor`."""
    channels = (2, 1, 0) if config.input_format == "BGR" else (0, 1, 2)
    height, width = resized.shape[:2]
    padded = np.zeros((1, 3, _ceil(height, divisor), _ceil(width, divisor)), np.float32)
    for plane, channel, mean, std in zip(
        padded[0, :, :height, :width], channels, config.pixel_mean, config.pixel_std, strict=True
    ):
        # Into its place at once: ten times as fast as a picture of floats that is taken apart.
        np.subtract(resized[:, :, channel], np.float32(mean), out=plane)
        plane /= np.float32(std)
    return padded


def _detectron2_can_run(architecture: Any) -> bool:
    # Detectron2's stock builder ties the pyramid's subsampled level to p5.
    return architecture.levels[-1] == 5 and importlib.util.find_spec("detectron2") is not None


def _ceil(length: int, divisor: int) -> int:
    return math.ceil(length / divisor) * divisor
