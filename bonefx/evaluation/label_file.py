"""The rows of a label file in YOLO format, and the data.yaml that says what they mean.

A row is a class index, then one of: centre x, centre y, width, height of a box (5 columns); the same with the
key points that `kpt_shape` in data.yaml announces (a pose); the corners of a polygon (7, 9, ... columns). All
are fractions of the image. The box of a polygon is the smallest that holds its corners.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bonefx import labels
from bonefx.errors import DatasetError, quoted, shortened

TOLERANCE = 1e-3
"""How far outside of [0, 1] a fraction may lie by rounding; it is then moved to the edge."""

SAME = 1e-4
"""How far apart the corners of one lesion that is written twice may lie by rounding: under half a pixel."""

_MAX_BYTES = 16 * 1024 * 1024
_MAX_ROWS = 1000


@dataclass(frozen=True)
class Scheme:
    """What the columns of a data set's label rows mean.

    Attributes:
        names: the data set's own classes, by class index.
        class_ids: their unified classes, indices into `bonefx.labels.CLASSES`, or `ANY_SITE` alone.
        key_points: number of key points and of values for each (2, or 3 with its visibility); None where the
            rows are no poses.
    """

    names: tuple[str, ...]
    class_ids: tuple[int, ...]
    key_points: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """One lesion of a label file.

    Attributes:
        line: in the file, from 1.
        own_id, class_id: the data set's own class, and the unified one.
        box: float64 (4,), corners x1, y1, x2, y2, fractions of the image in [0, 1].
        polygon: float64 (k, 2), its corners as fractions; the four of the box where the row is no polygon.
    """

    line: int
    own_id: int
    class_id: int
    box: np.ndarray
    polygon: np.ndarray


@dataclass(frozen=True)
class BadRow:
    """A row that is left out. `repeats` says that it is a lesion which an earlier row has named."""

    line: int
    reason: str
    repeats: bool = False


def read_scheme(root: Path) -> Scheme:
    """The scheme in the data.yaml of a data set's folder.

    Raises:
        DatasetError: it cannot be read or parsed, lists no class names, or a name that is not known.
    """
    file = root / "data.yaml"
    try:
        content = yaml.safe_load(read_regular(file))
    except ValueError as error:
        raise DatasetError(f"{file} must list the class names, but {error}.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise DatasetError(f"{file} cannot be parsed{place}: correct it, it must be YAML.") from None
    except RecursionError:
        raise DatasetError(f"{file} cannot be parsed: it is nested too deeply.") from None
    names = _names(content.get("names")) if isinstance(content, dict) else None
    if not names:
        raise DatasetError(f"{file} has no list of class names under `names`.")
    try:
        class_ids = labels.scheme_ids(names)
    except KeyError as error:
        known = ", ".join(labels.DATASET_CLASSES)
        raise DatasetError(
            f"{file}: class {quoted(error.args[0])} is not known. The known ones are {known}; "
            "or one class, named fracture."
        ) from None
    return Scheme(names, class_ids, _key_points(file, content.get("kpt_shape")))


def _names(listed: Any) -> tuple[str, ...] | None:
    """Class names, which are a list or a mapping from 0, 1, ...; None for anything else."""
    if isinstance(listed, dict):
        listed = [listed.get(index) for index in range(len(listed))]
    if not isinstance(listed, list) or not all(isinstance(name, (str, int, float)) for name in listed):
        return None
    return tuple(map(str, listed))


def _key_points(file: Path, shape: Any) -> tuple[int, int] | None:
    if shape is None:
        return None
    if (
        isinstance(shape, list)
        and len(shape) == 2
        and all(type(size) is int for size in shape)
        and shape[0] > 0
        and shape[1] in (2, 3)
    ):
        return shape[0], shape[1]
    raise DatasetError(
        f"{file}: kpt_shape is {quoted(shape)}; it must be the number of key points, and 2 or 3 for each."
    )


def read_regular(path: Path, limit: int = _MAX_BYTES) -> bytes:
    """The bytes of a file that is one, and no device, pipe or folder, of at most `limit` bytes.

    Raises:
        ValueError: saying what it is, as the rest of a sentence: "it is a folder".
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or a pipe"
            raise ValueError(f"it is {what}, not a file")
        if status.st_size > limit:
            raise ValueError(f"it is larger than {limit // 1024**2} MB")
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror})") from None


def parse(content: bytes, scheme: Scheme) -> tuple[list[Row], list[BadRow]]:
    """The lesions of a label file in their order, and what was left out and why.

    A row that names a lesion again (one unified class, one box up to rounding) is left out: ground truth
    that counts twice cannot be found twice.

    Raises:
        ValueError: it has more rows than a picture has lesions.
    """
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    if len(lines) > _MAX_ROWS:
        raise ValueError(f"it has {len(lines)} rows; at most {_MAX_ROWS} are read")
    rows: list[Row] = []
    bad: list[BadRow] = []
    for line, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            row = _row(line, text.split(), scheme)
        except ValueError as error:
            bad.append(BadRow(line, str(error)))
            continue
        earlier = _earlier(row, rows)
        if earlier is None:
            rows.append(row)
        else:
            bad.append(BadRow(line, f"it names the lesion of line {earlier.line} again", repeats=True))
    return rows, bad


def _earlier(row: Row, rows: Sequence[Row]) -> Row | None:
    """The first of the rows that names the same lesion."""
    same_class = [each for each in rows if each.class_id == row.class_id]
    boxes = np.array([each.box for each in same_class]).reshape(-1, 4)
    same = np.flatnonzero(np.abs(boxes - row.box).max(axis=1) <= SAME)
    return same_class[same[0]] if len(same) else None


def _row(line: int, columns: Sequence[str], scheme: Scheme) -> Row:
    """One row.

    Raises:
        ValueError: with what is wrong, for `BadRow.reason`.
    """
    try:
        index, *values = map(float, columns)
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise ValueError("a column is not a number")
    if index not in range(len(scheme.names)):
        raise ValueError(f"class {shortened(columns[0])} is not one of 0 to {len(scheme.names) - 1}")
    polygon = _corners(np.array(values), scheme.key_points)
    if (polygon < -TOLERANCE).any() or (polygon > 1 + TOLERANCE).any():
        raise ValueError("it reaches out of the image; coordinates must be fractions in [0, 1]")
    polygon = polygon.clip(0, 1)
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    if (low >= high).any():
        raise ValueError("it has no area")
    own_id = int(index)
    return Row(line, own_id, scheme.class_ids[own_id], np.concatenate([low, high]), polygon)


def _corners(values: np.ndarray, key_points: tuple[int, int] | None) -> np.ndarray:
    """float64 (k, 2): the corners of a row's box or polygon, from its columns after the class index."""
    columns = len(values) + 1
    if key_points is not None:
        expected = 5 + key_points[0] * key_points[1]
        if columns not in (5, expected):
            raise ValueError(
                f"it has {columns} columns; a box has 5, one with the key points of kpt_shape {expected}"
            )
        values = values[:4]
    elif columns != 5 and (columns < 7 or columns % 2 == 0):
        raise ValueError(f"it has {columns} columns; a box has 5, a polygon 7 or more and an odd number")
    elif _is_pose(values):
        raise ValueError(
            "it looks like a box with key points, no polygon; data.yaml must say so by kpt_shape"
        )
    if len(values) > 4:
        return values.reshape(-1, 2)
    (x, y), (width, height) = values[:2], values[2:]
    if width <= 0 or height <= 0:
        raise ValueError("it has no area")
    x1, y1, x2, y2 = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])


def _is_pose(values: np.ndarray) -> bool:
    """Whether the values are a box and key points in it, each with a visibility of 0, 1 or 2.

    A polygon has nothing but 0 and 1 in each of these columns only by a very rare chance.
    """
    if len(values) < 10 or (len(values) - 4) % 3:
        return False
    (x, y, width, height), points = values[:4], values[4:].reshape(-1, 3)
    if not np.isin(points[:, 2], (0, 1, 2)).all():
        return False
    inside = (np.abs(points[:, :2] - (x, y)) <= np.array([width, height]) / 2 + TOLERANCE).all(axis=1)
    return bool((inside | ~points.any(axis=1)).all())  # one that is not there is 0 0 0
