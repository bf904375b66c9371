"""What the browser fetches of the examples: files that are the same for everybody, served as they lie."""

from __future__ import annotations

import threading
from typing import Any

import gradio as gr
from PIL import Image

from bonefx import images
from bonefx.settings import packaged
from bonefx.ui.examples import THUMBNAIL, THUMBNAILS, Example, examples
from bonefx.ui.scripts import file_record
from bonefx.ui.storage import storage
from bonefx.ui.viewer.component import viewer_image


class ExampleFiles:
    """One for the app: the viewer's record of each example, made when it is first asked for."""

    def __init__(self) -> None:
        self._made = storage().new_entry(lasting=True)
        thumbnails = packaged("examples") / THUMBNAILS
        gr.set_static_paths([thumbnails, self._made, *(each.path for each in examples().values())])
        self._lock = threading.Lock()
        self._records: dict[str, dict[str, Any]] = {}

    def record(self, example: Example) -> dict[str, Any]:
        """As `viewer_image` makes it. An 8-bit PNG is served as it is; others are prepared once."""
        with self._lock:
            if example.id not in self._records:
                self._records[example.id] = self._make(example)
            return self._records[example.id]

    def strip(self) -> dict[str, Any]:
        """What the filmstrip shows: the thumbnails in one picture, and the examples in its order."""
        return {
            "sheet": file_record(packaged("examples") / THUMBNAILS),
            "size": list(THUMBNAIL),
            "examples": [
                {"id": each.id, "title": each.title, "short": each.short, "region": each.region}
                for each in examples().values()
            ],
        }

    def _make(self, example: Example) -> dict[str, Any]:
        alt = f"Synthetic phantom radiograph: {example.title}"
        if example.path.suffix == ".png":
            with Image.open(example.path) as picture:
                if picture.mode == "L":
                    width, height = picture.size
                    file = file_record(example.path)
                    return {"file": file, "deep": None, "width": width, "height": height, "alt": alt}
        return viewer_image(images.read(example.path), self._made, alt)
