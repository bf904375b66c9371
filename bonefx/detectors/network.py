"""Faster R-CNN with a ResNet trunk and a feature pyramid, numerically equal to Detectron2's.

Module names give `state_dict` the very keys of a Detectron2 checkpoint, so that reading one is a strict
`load_state_dict`. Proposal selection, losses and RoI heads are torchvision's; what differs between the
two libraries (trunk layout, anchors, RoIAlign, the place of the background class) is defined here.

A forward pass has two parts, so that another runtime can take over the first, which is nearly all of
the arithmetic: `dense` (trunk, pyramid, RPN head) and `select` (proposals, RoI heads).

Reference: Ren et al., Faster R-CNN, 2015; Lin et al., Feature Pyramid Networks, 2017; equality was
checked against Detectron2 at commit 02b5c4e2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bonefx.detections import SCORE_FLOOR
from bonefx.detectors.config import Architecture, FasterRCNNConfig, Stage, per_level
from bonefx.detectors.roi_pooling import RoIPooler
from bonefx.detectors.torchvision_guard import (
    FrozenBatchNorm2d,
    RegionProposalNetwork,
    RoIHeads,
    concat_box_prediction_layers,
)
from bonefx.errors import WeightsError


class ConvNorm(nn.Conv2d):
    """A convolution without bias, followed by its frozen batch normalisation, called `norm`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.norm = FrozenBatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        # Normalisation with fixed statistics is a scale and a shift: folded into the convolution it costs
        # nothing, and leaves mixed precision a single operation.
        scale = self.norm.weight * (self.norm.running_var + self.norm.eps).rsqrt()
        shift = self.norm.bias - self.norm.running_mean * scale
        return self._conv_forward(x, self.weight * scale[:, None, None, None], shift)


class Bottleneck(nn.Module):
    """Residual block: 1x1, 3x3, 1x1 and a shortcut that is projected where the shape changes."""

    def __init__(self, inputs: int, stage: Stage, stride: int, stride_in_1x1: bool) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = ConvNorm(inputs, stage.inner, 1, first)
        self.conv2 = ConvNorm(stage.inner, stage.inner, 3, second)
        self.conv3 = ConvNorm(stage.inner, stage.outer, 1)
        self.shortcut = ConvNorm(inputs, stage.outer, 1, stride) if inputs != stage.outer else None

    def forward(self, x: Tensor) -> Tensor:
        residual = x if self.shortcut is None else self.shortcut(x)
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        return F.relu(self.conv3(x) + residual)


class Stem(nn.Module):
    """7x7 convolution and max pooling: a quarter of the image's size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvNorm(3, 64, 7, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.relu(self.conv1(x)), 3, 2, 1)


class Trunk(nn.Module):
    """ResNet stages res2 onwards; returns every stage's output by its number."""

    def __init__(self, stages: Sequence[Stage], stride_in_1x1: bool) -> None:
        super().__init__()
        self.stem = Stem()
        self.numbers = range(2, 2 + len(stages))
        inputs = 64
        for number, stage in zip(self.numbers, stages, strict=True):
            blocks = nn.Sequential()
            for block in range(stage.blocks):
                stride = 2 if block == 0 and number > 2 else 1
                blocks.append(Bottleneck(inputs, stage, stride, stride_in_1x1))
                inputs = stage.outer
            self.add_module(f"res{number}", blocks)

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        outputs = {}
        x = self.stem(x)
        for number in self.numbers:
            x = outputs[number] = getattr(self, f"res{number}")(x)
        return outputs


class FeaturePyramid(nn.Module):
    """Trunk, lateral and output convolutions, and one coarser level by subsampling the last."""

    def __init__(self, architecture: Architecture, stride_in_1x1: bool) -> None:
        super().__init__()
        self.bottom_up = Trunk(architecture.stages, stride_in_1x1)
        self.levels = architecture.levels
        for level in self.levels:
            outer = architecture.stages[level - 2].outer
            self.add_module(f"fpn_lateral{level}", nn.Conv2d(outer, architecture.channels, 1))
            self.add_module(
                f"fpn_output{level}",
                nn.Conv2d(architecture.channels, architecture.channels, 3, padding=1),
            )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (b, 3, h, w) to features (b, channels, h / stride, w / stride), finest first."""
        stages = self.bottom_up(images)
        features: list[Tensor] = []
        coarser = None
        for level in reversed(self.levels):
            x = getattr(self, f"fpn_lateral{level}")(stages[level])
            if coarser is not None:
                x = x + F.interpolate(coarser, scale_factor=2.0, mode="nearest")
            coarser = x
            features.insert(0, getattr(self, f"fpn_output{level}")(x))
        features.append(F.max_pool2d(features[-1], kernel_size=1, stride=2))
        return features


class RPNHead(nn.Module):
    """Objectness and box deltas for every anchor, with weights shared by all levels."""

    def __init__(self, channels: int, anchors: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness_logits = nn.Conv2d(channels, anchors, 1)
        self.anchor_deltas = nn.Conv2d(channels, anchors * 4, 1)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        hidden = [F.relu(self.conv(x)) for x in features]
        return [self.objectness_logits(x) for x in hidden], [self.anchor_deltas(x) for x in hidden]


def anchors_at(
    grids: Sequence[tuple[int, int]], strides: Sequence[int], config: FasterRCNNConfig, device: torch.device
) -> Tensor:
    """All anchors (n, 4) of the levels' (height, width) grids, positions row by row, finest level first.

    An anchor of size s and ratio r is sqrt(s^2 / r) wide and r times as high. Unlike torchvision's it is
    not rounded to whole pixels, and its stride is the level's own, whatever the padding did to the grid.
    """
    levels = []
    ratios = per_level(config.aspect_ratios, len(grids))
    for (height, width), stride, sizes, level_ratios in zip(
        grids, strides, config.anchor_sizes, ratios, strict=True
    ):
        shapes = [
            (size / math.sqrt(ratio), size * math.sqrt(ratio)) for size in sizes for ratio in level_ratios
        ]
        half = torch.tensor(shapes, dtype=torch.float64) / 2
        cell = torch.cat([-half, half], dim=1).to(torch.float32).to(device)
        y, x = torch.meshgrid(
            torch.arange(0, height * stride, stride, dtype=torch.float32, device=device),
            torch.arange(0, width * stride, stride, dtype=torch.float32, device=device),
            indexing="ij",
        )
        shifts = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
        levels.append((shifts + cell).reshape(-1, 4))
    return torch.cat(levels)


class ProposalGenerator(RegionProposalNetwork):
    """torchvision's proposal selection and losses on predictions that were made before.

    Training constants are Detectron2's defaults.
    """

    def __init__(self, architecture: Architecture, config: FasterRCNNConfig) -> None:
        super().__init__(
            anchor_generator=nn.Identity(),
            head=nn.Identity(),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_top_n={"training": 2000, "testing": config.rpn_pre_nms},
            post_nms_top_n={"training": 1000, "testing": config.rpn_post_nms},
            nms_thresh=config.rpn_nms,
        )
        self.config = config
        self.strides = [2**level for level in architecture.levels] + [2 ** (architecture.levels[-1] + 1)]
        self.rpn_head = RPNHead(architecture.channels, architecture.anchors)

    def forward(
        self,
        objectness: Sequence[Tensor],
        deltas: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals of each image (n, 4), best first, and in training the two losses."""
        grids = [level.shape[-2:] for level in objectness]
        per_level = [level[0].numel() for level in objectness]
        anchors = [anchors_at(grids, self.strides, self.config, objectness[0].device)] * len(sizes)
        logits, flat_deltas = concat_box_prediction_layers(list(objectness), list(deltas))
        # The best of each level are chosen before boxes are computed, not after: a hundred times fewer.
        scores = logits.detach().view(len(sizes), -1)
        best = self._get_top_n_idx(scores, per_level)
        image = torch.arange(len(sizes), device=best.device)[:, None]
        chosen = flat_deltas.detach().view(len(sizes), -1, 4)[image, best].flatten(0, 1)
        boxes = self.box_coder.decode(chosen, [anchors[0][rows] for rows in best]).view(len(sizes), -1, 4)
        numbers = [min(number, self.pre_nms_top_n()) for number in per_level]
        proposals, _ = self.filter_proposals(boxes, scores[image, best], list(sizes), numbers)
        if targets is None:
            return proposals, {}
        labels, matched = self.assign_targets_to_anchors(anchors, list(targets))
        wanted = self.box_coder.encode(matched, anchors)
        objectness_loss, box_loss = self.compute_loss(logits, flat_deltas, labels, wanted)
        return proposals, {"rpn_objectness": objectness_loss, "rpn_box": box_loss}


class BoxHead(nn.Module):
    """Fully connected layers fc1, fc2, ... over the pooled features, in the precision of their weights."""

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.count = len(widths)
        for number, width in enumerate(widths, start=1):
            self.add_module(f"fc{number}", nn.Linear(inputs, width))
            inputs = width

    def forward(self, x: Tensor) -> Tensor:
        """Pooled features (n, channels, size, size) to float32 (n, width of the last layer)."""
        x = x.flatten(1).to(self.fc1.weight.dtype)
        for number in range(1, self.count + 1):
            x = F.relu(getattr(self, f"fc{number}")(x))
        return x.float()

    def take_channels_last(self, channels: int) -> None:
        """From now on `forward` takes (n, size, size, channels)."""
        weight = self.fc1.weight
        self.fc1.weight = nn.Parameter(
            weight.view(len(weight), channels, -1).transpose(1, 2).flatten(1), weight.requires_grad
        )


class BoxPredictor(nn.Module):
    """Class logits and per-class box deltas.

    The layers keep Detectron2's order (background last, no deltas for it); `forward` returns
    torchvision's (background first). This is the only place where the order changes.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(inputs, classes + 1)
        self.bbox_pred = nn.Linear(inputs, classes * 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls_score(x).roll(1, dims=1), F.pad(self.bbox_pred(x), (4, 0))


class Dense(NamedTuple):
    """What `FasterRCNN.dense` computes: one tensor a level each, finest first."""

    features: list[Tensor]
    objectness: list[Tensor]
    deltas: list[Tensor]


class FasterRCNN(nn.Module):
    """The whole network. It neither resizes nor normalises images: see `faster_rcnn.preprocess`."""

    def __init__(self, architecture: Architecture, config: FasterRCNNConfig) -> None:
        """
        Raises:
            WeightsError: the anchors of `config` do not fit the shapes.
        """
        super().__init__()
        _check_anchors(architecture, config)
        self.architecture, self.config = architecture, config
        self.divisor = 2 ** architecture.levels[-1]
        self.backbone = FeaturePyramid(architecture, config.stride_in_1x1)
        self.proposal_generator = ProposalGenerator(architecture, config)
        self.roi_heads = RoIHeads(
            RoIPooler(architecture.levels, architecture.pool, config.sampling_ratio),
            BoxHead(architecture.channels * architecture.pool**2, architecture.fc),
            BoxPredictor(architecture.fc[-1], architecture.classes),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=512,
            positive_fraction=0.25,
            bbox_reg_weights=(10.0, 10.0, 5.0, 5.0),
            score_thresh=SCORE_FLOOR,
            nms_thresh=config.nms,
            detections_per_img=config.max_detections,
        )

    def dense(self, images: Tensor) -> Dense:
        """Normalised images (b, 3, h, w), h and w multiples of `divisor`, to features and RPN output."""
        features = self.backbone(images)
        return Dense(features, *self.proposal_generator.rpn_head(features))

    def select(
        self,
        dense: Dense,
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Proposals and RoI heads.

        Args:
            dense: output of `dense`.
            sizes: (height, width) of each image before padding; boxes are clipped to it.
            targets: in training, for each image `boxes` (n, 4) and `labels` (n,) from 1 (0 is background).

        Returns:
            For each image `boxes` (n, 4) in pixels of the resized image, `scores` and `labels` from 1,
            best first; and in training the four losses.
        """
        targets = None if targets is None else list(targets)
        proposals, rpn_losses = self.proposal_generator(dense.objectness, dense.deltas, sizes, targets)
        levels = map(str, self.architecture.levels)
        features = dict(zip(levels, dense.features, strict=False))  # the subsampled level is the RPN's alone
        detections, losses = self.roi_heads(features, proposals, list(sizes), targets)
        return detections, {**rpn_losses, **losses}

    def forward(
        self,
        images: Tensor,
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """`dense`, then `select`."""
        return self.select(self.dense(images), sizes, targets)


def _check_anchors(architecture: Architecture, config: FasterRCNNConfig) -> None:
    levels = len(architecture.levels) + 1
    sizes, ratios = config.anchor_sizes, per_level(config.aspect_ratios, levels)
    if len(sizes) != levels or len(ratios) != levels:
        raise WeightsError(
            f"the network has {levels} pyramid levels, but its settings name anchors for {len(sizes)}; "
            "put the Detectron2 YAML of the training run beside the weights"
        )
    if any(len(s) * len(r) != architecture.anchors for s, r in zip(sizes, ratios, strict=True)):
        raise WeightsError(
            f"the network has {architecture.anchors} anchors a position, but its settings name others; "
            "put the Detectron2 YAML of the training run beside the weights"
        )
