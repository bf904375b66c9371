"""What the network is shown of a training image: all of it or a window, and as which machine would record it.

Both trainings use this before their own augmentation. A window makes a small lesion larger, so that a set of
whole-limb films and a set of close-ups teach the same thing; the changes of the film are those between
hospitals: exposure, contrast, sharpness, resolution, noise, polarity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageFilter

from bonefx.training.data import Sample

_LARGEST = 0.35  # of a window's longer side, that a lesion is enlarged to
_SMALLEST_SIDE = 0.3  # of the image, that a window keeps
_AROUND_A_LESION = 0.7  # share of the windows of an image with a lesion
_KEPT = 0.5  # share of a lesion's area that must lie in a window, or the lesion is not told


@dataclass(frozen=True)
class Views:
    """How images are varied before they are resized.

    Attributes:
        window: probability that a window is shown in place of the whole image. Seven times in ten it holds a
            lesion, if there is one; its size is drawn so that the lesion covers between what it covers of
            the whole image and 35 % of the window's longer side.
        film: probability of each change of the film: gamma, contrast, softer or coarser image, noise.
        inverted: probability that black and white change places.
    """

    window: float = 0.0
    film: float = 0.0
    inverted: float = 0.0

    def draw(self, sample: Sample, grey: np.ndarray, rng: np.random.Generator) -> tuple[Sample, np.ndarray]:
        """A variation of an image.

        Args:
            sample: the image's lesions. It may be larger than `grey` if `grey` was made smaller.
            grey: uint8 (h, w).
            rng: decides everything.

        Returns:
            What lies in the new image, in its pixels, and the image, uint8 (h', w').
        """
        height, width = grey.shape
        sample = _scaled(sample, width, height)
        if rng.random() < self.window:
            sample, grey = cut(sample, grey, _window(sample, rng))
        return sample, self._record(grey, rng)

    def _record(self, grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        change = rng.random(5) < self.film
        if change[:2].any():
            grey = _tones(rng, *change[:2])[grey]
        if change[2]:
            grey = np.asarray(Image.fromarray(grey).filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2))))
        if change[3]:
            grey = _coarse(grey, rng.uniform(0.4, 0.9))
        if change[4]:
            noise = rng.standard_normal(grey.shape, np.float32) * np.float32(rng.uniform(2, 9))
            grey = (grey + noise).clip(0, 255).astype(np.uint8)
        return 255 - grey if rng.random() < self.inverted else grey


def cut(sample: Sample, grey: np.ndarray, window: tuple[int, int, int, int]) -> tuple[Sample, np.ndarray]:
    """The window (x1, y1, x2, y2) of an image, in pixels, with the lesions that lie in it by half or more."""
    x1, y1, x2, y2 = window
    corner, size = np.array([x1, y1]), np.array([x2 - x1, y2 - y1])
    boxes = (sample.boxes - np.tile(corner, 2)).clip(0, np.tile(size, 2))
    area = (sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(axis=1)
    kept = np.flatnonzero((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) >= _KEPT * area)
    whole = np.array([sample.width, sample.height])
    polygons = [((sample.polygons[i] * whole - corner) / size).clip(0, 1).astype(np.float32) for i in kept]
    seen = Sample(
        sample.path,
        int(size[0]),
        int(size[1]),
        boxes[kept],
        sample.class_ids[kept],
        sample.own_ids[kept],
        tuple(polygons),
    )
    return seen, grey[y1:y2, x1:x2]


def _scaled(sample: Sample, width: int, height: int) -> Sample:
    factor = np.tile([width / sample.width, height / sample.height], 2)
    return replace(sample, width=width, height=height, boxes=sample.boxes * factor)


def _window(sample: Sample, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Corners of a window in pixels, drawn as `Views.window` says."""
    whole = np.array([sample.width, sample.height])
    held = None
    if len(sample.boxes) and rng.random() < _AROUND_A_LESION:
        held = sample.boxes[rng.integers(len(sample.boxes))].reshape(2, 2)
    covered = 0.0 if held is None else ((held[1] - held[0]) / whole).max()
    smallest = float(np.clip(covered / _LARGEST, _SMALLEST_SIDE, 1.0))
    side = smallest ** rng.random()
    size = np.maximum(np.round(whole * np.clip(side * rng.uniform(0.85, 1.15, 2), 0, 1)), 1)
    first, last = np.zeros(2), whole - size
    if held is not None:
        size = np.minimum(np.maximum(size, np.ceil(held[1] - held[0])), whole)
        first, last = np.maximum(held[1] - size, 0), np.minimum(held[0], whole - size)
    start = np.floor(rng.uniform(np.minimum(first, last), np.maximum(first, last))).astype(int)
    end = np.minimum(start + size.astype(int), whole)
    return int(start[0]), int(start[1]), int(end[0]), int(end[1])


def _tones(rng: np.random.Generator, gamma: bool, contrast: bool) -> np.ndarray:
    """A table uint8 (256,) of new grey values."""
    values = np.linspace(0, 1, 256)
    if gamma:
        values = values ** np.exp(rng.uniform(-0.5, 0.5))
    if contrast:
        values = (values - 0.5) * rng.uniform(0.7, 1.4) + 0.5 + rng.uniform(-0.1, 0.1)
    return np.round(values.clip(0, 1) * 255).astype(np.uint8)


def _coarse(grey: np.ndarray, factor: float) -> np.ndarray:
    """The image as if it had been stored with `factor` of its pixels a side."""
    height, width = grey.shape
    small = (max(round(width * factor), 1), max(round(height * factor), 1))
    image = Image.fromarray(grey).resize(small, Image.Resampling.BILINEAR)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
