"""A data set on disk that can be learnt in a few steps: bright rectangles on noise are fractures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from bonefx.detectors.faster_rcnn.config import FasterRCNNConfig
from bonefx.labels import DATASET_CLASSES
from bonefx.training.recipes import FASTER_RCNN, YOLO

SIZE = 96

TINY_FASTER_RCNN = replace(
    FASTER_RCNN["bundled"],
    stages=(1, 1, 1),
    channels=32,
    fc=(64,),
    config=FasterRCNNConfig(
        min_size=SIZE,
        max_size=SIZE,
        anchor_sizes=((16.0, 24.0), (32.0, 40.0), (56.0, 72.0)),
        aspect_ratios=((0.5, 1.0, 2.0),),
        rpn_pre_nms=100,
        rpn_post_nms=50,
    ),
    epochs=2,
    batch=2,
    lr=5e-4,
    trunk_lr=5e-4,
    ema=0.5,
    half=False,
)

TINY_YOLO = replace(
    YOLO["bundled"], image_size=SIZE, epochs=2, batch=2, nominal_batch=4, close_mosaic=1, warmup_epochs=1.0
)


def write_groups(root: Path) -> None:
    """A table that puts six images into two groups: one of them is held out, whole."""
    rows = [f"arm{number},{'left' if number % 2 else 'right'}" for number in range(6)]
    (root / "table.csv").write_text("\n".join(["image,group", *rows]), encoding="utf-8")


def write(root: Path, images: int = 6, split: str = "train") -> Path:
    """Images with a rectangle each, box and polygon rows in turn; every third is without, its file empty."""
    rng = np.random.default_rng(images)
    for part in ("images", "labels"):
        (root / split / part).mkdir(parents=True)
    for number in range(images):
        width, height = 120 + 8 * number, 100
        pixels = rng.integers(0, 90, (height, width), dtype=np.uint8)
        rows = []
        if number % 3 != 2:
            x, y = rng.integers(5, 50, 2)
            w, h = rng.integers(25, 45, 2)
            pixels[y : y + h, x : x + w] += 140
            x1, y1, x2, y2 = x / width, y / height, (x + w) / width, (y + h) / height
            if number % 3:
                rows.append(f"{number % 7} {x1} {y1} {x2} {y1} {x2} {y2} {x1} {y2}")
            else:
                rows.append(f"{number % 7} {(x1 + x2) / 2} {(y1 + y2) / 2} {x2 - x1} {y2 - y1}")
        Image.fromarray(pixels).save(root / split / "images" / f"arm{number}.png")
        (root / split / "labels" / f"arm{number}.txt").write_text("\n".join(rows), encoding="utf-8")
    text = yaml.safe_dump({"names": list(DATASET_CLASSES)})
    (root / "data.yaml").write_text(text, encoding="utf-8")
    return root
