"""The app inside of other pages: as a frame, and as Gradio's element."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gradio
import pytest
from playwright.sync_api import expect

from tests.browser import open_browser, record_errors

FRONTEND = Path(gradio.__file__).parent / "templates" / "frontend"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Silence."""


@pytest.fixture
def host(tmp_path):
    """A web server of somebody else's: its pages, and the element's script as Gradio's CDN has it."""
    for name in ("gradio.js", "assets", "static"):
        (tmp_path / name).symlink_to(FRONTEND / name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def check_an_example_runs(content) -> None:
    content.locator(".examples button").first.click()
    expect(content.locator(".status")).to_contain_text("Done", timeout=120_000)
    viewer = content.locator("#viewer-compare")
    expect(viewer.get_by_text("Not a medical device.")).to_be_visible()
    expect(viewer.get_by_text("cannot be shown")).to_have_count(0)


@pytest.mark.parametrize("width", [400, 850])
def test_in_a_frame(host, app_address, width):
    folder, address = host
    frame = f'<iframe src="{app_address}" width="{width}" height="900" title="BoneFX"></iframe>'
    (folder / "frame.html").write_text(f"<!doctype html><title>Host</title>{frame}")
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 1000})
        page.goto(f"{address}/frame.html")
        inside = page.frame_locator("iframe")
        check_an_example_runs(inside)
        root = inside.locator("html")
        assert root.evaluate("root => root.scrollWidth <= root.clientWidth + 1")


def test_as_an_element(host, app_address):
    folder, address = host
    (folder / "element.html").write_text(
        "<!doctype html><title>Host</title><h1>Somebody's page</h1>"
        f'<script type="module" src="gradio.js"></script><gradio-app src="{app_address}"></gradio-app>'
    )
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 1000})
        errors = record_errors(page)
        page.goto(f"{address}/element.html")
        content = page.locator("gradio-app")
        check_an_example_runs(content)
        with page.expect_download() as download:  # from another host than the page's
            content.get_by_role("button", name="JSON", exact=True).click()
        assert download.value.suggested_filename.endswith("_compare.json")
        # The element also asks its host for a file that only the app's own page has.
        assert [error for error in errors if "404" not in error] == []
