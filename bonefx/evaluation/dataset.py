"""Ground truth: the images of a split, their lesions, and which images are copies of one another.

`bonefx.evaluation.folder` makes a `Dataset` from files; evaluation and training read it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bonefx import labels
from bonefx.errors import DatasetError, quoted, shortened

HOLD_OUT = 0.15
"""Share of the images of a training split that is set aside for tuning, in whole groups of copies."""


@dataclass(frozen=True)
class LabelledImage:
    """One image of a split.

    Attributes:
        file_name: path below the folder of images, with `/`.
        path: where it is; None for ground truth that came without images.
        width, height: pixels after EXIF rotation.
        sha256: of the meaning of its label rows' columns, its name, label file and image file.
        label_path: where its label file is; None where it has none.
        group: what it shares with its copies and near twins, where a table says so.
    """

    file_name: str
    path: Path | None
    width: int
    height: int
    sha256: str
    label_path: Path | None = None
    group: str | None = None

    @property
    def file(self) -> Path:
        """Where it is.

        Raises:
            DatasetError: the ground truth came without images.
        """
        if self.path is None:
            raise DatasetError(f"{self.file_name} is named in the ground truth alone: there is no image.")
        return self.path


@dataclass(frozen=True)
class Problem:
    """Something that was left out, and why.

    Attributes:
        file: below the folder of images or of label files, with `/`.
        line: from 1; None is the whole file.
        reason: the rest of a sentence.
        repeats: whether only a repetition was left out: the lesion itself is there.
    """

    file: str
    line: int | None
    reason: str
    repeats: bool = False

    def __str__(self) -> str:
        return f"{shortened(self.file)}{f', line {self.line}' if self.line else ''}: {self.reason}"


@dataclass(frozen=True, eq=False)
class Dataset:
    """The images of one split with their lesions.

    Attributes:
        name, split: for reports.
        images: sorted by file name. The COCO image id is the place in this order, from 1.
        bbox: float64 (n, 4), x, y, width, height in pixels, inside the image.
        box_images: int64 (n,), index into `images`, never falling.
        class_ids: int64 (n,), indices into `bonefx.labels.CLASSES`; all `ANY_SITE` where sites are not told.
        problems: what was left out.
    """

    name: str
    split: str
    images: tuple[LabelledImage, ...]
    bbox: np.ndarray
    box_images: np.ndarray
    class_ids: np.ndarray
    problems: tuple[Problem, ...] = ()

    @property
    def boxes(self) -> np.ndarray:
        """float64 (n, 4): the same boxes as corners x1, y1, x2, y2."""
        return np.hstack([self.bbox[:, :2], self.bbox[:, :2] + self.bbox[:, 2:]])

    @property
    def tells_sites(self) -> bool:
        """Whether its lesions have classes of ours; a set without lesions does."""
        return not (self.class_ids == labels.ANY_SITE).any()

    @property
    def sha256(self) -> str:
        """SHA-256 over the hashes of the images in order: the same on every machine."""
        return hashlib.sha256("".join(image.sha256 for image in self.images).encode()).hexdigest()

    @property
    def lesions(self) -> np.ndarray:
        """int64 (images,): number of lesions in each image."""
        return np.bincount(self.box_images, minlength=len(self.images))

    def summary(self) -> dict[str, Any]:
        """Name, hash and counts, as reports carry them."""
        counts = np.bincount(self.class_ids, minlength=len(labels.CLASSES))[: len(labels.CLASSES)]
        return {
            "name": self.name,
            "split": self.split,
            "sha256": self.sha256,
            "images": len(self.images),
            "boxes": len(self.bbox),
            "fracture_free": int((self.lesions == 0).sum()),
            "boxes_per_class": dict(zip(labels.CLASSES, counts.tolist(), strict=True)),
            "problems": len(self.problems),
        }

    def subset(self, indices: Sequence[int] | np.ndarray) -> Dataset:
        """The images at these indices, in the order of the whole."""
        chosen = np.unique(np.asarray(indices, dtype=np.int64))
        rows = np.isin(self.box_images, chosen)
        return Dataset(
            self.name,
            self.split,
            tuple(self.images[i] for i in chosen),
            self.bbox[rows],
            np.searchsorted(chosen, self.box_images[rows]),
            self.class_ids[rows],
            self.problems,
        )

    def to_coco(self) -> dict[str, Any]:
        """COCO ground truth; the category is the class id + 1.

        Annotation ids count from 1, because pycocotools takes an id of 0 for "no match".
        """
        names = labels.CLASSES if self.tells_sites else (*labels.CLASSES, "fracture")
        rows = zip(self.box_images.tolist(), self.class_ids.tolist(), self.bbox.tolist(), strict=True)
        return {
            "info": {"description": self.name, "split": self.split},
            "images": [
                {"id": i, "file_name": m.file_name, "width": m.width, "height": m.height, "sha256": m.sha256}
                for i, m in enumerate(self.images, 1)
            ],
            "annotations": [
                {
                    "id": i,
                    "image_id": image + 1,
                    "category_id": class_id + 1,
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3],
                    "iscrowd": 0,
                }
                for i, (image, class_id, bbox) in enumerate(rows, 1)
            ],
            "categories": [{"id": i, "name": name} for i, name in enumerate(names, 1)],
        }

    @classmethod
    def from_coco(cls, coco: Mapping[str, Any]) -> Dataset:
        """The inverse of `to_coco`, for scoring where the images are not.

        Raises:
            DatasetError: it is not what `to_coco` makes.
        """
        try:
            images = tuple(
                LabelledImage(i["file_name"], None, i["width"], i["height"], i["sha256"])
                for i in coco["images"]
            )
            notes = coco["annotations"]
            bbox = np.array([a["bbox"] for a in notes], dtype=np.float64).reshape(-1, 4)
            box_images = np.array([a["image_id"] - 1 for a in notes], dtype=np.int64)
            class_ids = np.array([a["category_id"] - 1 for a in notes], dtype=np.int64)
            in_order = [i["id"] for i in coco["images"]] == list(range(1, len(images) + 1))
            name, split = coco["info"]["description"], coco["info"]["split"]
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"This is not ground truth that BoneFX wrote: {quoted(error)}.") from None
        if not in_order or not np.isin(box_images, np.arange(len(images))).all():
            raise DatasetError("This is not ground truth that BoneFX wrote: image ids do not fit.")
        if not np.isin(class_ids, np.arange(len(labels.CLASSES) + 1)).all():
            raise DatasetError("This is not ground truth that BoneFX wrote: category ids do not fit.")
        return cls(name, split, images, bbox, box_images, class_ids)


def source(file_name: str) -> str:
    """The source image that a file is a copy of.

    Roboflow names the augmented copies of `arm.png` `arm_png.rf.<hash>.jpg`, each with another hash. Any
    other name stands for itself, without its suffix.
    """
    return re.sub(r"(_[A-Za-z]+)?\.rf\.[0-9a-f]+$", "", str(PurePosixPath(file_name).with_suffix("")))


def fold(
    images: Sequence[LabelledImage], fraction: float = HOLD_OUT, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Set images aside for tuning; all copies of a source image stay on one side.

    Returns:
        int64 indices of the images to train on, and of those held out, both rising. Whole groups, drawn
        with `seed`, are held out until they are at least `fraction` of the images.
    """
    names = [image.group or source(image.file_name) for image in images]
    groups, group_of = np.unique(names, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(groups))
    sizes = np.bincount(group_of, minlength=len(groups))[order]
    needed = int(np.searchsorted(np.cumsum(sizes), fraction * len(images), side="left")) + 1
    held_out = np.isin(group_of, order[:needed])
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
