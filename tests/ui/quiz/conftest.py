"""Readers of the mode "Read it yourself", in a real browser, who know the truth or do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from starlette.middleware import Middleware

from bonefx import images
from bonefx.detectors import Registry
from bonefx.quiz.cases import Case, pack
from bonefx.settings import Settings
from tests.browser import open_browser, serve


class Wire:
    """ASGI middleware that keeps all that is sent to browsers, before it is compressed."""

    sent: list[bytes]

    def __init__(self, app: Any) -> None:
        self._app = app
        Wire.sent = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def kept(message: Any) -> None:
            if message["type"] == "http.response.body":
                Wire.sent.append(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, kept)


class Reader:
    """What a person does on one page."""

    def __init__(self, page: Page, address: str, cases: tuple[Case, ...]) -> None:
        self.page = page
        self.address = address
        self._pixels = {case.id: (case, images.read(case.path).rgb[..., 0]) for case in cases}
        self._pictures: list[str] = []
        page.on("request", lambda request: self._see(request.url))

    def _see(self, url: str) -> None:
        if "/gradio_api/file=" in url and url.endswith(".png"):
            self._pictures.append(unquote(url.partition("/gradio_api/file=")[2]))

    def part(self, name: str) -> Any:
        return self.page.locator(f'#quiz [data-part="{name}"]')

    def open(self, query: str = "?quiz=1") -> None:
        self.page.goto(f"{self.address}/{query}")
        self.part("quiz").wait_for(timeout=60_000)

    def begin(self, setting: str = "afterwards") -> None:
        self.part("settings").locator(f'input[value="{setting}"]').check()
        self.part("start").click()
        self.ready()

    def ready(self) -> None:
        """Wait for the picture."""
        expect(self.part("reading")).to_be_visible(timeout=60_000)
        expect(self.part("message")).to_be_hidden()

    @property
    def title(self) -> str:
        return self.part("title").inner_text()

    @property
    def case(self) -> Case:
        """The case on the screen, told by its pixels."""
        with Image.open(Path(self._pictures[-1])) as picture:
            shown = np.asarray(picture)
        return next(c for c, p in self._pixels.values() if p.shape == shown.shape and (p == shown).all())

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the picture is on the screen, while it is shown whole."""
        view = self.page.locator("#quiz .view").bounding_box()
        assert view is not None
        case = self.case
        scale = min(view["width"] / case.width, view["height"] / case.height)
        middle = view["x"] + view["width"] / 2, view["y"] + view["height"] / 2
        return middle[0] + (x - case.width / 2) * scale, middle[1] + (y - case.height / 2) * scale

    def answer(self) -> None:
        """Press the button, and wait for what comes next."""
        before = self.part("title").inner_text(), self.part("count").inner_text()
        self.part("go").click()
        self.page.wait_for_function(
            """before => {
                const text = name => document.querySelector(`#quiz [data-part="${name}"]`);
                return text("reading").hidden || text("title").innerText !== before[0]
                    || text("count").innerText !== before[1] || !text("problem").hidden;
            }""",
            arg=list(before),
            timeout=60_000,
        )
        if self.part("reading").is_visible():
            expect(self.part("message")).to_be_hidden()


@pytest.fixture(scope="module")
def browser():
    expect.set_options(timeout=20_000)
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def cases() -> tuple[Case, ...]:
    return pack()


@pytest.fixture(scope="module")
def quiz_app(cases) -> Iterator[str]:
    """The app with the cases that travel with the code, and all that it sends on `Wire`."""
    from bonefx.ui.build import build, launch_options

    options = launch_options()
    options["app_kwargs"]["middleware"].append(Middleware(Wire))
    with serve(build(Registry(Settings(hub=False))), **options) as address:
        yield address.rstrip("/")


@pytest.fixture
def reader(browser, quiz_app, cases) -> Iterator[Callable[..., Reader]]:
    """Makes a reader with a browser of its own."""
    contexts = []

    def made(address: str = quiz_app, **options: Any) -> Reader:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        contexts.append(context)
        return Reader(context.new_page(), address, cases)

    yield made
    for context in contexts:
        context.close()
