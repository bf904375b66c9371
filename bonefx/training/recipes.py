"""The training recipes, by name: numbers only.

`original` is what the authors of the published weights say of their training; `bundled` is what made the
files that travel with the code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bonefx.detectors.faster_rcnn.config import FasterRCNNConfig
from bonefx.training.views import Views

AS_THEY_ARE = Views()


@dataclass(frozen=True)
class FasterRCNNRecipe:
    """How a Faster R-CNN is trained.

    An image is resized as at inference, then flipped left to right every second time, and moved by a random
    rotation, shift and scale about its centre, brightened or darkened and changed in contrast within the
    ranges below; a range of 0 leaves its step out. Boxes are cut at the image, and those that end under
    4 pixels wide or high are dropped.

    Attributes:
        stages: residual blocks in res2 onwards; fewer than four stages end the trunk earlier.
        levels: the stages that enter the pyramid.
        channels, fc: widths of the pyramid and of the box head's layers.
        config: what the trained network is run with.
        epochs: passes over the data; 0 trains for `iterations` steps instead.
        iterations: optimiser steps that `steps` refers to.
        batch: images a step.
        optimizer: `adamw` with a cosine schedule, or `sgd` with `steps` where the rate falls to a tenth.
        lr, trunk_lr: peak learning rates of the new layers and of the trunk.
        warmup: steps in which the rate rises, at most a fifth of the run.
        steps: the rate's falls out of `iterations`; in a run of another length they keep their share of it.
        rois: proposals a training image that the box head sees.
        degrees: range of the rotation.
        translate, scale, brightness, contrast: ranges as fractions.
        views: what is shown of an image, before all else.
        ema: decay of the averaged weights, which are the ones that are kept; 0 keeps the last ones.
        half: write weights in float16; normalisation and biases stay float32.
    """

    stages: tuple[int, ...]
    levels: tuple[int, ...]
    channels: int
    fc: tuple[int, ...]
    config: FasterRCNNConfig
    epochs: int
    batch: int
    optimizer: str
    lr: float
    trunk_lr: float
    warmup: int
    iterations: int = 0
    steps: tuple[int, ...] = ()
    weight_decay: float = 1e-4
    rois: int = 512
    degrees: float = 0.0
    translate: float = 0.0
    scale: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    views: Views = AS_THEY_ARE
    ema: float = 0.0
    half: bool = False
    seed: int = 2026

    def adapted(self, epochs: int | None, image_size: int | None) -> FasterRCNNRecipe:
        """The recipe with other epochs or another image size; the anchors stay as they are, in pixels."""
        config = self.config
        if image_size:
            config = replace(config, min_size=image_size, max_size=image_size)
        return replace(self, config=config, epochs=epochs or self.epochs)


@dataclass(frozen=True)
class YOLORecipe:
    """How a YOLO is trained by Ultralytics.

    Four images form a mosaic, except in the last `close_mosaic` epochs; it is shifted and scaled, changed in
    hue, saturation and value (the first two do nothing to grey), and flipped left to right every second time.

    Attributes:
        architecture: Ultralytics' name of the network.
        image_size: side in pixels, a multiple of 32.
        epochs: passes over the data.
        batch: images at a time.
        nominal_batch: images whose gradients make a step of the optimiser.
        cosine: whether the rate falls along a cosine; otherwise along a line.
        close_mosaic: last epochs without mosaic.
        optimizer, lr, final_lr, momentum, weight_decay: `final_lr` is a fraction of `lr`. Optimiser and rate
            are those that Ultralytics chooses for seven classes and a run of under 10,000 steps.
        warmup_epochs: in which rate and gathered images rise; at most all epochs but the last.
        box, cls, dfl: weights of the three losses.
        degrees: range of the rotation.
        translate, scale, hsv_h, hsv_s, hsv_v: ranges of the augmentation, as fractions.
        views: what is shown of an image, before all else.
    """

    architecture: str
    image_size: int
    epochs: int
    batch: int = 16
    nominal_batch: int = 64
    cosine: bool = False
    close_mosaic: int = 10
    optimizer: str = "AdamW"
    lr: float = 0.000909
    final_lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0005
    warmup_epochs: float = 3.0
    box: float = 7.5
    cls: float = 0.5
    dfl: float = 1.5
    degrees: float = 0.0
    translate: float = 0.1
    scale: float = 0.5
    hsv_h: float = 0.015
    hsv_s: float = 0.7
    hsv_v: float = 0.4
    views: Views = AS_THEY_ARE
    seed: int = 2026

    def adapted(self, epochs: int | None, image_size: int | None) -> YOLORecipe:
        """The recipe with other epochs or another image size."""
        return replace(self, epochs=epochs or self.epochs, image_size=image_size or self.image_size)


# Larger and smaller lesions, and the films of other machines.
TRAVELLED = Views(window=0.5, film=0.2, inverted=0.04)

FASTER_RCNN = {
    # R50-FPN, 1024 px, five anchor ratios, 15,000 steps of 2 images, those without a fracture included; the
    # rest are Detectron2's defaults.
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
    # Small enough to travel with the code.
    "bundled": FasterRCNNRecipe(
        stages=(3, 4, 6),
        levels=(3, 4),
        channels=128,
        fc=(512, 512),
        config=FasterRCNNConfig(
            min_size=512,
            max_size=512,
            anchor_sizes=((16.0, 26.0), (42.0, 68.0), (110.0, 180.0)),
            aspect_ratios=((0.5, 1.0, 2.0),),
            rpn_pre_nms=500,
            rpn_post_nms=300,
        ),
        epochs=7,
        batch=16,
        optimizer="adamw",
        lr=4e-4,
        trunk_lr=2e-4,
        warmup=300,
        weight_decay=0.05,
        rois=128,
        degrees=12.0,
        translate=0.06,
        scale=0.3,
        views=TRAVELLED,
        ema=0.998,
        half=True,
    ),
}

YOLO = {
    # YOLO26m, 640 px, 50 epochs; the rest are the defaults of Ultralytics 8.4.
    "original": YOLORecipe(architecture="yolo26m", image_size=640, epochs=50),
    "bundled": YOLORecipe(
        architecture="yolo26n",
        image_size=512,
        epochs=24,
        batch=64,
        cosine=True,
        close_mosaic=6,
        warmup_epochs=1.0,
        degrees=10.0,
        views=TRAVELLED,
    ),
}
