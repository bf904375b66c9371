"""The example radiographs: synthetic phantoms whose fractures are known exactly."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from bonefx import images
from bonefx.errors import RequestError, quoted
from bonefx.labels import CLASSES
from bonefx.settings import packaged

THUMBNAIL = (124, 104)
"""Width and height in pixels: twice what the page shows, for fine screens."""

THUMBNAILS = "thumbnails.jpg"
"""The file of `contact_sheet`, among the examples; `python -m bonefx examples` makes it."""

_SPECIAL = (("plaster", "Plaster"), ("plate", "Plate"), ("16 bit", "16 bit"), ("DICOM", "DICOM"))


@dataclass(frozen=True)
class Example:
    """An example image.

    Attributes:
        id: the file's name without its ending; links carry it (`?example=wrist-1`).
        path: the file.
        title: what a person reads.
        short: the same in a word or two, for the filmstrip.
        region: the part of the arm.
        lesions: `{"label", "box": {"x1", "y1", "x2", "y2"}}` in pixels, exact.
    """

    id: str
    path: Path
    title: str
    short: str
    region: str
    lesions: tuple[dict[str, Any], ...]


@lru_cache(maxsize=1)
def examples() -> dict[str, Example]:
    """All examples by id, in the order of `examples/annotations.json`."""
    folder = packaged("examples")
    coco = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    found = {}
    for image in coco["images"]:
        lesions = [
            {
                "label": CLASSES[note["category_id"] - 1],
                "box": {
                    "x1": note["bbox"][0],
                    "y1": note["bbox"][1],
                    "x2": note["bbox"][0] + note["bbox"][2],
                    "y2": note["bbox"][1] + note["bbox"][3],
                },
            }
            for note in coco["annotations"]
            if note["image_id"] == image["id"]
        ]
        path = folder / image["file_name"]
        title, region = image["title"], image["region"]
        found[path.stem] = Example(path.stem, path, title, _short(path.stem, title), region, tuple(lesions))
    return found


def _short(example_id: str, title: str) -> str:
    """What is special about an example, or else its region and number."""
    special = next((word for sign, word in _SPECIAL if sign in title), None)
    return special or re.sub(r"-(\d+)$", r" \1", example_id).capitalize()


def example(example_id: str) -> Example:
    """The example of this id.

    Raises:
        RequestError: there is none.
    """
    if example_id not in examples():
        raise RequestError(
            f"There is no example {quoted(example_id)}. The examples are: {', '.join(examples())}."
        )
    return examples()[example_id]


def contact_sheet() -> Image.Image:
    """All examples side by side, each filling its `THUMBNAIL`; the page cuts it up again."""
    width, height = THUMBNAIL
    sheet = Image.new("L", (width * len(examples()), height))
    for number, each in enumerate(examples().values()):
        picture = Image.fromarray(images.read(each.path).rgb).convert("L")
        sheet.paste(ImageOps.fit(picture, THUMBNAIL, Image.Resampling.LANCZOS), (width * number, 0))
    return sheet
