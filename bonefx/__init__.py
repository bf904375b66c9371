"""BoneFX: two fracture detectors side by side on upper-limb radiographs.

Research and education. Not a medical device.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

    from bonefx.images import Radiograph
    from bonefx.notebook import Comparison, Result

# A program that sets up no logging gets none of ours: tracebacks are for logs, not for people.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__version__ = "0.1.0"
__all__ = ["compare", "detect"]


def detect(image: str | Path | np.ndarray, model: str = "yolo", threshold: float = 0.25) -> Result:
    """Detect fractures in one radiograph.

    Args:
        image: a file (PNG, JPEG, WebP, BMP, TIFF or DICOM), or a uint8 or uint16 array: grey (h, w), RGB
            (h, w, 3) or RGBA (h, w, 4).
        model: `yolo`, `faster-rcnn` or `consensus`, in upper or lower case.
        threshold: lowest score of a detection that is returned.

    Returns:
        The result that the API gives too, a dict: `detections` with `label`, `class_id`, `score` and `box` in
        pixels of the image, and beside them the weights, runtime and timings that they come from. A notebook
        shows it as a picture and a table; `to_dataframe` and `to_supervision` make other tools' types of it.

    Raises:
        bonefx.errors.BoneFXError: the image cannot be read, an argument is out of range, or no weights
            of the model could be used.
    """
    from bonefx import inference
    from bonefx.errors import BoneFXError
    from bonefx.notebook import Result

    threshold = inference.check_threshold(threshold)
    radiograph = _read(image)
    (outcome,) = inference.run(radiograph, [model])
    if outcome.error is not None:
        raise BoneFXError(outcome.error)
    return Result(outcome.to_result(threshold), radiograph)


def compare(
    image: str | Path | np.ndarray, threshold: float = 0.25, pair: Sequence[str] | None = None
) -> Comparison:
    """Detect fractures in one radiograph with every model, side by side.

    Args:
        image, threshold: as `detect` takes them.
        pair: names of the two models whose agreement is told; None: the first two.

    Returns:
        What `/compare` answers too, a dict: `results` with one result a model, and `agreement` with which
        detections of the models are on the same place, or None after a failure. A model that failed has
        `error` in place of `detections`. A notebook shows it as a picture and a table.

    Raises:
        bonefx.errors.BoneFXError: the image cannot be read, or the threshold is out of range.
    """
    from bonefx import inference
    from bonefx.detectors import MODELS
    from bonefx.notebook import Comparison, Result
    from bonefx.results import RESULT_VERSION

    threshold = inference.check_threshold(threshold)
    radiograph = _read(image)
    outcomes = inference.run(radiograph, list(MODELS))
    answer = {
        "schema_version": RESULT_VERSION,
        "results": [Result(outcome.to_result(threshold), radiograph) for outcome in outcomes],
        "agreement": inference.agreement_of(outcomes, [threshold] * len(outcomes), inference.pair_of(pair)),
    }
    return Comparison(answer, radiograph)


def _read(image: str | Path | np.ndarray) -> Radiograph:
    import os

    from bonefx import images

    return images.read(image) if isinstance(image, (str, os.PathLike)) else images.from_array(image)
