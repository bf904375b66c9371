"""The first frame of a DICOM file, shown as its tags say."""

from __future__ import annotations

import numpy as np

from bonefx.images.dicom import curves, stored
from bonefx.images.dicom.elements import Elements, parse
from bonefx.images.pixels import Curve, Picture, Plan, missing_note, render, spread

_NO_WINDOW = "its window shows none of this picture: percentiles used in its place"


def plan(data: bytes) -> Plan:
    """What decoding the first frame and windowing it costs, and how it is done.

    Modality LUT or rescale, then the first VOI LUT or else the first window, then MONOCHROME1 is
    inverted (DICOM PS3.3 C.11.1, C.11.2, C.7.6.3.1.2). Samples of more than 8 bits without a window
    get the percentile window; 8-bit ones are shown as stored.

    Raises:
        ImageError: too large, not a picture, or compressed in a way that is not read here.
        Exception: whatever pydicom or a decoder makes of a damaged file; its text may quote the file.
    """
    elements = parse(data)
    layout = stored.layout(elements)
    return Plan(stored.work(elements, layout), lambda: _decode(elements, layout))


def _decode(elements: Elements, layout: stored.Layout) -> Picture:
    frame = stored.first_frame(elements, layout)
    notes: tuple[str, ...] = (f"first of {layout.frames} frames",) if layout.frames > 1 else ()
    if frame.missing:
        notes += (missing_note(frame.missing),)
    if layout.photometric == "PALETTE COLOR":
        return Picture(curves.palette(elements.dataset)[frame.values.astype(np.uint16)], None, notes)
    if frame.values.ndim == 3:
        colours = frame.values >> frame.values.dtype.type(max(frame.bits - 8, 0))
        return Picture(colours.astype(np.uint8, order="C"), None, notes)
    return _grey(elements, layout, frame, notes)


def _grey(elements: Elements, layout: stored.Layout, frame: stored.Stored, notes: tuple[str, ...]) -> Picture:
    values, bits = frame.values, frame.bits
    picture = values if frame.padded is None else values[~frame.padded]
    low, high = int(picture.min()), int(picture.max())
    modality = curves.modality(elements.dataset, low)
    bottom, top = _ends(modality, low, high)
    voi = curves.voi(elements.dataset, bottom)
    if voi and low < high and not np.ptp(np.clip(voi(np.linspace(bottom, top, 1025)), 0, 1)):
        voi, notes = None, (*notes, _NO_WINDOW)
    elif voi is None and bits <= 8:
        first = -(1 << (bits - 1)) if layout.signed else 0
        voi = _line(*_ends(modality, first, first + (1 << bits) - 1))
    invert = layout.photometric == "MONOCHROME1"
    shown, grey = render(values, modality, voi, invert, frame.padded)
    return Picture(spread(shown), grey if bits > 8 else None, notes)


def _ends(modality: Curve | None, low: int, high: int) -> tuple[float, float]:
    """The least and the greatest meaningful value of a range of stored ones."""
    levels = np.linspace(low, high, min(high - low, 65535) + 1)
    meaning = levels if modality is None else modality(levels)
    return float(meaning.min()), float(meaning.max())


def _line(black: float, white: float) -> Curve:
    return lambda meaning: (meaning - black) / ((white - black) or 1.0)
