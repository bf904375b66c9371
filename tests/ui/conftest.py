"""The whole app on the bundled weights, running on loopback."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bonefx.detectors import Registry
from bonefx.settings import Settings
from tests.browser import serve


@pytest.fixture(scope="session")
def app_address() -> str:
    from bonefx.ui.build import build, launch_options

    with serve(build(Registry(Settings(hub=False))), **launch_options()) as address:
        yield address.rstrip("/")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> list[str]:
    """Eight images of different shapes: who gets the answer to another's image sees it by the size."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for i in range(8):
        height, width = 120 + 16 * i, 200 - 8 * i
        rows, columns = np.mgrid[:height, :width]
        grey = 60 + 120 * np.exp(-(((columns - width / 2) / 18) ** 2)) + 10 * np.sin(rows / (3 + i))
        path = folder / f"picture-{i}.png"
        Image.fromarray(grey.astype(np.uint8)).save(path)
        paths.append(str(path))
    return paths
