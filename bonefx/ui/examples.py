"""The example radiographs: synthetic phantoms whose fractures are known exactly."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bonefx import images
from bonefx.drawing import thumbnail
from bonefx.errors import RequestError, quoted
from bonefx.labels import CLASSES
from bonefx.settings import packaged

THUMBNAIL_PIXELS = 112


@dataclass(frozen=True)
class Example:
    """An example image.

    Attributes:
        id: the file's name without its ending; links carry it (`?example=wrist-1`).
        path: the file.
        title: what a person reads.
        lesions: `{"label", "box": {"x1", "y1", "x2", "y2"}}` in pixels, exact.
    """

    id: str
    path: Path
    title: str
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
        found[path.stem] = Example(path.stem, path, image["title"], tuple(lesions))
    return found


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


@lru_cache(maxsize=1)
def thumbnails() -> tuple[dict[str, str], ...]:
    """Id, title and a small JPEG as a data address, of each example."""
    rows = []
    for each in examples().values():
        buffer = io.BytesIO()
        picture = thumbnail(images.read(each.path).rgb, THUMBNAIL_PIXELS).convert("L")
        picture.save(buffer, "JPEG", quality=70)
        address = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
        rows.append({"id": each.id, "title": each.title, "picture": address})
    return tuple(rows)
