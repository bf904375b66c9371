"""The pictures that are measured: the example phantoms, and stretched copies of one of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from bonefx.errors import BoneFXError
from bonefx.settings import packaged

SHAPES = 10
NARROWEST = 0.5
"""Short side over long side of the narrowest shape; the widest is a square."""

_LONG_SIDE = 960
_NOISE = 3.0  # of 255: without a detector's noise a PNG would be decoded faster than a radiograph is


def phantoms() -> list[Path]:
    """The example images that travel with the code, by name.

    Raises:
        BoneFXError: there are none.
    """
    folder = packaged("examples")
    found = sorted(path for path in folder.glob("*") if path.suffix in (".png", ".dcm"))
    if not found:
        raise BoneFXError(f"There are no example images in {folder}: install BoneFX again.")
    return found


def square(side: int, folder: Path) -> Path:
    """A phantom as a PNG of `side` x `side` pixels, written to the folder."""
    return _stretched(side, side, folder)


def shapes(folder: Path) -> tuple[Path, list[Path]]:
    """A phantom in one shape, and in ten others, every second one lying, written to the folder.

    Their long sides are alike, and the mean of the ten's short sides is the one's: as a network sees them,
    the ten have ten times its pixels.
    """
    step = (1 - NARROWEST) / (SHAPES - 1)
    shorts = [round(_LONG_SIDE * (NARROWEST + step * i)) for i in range(SHAPES)]
    ten = [
        _stretched(short, _LONG_SIDE, folder) if i % 2 else _stretched(_LONG_SIDE, short, folder)
        for i, short in enumerate(shorts)
    ]
    return _stretched(round(_LONG_SIDE * (1 + NARROWEST) / 2), _LONG_SIDE, folder), ten


def _stretched(width: int, height: int, folder: Path) -> Path:
    with Image.open(next(path for path in phantoms() if path.suffix == ".png")) as image:
        enlarged = np.asarray(image.convert("L").resize((width, height), Image.Resampling.BICUBIC))
    noise = np.random.default_rng(0).normal(0, _NOISE, enlarged.shape).astype(np.float32)
    path = folder / f"{width}x{height}.png"
    noisy = np.clip(np.rint(enlarged + noise), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(path, compress_level=1)
    return path
