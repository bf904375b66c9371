"""Ground truth from a folder in YOLO format, with everything that is wrong in it named.

A row of a label file is a class index with either centre x, centre y, width, height (5 columns) or the
corners of a polygon (7, 9, ... columns), all as fractions of the image; the box of a polygon is the
smallest that holds its corners.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from PIL import ExifTags, Image

from bonefx import labels
from bonefx.errors import DatasetError
from bonefx.evaluation.dataset import Dataset, LabelledImage, Problem

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
TOLERANCE = 1e-3
"""How far outside of [0, 1] a fraction may lie by rounding; it is then moved to the edge."""

_SIDEWAYS = {5, 6, 7, 8}  # EXIF orientations that swap width and height


def load(root: Path | str, split: str) -> Dataset:
    """Read one split of a data set in YOLO format.

    Args:
        root: folder with `data.yaml` (class names) and either `SPLIT/images` and `SPLIT/labels`, or
            `images/SPLIT` and `labels/SPLIT`. Folders below these are read too.
        split: such as `train` or `valid`.

    Images without a label file, or with an empty one, are images without a fracture. What cannot be used
    (a bad row, a label without its image, a second image for the same label file, a file that is no
    image) is left out and named in `Dataset.problems`.

    Raises:
        DatasetError: the folder is not laid out like that, or a class name is not one of the known.
    """
    root = Path(root)
    class_ids = _class_ids(root)
    images_dir, labels_dir = folders(root, split)
    image_files = [path for path in images_dir.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES]
    label_files = {_stem(path, labels_dir): path for path in labels_dir.rglob("*.txt")}
    images: list[LabelledImage] = []
    rows: list[tuple[int, int, list[float]]] = []
    problems: list[Problem] = []
    owners: dict[str, str] = {}
    for path in sorted(image_files, key=lambda path: path.relative_to(images_dir).as_posix()):
        file_name, stem = path.relative_to(images_dir).as_posix(), _stem(path, images_dir)
        if stem in owners:
            reason = f"its label file is that of {owners[stem]}; rename one of the two"
            problems.append(Problem(file_name, None, reason))
            continue
        owners[stem] = file_name
        image_bytes = path.read_bytes()
        label_file = label_files.get(stem)
        label_bytes = label_file.read_bytes() if label_file else b""
        try:
            width, height = _size(image_bytes)
        except (OSError, Image.DecompressionBombError):
            problems.append(Problem(file_name, None, "it cannot be read as an image"))
            continue
        for line, row in enumerate(label_bytes.decode("utf-8-sig", errors="replace").splitlines(), 1):
            if not row.strip():
                continue
            try:
                class_id, (x1, y1, x2, y2) = _parse(row.split(), class_ids)
            except ValueError as error:
                problems.append(Problem(f"{stem}.txt", line, str(error)))
                continue
            bbox = [x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height]
            rows.append((len(images), class_id, bbox))
        digest = _digest(bytes(class_ids), file_name.encode(), label_bytes, image_bytes)
        images.append(LabelledImage(file_name, path, width, height, digest))
    for stem in sorted(set(label_files) - set(owners)):
        problems.append(Problem(f"{stem}.txt", None, "there is no image of this name"))
    if not images:
        raise DatasetError(f"There is no readable image in {images_dir}.")
    return Dataset(
        root.resolve().name,
        split,
        tuple(images),
        np.array([bbox for _, _, bbox in rows], dtype=np.float64).reshape(-1, 4),
        np.array([image for image, _, _ in rows], dtype=np.int64),
        np.array([class_id for _, class_id, _ in rows], dtype=np.int64),
        tuple(problems),
    )


def _class_ids(root: Path) -> list[int]:
    """The unified class of each class index of the data set."""
    file = root / "data.yaml"
    try:
        names = yaml.safe_load(file.read_text(encoding="utf-8"))["names"]
        names = [names[i] for i in range(len(names))]
    except OSError as error:
        raise DatasetError(
            f"{file} cannot be read ({error.strerror}). It must list the class names."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
        raise DatasetError(f"{file} has no list of class names under `names`.") from None
    try:
        return [labels.class_id(str(name)) for name in names]
    except KeyError as error:
        known = ", ".join(labels.DATASET_CLASSES)
        raise DatasetError(f"{file}: class {error} is not known. The known ones are {known}.") from None


def folders(root: Path, split: str) -> tuple[Path, Path]:
    """The folders of images and of label files.

    Raises:
        DatasetError: there are none.
    """
    for images, label_files in (
        (root / split / "images", root / split / "labels"),
        (root / "images" / split, root / "labels" / split),
    ):
        if images.is_dir() and label_files.is_dir():
            return images, label_files
    raise DatasetError(
        f"{root} has no split {split!r}: neither {split}/images with {split}/labels, "
        f"nor images/{split} with labels/{split}."
    )


def _stem(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _size(image_bytes: bytes) -> tuple[int, int]:
    """Width and height after EXIF rotation, from the header alone."""
    with Image.open(io.BytesIO(image_bytes)) as image:
        sideways = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
        return image.size[::-1] if sideways else image.size


def _digest(*parts: bytes) -> str:
    """SHA-256 of the parts, each preceded by its length."""
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(len(part).to_bytes(8, "big") + part)
    return sha256.hexdigest()


def _parse(columns: Sequence[str], class_ids: Sequence[int]) -> tuple[int, list[float]]:
    """One row as unified class and corners x1, y1, x2, y2, fractions of the image.

    Raises:
        ValueError: with what is wrong, for `Problem.reason`.
    """
    if len(columns) != 5 and (len(columns) < 7 or len(columns) % 2 == 0):
        raise ValueError(f"it has {len(columns)} columns; a box has 5, a polygon 7 or more and an odd number")
    try:
        index, *values = map(float, columns)
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise ValueError("a column is not a number")
    if index not in range(len(class_ids)):
        raise ValueError(f"class {columns[0]} is not one of 0 to {len(class_ids) - 1}")
    if len(values) == 4:
        x, y, width, height = values
        if width <= 0 or height <= 0:
            raise ValueError("it has no area")
        xs, ys = (x - width / 2, x + width / 2), (y - height / 2, y + height / 2)
    else:
        xs, ys = values[::2], values[1::2]
    if not all(-TOLERANCE <= value <= 1 + TOLERANCE for value in (*xs, *ys)):
        raise ValueError("it reaches out of the image; coordinates must be fractions in [0, 1]")
    x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in (min(xs), min(ys), max(xs), max(ys)))
    if x1 >= x2 or y1 >= y2:
        raise ValueError("it has no area")
    return class_ids[int(index)], [x1, y1, x2, y2]
