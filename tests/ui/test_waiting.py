"""What a visitor sees while weights arrive slowly, and that waiting can be ended."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from bonefx.detectors import MODELS, Registry
from bonefx.settings import Settings, packaged
from tests import hub_server as trouble
from tests.browser import open_browser, serve


@pytest.fixture
def slow_app(hub, tmp_path):
    """An app whose YOLO comes from a Hub that sends 60 kB a second, and whose Faster R-CNN is local."""
    from bonefx.ui.build import build, launch_options

    weights = tmp_path / "weights"
    weights.mkdir()
    settings = Settings(repo_id="owner/slow", endpoint=hub.url, weights_dir=weights)
    rcnn = packaged("bundled") / MODELS["faster-rcnn"].bundled
    (weights / MODELS["faster-rcnn"].weights_file(settings)).symlink_to(rcnn)
    (weights / MODELS["faster-rcnn"].weights_file(settings)).with_suffix(".yaml").symlink_to(
        rcnn.with_suffix(".yaml")
    )
    yolo = (packaged("bundled") / MODELS["yolo"].bundled).read_bytes()
    hub.put("owner/slow", {MODELS["yolo"].weights_file(settings): yolo})
    hub.trouble(trouble.trickle(size=6_000, pause=0.1), on="GET")
    with serve(build(Registry(settings)), **launch_options()) as address:
        yield address.rstrip("/")


def test_a_slow_first_use_tells_leaves_the_page_usable_and_can_be_cancelled(hub, slow_app):
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(slow_app)
        status = page.locator(".viewer .news")  # nobody knows yet whose weights will be used
        expect(page.locator("[data-part=weights]")).to_contain_text("Demo weights.")
        expect(status).to_contain_text(
            re.compile(r"YOLO: downloading \d+ of 5 MB|YOLO: downloading \d+ of \d+ kB"), timeout=60_000
        )
        page.get_by_role("tab", name="About").click()
        expect(page.get_by_text("What this is")).to_be_visible()
        page.get_by_role("tab", name="Read").click()
        page.get_by_role("button", name="Cancel").click()
        expect(status).to_contain_text("Cancelled.")
        page.wait_for_timeout(1500)
        expect(status).to_contain_text("Cancelled.")  # nothing goes on behind it
        expect(page.locator(".view .mark").first).to_be_attached()  # what was there is there
        hub.recover()
        page.get_by_role("button", name="Run again").click()
        expect(page.locator("[data-part=weights]")).to_have_text(
            "Faster R-CNN: from a local file. YOLO: from owner/slow.", timeout=120_000
        )
        page.reload()  # what the new weights have found is kept
        page.locator('.viewer[data-settled="true"]').wait_for()
        expect(page.locator("[data-part=weights]")).to_contain_text("owner/slow")


def test_an_image_whose_run_was_cancelled_can_be_looked_at_later_or_deleted(hub, slow_app, pictures):
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(slow_app)
        page.locator("#upload input[type=file]").wait_for(state="attached")
        page.set_input_files("#upload input[type=file]", pictures[0])
        heading, again = page.locator("#result"), page.get_by_role("button", name="Run the models")
        expect(page.locator("[data-part=title]")).to_have_text("picture-0.png", timeout=60_000)
        expect(heading).to_have_text("Looking for fractures")
        expect(again).to_be_hidden()
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Close").click()
        expect(heading).to_have_text("The models have not looked at this picture")
        expect(page.locator("[data-part=legend]")).to_be_hidden()
        expect(page.get_by_role("button", name="Delete my image now")).to_be_visible()
        expect(page.locator("[data-save=png]")).to_be_hidden()
        hub.recover()
        again.click()
        expect(again).to_be_hidden()
        page.locator('.viewer[data-done="true"][data-example=""]').wait_for(timeout=120_000)
        expect(page.locator("[data-save=png]")).to_be_visible()


def test_when_the_hub_fails_the_page_says_why_and_check_again_asks_it(hub, tmp_path):
    from bonefx.ui.build import build, launch_options

    settings = Settings(repo_id="owner/later", endpoint=hub.url, weights_dir=tmp_path / "none")
    yolo = (packaged("bundled") / MODELS["yolo"].bundled).read_bytes()
    hub.put("owner/later", {MODELS["yolo"].weights_file(settings): yolo})
    hub.trouble(trouble.answer(503))
    app = build(Registry(settings))
    with serve(app, **launch_options()) as address, open_browser() as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(address)
        page.locator('.viewer[data-settled="true"]').wait_for(timeout=120_000)
        expect(page.locator("[data-part=weights]")).to_contain_text("Demo weights.")
        page.get_by_text("Details", exact=True).click()
        cards = page.locator("[data-part=details] .weights")
        expect(cards.nth(1)).to_contain_text("503")
        again = page.get_by_role("button", name="Check the weights' sources again")
        hub.trouble(trouble.silence)
        again.click()
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator(".viewer .news")).to_contain_text("Cancelled.")
        with page.expect_download():  # what is still shown can still be taken along
            page.locator("[data-save=json]").click()
        hub.recover()
        again.click()
        expect(cards.nth(1)).to_contain_text("owner/later", timeout=120_000)
        expect(page.locator("[data-part=weights]")).to_contain_text("YOLO: from owner/later.")
