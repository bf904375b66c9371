"""Whether a picture is plainly something else than a radiograph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bonefx.images import Radiograph

_ROWS, _COLUMNS = 512, 4096
"""How much is looked at: rows far apart, but at full resolution, as a reduced text has no hard edges."""
_STEP = (2, 32)
"""A step between neighbours below the first is flat, up to the second texture, above it an edge."""
_COLOUR = 16
"""By how much a channel must differ from what is usual at its grey level. A tinted film, whose tint
follows the grey level, stays below; so does the colour noise of JPEG."""


def unlike_radiograph(radiograph: Radiograph) -> str | None:
    """A warning in a person's words if this is plainly no radiograph, else None.

    It knows colour photographs (much colour that does not follow the grey level), and screenshots, texts
    and drawings (few grey levels or much white, and hard edges in place of texture). A grey photograph
    passes. Not one of the 3,979 radiographs of BoneFractureYolo8 is warned of, which set the limits.
    """
    rows = radiograph.rgb[:: max(1, radiograph.height // _ROWS), :_COLUMNS].astype(np.int16)
    grey = rows.sum(axis=2) // 3
    levels = np.bincount(grey.ravel(), minlength=256)
    if _coloured(rows, grey, levels) > 0.05:
        return (
            "This looks like a colour photograph, not a radiograph. What the models find in it means nothing."
        )
    steps = np.abs(np.diff(grey, axis=1))
    edges = np.count_nonzero(steps > _STEP[1])
    texture = np.count_nonzero(steps >= _STEP[0]) - edges
    textured = texture / max(texture + edges, 1)
    common = np.sort(levels)[-4:].sum() / grey.size
    white = levels[240:].sum() / grey.size
    if (common > 0.5 and textured < 0.7) or (white > 0.6 and textured < 0.8):
        return (
            "This looks like a screenshot, a text or a drawing, not a radiograph. What the models find in it "
            "means nothing."
        )
    return None


def _coloured(rows: np.ndarray, grey: np.ndarray, levels: np.ndarray) -> float:
    """The share of pixels whose colour is not the one that goes with their grey level."""
    deviation = np.zeros(grey.shape)
    for channel in (0, 2):
        tint = rows[..., channel] - rows[..., 1]
        usual = np.bincount(grey.ravel(), weights=tint.ravel(), minlength=256) / np.maximum(levels, 1)
        deviation = np.maximum(deviation, np.abs(tint - usual[grey]))
    return float((deviation > _COLOUR).mean())
