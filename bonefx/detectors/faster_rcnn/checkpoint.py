"""A Faster R-CNN from a Detectron2 checkpoint. The file is data: no code in it is run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from bonefx.detectors.faster_rcnn import detectron2_yaml
from bonefx.detectors.faster_rcnn.config import Architecture, FasterRCNNConfig
from bonefx.detectors.faster_rcnn.network import FasterRCNN, anchors_at
from bonefx.detectors.weight_file import WeightFile, load_state, plain_names
from bonefx.errors import WeightsError
from bonefx.labels import CLASSES

# Buffers that older Detectron2 versions saved; their values follow from the configuration.
_DERIVED = re.compile(r"pixel_(mean|std)|proposal_generator\.anchor_generator\.cell_anchors\.\d+")


def build(path: Path, config_path: Path | None) -> tuple[FasterRCNN, dict[str, Tensor]]:
    """The network of a checkpoint, ready to detect, and the checkpoint's tensors, which it shares.

    Raises:
        WeightsError: the file is no such checkpoint.
    """
    state = read_checkpoint(path)
    derived = {name: state.pop(name) for name in list(state) if _DERIVED.fullmatch(name)}
    architecture = Architecture.from_shapes({name: tuple(value.shape) for name, value in state.items()})
    config = FasterRCNNConfig() if config_path is None else detectron2_yaml.read(config_path, architecture)
    if architecture.classes != len(CLASSES):
        raise WeightsError(f"the checkpoint has {architecture.classes} classes, not {len(CLASSES)}")
    with torch.device("meta"):  # no memory, and no time for random numbers
        network = FasterRCNN(architecture, config)
    _check_derived(derived, network)
    load_state(network, state)
    return network.eval(), state


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
    anchors = anchors_at([(1, 1)] * levels, strides, config, torch.device("cpu"))
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
