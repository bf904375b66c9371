"""What a Faster R-CNN is made of: what a checkpoint's shapes tell, and what they cannot.

The second (image size, anchors, test limits) travels in a Detectron2 YAML beside the weights, which
`detectron2_yaml` reads. The defaults here are the settings of the published model:
`COCO-Detection/faster_rcnn_R_50_FPN_3x` with five anchor ratios and 1024 px images.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from bonefx.errors import WeightsError


class Stage(NamedTuple):
    """One stage of the trunk: residual blocks, inner and outer channels."""

    blocks: int
    inner: int
    outer: int


@dataclass(frozen=True)
class Architecture:
    """What the shapes of a checkpoint tell.

    Attributes:
        stages: res2 onwards.
        levels: the stages that enter the pyramid, by number: (2, 3, 4, 5).
        channels: width of the pyramid.
        anchors: anchors at each position of a level.
        fc: widths of the box head's fully connected layers.
        pool: side of the RoI pooling grid.
        classes: without background.
    """

    stages: tuple[Stage, ...]
    levels: tuple[int, ...]
    channels: int
    anchors: int
    fc: tuple[int, ...]
    pool: int
    classes: int

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Sequence[int]]) -> Architecture:
        """Read the architecture from tensor names and shapes.

        Raises:
            WeightsError: a tensor that is needed to tell is missing or has another rank.
        """

        def shape(name: str, rank: int) -> Sequence[int]:
            if name not in shapes:
                raise WeightsError(f"the checkpoint has no tensor {name}: it is no Faster R-CNN with FPN")
            if len(shapes[name]) != rank:
                raise WeightsError(f"{name} has the shape {tuple(shapes[name])}: {rank} axes are expected")
            return shapes[name]

        def numbers(pattern: str) -> list[int]:
            found = (re.fullmatch(pattern, name) for name in shapes)
            return sorted({int(match[1]) for match in found if match})

        trunk = "backbone.bottom_up"
        stages = []
        for stage in numbers(rf"{trunk}\.res(\d)\.0\.conv1\.weight"):
            blocks = numbers(rf"{trunk}\.res{stage}\.(\d{{1,4}})\.conv1\.weight")
            if len(blocks) > 100:
                raise WeightsError(f"the checkpoint has {len(blocks)} blocks in stage res{stage}")
            inner = shape(f"{trunk}.res{stage}.0.conv1.weight", 4)[0]
            stages.append(Stage(len(blocks), inner, shape(f"{trunk}.res{stage}.0.conv3.weight", 4)[0]))
        levels = numbers(r"backbone\.fpn_lateral(\d)\.weight")
        if not stages or not levels or levels != list(range(levels[0], len(stages) + 2)):
            raise WeightsError("the checkpoint has no ResNet trunk with a feature pyramid on its last stages")
        channels = shape(f"backbone.fpn_lateral{levels[0]}.weight", 4)[0]
        layers = numbers(r"roi_heads\.box_head\.fc(\d)\.weight")
        fc = tuple(shape(f"roi_heads.box_head.fc{n}.weight", 2)[0] for n in layers)
        pool = math.isqrt(shape("roi_heads.box_head.fc1.weight", 2)[1] // channels)
        return cls(
            stages=tuple(stages),
            levels=tuple(levels),
            channels=channels,
            anchors=shape("proposal_generator.rpn_head.objectness_logits.weight", 4)[0],
            fc=fc,
            pool=pool,
            classes=shape("roi_heads.box_predictor.cls_score.weight", 2)[0] - 1,
        )


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
    def from_record(cls, record: Mapping[str, Any]) -> FasterRCNNConfig:
        """Read what `dataclasses.asdict` made, also after it has been JSON.

        Raises:
            WeightsError: a value is missing or unusable.
        """
        try:
            values = {field.name: converted(field.default, record[field.name]) for field in fields(cls)}
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"the settings in its card are unusable: {error}") from error
        config = cls(**values)
        pixels = (*config.pixel_mean, *config.pixel_std)
        if (
            not all(32 <= size <= 4096 for size in (config.min_size, config.max_size))
            or not (len(config.pixel_mean) == len(config.pixel_std) == 3 and all(map(math.isfinite, pixels)))
            or min(config.pixel_std) <= 0
            or config.input_format not in ("BGR", "RGB")
        ):
            raise WeightsError("the settings in its card are none that a network can have")
        return config

    def to_tree(self) -> dict[str, Any]:
        """The settings as nested dicts in Detectron2's naming."""
        tree: dict[str, Any] = {}
        for field in fields(self):
            *parents, leaf = YAML_KEYS[field.name].split(".")
            node = tree
            for key in parents:
                node = node.setdefault(key, {})
            node[leaf] = _plain(getattr(self, field.name))
        return tree


def detectron2_tree(architecture: Architecture, config: FasterRCNNConfig) -> dict[str, Any]:
    """All settings of a network as nested dicts in Detectron2's naming."""
    stages = [f"res{level}" for level in architecture.levels]
    pyramid = [f"p{level}" for level in architecture.levels]
    tree = config.to_tree()
    tree["VERSION"] = 2
    model = tree["MODEL"]
    model["META_ARCHITECTURE"] = "GeneralizedRCNN"
    model["MASK_ON"] = False
    model["BACKBONE"] = {"NAME": "build_resnet_fpn_backbone"}
    first = architecture.stages[0]
    model["RESNETS"].update(
        DEPTH=50,
        OUT_FEATURES=stages,
        NORM="FrozenBN",
        STEM_OUT_CHANNELS=64,
        WIDTH_PER_GROUP=first.inner,
        RES2_OUT_CHANNELS=first.outer,
    )
    model["FPN"] = {"IN_FEATURES": list(stages), "OUT_CHANNELS": architecture.channels}
    model["RPN"]["IN_FEATURES"] = [*pyramid, f"p{architecture.levels[-1] + 1}"]
    model["ROI_HEADS"].update(
        NAME="StandardROIHeads",
        IN_FEATURES=pyramid,
        NUM_CLASSES=architecture.classes,
        SCORE_THRESH_TEST=0.001,
    )
    model["ROI_BOX_HEAD"].update(
        NAME="FastRCNNConvFCHead",
        NUM_FC=len(architecture.fc),
        FC_DIM=architecture.fc[0],
        POOLER_RESOLUTION=architecture.pool,
        POOLER_TYPE="ROIAlignV2",
    )
    return tree


def per_level(values: Sequence[Sequence[float]], levels: int) -> Sequence[Sequence[float]]:
    """One entry for every level; a single entry serves all, as in Detectron2."""
    return list(values) * levels if len(values) == 1 else values


YAML_KEYS = {
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


def converted(default: Any, value: Any) -> Any:
    """`value` with the type of `default`, tuples element by element.

    Raises:
        TypeError, ValueError, OverflowError: it does not convert.
    """
    if isinstance(default, tuple):
        if not isinstance(value, (list, tuple)) or not value:
            raise TypeError("a list is expected")
        return tuple(converted(default[0], item) for item in value)
    if isinstance(default, (bool, str)):
        if type(value) is not type(default):
            raise TypeError("another type")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError("a number is expected")
    if isinstance(default, int) and value != int(value):
        raise TypeError("a whole number is expected")
    return type(default)(value)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
