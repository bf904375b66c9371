"""What a Faster R-CNN checkpoint's shapes cannot tell: image size, anchors, test limits.

The values travel in a Detectron2 YAML beside the weights. Keys that the file leaves out keep the
settings of the published model: `COCO-Detection/faster_rcnn_R_50_FPN_3x` with five anchor ratios and
1024 px images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from bonefx.errors import WeightsError


@dataclass(frozen=True)
class FasterRCNNConfig:
    """Settings of a Faster R-CNN with a feature pyramid; sizes in pixels of the resized image.

    Attributes:
        input_format: colour order that the trunk was trained with, `BGR` or `RGB`.
        min_size, max_size: the short side is resized to `min_size`, but the long side to no more
            than `max_size`.
        pixel_mean, pixel_std: per channel, in `input_format` order, on the scale 0 to 255.
        stride_in_1x1: whether a stage's stride sits in its first 1x1 convolution (the MSRA layout).
        anchor_sizes: per pyramid level, finest first, the side of a square anchor.
        aspect_ratios: per level, height / width of the anchors.
        sampling_ratio: RoIAlign samples per bin and axis; 0 means as many as pixels under the bin.
        rpn_pre_nms, rpn_post_nms, rpn_nms: proposals a level before NMS, in all after it, and its IoU.
        nms, max_detections: IoU of the final per-class NMS, and detections kept.
    """

    input_format: str = "BGR"
    min_size: int = 1024
    max_size: int = 1024
    pixel_mean: tuple[float, ...] = (103.53, 116.28, 123.675)
    pixel_std: tuple[float, ...] = (1.0, 1.0, 1.0)
    stride_in_1x1: bool = True
    anchor_sizes: tuple[tuple[float, ...], ...] = ((32,), (64,), (128,), (256,), (512,))
    aspect_ratios: tuple[tuple[float, ...], ...] = ((0.33, 0.5, 1.0, 2.0, 3.0),)
    sampling_ratio: int = 0
    rpn_pre_nms: int = 1000
    rpn_post_nms: int = 1000
    rpn_nms: float = 0.7
    nms: float = 0.5
    max_detections: int = 300

    @classmethod
    def read(cls, path: Path) -> FasterRCNNConfig:
        """Read a Detectron2 YAML.

        Raises:
            WeightsError: the file is not YAML, or a value has the wrong type.
        """
        try:
            tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise WeightsError(f"{path.name} is not a YAML file") from error
        if not isinstance(tree, Mapping):
            raise WeightsError(f"{path.name} is not a Detectron2 configuration")
        values: dict[str, Any] = {}
        for field in fields(cls):
            node: Any = tree
            for key in _YAML_KEYS[field.name].split("."):
                node = node.get(key) if isinstance(node, Mapping) else None
            if node is not None:
                try:
                    values[field.name] = _like(field.default, node)
                except (TypeError, ValueError):
                    key = _YAML_KEYS[field.name]
                    raise WeightsError(f"{path.name}: {key} has the unusable value {node!r}") from None
        config = cls(**values)
        if config.input_format not in ("BGR", "RGB"):
            raise WeightsError(f"{path.name}: INPUT.FORMAT is {config.input_format!r}, not BGR or RGB")
        if min(config.min_size, config.max_size) < 32 or config.max_size > 4096:
            raise WeightsError(f"{path.name}: test images must be between 32 and 4096 px")
        return config

    def to_tree(self) -> dict[str, Any]:
        """The settings as nested dicts in Detectron2's naming."""
        tree: dict[str, Any] = {}
        for field in fields(self):
            *parents, leaf = _YAML_KEYS[field.name].split(".")
            node = tree
            for key in parents:
                node = node.setdefault(key, {})
            node[leaf] = _plain(getattr(self, field.name))
        return tree


_YAML_KEYS = {
    "input_format": "INPUT.FORMAT",
    "min_size": "INPUT.MIN_SIZE_TEST",
    "max_size": "INPUT.MAX_SIZE_TEST",
    "pixel_mean": "MODEL.PIXEL_MEAN",
    "pixel_std": "MODEL.PIXEL_STD",
    "stride_in_1x1": "MODEL.RESNETS.STRIDE_IN_1X1",
    "anchor_sizes": "MODEL.ANCHOR_GENERATOR.SIZES",
    "aspect_ratios": "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS",
    "sampling_ratio": "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO",
    "rpn_pre_nms": "MODEL.RPN.PRE_NMS_TOPK_TEST",
    "rpn_post_nms": "MODEL.RPN.POST_NMS_TOPK_TEST",
    "rpn_nms": "MODEL.RPN.NMS_THRESH",
    "nms": "MODEL.ROI_HEADS.NMS_THRESH_TEST",
    "max_detections": "TEST.DETECTIONS_PER_IMAGE",
}


def _like(default: Any, value: Any) -> Any:
    """`value` with the type of `default`, tuples element by element.

    Raises:
        TypeError, ValueError: it does not convert.
    """
    if isinstance(default, tuple):
        if not isinstance(value, list) or not value:
            raise TypeError("a list is expected")
        return tuple(_like(default[0], item) for item in value)
    if isinstance(default, bool) and not isinstance(value, bool):
        raise TypeError("true or false is expected")
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        return float(value) if isinstance(default, float) or float(value) != int(value) else int(value)
    return type(default)(value)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
