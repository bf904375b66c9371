"""The whole app on the bundled weights, running on loopback."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from bonefx.detectors import Registry
from bonefx.settings import Settings
from tests.browser import serve

if TYPE_CHECKING:
    import gradio as gr


@pytest.fixture(scope="session")
def running_app() -> gr.Blocks:
    from bonefx.ui.build import build, launch_options

    app = build(Registry(Settings(hub=False)))
    with serve(app, **launch_options()):
        yield app


@pytest.fixture(scope="session")
def app_address(running_app) -> str:
    return running_app.local_url.rstrip("/")


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Waits until something is true, and fails if that takes half a minute."""

    def wait(condition: Callable[[], object]) -> None:
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.05)

    return wait


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
