"""Small pictures, and how they are expected to be shown."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)
GREY = (np.add.outer(np.arange(60), np.arange(80)) * 1.8).astype(np.uint8)
DEEP = (np.add.outer(np.arange(60), np.arange(80)) * 20 + RNG.integers(0, 15, (60, 80))).astype(np.uint16)
COLOUR = np.dstack([GREY, 255 - GREY, GREY // 2])


def saved(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey_rgb(grey: np.ndarray) -> np.ndarray:
    return np.dstack([grey] * 3)


def windowed(samples: np.ndarray) -> np.ndarray:
    """The window of 16-bit samples as the issue words it."""
    low, high = np.percentile(samples, (0.5, 99.5))
    return np.clip((samples.astype(float) - low) / (high - low), 0, 1) * 255
