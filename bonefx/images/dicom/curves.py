"""What stored values mean and how bright they are: modality and VOI (DICOM PS3.3, C.11.1, C.11.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from bonefx.errors import ImageError
from bonefx.images.dicom.stored import DAMAGED
from bonefx.images.pixels import Curve


class Table(NamedTuple):
    """A lookup table.

    Attributes:
        entries: float64 (n,).
        first: the input of the first entry, 0 to 65535: whether it is negative, the input tells.
        bits: of the entries.
    """

    entries: np.ndarray
    first: int
    bits: int

    def curve(self, low: float) -> Curve:
        """A curve for inputs that start at `low`."""
        first = self.first - 65536 if low < 0 and self.first >= 32768 else self.first
        last = len(self.entries) - 1
        return lambda values: self.entries[np.clip(values - first, 0, last).astype(np.intp)]


def modality(dataset: Dataset, low: float) -> Curve | None:
    """From stored values, which start at `low`, to meaningful ones; None where they are the same.

    Raises:
        ImageError: a rescale that is no finite number.
    """
    table = next(_tables(dataset, "ModalityLUTSequence"), None)
    if table:
        return table.curve(low)
    for part in (dataset, *_frame_items(dataset, "PixelValueTransformationSequence")):
        slope, intercept = _number(part, "RescaleSlope"), _number(part, "RescaleIntercept")
        if slope is not None and intercept is not None:
            if not np.isfinite([slope, intercept]).all():
                raise ImageError(DAMAGED.format("its rescale slope or intercept is no finite number"))
            return lambda stored: stored * (slope or 1.0) + intercept
    return None


def voi(dataset: Dataset, low: float) -> Curve | None:
    """From meaningful values, which start at `low`, to brightness: by the first table, else by the first
    window; None where there is neither.

    Raises:
        ImageError: a window that is no finite number.
    """
    table = next(_tables(dataset, "VOILUTSequence"), None)
    if table:
        curve, top = table.curve(low), 2.0 ** _used_bits(table) - 1
        return lambda meaning: curve(meaning) / top
    for part in (dataset, *_frame_items(dataset, "FrameVOILUTSequence")):
        centre, width = _number(part, "WindowCenter"), _number(part, "WindowWidth")
        if centre is not None and width is not None:
            if not np.isfinite([centre, width]).all():
                raise ImageError(DAMAGED.format("its window is no finite number"))
            if width > 0:
                return _window(centre, width, str(part.get("VOILUTFunction") or "LINEAR"))
    return None


def _window(centre: float, width: float, function: str) -> Curve:
    if function == "SIGMOID":
        return lambda meaning: 1 / (1 + np.exp(np.clip(-4 * (meaning - centre) / width, -700, 700)))
    if function != "LINEAR_EXACT" and width >= 1:  # LINEAR has no window under 1 wide
        centre, width = centre - 0.5, max(width - 1, 1e-6)
    return lambda meaning: (meaning - centre) / width + 0.5


def palette(dataset: Dataset) -> np.ndarray:
    """The colour of each stored value, uint8 (65536, 3) (PS3.3, C.7.6.3.1.5).

    Raises:
        ImageError: a table is missing.
    """
    columns = []
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        table = _table(dataset.get(f"{name}Descriptor"), dataset.get(f"{name}Data"), dataset)
        if table is None and dataset.get(f"Segmented{name}Data"):
            raise ImageError(
                "This DICOM file keeps its colours in segments, which is not read here. Export it as PNG."
            )
        if table is None:
            raise ImageError(DAMAGED.format("a table of its colours is missing"))
        entries = table.curve(0)(np.arange(65536.0))
        columns.append(entries // 256 if entries.max() > 255 else entries)  # 8 bits can come in words of 16
    return np.stack(columns, axis=1).astype(np.uint8)


def _frame_items(dataset: Dataset, keyword: str) -> Iterator[Dataset]:
    """What an enhanced file says of its first frame, else of all (PS3.3, C.7.6.16)."""
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in (dataset.get(groups) or [])[:1]:
            yield from (group.get(keyword) or [])[:1]


def _number(part: Dataset, keyword: str) -> float | None:
    """The first number of a decimal string; None where it is missing or blank, or is no number."""
    element = part.get_item(keyword)
    value = getattr(element, "value", None)
    if value is None:
        return None
    if not isinstance(value, bytes):
        value = str(np.atleast_1d(value)[0] if np.size(value) else "").encode()
    text = value.split(b"\\")[0].strip(b" \0").replace(b",", b".")
    try:
        return float(text)
    except ValueError:
        return None


def _tables(dataset: Dataset, keyword: str) -> Iterator[Table]:
    """The tables of a sequence, passing over items without one."""
    for item in dataset.get(keyword) or []:
        table = _table(item.get("LUTDescriptor"), item.get("LUTData"), item)
        if table:
            yield table


def _table(descriptor, data, item: Dataset) -> Table | None:
    """A table by its descriptor (PS3.3, C.11.1.1.1); as long as its data, where those are fewer."""
    if not descriptor or len(descriptor) != 3 or data is None:
        return None
    count, first, bits = (int(number) & 0xFFFF for number in descriptor)
    count = count or 65536
    if isinstance(data, bytes):
        little = item.original_encoding[1] is not False
        words = len(data) > count + 1 or (bits > 8 and len(data) > 1)
        data = np.frombuffer(
            data[: len(data) // 2 * 2] if words else data, ("<u2" if little else ">u2") if words else "u1"
        )
    entries = np.atleast_1d(np.asarray(data, np.float64))[:count]
    return Table(entries, first, bits) if entries.size else None


def _used_bits(table: Table) -> int:
    """The bits of a table's entries; where three quarters of their range are unused, those in use, as
    tables are found that declare 16 and hold 12."""
    top = int(table.entries.max())
    bits = max(min(table.bits, 16), 1)
    return max(top.bit_length(), 1) if top >= 2**bits or top < 2 ** (bits - 2) else bits
