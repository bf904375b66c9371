"""A real browser, and Gradio apps for it: what the page's tests share."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import gradio as gr
    from playwright.sync_api import Browser, Page

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def open_browser() -> Iterator[Browser]:
    """The system's Chromium, without a window. Skips where there is none, and fails there in CI."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        message = "no Chromium on this machine"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=_FLAGS)
        yield browser
        browser.close()


@contextmanager
def serve(blocks: gr.Blocks, **options: Any) -> Iterator[str]:
    """Launch an app in a thread, on a free port of this machine; yields its address."""
    _, address, _ = blocks.launch(
        server_name="127.0.0.1", server_port=free_port(), prevent_thread_lock=True, quiet=True, **options
    )
    yield address
    blocks.close(verbose=False)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def record_requests(page: Page) -> list[str]:
    """The addresses of all requests that the page makes from now on, as a list that grows."""
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    return seen


def record_errors(page: Page) -> list[str]:
    """What goes wrong in the page's scripts from now on, as a list that grows."""
    seen: list[str] = []
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("console", lambda message: seen.append(message.text) if message.type == "error" else None)
    return seen


def violations(page: Page, within: str) -> list[str]:
    """All that axe-core finds wrong, inside of the elements that a selector names."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=within).response["violations"]
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:300]} {node['failureSummary']}"
        for each in found
        for node in each["nodes"]
    ]


def serious_violations(page: Page, within: str) -> list[str]:
    """Of `violations`, those that axe-core calls serious or critical."""
    return [each for each in violations(page, within) if "(serious)" in each or "(critical)" in each]
