"""Ground truth from a folder in YOLO format, with everything that is wrong in it named."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import warnings
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import ExifTags, Image

from bonefx.errors import DatasetError, shortened
from bonefx.evaluation.dataset import Dataset, LabelledImage, Problem
from bonefx.evaluation.label_file import BadRow, Row, Scheme, parse, read_regular, read_scheme
from bonefx.images import MAX_BYTES

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

_SIDEWAYS = {5, 6, 7, 8}  # EXIF orientations that swap width and height


def load(root: Path | str, split: str) -> Dataset:
    """Read one split of a data set in YOLO format.

    Args:
        root: folder with `data.yaml` (class names) and either `SPLIT/images` and `SPLIT/labels`, or
            `images/SPLIT` and `labels/SPLIT`. Folders below these are read too.
            With a `table.csv` that has the columns `image` and `group`, near twins are known by it.
        split: such as `train` or `valid`.

    Images without a label file, or with an empty one, are images without a fracture. What cannot be used
    (a bad row, one that repeats another, a label without its image, a second image for the same label file,
    a file that is no image or that cannot be read) is left out and named in `Dataset.problems`. An image
    whose label file cannot be read is left out too: it may have a fracture.

    Raises:
        DatasetError: the folder is not laid out like that, a folder in it cannot be read, or data.yaml is
            not what `label_file.read_scheme` reads.
    """
    root = Path(root)
    scheme = read_scheme(root)
    images_dir, labels_dir = folders(root, split)
    label_files: dict[str, list[str]] = {}
    for name in _files(labels_dir, {".txt"}):
        label_files.setdefault(_stem(name), []).append(name)
    owners: dict[str, str] = {}
    group_of = _groups(root / "table.csv")
    images: list[LabelledImage] = []
    lesions: list[list[Row]] = []
    problems: list[Problem] = []
    for name in _files(images_dir, IMAGE_SUFFIXES):
        owner = owners.setdefault(_stem(name), name)
        try:
            if owner != name:
                raise ValueError(f"its label file is that of {shortened(owner)}; rename one of the two")
            label_name = _only(label_files.get(_stem(name), []))
            image, rows, bad = _read(images_dir, name, labels_dir, label_name, scheme)
        except ValueError as error:
            problems.append(Problem(name, None, str(error)))
            continue
        images.append(replace(image, group=group_of.get(Path(name).stem)))
        lesions.append(rows)
        problems += [Problem(label_name or name, each.line, each.reason, each.repeats) for each in bad]
    for stem in sorted(set(label_files) - set(owners)):
        problems += [Problem(name, None, "there is no image of this name") for name in label_files[stem]]
    if not images:
        first = f" The first of its problems: {problems[0]}." if problems else ""
        raise DatasetError(f"There is no readable image in {images_dir}.{first}")
    return _dataset(root.resolve().name, split, images, lesions, problems)


def _groups(table: Path) -> dict[str, str]:
    """The group of each image that a table names; nothing where there is no table."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            return {row["image"]: row["group"] for row in csv.DictReader(file)}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError):
        raise DatasetError(f"{table} cannot be read as a table with the columns image and group.") from None


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
    split = shortened(split)
    raise DatasetError(
        f"{root} has no split {split!r}: neither {split}/images with {split}/labels, "
        f"nor images/{split} with labels/{split}."
    )


def _files(folder: Path, suffixes: Collection[str]) -> list[str]:
    """The files below a folder that end like this in any case: paths below it with `/`, sorted.

    Raises:
        DatasetError: a folder cannot be read; what is in it would be missed without a word.
    """

    def refuse(error: OSError) -> None:
        raise DatasetError(f"The folder {error.filename} cannot be read ({error.strerror}).") from None

    return sorted(
        path.relative_to(folder).as_posix()
        for place, _, names in os.walk(folder, onerror=refuse)
        for path in (Path(place, name) for name in names)
        if path.suffix.lower() in suffixes
    )


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _only(label_names: Sequence[str]) -> str | None:
    """An image's label file, if it has one.

    Raises:
        ValueError: it has several, as `a.txt` and `a.TXT`.
    """
    if len(label_names) > 1:
        raise ValueError(f"it has two label files, {' and '.join(map(shortened, label_names))}; delete one")
    return label_names[0] if label_names else None


def _read(
    images_dir: Path, name: str, labels_dir: Path, label_name: str | None, scheme: Scheme
) -> tuple[LabelledImage, list[Row], list[BadRow]]:
    """An image, its lesions, and the rows of its label file that were left out.

    Raises:
        ValueError: why it cannot be used, for `Problem.reason`.
    """
    path = images_dir / name
    image_bytes = read_regular(path, MAX_BYTES)
    label_path = None if label_name is None else labels_dir / label_name
    try:
        label_bytes = b"" if label_path is None else read_regular(label_path)
        rows, bad = parse(label_bytes, scheme)
    except ValueError as error:
        raise ValueError(f"its label file {shortened(label_name or '')} is not read: {error}") from None
    try:
        width, height = size_of(image_bytes)
    except (OSError, Image.DecompressionBombError):
        raise ValueError("it cannot be read as an image") from None
    digest = digest_of(_meaning(scheme), name.encode(errors="surrogateescape"), label_bytes, image_bytes)
    return LabelledImage(name, path, width, height, digest, label_path), rows, bad


def size_of(image_bytes: bytes) -> tuple[int, int]:
    """Width and height after EXIF rotation, from the header alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is wrong with a picture is said when it is read
        with Image.open(io.BytesIO(image_bytes)) as image:
            if image.format == "TIFF":  # Pillow turns these itself, and says the size that they will have
                return image.size
            try:
                sideways = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
            except Exception:  # damaged camera data turns nothing, as in `bonefx.images`
                sideways = False
            return image.size[::-1] if sideways else image.size


def _meaning(scheme: Scheme) -> bytes:
    """What decides how label rows are understood, apart from their text."""
    return bytes(scheme.class_ids) + bytes(str(scheme.key_points or ""), "ascii")


def digest_of(*parts: bytes) -> str:
    """SHA-256 of the parts, each preceded by its length."""
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(len(part).to_bytes(8, "big") + part)
    return sha256.hexdigest()


def _dataset(
    name: str,
    split: str,
    images: Sequence[LabelledImage],
    lesions: Sequence[Sequence[Row]],
    problems: Sequence[Problem],
) -> Dataset:
    """The data set, its boxes in pixels."""
    bbox, box_images, class_ids = [], [], []
    for number, (image, rows) in enumerate(zip(images, lesions, strict=True)):
        for row in rows:
            x1, y1, x2, y2 = row.box
            bbox.append(
                [x1 * image.width, y1 * image.height, (x2 - x1) * image.width, (y2 - y1) * image.height]
            )
            box_images.append(number)
            class_ids.append(row.class_id)
    return Dataset(
        name,
        split,
        tuple(images),
        np.array(bbox, dtype=np.float64).reshape(-1, 4),
        np.array(box_images, dtype=np.int64),
        np.array(class_ids, dtype=np.int64),
        tuple(problems),
    )
