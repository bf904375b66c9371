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


def check_an_example_shows(content) -> None:
    content.locator('.examples [data-id="elbow-1"]').click()
    content.locator('.viewer[data-example="elbow-1"][data-done="true"]').wait_for(timeout=120_000)
    expect(content.get_by_text("Not a medical device.")).to_be_attached()
    expect(content.locator(".view .mark").first).to_be_attached()
    expect(content.locator(".message")).to_be_hidden()


@pytest.mark.parametrize("width", [400, 850])
def test_in_a_frame(host, app_address, width):
    folder, address = host
    frame = f'<iframe src="{app_address}" width="{width}" height="900" title="BoneFX"></iframe>'
    (folder / "frame.html").write_text(f"<!doctype html><title>Host</title>{frame}")
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 1000})
        page.goto(f"{address}/frame.html")
        inside = page.frame_locator("iframe")
        check_an_example_shows(inside)
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
        check_an_example_shows(content)
        with page.expect_download() as download:  # from another host than the page's
            content.get_by_role("button", name="JSON", exact=True).click()
        assert download.value.suggested_filename.endswith(".json")
        # The element also asks its host for a file that only the app's own page has.
        assert [error for error in errors if "404" not in error] == []


def test_a_link_lands_on_the_result_in_a_frame_and_the_outer_address_is_told(app_address):
    """The outer page lies on the app's own origin here, so that it can tell what was sent to which host."""
    space = """<!doctype html><title>Space</title>
        <script>
            const told = [];
            window.postMessage = (data, host) => told.push([data.queryString, host]);
        </script>
        <iframe src="/?example=shoulder-1&tab=yolo" width="850" height="900" title="BoneFX"></iframe>"""
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 1000})
        page.route("**/space.html", lambda route: route.fulfill(body=space, content_type="text/html"))
        page.goto(f"{app_address}/space.html")
        inside = page.frame_locator("iframe")
        inside.locator('.viewer[data-example="shoulder-1"][data-done="true"]').wait_for(timeout=120_000)
        expect(inside.locator("#result")).to_contain_text("YOLO")
        stage = inside.locator(".stage").bounding_box()
        frame = page.locator("iframe").bounding_box()
        assert frame["y"] <= stage["y"]
        assert stage["y"] + stage["height"] <= frame["y"] + frame["height"]
        inside.locator('.examples [data-id="elbow-1"]').click()
        inside.locator('.viewer[data-example="elbow-1"]').wait_for()
        assert ["example=elbow-1&tab=yolo", "https://huggingface.co"] in page.evaluate("told")
