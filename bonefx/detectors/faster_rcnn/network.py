"""Faster R-CNN with a ResNet trunk and a feature pyramid, numerically equal to Detectron2's.

Module names give `state_dict` the very keys of a Detectron2 checkpoint, so that reading one is a strict
`load_state_dict`. NMS, RoIAlign, losses and the sampling of boxes to train on are torchvision's; what differs
between the two libraries (trunk layout, anchors, the place of the background class) is defined here.

`FasterRCNN.forward` is the graph that every engine runs: torch as it stands, OpenVINO as traced, with dynamic
height and width, so it is written for one image and without Python's control over numbers of boxes.

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
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import FrozenBatchNorm2d, nms, roi_align

from bonefx.detections import SCORE_FLOOR
from bonefx.detectors.faster_rcnn.config import Architecture, FasterRCNNConfig, Stage, per_level
from bonefx.errors import WeightsError

_RPN_WEIGHTS, _ROI_WEIGHTS = (1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)


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
) -> list[Tensor]:
    """The anchors (n, 4) of each level's (height, width) grid, positions row by row, finest level first.

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
            torch.arange(height, dtype=torch.float32, device=device) * stride,
            torch.arange(width, dtype=torch.float32, device=device) * stride,
            indexing="ij",
        )
        shifts = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
        levels.append((shifts + cell).reshape(-1, 4))
    return levels


def decode(deltas: Tensor, boxes: Tensor, weights: Sequence[float]) -> Tensor:
    """Move and stretch boxes (n, 4) by predicted deltas (n, k, 4) to (n, k, 4).

    A delta is the centre's way in sizes of the box and the logarithm of the size's factor, each times its
    weight. Reference: Girshick et al., R-CNN, 2014, appendix C; the factor's limit is Detectron2's.
    """
    deltas = deltas / deltas.new_tensor(weights)
    size = (boxes[:, 2:] - boxes[:, :2])[:, None]
    centre = boxes[:, None, :2] + 0.5 * size + deltas[..., :2] * size
    half = 0.5 * size * deltas[..., 2:].clamp(max=math.log(1000 / 16)).exp()
    return torch.cat([centre - half, centre + half], dim=-1)


def clip(boxes: Tensor, size: Tensor) -> Tensor:
    """Boxes (..., 4) inside an image of this (height, width)."""
    limit = size.flip(0).to(boxes.dtype)
    return torch.cat([boxes[..., :2], boxes[..., 2:]], dim=-1).clamp(min=0).minimum(limit.repeat(2))


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, size: Tensor, iou: float) -> Tensor:
    """NMS among the clipped boxes (n, 4) of each group (n,): the rows that stay, best first."""
    # Groups that lie beside each other need a single pass, and no loop in the graph.
    return nms(boxes + (groups * (size.max() + 1))[:, None], scores, iou)


class ProposalGenerator(RegionProposalNetwork):
    """Proposals from the predictions of the RPN head, and torchvision's losses on them.

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

    def anchors(self, objectness: Sequence[Tensor]) -> list[Tensor]:
        """The anchors (n, 4) of each level of the RPN's output (..., h, w), see `anchors_at`."""
        grids = [level.shape[-2:] for level in objectness]
        return anchors_at(grids, self.strides, self.config, objectness[0].device)

    def propose(
        self,
        anchors: Sequence[Tensor],
        objectness: Sequence[Tensor],
        deltas: Sequence[Tensor],
        size: Tensor,
    ) -> Tensor:
        """Proposals (n, 4) in one image, best first.

        Args:
            anchors: a level each, finest first, (anchors * h * w, 4).
            objectness: likewise (anchors, h, w).
            deltas: likewise (anchors * 4, h, w).
            size: (height, width) of the image before padding.
        """
        boxes, scores, levels = [], [], []
        for level, of_level in enumerate(anchors):
            logits = objectness[level].permute(1, 2, 0).flatten()
            # A tensor, as the number of anchors is one in a traced graph.
            number = torch.minimum(torch.as_tensor(logits.shape[0]), torch.tensor(self.pre_nms_top_n()))
            best, rows = logits.topk(number)
            moves = deltas[level].unflatten(0, (-1, 4)).permute(2, 3, 0, 1).reshape(-1, 1, 4)[rows]
            boxes.append(clip(decode(moves, of_level[rows], _RPN_WEIGHTS)[:, 0], size))
            scores.append(best)
            levels.append(torch.full_like(best, level))
        box, score, level = torch.cat(boxes), torch.cat(scores), torch.cat(levels)
        usable = torch.nonzero((box[:, 2:] > box[:, :2]).all(dim=1))[:, 0]
        box, score, level = box[usable], score[usable], level[usable]
        return box[suppress(box, score, level, size, self.nms_thresh)[: self.post_nms_top_n()]]

    def losses(
        self,
        anchors: Sequence[Tensor],
        objectness: Sequence[Tensor],
        deltas: Sequence[Tensor],
        targets: Sequence[Mapping[str, Tensor]],
    ) -> dict[str, Tensor]:
        """The two losses of the RPN; the predictions are (b, anchors, h, w) and (b, anchors * 4, h, w)."""
        every = [torch.cat(list(anchors))] * len(targets)
        logits = torch.cat([level.permute(0, 2, 3, 1).flatten(1) for level in objectness], dim=1)
        moves = [level.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3) for level in deltas]
        labels, matched = self.assign_targets_to_anchors(every, list(targets))
        wanted = self.box_coder.encode(matched, every)
        flat = logits.reshape(-1, 1), torch.cat(moves, dim=1).reshape(-1, 4)
        objectness_loss, box_loss = self.compute_loss(*flat, labels, wanted)
        return {"rpn_objectness": objectness_loss, "rpn_box": box_loss}


class RoIPooler(nn.Module):
    """RoIAlign with half-pixel alignment: each box becomes a grid of features, from the level of its size.

    torchvision's `MultiScaleRoIAlign` has no half-pixel alignment: boxes would move. Reference: He et al.,
    Mask R-CNN, 2017; for the levels Lin et al., Feature Pyramid Networks, 2017, equation 1.
    """

    def __init__(self, levels: Sequence[int], size: int, sampling_ratio: int) -> None:
        """
        Args:
            levels: of the pyramid; the features of level n are 1 / 2^n of the image's size.
            size: of the grid, rows and columns.
            sampling_ratio: samples along each side of a grid's cell; 0 takes about one a feature pixel.
        """
        super().__init__()
        self.levels, self.size, self.sampling_ratio = tuple(levels), size, sampling_ratio

    def forward(
        self, features: Mapping[str, Tensor], boxes: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Boxes of each image (n, 4) to pooled features (all boxes, channels, size, size)."""
        every = torch.cat(list(boxes))
        image = torch.cat([torch.full_like(box[:, :1], i) for i, box in enumerate(boxes)])
        rois = torch.cat([image, every], dim=1)
        side = (every[:, 2:] - every[:, :2]).prod(dim=1).sqrt()
        of_box = torch.floor(4 + torch.log2(side / 224 + 1e-8)).clamp(self.levels[0], self.levels[-1])
        rows, pooled = [], []
        for level in self.levels:
            rows.append(torch.nonzero(of_box == level)[:, 0])
            pooled.append(
                roi_align(
                    features[str(level)],
                    rois[rows[-1]],
                    self.size,
                    spatial_scale=1 / 2**level,
                    sampling_ratio=self.sampling_ratio,
                    aligned=True,
                )
            )
        return torch.cat(pooled)[torch.cat(rows).argsort()]


class BoxHead(nn.Module):
    """Fully connected layers fc1, fc2, ... over the pooled features."""

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.count = len(widths)
        for number, width in enumerate(widths, start=1):
            self.add_module(f"fc{number}", nn.Linear(inputs, width))
            inputs = width

    def forward(self, x: Tensor) -> Tensor:
        """Pooled features (n, channels, size, size) to (n, width of the last layer)."""
        x = x.flatten(1)
        for number in range(1, self.count + 1):
            x = F.relu(getattr(self, f"fc{number}")(x))
        return x


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
    """The whole network. It neither resizes nor normalises images: see `faster_rcnn.Processing`."""

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
            bbox_reg_weights=_ROI_WEIGHTS,
            score_thresh=SCORE_FLOOR,
            nms_thresh=config.nms,
            detections_per_img=config.max_detections,
        )

    def dense(self, images: Tensor) -> Dense:
        """Normalised images (b, 3, h, w), h and w multiples of `divisor`, to features and RPN output."""
        features = self.backbone(images)
        return Dense(features, *self.proposal_generator.rpn_head(features))

    def losses(
        self, dense: Dense, sizes: Sequence[tuple[int, int]], targets: Sequence[Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """The four losses of a batch, in training mode.

        Args:
            dense: output of `dense`.
            sizes: (height, width) of each image before padding; boxes are clipped to it.
            targets: for each image `boxes` (n, 4) and `labels` (n,) from 1 (0 is background).
        """
        targets = list(targets)
        generator = self.proposal_generator
        anchors = generator.anchors(dense.objectness)
        with torch.no_grad():
            proposals = [
                generator.propose(
                    anchors,
                    [level[i] for level in dense.objectness],
                    [level[i] for level in dense.deltas],
                    torch.tensor(size, dtype=torch.float32, device=dense.features[0].device),
                )
                for i, size in enumerate(sizes)
            ]
        _, losses = self.roi_heads(self._named(dense.features), proposals, list(sizes), targets)
        return {**generator.losses(anchors, dense.objectness, dense.deltas, targets), **losses}

    def forward(self, image: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All detections in one image, best first: the graph.

        Args:
            image: normalised, float32 (1, 3, h, w), h and w multiples of `divisor`.
            size: float32 (height, width) of the image before padding; boxes are clipped to it.

        Returns:
            Boxes (n, 4) in pixels of the image, scores (n,) and class ids (n,) from 0.
        """
        return self._detections(self.dense(image), size)

    def together(self, several: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """As `forward` for each of several images of one shape, whose features are computed together."""
        dense = self.dense(torch.cat([image for image, _ in several]))
        return [
            self._detections(Dense(*([level[i : i + 1] for level in levels] for levels in dense)), size)
            for i, (_, size) in enumerate(several)
        ]

    def _detections(self, dense: Dense, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `forward`."""
        objectness, deltas = ([level[0] for level in levels] for levels in dense[1:])
        generator = self.proposal_generator
        proposals = generator.propose(generator.anchors(objectness), objectness, deltas, size)
        heads = self.roi_heads
        pooled = heads.box_roi_pool(self._named(dense.features), [proposals], [])
        logits, moves = heads.box_predictor(heads.box_head(pooled))
        scores = logits.softmax(dim=1)[:, 1:]
        boxes = clip(decode(moves[:, 4:].unflatten(1, (-1, 4)), proposals, _ROI_WEIGHTS), size)
        found, class_ids = torch.nonzero(scores > SCORE_FLOOR).unbind(dim=1)
        boxes, scores = boxes[found, class_ids], scores[found, class_ids]
        keep = suppress(boxes, scores, class_ids, size, self.config.nms)[: self.config.max_detections]
        return boxes[keep], scores[keep], class_ids[keep]

    def _named(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        levels = map(str, self.architecture.levels)
        return dict(zip(levels, features, strict=False))  # the subsampled level is the RPN's alone


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
