"""The training images as Ultralytics' augmentation takes them."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import bonefx.detectors.yolo.ultralytics_guard  # noqa: F401  first: it keeps Ultralytics from asking other hosts
from bonefx.training.data import Reader, Sample
from bonefx.training.views import Views

# isort: split
import cv2
from ultralytics.data.augment import Albumentations, Compose
from ultralytics.data.dataset import YOLODataset


class Images(YOLODataset):
    """Ultralytics' data set, fed with this project's own reading of images and labels.

    What becomes of an image follows from (seed, epoch, index), whichever process loads it and whatever was
    loaded before. `epoch` is set by the trainer.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        data: Mapping[str, Any],
        args: Any,
        batch: int,
        views: Views,
        *,
        augment: bool,
    ) -> None:
        self.samples, self.seed, self.epoch, self.views = samples, args.seed, 0, views
        self.read = Reader(2 * args.imgsz)
        if augment:
            self.read.read_ahead(sample.path for sample in samples)
        super().__init__(
            img_path="",
            imgsz=args.imgsz,
            cache=None,
            augment=augment,
            hyp=args,
            rect=False,
            batch_size=batch,
            classes=None,
            data=dict(data),
            task="detect",
        )
        # Where a mosaic takes its other images from: anywhere, not from those that were read last.
        self.buffer = range(len(samples))

    def get_img_files(self, img_path: str) -> list[str]:
        """The files' names, for Ultralytics' books; they are opened by `get_image_and_label`."""
        return [str(sample.path) for sample in self.samples]

    def get_labels(self) -> list[dict[str, Any]]:
        """Labels that were read before. Ultralytics' own reading mistakes boxes among polygons."""
        return [_label(sample) for sample in self.samples]

    def get_image_and_label(self, index: int) -> dict[str, Any]:
        """A view of an image, BGR with its long side at the network's size, with its labels."""
        sample = self.samples[index]
        grey = self.read(sample.path)
        if self.augment:
            rng = np.random.default_rng(np.random.randint(2**31))
            sample, grey = self.views.draw(sample, grey, rng)
        height, width = grey.shape
        scale = self.imgsz / max(height, width)
        if scale != 1:
            size = [min(math.ceil(side * scale), self.imgsz) for side in (width, height)]
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR)
        bgr = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
        label = _label(sample)
        del label["shape"]
        new_height, new_width = bgr.shape[:2]
        label.update(
            img=bgr,
            ori_shape=(height, width),
            resized_shape=(new_height, new_width),
            ratio_pad=(new_height / height, new_width / width),
        )
        return self.update_labels_info(label)

    def build_transforms(self, hyp: Any) -> Compose:
        """Ultralytics' augmentation, without what it adds where a further package happens to be installed."""
        transforms = super().build_transforms(hyp)
        transforms.transforms = [t for t in transforms.transforms if not isinstance(t, Albumentations)]
        return transforms

    def __getitem__(self, index: int) -> dict[str, Any]:
        state = np.random.SeedSequence([self.seed, self.epoch, index]).generate_state(1)
        random.seed(int(state[0]))
        np.random.seed(state[0])
        return super().__getitem__(index)


def _label(sample: Sample) -> dict[str, Any]:
    return {
        "im_file": str(sample.path),
        "shape": (sample.height, sample.width),
        "cls": sample.own_ids[:, None].astype(np.float32),
        "bboxes": _centred(sample),
        "segments": list(sample.polygons),
        "normalized": True,
        "bbox_format": "xywh",
    }


def _centred(sample: Sample) -> np.ndarray:
    """Boxes (n, 4) as centre x, y, width, height, fractions of the image."""
    low, high = sample.boxes[:, :2], sample.boxes[:, 2:]
    size = np.array([sample.width, sample.height])
    return np.hstack([(low + high) / 2 / size, (high - low) / size]).astype(np.float32)
