"""From samples of any depth to the 8 bits that are shown; and how large a picture may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from bonefx.errors import ImageError

MAX_PIXELS = 50_000_000
PERCENTILES = (0.5, 99.5)
"""The window of samples that come without one: it leaves out burnt-in markers and dead pixels."""

_LEVELS = 65536
_BAND = 4_000_000  # samples

Curve = Callable[[np.ndarray], np.ndarray]
"""Maps sample values (n,) to as many values."""


class Plan(NamedTuple):
    """How a file is decoded, once its structure has been walked over.

    Attributes:
        work: bytes of samples to go through, over all passes; infinite if what decodes them has no bound.
        decode: does it.
    """

    work: float
    decode: Callable[[], Picture]


class Picture(NamedTuple):
    """What a decoder gives: `rgb` uint8 (h, w, 3), `grey` uint16 (h, w) or None, notes for the person."""

    rgb: np.ndarray
    grey: np.ndarray | None
    notes: tuple[str, ...] = ()


def check_size(width: int, height: int) -> None:
    """Refuse a picture by the size that its header gives, before any of it is decoded.

    Raises:
        ImageError: no pixels at all, or more than `MAX_PIXELS`.
    """
    if width <= 0 or height <= 0:
        raise ImageError("This picture has no pixels. Export it again from where it came from.")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"This picture has {width} × {height} pixels, more than the {MAX_PIXELS // 1_000_000} "
            "megapixels that are accepted. Make it smaller and try again."
        )


def missing_note(share: float) -> str:
    """What to say of a picture whose end is missing: `share` of it, over 0 to 1."""
    percent = "less than 1" if share < 0.01 else f"about {100 * share:.0f}"
    return f"the file is cut off: {percent} % of the picture is missing at its end"


def show(samples: np.ndarray) -> Picture:
    """A picture of plain samples: 8 bits as they are, 16 bits windowed, alpha over black.

    Alpha that is 0 everywhere is passed over, with a note: viewers without alpha show such a picture.

    Args:
        samples: uint8 or uint16, (h, w), (h, w, 2) grey with alpha, (h, w, 3) or (h, w, 4) in RGB order.
    """
    notes: tuple[str, ...] = ()
    if samples.ndim == 3 and samples.shape[2] in (2, 4):
        if samples[..., -1].any():
            samples = _over_black(samples)
        else:
            samples, notes = samples[..., :-1], ("transparent all over: shown without its transparency",)
    if samples.ndim == 3 and (samples.shape[2] == 1 or (samples.dtype == np.uint16 and _is_grey(samples))):
        samples = samples[..., 0]
    grey = None
    if samples.dtype == np.uint16:
        samples, grey = render(samples)
    if samples.ndim == 3:
        return Picture(np.ascontiguousarray(samples), None, notes)
    return Picture(spread(samples), grey, notes)


def _over_black(samples: np.ndarray) -> np.ndarray:
    """Without the last channel, alpha, by which the others are multiplied."""
    full = np.iinfo(samples.dtype).max
    out = np.empty((*samples.shape[:2], samples.shape[2] - 1), samples.dtype)
    for rows in bands(len(samples), samples[0].size):
        colours, alpha = samples[rows, :, :-1], samples[rows, :, -1:]
        opaque = alpha.min() == full
        out[rows] = colours if opaque else (colours * alpha.astype(np.uint32) + full // 2) // full
    return out


def _is_grey(samples: np.ndarray) -> bool:
    return all(
        (samples[rows, :, 1:] == samples[rows, :, :1]).all() for rows in bands(len(samples), samples[0].size)
    )


def bands(rows: int, size: int) -> Iterator[slice]:
    """Rows of `size` samples, so many at a time that what is computed from them is small beside a picture."""
    step = max(1, _BAND // max(size, 1))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def spread(shown: np.ndarray) -> np.ndarray:
    """Grey uint8 (h, w) as rgb uint8 (h, w, 3)."""
    return np.repeat(shown[..., None], 3, axis=2)


def render(
    values: np.ndarray,
    modality: Curve | None = None,
    voi: Curve | None = None,
    invert: bool = False,
    padded: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Window sample values for display.

    The curves are evaluated once for each level that can occur, not for each pixel.

    Args:
        values: integer or float samples of any shape.
        modality: from stored to meaningful values (a DICOM rescale); by default none.
        voi: from meaningful values to brightness, 0 black to 1 white, clipped here; by default a line
            through the `PERCENTILES`.
        invert: whether low brightness is white (MONOCHROME1, WhiteIsZero).
        padded: bool, as `values`: what is no part of the picture. It does not count for the window, and
            is shown as the darkest of the picture.

    Returns:
        What is shown, uint8, and the samples as uint16 in which larger is brighter as shown: shifted
        where there are negative ones, turned over where needed, and scaled only if they span more
        than 16 bits. Both in the shape of `values`.

    Raises:
        ImageError: no sample is a finite number.
    """
    index, levels = _index(values)
    picture = index if padded is None else index[~padded]
    present = [int(picture.min()), int(picture.max())]
    meaning = levels if modality is None else modality(levels)
    brightness = _percentile_line(picture, meaning, present) if voi is None else voi(meaning)
    if invert:
        brightness = 1 - brightness
    rising = brightness[present[0]] <= brightness[present[1]]
    if padded is not None:
        index = np.where(padded, np.uint16(present[0 if rising else 1]), index)
    table = np.rint(np.clip(brightness, 0, 1) * 255).astype(np.uint8)
    return table[index], index if rising else np.uint16(present[1]) - index


def _index(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each sample's place, uint16, among the levels that it can have; and those levels, rising."""
    if values.dtype.kind == "f":
        finite = values[np.isfinite(values)]
        if not finite.size:
            raise ImageError("This picture holds no numbers that could be shown as grey levels.")
        low, high = float(finite.min()), float(finite.max())
        values = np.clip(np.nan_to_num(values.astype(np.float64), nan=low), low, high)
    else:
        low, high = min(int(values.min()), 0), int(values.max())
        if high - low < _LEVELS:
            if low < 0:
                values = values.astype(np.int32) - low
            return values.astype(np.uint16, copy=False), np.arange(low, high + 1, dtype=np.float64)
        low = int(values.min())
    step = (high - low) / (_LEVELS - 1) or 1.0
    index = np.rint((values - np.float64(low)) / step).astype(np.uint16)
    return index, low + step * np.arange(_LEVELS)


def _percentile_line(index: np.ndarray, meaning: np.ndarray, present: list[int]) -> np.ndarray:
    ends = np.interp(_percentiles(index, len(meaning)), np.arange(len(meaning)), meaning)
    if ends[0] == ends[1]:  # nearly all of one value: what differs must still show
        ends = meaning[present]
    low, high = np.sort(ends)
    return (meaning - low) / ((high - low) or 1)


def _percentiles(index: np.ndarray, levels: int) -> np.ndarray:
    """What `np.percentile` gives, from counts: it would sort a copy of all samples."""
    counts = np.zeros(levels, np.int64)
    for rows in bands(len(index), index[0].size):
        counts += np.bincount(index[rows].ravel(), minlength=levels)
    upto = np.cumsum(counts)
    places = np.array(PERCENTILES) / 100 * (index.size - 1)
    below, above = (np.searchsorted(upto, rank(places), side="right") for rank in (np.floor, np.ceil))
    return below + (above - below) * (places - np.floor(places))
