"""Ground truth from a folder in COCO format: boxes of one class named fracture, or of ours.

Two layouts are read. Roboflow's: `SPLIT/_annotations.coco.json` beside its images. COCO's own: a file in
`annotations/` whose name ends in SPLIT, as `instances_val.json`, with images in `images/SPLIT`, `SPLIT`,
`images` or the folder itself.
"""

from __future__ import annotations

import json
import math
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from bonefx import labels
from bonefx.errors import DatasetError, quoted
from bonefx.evaluation.dataset import Dataset, LabelledImage, Problem
from bonefx.evaluation.folder import digest_of, size_of
from bonefx.evaluation.label_file import read_regular
from bonefx.images import MAX_BYTES

_ROBOFLOW = "_annotations.coco.json"
_LARGEST_FILE = 1024**3


def annotation_file(root: Path, split: str) -> Path | None:
    """The file of a split's annotations; None where the folder has none.

    Raises:
        DatasetError: there are several.
    """
    beside = root / split / _ROBOFLOW
    if beside.is_file():
        return beside
    found = sorted((root / "annotations").glob("*.json"))
    found = [path for path in found if path.stem == split or path.stem.endswith((f"_{split}", f"-{split}"))]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DatasetError(f"{root} has two files for the split {split!r}: {names}. Keep one.")
    return found[0] if found else None


def load(root: Path, split: str) -> Dataset:
    """Read one split of a data set in COCO format.

    Images that no annotation names are images without a fracture. What cannot be used (a bad box, an
    annotation without its image, a missing or unreadable image file) is left out and named in
    `Dataset.problems`.

    Raises:
        DatasetError: the folder is not laid out as above, its file is not COCO's, or a category is not known.
    """
    root = Path(root)
    path = annotation_file(root, split)
    if path is None:
        raise DatasetError(f"{root} has no COCO annotations of a split {split!r}.")
    content = _parse(path)
    class_ids = _class_ids(path, content)
    folder = _images_folder(root, split, path)
    by_image: dict[Any, list[dict[str, Any]]] = {entry["id"]: [] for entry in content["images"]}
    problems: list[Problem] = []
    for note in content["annotations"]:
        if note.get("image_id") in by_image:
            by_image[note["image_id"]].append(note)
        else:
            reason = f"annotation {quoted(note.get('id'))} is of no image that is listed"
            problems.append(Problem(path.name, None, reason))
    images: list[LabelledImage] = []
    rows: list[Any] = []
    for entry in sorted(content["images"], key=lambda entry: entry["file_name"]):
        name = entry["file_name"]
        try:
            image, boxes, bad = _read(folder, name, by_image[entry["id"]], class_ids)
        except ValueError as error:
            problems.append(Problem(name, None, str(error)))
            continue
        rows += [(len(images), *box) for box in boxes]
        problems += [Problem(name, None, reason) for reason in bad]
        images.append(image)
    if not images:
        raise DatasetError(f"There is no readable image of {path.name} in {folder}.")
    return Dataset(
        root.resolve().name,
        split,
        tuple(images),
        np.array([row[2:] for row in rows], dtype=np.float64).reshape(-1, 4),
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[1] for row in rows], dtype=np.int64),
        tuple(problems),
    )


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_regular(path, _LARGEST_FILE))
        lists = [content[key] for key in ("images", "annotations", "categories")]
        fine = (
            all(isinstance(each, list) and all(isinstance(item, dict) for item in each) for each in lists)
            and all(isinstance(entry["file_name"], str) for entry in lists[0])
            and len({entry["id"] for entry in lists[0]}) == len(lists[0])
            and all(isinstance(entry["name"], str) for entry in lists[2])
        )
    except (ValueError, RecursionError, KeyError, TypeError):
        fine = False
    if not fine:
        raise DatasetError(f"{path} is not a COCO annotation file with images, annotations and categories.")
    return content


def _class_ids(path: Path, content: dict[str, Any]) -> dict[Any, int]:
    """The unified class of each category that an annotation has, or of all where there are no annotations."""
    used = {note.get("category_id") for note in content["annotations"]}
    categories = [each for each in content["categories"] if each.get("id") in used] or content["categories"]
    try:
        ids = labels.scheme_ids([each["name"] for each in categories])
    except KeyError as error:
        known = ", ".join(labels.DATASET_CLASSES)
        raise DatasetError(
            f"{path}: category {quoted(error.args[0])} is not known. The known ones are {known}; or one "
            "category, named fracture."
        ) from None
    return {each.get("id"): class_id for each, class_id in zip(categories, ids, strict=True)}


def _images_folder(root: Path, split: str, path: Path) -> Path:
    if path.name == _ROBOFLOW:
        return path.parent
    for folder in (root / "images" / split, root / split, root / "images"):
        if folder.is_dir():
            return folder
    return root


def _read(
    folder: Path, name: str, notes: list[dict[str, Any]], class_ids: dict[Any, int]
) -> tuple[LabelledImage, list[tuple[Any, ...]], list[str]]:
    """An image, its boxes as (class id, x, y, width, height) inside of it, and what is wrong with others.

    Raises:
        ValueError: why the image cannot be used.
    """
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts:
        raise ValueError("its file name leads out of the folder")
    content = read_regular(folder / name, MAX_BYTES)
    try:
        width, height = size_of(content)
    except (OSError, Image.DecompressionBombError):
        raise ValueError("it cannot be read as an image") from None
    boxes, bad = [], []
    for note in notes:
        try:
            boxes.append((class_ids[note["category_id"]], *_inside(note["bbox"], width, height)))
        except (KeyError, TypeError, ValueError):
            bad.append(f"annotation {quoted(note.get('id'))} has no box of four numbers inside of the image")
    meaning = json.dumps(boxes).encode()
    digest = digest_of(name.encode(errors="surrogateescape"), meaning, content)
    return LabelledImage(name, folder / name, width, height, digest), boxes, bad


def _inside(bbox: Any, width: int, height: int) -> tuple[float, ...]:
    """x, y, width and height, cut at the edges.

    Raises:
        ValueError: nothing of it is in the image.
    """
    x, y, w, h = map(float, bbox)
    x1, y1, x2, y2 = max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height))
    if not all(map(math.isfinite, (x, y, w, h))) or x2 <= x1 or y2 <= y1:
        raise ValueError
    return x1, y1, x2 - x1, y2 - y1
