"""A Detectron2 YAML, read so that no setting which shapes a detection is passed over.

Each of Detectron2's settings is in one of four tables: obeyed, accepted only as it is built here, told by the
tensors' shapes and accepted only if it agrees, or without a say in a detection. A setting of the network, its
input or its test that is in none of them is refused. Keys that the file leaves out keep the settings of the
published model.
"""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from bonefx.detectors.faster_rcnn.config import (
    YAML_KEYS,
    Architecture,
    FasterRCNNConfig,
    converted,
    detectron2_tree,
)
from bonefx.errors import BoneFXError, WeightsError, quoted
from bonefx.files import open_regular

MAX_BYTES = 100_000  # a full dump of Detectron2's settings has 12,000
MAX_NESTING = 20

OBEYED = {key: name for name, key in YAML_KEYS.items()}
"""Setting to field of `FasterRCNNConfig`."""

BUILT: dict[str, tuple[Any, ...]] = {
    "VERSION": (2,),
    "MODEL.META_ARCHITECTURE": ("GeneralizedRCNN",),
    "MODEL.LOAD_PROPOSALS": (False,),
    "MODEL.MASK_ON": (False,),
    "MODEL.KEYPOINT_ON": (False,),
    "MODEL.BACKBONE.NAME": ("build_resnet_fpn_backbone",),
    "MODEL.RESNETS.NUM_GROUPS": (1,),
    "MODEL.RESNETS.NORM": ("FrozenBN", "BN", "SyncBN"),  # one and the same when nothing is trained
    "MODEL.RESNETS.RES5_DILATION": (1,),
    "MODEL.RESNETS.DEFORM_ON_PER_STAGE": ([False, False, False, False],),
    "MODEL.FPN.NORM": ("",),
    "MODEL.FPN.FUSE_TYPE": ("sum",),
    "MODEL.PROPOSAL_GENERATOR.NAME": ("RPN",),
    "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": (0,),
    "MODEL.ANCHOR_GENERATOR.NAME": ("DefaultAnchorGenerator",),
    "MODEL.ANCHOR_GENERATOR.OFFSET": (0.0,),
    "MODEL.RPN.HEAD_NAME": ("StandardRPNHead",),
    "MODEL.RPN.CONV_DIMS": ([-1],),
    "MODEL.RPN.BBOX_REG_WEIGHTS": ([1.0, 1.0, 1.0, 1.0],),
    "MODEL.ROI_HEADS.NAME": ("StandardROIHeads",),
    "MODEL.ROI_BOX_HEAD.NAME": ("FastRCNNConvFCHead",),
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": ("ROIAlignV2",),
    "MODEL.ROI_BOX_HEAD.NUM_CONV": (0,),
    "MODEL.ROI_BOX_HEAD.NORM": ("",),
    "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": (False,),
    "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": ([10.0, 10.0, 5.0, 5.0],),
    "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": (False,),
}
"""Setting to the values of it that are built here."""

TOLD = (
    "MODEL.RESNETS.STEM_OUT_CHANNELS",
    "MODEL.RESNETS.WIDTH_PER_GROUP",
    "MODEL.RESNETS.RES2_OUT_CHANNELS",
    "MODEL.FPN.IN_FEATURES",
    "MODEL.FPN.OUT_CHANNELS",
    "MODEL.RPN.IN_FEATURES",
    "MODEL.ROI_HEADS.IN_FEATURES",
    "MODEL.ROI_HEADS.NUM_CLASSES",
    "MODEL.ROI_BOX_HEAD.NUM_FC",
    "MODEL.ROI_BOX_HEAD.FC_DIM",
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION",
)
"""Settings that the tensors tell; a file that says otherwise belongs to other weights."""

WITHOUT_A_SAY = (
    # Training alone
    *("DATASETS.*", "DATALOADER.*", "SOLVER.*", "INPUT.MIN_SIZE_TRAIN", "INPUT.MIN_SIZE_TRAIN_SAMPLING"),
    *("INPUT.MAX_SIZE_TRAIN", "INPUT.RANDOM_FLIP", "INPUT.CROP.*", "INPUT.MASK_FORMAT"),
    *("MODEL.WEIGHTS", "MODEL.BACKBONE.FREEZE_AT", "MODEL.RPN.BOUNDARY_THRESH"),
    *("MODEL.*.IOU_THRESHOLDS", "MODEL.*.IOU_LABELS", "MODEL.*.BATCH_SIZE_PER_IMAGE"),
    *("MODEL.*.POSITIVE_FRACTION", "MODEL.*.BBOX_REG_LOSS_TYPE", "MODEL.*.BBOX_REG_LOSS_WEIGHT"),
    *("MODEL.*.SMOOTH_L1_BETA", "MODEL.RPN.LOSS_WEIGHT", "MODEL.RPN.*_NMS_TOPK_TRAIN"),
    *("MODEL.ROI_HEADS.PROPOSAL_APPEND_GT", "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES"),
    *("MODEL.ROI_BOX_HEAD.USE_FED_LOSS", "MODEL.ROI_BOX_HEAD.FED_LOSS_*"),
    # How Detectron2 itself tests and reports
    *("TEST.EXPECTED_RESULTS", "TEST.EVAL_PERIOD", "TEST.KEYPOINT_OKS_SIGMAS", "TEST.AUG.*"),
    *("TEST.PRECISE_BN.*", "VIS_PERIOD", "OUTPUT_DIR", "SEED"),
    # The machine
    *("MODEL.DEVICE", "CUDNN_BENCHMARK", "FLOAT32_PRECISION", "GLOBAL.*"),
    # Ours: every detector answers from its own floor up, and everything later filters
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST",
    # Told by the tensors in more detail: blocks of each stage, stages of the pyramid
    *("MODEL.RESNETS.DEPTH", "MODEL.RESNETS.OUT_FEATURES"),
    # Of what `BUILT` rules out: other heads, other networks, layers that are not there
    *("MODEL.ROI_BOX_CASCADE_HEAD.*", "MODEL.ROI_MASK_HEAD.*", "MODEL.ROI_KEYPOINT_HEAD.*"),
    *("MODEL.SEM_SEG_HEAD.*", "MODEL.PANOPTIC_FPN.*", "MODEL.RETINANET.*", "MODEL.ROI_BOX_HEAD.CONV_DIM"),
    *("MODEL.ANCHOR_GENERATOR.ANGLES", "MODEL.RESNETS.DEFORM_MODULATED", "MODEL.RESNETS.DEFORM_NUM_GROUPS"),
)
"""Patterns of the settings that no detection depends on."""

_OF_A_DETECTION = ("MODEL.", "INPUT.", "TEST.")

_Range = Callable[[Any], bool]


def _between(low: float, high: float) -> _Range:
    return lambda value: low <= value <= high


def _each(check: _Range, length: int | None = None) -> _Range:
    return lambda values: length in (None, len(values)) and len(values) <= 20 and all(map(check, values))


_SENSIBLE: dict[str, tuple[_Range, str]] = {
    "input_format": (lambda value: value in ("BGR", "RGB"), "BGR or RGB"),
    "min_size": (_between(32, 4096), "between 32 and 4096"),
    "max_size": (_between(32, 4096), "between 32 and 4096"),
    "pixel_mean": (_each(_between(0, 255), 3), "three numbers from 0 to 255"),
    "pixel_std": (_each(_between(0.01, 1000), 3), "three numbers from 0.01 to 1000"),
    "stride_in_1x1": (lambda value: True, "true or false"),
    "anchor_sizes": (_each(_each(_between(1, 4096))), "lists of numbers from 1 to 4096"),
    "aspect_ratios": (_each(_each(_between(0.01, 100))), "lists of numbers from 0.01 to 100"),
    "sampling_ratio": (_between(0, 16), "from 0 to 16"),
    "rpn_pre_nms": (_between(1, 20_000), "from 1 to 20000"),
    "rpn_post_nms": (_between(1, 20_000), "from 1 to 20000"),
    "rpn_nms": (_between(0, 1), "from 0 to 1"),
    "nms": (_between(0, 1), "from 0 to 1"),
    "max_detections": (_between(1, 20_000), "from 1 to 20000"),
}
"""Field of `FasterRCNNConfig` to what its value must be, as a function and in words."""


def read(path: Path, architecture: Architecture) -> FasterRCNNConfig:
    """The settings of a YAML beside weights of this architecture.

    Raises:
        WeightsError: the file is no Detectron2 YAML, or has a setting that is not built here, makes no sense,
            is not known, or belongs to other weights.
    """
    given = dict(_leaves(_tree(path)))
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key in OBEYED:
            values[OBEYED[key]] = _obeyed(path.name, key, value)
        elif key in BUILT:
            if not any(_same(value, built) for built in BUILT[key]):
                wanted = " or ".join(repr(built) for built in BUILT[key])
                raise WeightsError(f"{path.name}: {key} is {quoted(value)}, but only {wanted} is built here")
        elif key not in TOLD and not any(fnmatch.fnmatchcase(key, pattern) for pattern in WITHOUT_A_SAY):
            _refuse_unknown(path.name, key)
    config = FasterRCNNConfig(**values)
    told = dict(_leaves(detectron2_tree(architecture, config)))
    for key in TOLD:
        if key in given and not _same(given[key], told[key]):
            raise WeightsError(
                f"{path.name}: {key} is {quoted(given[key])}, but the weights have {told[key]!r}: "
                "it belongs to other weights"
            )
    return config


def _refuse_unknown(name: str, key: str) -> None:
    if key == "_BASE_":
        raise WeightsError(f"{name}: it builds on another file (_BASE_); write the settings out in full")
    if f"{key}.".startswith(_OF_A_DETECTION):
        raise WeightsError(f"{name}: {quoted(key)} is no setting that is known here")


def _obeyed(name: str, key: str, value: Any) -> Any:
    field = next(field for field in fields(FasterRCNNConfig) if field.name == OBEYED[key])
    check, words = _SENSIBLE[field.name]
    try:
        result = converted(field.default, _literal(value))
        sensible = check(result)
    except (TypeError, ValueError, OverflowError):
        sensible = False
    if not sensible:
        raise WeightsError(f"{name}: {key} has the unusable value {quoted(value)}: it must be {words}")
    return result


def _same(value: Any, built: Any) -> bool:
    """Equality in which a tuple is a list, 1 is 1.0, and False is not 0."""
    value = _literal(value) if not isinstance(built, str) else value
    if isinstance(built, list):
        return (
            isinstance(value, (list, tuple))
            and len(value) == len(built)
            and all(_same(item, other) for item, other in zip(value, built, strict=True))
        )
    return isinstance(value, bool) == isinstance(built, bool) and value == built


def _literal(value: Any) -> Any:
    """What Detectron2 makes of a text in place of a value: "(0.5, 1.0)" is a tuple."""
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return value


def _leaves(tree: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each setting by its full name, with dots."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _tree(path: Path) -> Mapping[Any, Any]:
    """The content of a YAML file, whose nesting and references are looked at before they are followed."""
    try:
        with open_regular(path, MAX_BYTES) as file:
            text = file.read().decode()
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise WeightsError(f"{path.name} refers to parts of itself (a YAML alias): write them out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_NESTING:
                raise WeightsError(f"{path.name} is nested too deep for a Detectron2 configuration")
        tree = yaml.safe_load(text)
    except WeightsError:
        raise
    except BoneFXError as error:
        raise WeightsError(str(error).rstrip(".")) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path.name} is not a YAML file") from error
    if not isinstance(tree, Mapping):
        raise WeightsError(f"{path.name} is not a Detectron2 configuration")
    return tree
