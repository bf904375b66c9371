"""The Faster R-CNN adapter: a Detectron2 checkpoint in, `Detections` out."""

from __future__ import annotations

import copy
import importlib.util
import math
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bonefx.detections import SCORE_FLOOR, Detections
from bonefx.detectors import detectron2_yaml
from bonefx.detectors.acceleration import Acceleration
from bonefx.detectors.base import MAX_DETECTIONS, USUAL_SIZES, Runtime, Stopwatch, processor_name
from bonefx.detectors.config import Architecture, FasterRCNNConfig
from bonefx.detectors.network import Dense, FasterRCNN, anchors_at
from bonefx.detectors.roi_pooling import ChannelsLastRoIPooler
from bonefx.detectors.weight_file import WeightFile, load_state, plain_names
from bonefx.errors import WeightsError
from bonefx.labels import CLASSES

if TYPE_CHECKING:  # it imports OpenVINO
    from bonefx.detectors.openvino_network import OpenVINONetwork

# Buffers that older Detectron2 versions saved; their values follow from the configuration.
_DERIVED = re.compile(r"pixel_(mean|std)|proposal_generator\.anchor_generator\.cell_anchors\.\d+")


def load(
    path: Path, config_path: Path | None, engine: str = "auto", acceleration: Acceleration | None = None
) -> FasterRCNNDetector:
    """Load a checkpoint.

    Args:
        path: a Detectron2 `model_final.pth`, or a bare state dict of the same names.
        config_path: Detectron2 YAML of the training run; None takes the published model's settings.
        engine: `torchvision`, `detectron2`, or `auto`: Detectron2 where it is installed and can build
            this network, else torchvision.
        acceleration: how OpenVINO may take over from torchvision on a CPU; None leaves it to torch.

    Raises:
        WeightsError: the file is no such checkpoint, or the engine cannot run it.
    """
    network, state = _build(path, config_path)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if engine == "detectron2" or (engine == "auto" and _detectron2_can_run(network.architecture)):
        from bonefx.detectors.detectron2_engine import Detectron2Model

        model: Any = Detectron2Model(network.architecture, network.config, state, device)
        return FasterRCNNDetector(model, network.config, device)
    detector = FasterRCNNDetector(TorchvisionModel(network.to(device)), network.config, device)
    if acceleration is not None and device.type == "cpu":
        detector.accelerate(acceleration)
    return detector


def convertible(path: Path, config_path: Path | None, precision: str) -> torch.nn.Module:
    """What `convert` converts: `FasterRCNN.dense` with one flat tuple of outputs.

    Features come with their channels last and in the precision that OpenVINO computes in: so they take least
    time to pool.
    """
    return _Dense(_build(path, config_path)[0], getattr(torch, precision))


class _Dense(torch.nn.Module):
    # Little work; the last two say which proposals come first, and where they are.
    float32_layers = (
        "__module.network.backbone.bottom_up.stem.",
        "__module.network.proposal_generator.rpn_head.objectness_logits",
        "__module.network.proposal_generator.rpn_head.anchor_deltas",
    )

    def __init__(self, network: FasterRCNN, precision: torch.dtype) -> None:
        super().__init__()
        self.network, self.precision = network, precision
        config, divisor = network.config, network.divisor
        sizes = (resized_size(*size, config.min_size, config.max_size) for size in USUAL_SIZES)
        self.usual_shapes = sorted({tuple(_ceil(length, divisor) for length in size) for size in sizes})

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        dense = self.network.dense(images)
        features = (feature.permute(0, 2, 3, 1).to(self.precision) for feature in dense.features)
        return (*features, *dense.objectness, *dense.deltas)


def _build(path: Path, config_path: Path | None) -> tuple[FasterRCNN, dict[str, Tensor]]:
    """The network of a checkpoint, ready to detect, and the checkpoint's tensors, which it shares."""
    state = read_checkpoint(path)
    derived = {name: state.pop(name) for name in list(state) if _DERIVED.fullmatch(name)}
    architecture = Architecture.from_shapes({name: tuple(value.shape) for name, value in state.items()})
    config = FasterRCNNConfig() if config_path is None else detectron2_yaml.read(config_path, architecture)
    if architecture.classes != len(CLASSES):
        raise WeightsError(f"the checkpoint has {architecture.classes} classes, not {len(CLASSES)}")
    network = _empty(architecture, config)
    _check_derived(derived, network)
    load_state(network, state)
    return network.eval(), state


def _empty(architecture: Architecture, config: FasterRCNNConfig) -> FasterRCNN:
    """A network whose tensors take no memory, and no time to fill with random numbers."""
    with torch.device("meta"):
        return FasterRCNN(architecture, config)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The float32 tensors of a checkpoint, by name, without running any code from the file.

    Raises:
        WeightsError: it cannot be read as one, or its numbers are none that a network works with.
    """
    file = WeightFile.read(path)
    content = file.content
    model = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(model, Mapping):
        raise WeightsError(f"{path.name} holds no table of tensors, so it is no Detectron2 checkpoint")
    return file.tensors(plain_names(model))


def _check_derived(derived: Mapping[str, Tensor], network: FasterRCNN) -> None:
    """
    Raises:
        WeightsError: the checkpoint says with a buffer that it was trained with other settings.
    """
    config, levels = network.config, len(network.architecture.levels) + 1
    strides = network.proposal_generator.strides
    anchors = anchors_at([(1, 1)] * levels, strides, config, torch.device("cpu")).chunk(levels)
    expected = {
        "pixel_mean": torch.tensor(config.pixel_mean),
        "pixel_std": torch.tensor(config.pixel_std),
        **{f"proposal_generator.anchor_generator.cell_anchors.{i}": cell for i, cell in enumerate(anchors)},
    }
    for name, value in derived.items():
        wanted = expected.get(name)
        if (
            wanted is None
            or wanted.numel() != value.numel()
            or not torch.allclose(value.flatten(), wanted.flatten(), rtol=1e-3, atol=1e-2)
        ):
            raise WeightsError(
                f"the checkpoint was trained with another {name} than its settings say; "
                "put the Detectron2 YAML of the training run beside the weights"
            )


def resized_size(height: int, width: int, min_size: int, max_size: int) -> tuple[int, int]:
    """Height and width as in Detectron2: short side `min_size`, long side at most `max_size`."""
    scale = min_size / min(height, width)
    if scale * max(height, width) > max_size:
        scale = max_size / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def resize(rgb: np.ndarray, min_size: int, max_size: int) -> np.ndarray:
    """An image to `resized_size`: Pillow bilinear on uint8, as in Detectron2."""
    height, width = resized_size(*rgb.shape[:2], min_size, max_size)
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR))


def normalise(resized: np.ndarray, config: FasterRCNNConfig, divisor: int) -> Tensor:
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
    return torch.from_numpy(padded)


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
            return _select(self.network, dense, resized)


class OpenVINOModel:
    """The same with OpenVINO for `FasterRCNN.dense`.

    The rest stays torch's: RoIAlign and the box head in OpenVINO's precision, proposals and NMS in float32.
    """

    def __init__(self, network: FasterRCNN, dense: OpenVINONetwork) -> None:
        """Of `network` the RoI heads are copied, and nothing else is kept: it may be in use."""
        self._network = _empty(network.architecture, network.config).eval()
        heads = self._network.roi_heads = copy.deepcopy(network.roi_heads)
        pooler = heads.box_roi_pool
        heads.box_roi_pool = ChannelsLastRoIPooler(pooler.levels, pooler.size, pooler.sampling_ratio)
        heads.box_head.take_channels_last(network.architecture.channels)
        heads.box_head.to(getattr(torch, dense.runtime.precision))
        self._dense = dense
        self._lock = threading.Lock()

    @torch.inference_mode()
    def __call__(
        self, resized: np.ndarray, stopwatch: Stopwatch
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        with stopwatch("preprocess"):
            images = normalise(resized, self._network.config, self._network.divisor).numpy()
        with self._lock:  # the features are OpenVINO's memory; copying them would cost more than waiting
            with stopwatch("network"):
                outputs = self._dense(images)
            levels = len(outputs) // 3
            dense = Dense(outputs[:levels], outputs[levels : 2 * levels], outputs[2 * levels :])
            with stopwatch("postprocess"):
                return _select(self._network, dense, resized)


def _select(
    network: FasterRCNN, dense: Dense, resized: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = network.select(dense, [resized.shape[:2]])[0][0]
    return (
        found["boxes"].cpu().numpy(),
        found["scores"].cpu().numpy(),
        found["labels"].cpu().numpy() - 1,
    )


class FasterRCNNDetector:
    """See `bonefx.detectors.base.Detector`. `model` maps a resized RGB image to boxes, scores, classes."""

    def __init__(self, model: Any, config: FasterRCNNConfig, device: torch.device) -> None:
        self._config = config
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
        self._active = model, Runtime(model.engine, "float32", name)
        self._acceleration: Acceleration | None = None
        self.nms = f"per class, IoU {config.nms:g}"
        self.image_size = config.max_size

    @property
    def runtime(self) -> Runtime:
        return self._active[1]

    def detect(self, rgb: np.ndarray, stopwatch: Stopwatch) -> Detections:
        height, width = rgb.shape[:2]
        model, stopwatch.runtime = self._active
        with stopwatch("preprocess"):
            resized = resize(rgb, self._config.min_size, self._config.max_size)
        boxes, scores, class_ids = model(resized, stopwatch)
        if self._acceleration is not None:
            self._acceleration.begin()
        with stopwatch("postprocess"):
            scale = np.array([width / resized.shape[1], height / resized.shape[0]] * 2, np.float32)
            boxes = np.clip(boxes * scale, 0, np.array([width, height] * 2, np.float32))
            usable = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & (scores >= SCORE_FLOOR)
            keep = np.flatnonzero(usable)[:MAX_DETECTIONS]  # best first, and settings may allow more
            labels = tuple(CLASSES[i] for i in class_ids[keep])
            return Detections(boxes[keep], scores[keep], class_ids[keep], labels)

    def settle(self) -> None:
        if self._acceleration is not None:
            self._acceleration.settle()

    def accelerate(self, acceleration: Acceleration) -> None:
        """Let OpenVINO take over from a `TorchvisionModel`: now if it can, else after the first detection."""

        def take_over(dense: OpenVINONetwork) -> None:
            self._active = OpenVINOModel(self._active[0].network, dense), dense.runtime

        self._acceleration = acceleration
        acceleration.attach(take_over)


def _detectron2_can_run(architecture: Architecture) -> bool:
    # Detectron2's stock builder ties the pyramid's subsampled level to p5.
    return architecture.levels[-1] == 5 and importlib.util.find_spec("detectron2") is not None


def _ceil(length: int, divisor: int) -> int:
    return math.ceil(length / divisor) * divisor
