"""Any number of phantoms as a data set in YOLO format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bonefx.labels import CLASSES, DATASET_CLASSES
from bonefx.phantoms.radiograph import Lesion, Phantom, render
from bonefx.phantoms.scenes import REGIONS, VIEWS

_LEAST_VISIBLE = 0.12


def label_rows(phantom: Phantom) -> list[str]:
    """The lesions as rows of a YOLO label file, with the classes of the BoneFractureYolo8 data set."""
    height, width = phantom.image.shape
    rows = []
    for lesion in phantom.lesions:
        x1, y1, x2, y2 = lesion.box
        number = DATASET_CLASSES.index(CLASSES[lesion.class_id])
        place = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height
        rows.append(f"{number} " + " ".join(f"{value:.6f}" for value in place))
    return rows


def annotation(lesion: Lesion, number: int, image_number: int) -> dict[str, Any]:
    """A lesion as an annotation of COCO's, with what is known of it beside."""
    x1, y1, x2, y2 = (float(value) for value in np.round(lesion.box, 1))
    return {
        "id": number,
        "image_id": image_number,
        "category_id": lesion.class_id + 1,
        "bbox": [x1, y1, round(x2 - x1, 1), round(y2 - y1, 1)],
        "area": round((x2 - x1) * (y2 - y1), 1),
        "iscrowd": 0,
        "bone": lesion.bone,
        "kind": lesion.kind,
        "displaced": lesion.displaced,
        "difficulty": lesion.difficulty,
        "visibility": lesion.visibility,
    }


def draw_one(rng: np.random.Generator, size: int) -> Phantom:
    """A phantom of any region and view, half of them with a fracture that can be seen."""
    region, view = str(rng.choice(REGIONS)), str(rng.choice(tuple(VIEWS), p=[0.5, 0.25, 0.25]))
    fracture = "random" if rng.random() < 0.5 else None
    extra: dict[str, Any] = {"cast": rng.random() < 0.08, "plate": fracture is None and rng.random() < 0.12}
    while True:
        phantom = render(region, view, int(rng.integers(2**31)), size, fracture, **extra)
        if (len(phantom.lesions) > 0) == (fracture is not None) and all(
            lesion.visibility >= _LEAST_VISIBLE for lesion in phantom.lesions
        ):
            return phantom


def make_dataset(directory: str | Path, count: int, seed: int, size: int = 512, split: str = "train") -> Path:
    """Write phantoms and their labels in YOLO format.

    Args:
        directory: gets data.yaml, with the data set's seven class names, and the split's folder.
        count: how many images.
        seed: the same seed gives the same files again, and the first images of a larger count.
        size: long side of the images in pixels.
        split: "train" or "valid": folder `split` with `images/` and `labels/`; each has its own images.

    Returns:
        The path of data.yaml.
    """
    root = Path(directory)
    images, labels = root / split / "images", root / split / "labels"
    for folder in (images, labels):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        phantom = draw_one(np.random.default_rng([seed, number, *split.encode()]), size)
        name = f"phantom-{seed}-{number:05d}"
        Image.fromarray(phantom.grey).save(images / f"{name}.png")
        (labels / f"{name}.txt").write_text("".join(f"{row}\n" for row in label_rows(phantom)))
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(DATASET_CLASSES))
    config = root / "data.yaml"
    config.write_text(
        f"train: train/images\nval: valid/images\nnc: {len(DATASET_CLASSES)}\nnames:\n{names}", "utf-8"
    )
    return config
