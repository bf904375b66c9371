"""A whole model in its smallest form: it marks the cells of an image that differ most from what is around.

It knows nothing of fractures. It has all that BoneFX asks of a model's module: `Processing`,
`torch_engine`, `convertible` and `needs_torch`, and a weight file that is read as data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bonefx.detections import SCORE_FLOOR, Detections
from bonefx.detectors.loading import require
from bonefx.errors import WeightsError
from bonefx.settings import Settings
from bonefx.sources.hub import WeightFile

if TYPE_CHECKING:
    from torch import nn

    from bonefx.detectors.conversion.convert import Convertible
    from bonefx.detectors.engines.torch_engine import TorchEngine

_MOST = 20


@dataclass(frozen=True)
class Processing:
    """See `bonefx.detectors.base.Processing`.

    Attributes:
        cell: side of a cell in pixels.
    """

    cell: int

    nms = "none: cells do not overlap"
    image_size = 4096
    ranks = (4,), (4,)

    def prepare(self, rgb: np.ndarray) -> list[np.ndarray]:
        """Grey values, float32 (1, 1, H, W) on the scale 0 to 1, cut to whole cells."""
        height, width = (max(side - side % self.cell, self.cell) for side in rgb.shape[:2])
        image = np.zeros((1, 1, height, width), np.float32)
        grey = rgb[:height, :width, 0]
        image[0, 0, : grey.shape[0], : grey.shape[1]] = grey / np.float32(255)
        return [image]

    def finish(self, outputs: Sequence[np.ndarray], height: int, width: int) -> Detections:
        """The cells of highest contrast, as fingers."""
        contrast = outputs[0][0, 0]
        best = np.argsort(-contrast, axis=None, kind="stable")[:_MOST]
        best = best[contrast.flat[best] > SCORE_FLOOR]
        rows, columns = np.unravel_index(best, contrast.shape)
        corners = np.stack([columns, rows, columns + 1, rows + 1], axis=1).astype(np.float32) * self.cell
        boxes = np.minimum(corners, np.float32([width, height, width, height]))
        scores = np.minimum(contrast[rows, columns], 1)
        return Detections(boxes, scores, np.full(len(best), 1), ("contrast",) * len(best))

    def to_record(self) -> dict[str, Any]:
        return {"cell": self.cell}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Processing:
        """The other way round.

        Raises:
            WeightsError: there is no such cell.
        """
        cell = record.get("cell")
        if type(cell) is not int or not 4 <= cell <= 512:
            raise WeightsError(f"its cell is {str(cell)[:20]}, and must be 4 to 512 pixels")
        return cls(cell)


def needs_torch(settings: Settings) -> bool:
    """Whether the settings choose an engine that no graph is made of: there is none."""
    return False


def torch_engine(
    weights: WeightFile, settings: Settings, device: str | None
) -> tuple[Processing, TorchEngine]:
    """The parts of a detector that torch runs; `device` None takes the GPU if there is one.

    Raises:
        WeightsError: the file is none of this model, or torch is not installed.
    """
    require("torch")
    import torch

    from bonefx.detectors.engines.torch_engine import TorchEngine, best_device

    processing = _read(weights)
    place = best_device() if device is None else torch.device(device)
    return processing, TorchEngine(_network(processing.cell), place)


def convertible(weights: WeightFile, folded: bool = False) -> Convertible:
    """What `convert` turns into a graph for OpenVINO.

    Raises:
        WeightsError: the file is none of this model.
    """
    from bonefx.detectors.conversion.convert import Convertible

    processing = _read(weights)
    example = np.zeros((1, 1, 4 * processing.cell, 6 * processing.cell), np.float32)
    return Convertible(
        processing,
        _network(processing.cell),
        (example,),
        reduced=(),
        float32=(),
        quantised_without=(),
        fast_bias_correction=False,
    )


def _network(cell: int) -> nn.Module:
    from torch import nn

    class Contrast(nn.Module):
        """Of (1, 1, H, W) the mean distance of each cell's pixels from their neighbours' mean, four times."""

        def __init__(self) -> None:
            super().__init__()
            self.around = nn.AvgPool2d(5, 1, 2)
            self.cells = nn.AvgPool2d(cell)

        def forward(self, image):
            return 4 * self.cells((image - self.around(image)).abs())

    return Contrast()


def _read(weights: WeightFile) -> Processing:
    try:
        return Processing.from_record(json.loads(weights.path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(f"it is no weight file of this model ({error})") from error
