"""Write the cases of "Read it yourself" beside this file: phantoms, and where exactly they are broken.

    pip install .[phantoms]
    python examples/cases/make_cases.py

Their seeds are beyond those that training draws (below 2**31), so no model has learnt from them. For each
part of the arm, `WANTED` says how many are broken, by how hard the fracture is to see; as many again by
half are not.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from bonefx.labels import CLASSES
from bonefx.phantoms import Phantom, render
from bonefx.phantoms.dataset import annotation
from bonefx.phantoms.scenes import REGIONS, VIEWS

WANTED = {"easy": 3, "medium": 3, "hard": 2, None: 4}
"""Cases of each part of the arm, by difficulty; None is without a fracture."""

FIRST_SEED = 2**31
SIZE = 832
QUALITY = 88
LEAST_VISIBLE = 0.12  # what changed the picture less, nobody can be asked to see


def difficulty(phantom: Phantom) -> str | None:
    """Of a case: that of its hardest fracture; None without one."""
    grades = [lesion.difficulty for lesion in phantom.lesions]
    return max(grades, key=("easy", "medium", "hard").index) if grades else None


def of_region(number: int, region: str) -> list[tuple[Phantom, str | None]]:
    """The cases of one part of the arm, until there is what `WANTED` says."""
    wanted = dict(WANTED)
    rng = np.random.default_rng(FIRST_SEED + number)
    found = []
    seed = FIRST_SEED + 1_000_000 * number
    while any(wanted.values()):
        seed += 1
        view = str(rng.choice(tuple(VIEWS), p=[0.5, 0.25, 0.25]))
        broken = bool(rng.random() < 0.8) if wanted[None] else True
        phantom = render(
            region, view, seed, SIZE, "random" if broken else None, cast=bool(rng.random() < 0.06)
        )
        grade = difficulty(phantom)
        if broken != bool(phantom.lesions) or not wanted[grade]:
            continue
        if any(lesion.visibility < LEAST_VISIBLE for lesion in phantom.lesions):
            continue
        wanted[grade] -= 1
        found.append((phantom, grade))
    return found


def write(folder: Path) -> None:
    """Render the cases into `folder`, and their ground truth in COCO format."""
    drawn = [each for number, region in enumerate(REGIONS) for each in of_region(number, region)]
    order = np.random.default_rng(FIRST_SEED).permutation(len(drawn))
    images, annotations = [], []
    for number, (phantom, grade) in enumerate((drawn[i] for i in order), 1):
        name = f"case-{number:02d}.jpg"
        Image.fromarray(phantom.grey).save(folder / name, quality=QUALITY, optimize=True)
        height, width = phantom.image.shape
        images.append(
            {
                "id": number,
                "file_name": name,
                "width": width,
                "height": height,
                "region": phantom.region,
                "view": phantom.view,
                "difficulty": grade,
            }
        )
        annotations += [
            annotation(lesion, one, number)
            for one, lesion in enumerate(phantom.lesions, len(annotations) + 1)
        ]
    truth = {
        "info": {
            "description": "BoneFX synthetic phantom radiographs: cases to read",
            "license": "CC BY 4.0",
        },
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)],
    }
    (folder / "annotations.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parent)
