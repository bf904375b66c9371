"""The training recipes, by name: numbers only."""

from __future__ import annotations

from dataclasses import dataclass

from bonefx.detectors.config import FasterRCNNConfig


@dataclass(frozen=True)
class FasterRCNNRecipe:
    """How a Faster R-CNN is trained.

    Attributes:
        stages: residual blocks in res2 onwards; fewer than four stages end the trunk earlier.
        levels: the stages that enter the pyramid.
        channels, fc: widths of the pyramid and of the box head's layers.
        config: what the trained network is run with.
        iterations: optimiser steps; None trains for `epochs` passes over the data.
        batch: images a step.
        optimizer: `adamw` with a cosine schedule, or `sgd` with `steps` where the rate falls to a tenth.
        lr, trunk_lr: peak learning rates of the new layers and of the trunk.
        rois: proposals a training image that the box head sees.
        degrees, translate, scale, brightness, contrast: ranges of the random augmentation; horizontal
            flips are always on.
        ema: decay of the averaged weights, which are the ones that are kept; 0 keeps the last ones.
    """

    stages: tuple[int, ...]
    levels: tuple[int, ...]
    channels: int
    fc: tuple[int, ...]
    config: FasterRCNNConfig
    epochs: int
    iterations: int | None
    batch: int
    optimizer: str
    lr: float
    trunk_lr: float
    warmup: int
    steps: tuple[int, ...] = ()
    weight_decay: float = 1e-4
    rois: int = 512
    degrees: float = 0.0
    translate: float = 0.0
    scale: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    ema: float = 0.0
    seed: int = 2026


FASTER_RCNN = {
    # The published model: R50-FPN, 1024 px, five anchor ratios, 15,000 steps of 2 images.
    "original": FasterRCNNRecipe(
        stages=(3, 4, 6, 3),
        levels=(2, 3, 4, 5),
        channels=256,
        fc=(1024, 1024),
        config=FasterRCNNConfig(),
        epochs=0,
        iterations=15_000,
        batch=2,
        optimizer="sgd",
        lr=0.0025,
        trunk_lr=0.0025,
        warmup=1000,
        steps=(10_000, 13_000),
    ),
    # Small enough to travel with the code, and to be trained on two cores in an evening.
    "bundled": FasterRCNNRecipe(
        stages=(3, 4, 6),
        levels=(3, 4),
        channels=128,
        fc=(512, 512),
        config=FasterRCNNConfig(
            min_size=384,
            max_size=384,
            anchor_sizes=((24.0, 38.0), (60.0, 96.0), (150.0, 240.0)),
            aspect_ratios=((0.5, 1.0, 2.0),),
            rpn_pre_nms=500,
            rpn_post_nms=300,
        ),
        epochs=4,
        iterations=None,
        batch=8,
        optimizer="adamw",
        lr=3e-4,
        trunk_lr=1e-4,
        warmup=200,
        weight_decay=0.05,
        rois=128,
        degrees=12.0,
        translate=0.06,
        scale=0.2,
        brightness=0.25,
        contrast=0.25,
        ema=0.998,
    ),
}
