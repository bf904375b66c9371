"""The Faster R-CNN adapter: a Detectron2 checkpoint in, `Detections` out."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bonefx.detections import Detections
from bonefx.detectors.base import MIN_SCORE, Runtime, Stopwatch, processor_name
from bonefx.detectors.config import Architecture, FasterRCNNConfig
from bonefx.detectors.network import FasterRCNN
from bonefx.errors import WeightsError
from bonefx.labels import CLASSES

# Buffers that older Detectron2 versions saved; their values follow from the configuration.
_DERIVED = re.compile(r"pixel_(mean|std)|proposal_generator\.anchor_generator\.cell_anchors\.\d+")


def load(path: Path, config_path: Path | None, engine: str = "auto") -> FasterRCNNDetector:
    """Load a checkpoint.

    Args:
        path: a Detectron2 `model_final.pth`, or a bare state dict of the same names.
        config_path: Detectron2 YAML of the training run; None takes the published model's settings.
        engine: `torchvision`, `detectron2`, or `auto`: Detectron2 where it is installed and can build
            this network, else torchvision.

    Raises:
        WeightsError: the file is no such checkpoint, or the engine cannot run it.
    """
    state = read_checkpoint(path)
    config = FasterRCNNConfig() if config_path is None else FasterRCNNConfig.read(config_path)
    architecture = Architecture.from_shapes({name: tuple(value.shape) for name, value in state.items()})
    if architecture.classes != len(CLASSES):
        raise WeightsError(f"the checkpoint has {architecture.classes} classes, not {len(CLASSES)}")
    network = FasterRCNN(architecture, config)
    load_state(network, state)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if engine == "detectron2" or (engine == "auto" and _detectron2_can_run(architecture)):
        from bonefx.detectors.detectron2_engine import Detectron2Model

        model: Any = Detectron2Model(architecture, config, state, device)
    else:
        model = TorchvisionModel(network.eval().to(device))
    return FasterRCNNDetector(model, config, device)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The float32 tensors of a checkpoint, by name, without running any code from the file.

    Raises:
        WeightsError: it cannot be read as one.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file fails in many ways, all of them meaning this
        raise WeightsError(
            f"{path.name} is damaged or is not a PyTorch checkpoint of plain tensors"
        ) from error
    model = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(model, Mapping) or not all(isinstance(value, Tensor) for value in model.values()):
        raise WeightsError(f"{path.name} holds no table of tensors, so it is no Detectron2 checkpoint")
    return {str(name): value.float() for name, value in model.items() if not _DERIVED.fullmatch(str(name))}


def load_state(network: FasterRCNN, state: Mapping[str, Tensor]) -> None:
    """Strict loading.

    Raises:
        WeightsError: names the tensors that are missing, unknown or of another shape.
    """
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    problems = [f"{name} is missing" for name in expected if name not in state]
    problems += [f"{name} is unknown" for name in state if name not in expected]
    problems += [
        f"{name} has the shape {tuple(state[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    if problems:
        more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise WeightsError(f"the checkpoint does not fit the network: {'; '.join(problems[:5])}{more}")
    network.load_state_dict(dict(state))


def resize(rgb: np.ndarray, min_size: int, max_size: int) -> np.ndarray:
    """Short side to `min_size`, long side at most `max_size`: Pillow bilinear on uint8, as in Detectron2."""
    height, width = rgb.shape[:2]
    scale = min_size / min(height, width)
    if scale * max(height, width) > max_size:
        scale = max_size / max(height, width)
    size = (max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5)))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR))


def normalise(resized: np.ndarray, config: FasterRCNNConfig, divisor: int) -> Tensor:
    """RGB uint8 (h, w, 3) to a float32 batch (1, 3, H, W), zero-padded to multiples of `divisor`."""
    channels = resized[:, :, ::-1] if config.input_format == "BGR" else resized
    mean = np.asarray(config.pixel_mean, np.float32)
    std = np.asarray(config.pixel_std, np.float32)
    height, width = resized.shape[:2]
    padded = np.zeros((_ceil(height, divisor), _ceil(width, divisor), 3), np.float32)
    padded[:height, :width] = (channels.astype(np.float32) - mean) / std
    return torch.from_numpy(padded).permute(2, 0, 1)[None].contiguous()


class TorchvisionModel:
    """The network of `bonefx.detectors.network`, run by torch itself."""

    engine = f"torch {torch.__version__.partition('+')[0]}"

    def __init__(self, network: FasterRCNN) -> None:
        self.network = network

    @torch.inference_mode()
    def __call__(
        self, resized: np.ndarray, stopwatch: Stopwatch
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes (n, 4) in pixels of the resized RGB image, scores (n,), class ids (n,) from 0."""
        with stopwatch("preprocess"):
            images = normalise(resized, self.network.config, self.network.divisor)
        with stopwatch("network"):
            dense = self.network.dense(images.to(next(self.network.parameters()).device))
        with stopwatch("postprocess"):
            found = self.network.select(dense, [resized.shape[:2]])[0][0]
            return (
                found["boxes"].cpu().numpy(),
                found["scores"].cpu().numpy(),
                found["labels"].cpu().numpy() - 1,
            )


class FasterRCNNDetector:
    """See `bonefx.detectors.base.Detector`. `model` maps a resized RGB image to boxes, scores, classes."""

    def __init__(self, model: Any, config: FasterRCNNConfig, device: torch.device) -> None:
        self._model, self._config = model, config
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
        self.runtime = Runtime(model.engine, "float32", name)
        self.nms = f"per class, IoU {config.nms:g}"
        self.image_size = config.max_size

    def detect(self, rgb: np.ndarray, stopwatch: Stopwatch) -> Detections:
        height, width = rgb.shape[:2]
        with stopwatch("preprocess"):
            resized = resize(rgb, self._config.min_size, self._config.max_size)
        boxes, scores, class_ids = self._model(resized, stopwatch)
        with stopwatch("postprocess"):
            scale = np.array([width / resized.shape[1], height / resized.shape[0]] * 2, np.float32)
            boxes = np.clip(boxes * scale, 0, np.array([width, height] * 2, np.float32))
            keep = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & (scores >= MIN_SCORE)
            labels = tuple(CLASSES[i] for i in class_ids[keep])
            return Detections(boxes[keep], scores[keep], class_ids[keep], labels)


def _detectron2_can_run(architecture: Architecture) -> bool:
    # Detectron2's stock builder ties the pyramid's subsampled level to p5.
    return architecture.levels[-1] == 5 and importlib.util.find_spec("detectron2") is not None


def _ceil(length: int, divisor: int) -> int:
    return math.ceil(length / divisor) * divisor
