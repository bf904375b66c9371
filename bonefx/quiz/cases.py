"""Radiographs whose fractures are known: the pack that travels with the code, or one's own folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bonefx.errors import DatasetError
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.predict import load
from bonefx.labels import ANY_SITE, CLASSES, place
from bonefx.settings import packaged

DIFFICULTIES = ("easy", "medium", "hard")


@dataclass(frozen=True, eq=False)
class Case:
    """One radiograph.

    Attributes:
        id: tells it from the other cases; it says nothing of what is on it.
        path: the file.
        width, height: pixels after EXIF rotation.
        boxes: float64 (n, 4), its fractures as x1, y1, x2, y2 in pixels; none where nothing is broken.
        labels: (n,), what each fracture is called; "fracture" where sites are not told.
        site: the part of the arm; empty where nobody has noted it.
        difficulty: how hard its hardest fracture is to see, one of `DIFFICULTIES`; empty where there is
            none, or nobody has said so.
    """

    id: str
    path: Path
    width: int
    height: int
    boxes: np.ndarray
    labels: tuple[str, ...]
    site: str = ""
    difficulty: str = ""


def pack() -> tuple[Case, ...]:
    """The cases that travel with the code: synthetic phantoms, whose fractures are known exactly."""
    root = packaged("examples") / "cases"
    coco = json.loads((root / "annotations.json").read_text("utf-8"))
    notes: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in coco["images"]}
    for note in coco["annotations"]:
        notes[note["image_id"]].append(note)
    return tuple(
        Case(
            Path(image["file_name"]).stem,
            root / image["file_name"],
            image["width"],
            image["height"],
            _corners([note["bbox"] for note in notes[image["id"]]]),
            tuple(place(CLASSES[note["category_id"] - 1]) for note in notes[image["id"]]),
            image["region"],
            image["difficulty"] or "",
        )
        for image in coco["images"]
    )


def labelled(root: Path, split: str) -> tuple[Case, ...]:
    """The images of a labelled folder, in YOLO or COCO format, as cases.

    Args:
        root: the data set's folder.
        split: whose images, such as "valid".

    Raises:
        DatasetError: there is no such data set or split, or nothing to find in it.
    """
    dataset = load(root, split)
    if not len(dataset.boxes):
        raise DatasetError(f"Nothing is labelled in the split {split} of {root}: there is nothing to find.")
    return tuple(_case(dataset, number) for number in range(len(dataset.images)))


def _case(dataset: Dataset, number: int) -> Case:
    image = dataset.images[number]
    own = dataset.box_images == number
    names = [CLASSES[each] if each != ANY_SITE else "fracture" for each in dataset.class_ids[own].tolist()]
    return Case(
        f"case-{number + 1:0{len(str(len(dataset.images)))}d}",
        image.file,
        image.width,
        image.height,
        dataset.boxes[own],
        tuple(place(name) if name in CLASSES else name for name in names),
    )


def _corners(bbox: Sequence[Sequence[float]]) -> np.ndarray:
    boxes = np.array(bbox, dtype=np.float64).reshape(-1, 4)
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
