"""BoneFX: two fracture detectors side by side on upper-limb radiographs.

Research and education. Not a medical device.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

# A program that sets up no logging gets none of ours: tracebacks are for logs, not for people.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__version__ = "0.1.0"
__all__ = ["detect"]


def detect(image: str | Path | np.ndarray, model: str = "yolo", threshold: float = 0.25) -> dict[str, Any]:
    """Detect fractures in one radiograph.

    Args:
        image: a file (PNG, JPEG, WebP, BMP, TIFF or DICOM), or a uint8 or uint16 array: grey (h, w), RGB
            (h, w, 3) or RGBA (h, w, 4).
        model: `yolo`, `faster-rcnn` or `consensus`, in upper or lower case.
        threshold: lowest score of a detection that is returned.

    Returns:
        The result that the API gives too: `detections` with `label`, `class_id`, `score` and `box` in
        pixels of the image, and beside them the weights, runtime and timings that they come from.

    Raises:
        bonefx.errors.BoneFXError: the image cannot be read, an argument is out of range, or no weights
            of the model could be used.
    """
    import os

    from bonefx import images, inference
    from bonefx.errors import BoneFXError

    threshold = inference.check_threshold(threshold)
    read = images.read if isinstance(image, (str, os.PathLike)) else images.from_array
    (outcome,) = inference.run(read(image), [model])
    if outcome.error is not None:
        raise BoneFXError(outcome.error)
    return outcome.to_result(threshold)
