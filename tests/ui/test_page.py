"""The page as a visitor meets it, in a real browser on the bundled weights."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from bonefx.ui.examples import examples
from tests.browser import open_browser, record_errors, record_requests, serious_violations

DONE = "document.querySelector('.status')?.innerText.startsWith('Done')"
NOTICE = "Research and education. Not a medical device."


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    yield page
    context.close()


def run_example(page, address: str, query: str = "") -> None:
    page.goto(f"{address}/{query}")
    page.locator(".examples button").first.click()
    page.wait_for_function(DONE, timeout=120_000)


def test_an_example_from_click_to_table(page, app_address):
    requests, errors = record_requests(page), record_errors(page)
    run_example(page, app_address)
    viewer = page.locator("#viewer-compare")
    expect(viewer.get_by_text("bundled demo weights")).to_have_count(2)
    expect(viewer.get_by_text(NOTICE)).to_be_visible()
    expect(page.get_by_text("Demo weights.").first).to_be_visible()
    assert viewer.locator("table").count() >= 2
    assert [url for url in requests if not url.startswith((app_address, "data:", "blob:"))] == []
    assert errors == []


def test_the_threshold_filters_in_the_browser(page, app_address):
    run_example(page, app_address)
    viewer = page.locator("#viewer-compare")
    viewer.locator("details:has(.raw)").evaluate("each => { each.open = true }")
    field = viewer.get_by_label("YOLO: score threshold, as a number")
    field.fill("0")
    everything = viewer.locator("table").nth(1).locator("tbody tr").count()
    assert everything > 1
    field.fill("1")
    expect(viewer.get_by_text("No detection above the threshold").first).to_be_visible()
    assert "no fracture" not in page.inner_text("body").lower()


def test_what_is_set_in_one_tab_holds_in_the_others(page, app_address):
    run_example(page, app_address)
    viewer = page.locator("#viewer-compare")
    viewer.locator("details:has(.raw)").evaluate("each => { each.open = true }")
    field = viewer.get_by_label("YOLO: score threshold, as a number")
    field.fill("0.02")
    field.press("Tab")
    page.get_by_role("tab", name="YOLO").click()
    alone = page.locator("#viewer-yolo")
    alone.locator("details:has(.raw)").evaluate("each => { each.open = true }")
    expect(alone.get_by_label("YOLO: score threshold, as a number")).to_have_value("0.02")


@pytest.mark.parametrize("tab", ["Faster R-CNN", "YOLO", "Metrics", "About"])
def test_every_tab_opens_without_an_error(page, app_address, tab):
    errors = record_errors(page)
    page.goto(app_address)
    page.get_by_role("tab", name=tab, exact=True).click()
    expect(page.get_by_role("tabpanel").filter(visible=True).first).to_be_visible()
    assert errors == []


def test_a_link_opens_an_example_and_a_tab(page, app_address):
    first = next(iter(examples()))
    page.goto(f"{app_address}/?example={first}&tab=yolo")
    page.wait_for_function(DONE, timeout=120_000)
    expect(page.get_by_role("tab", name="YOLO")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#viewer-yolo").get_by_text(NOTICE)).to_be_visible()


def test_a_bad_file_is_said_and_the_result_stays(page, app_address, tmp_path):
    run_example(page, app_address)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"this is no image")
    page.set_input_files("#upload input[type=file]", str(bad))
    expect(page.locator(".status")).to_contain_text("not an image that can be read", timeout=20_000)
    expect(page.locator("#upload input[type=file]")).to_be_attached()  # ready for another
    expect(page.locator("#viewer-compare").get_by_text(NOTICE)).to_be_visible()


def test_an_upload_can_be_deleted(page, app_address, pictures):
    page.goto(app_address)
    page.locator("#upload input[type=file]").wait_for(state="attached")
    page.set_input_files("#upload input[type=file]", pictures[0])
    page.wait_for_function(DONE, timeout=120_000)
    with page.expect_response(lambda response: "/file=" in response.url) as fetched:
        page.reload()
        page.set_input_files("#upload input[type=file]", pictures[0])
    page.wait_for_function(DONE, timeout=120_000)
    address = fetched.value.url
    assert page.request.get(address).ok
    page.get_by_role("button", name="Delete my image now").click()
    expect(page.get_by_text("Deleted.")).to_be_visible()
    assert not page.request.get(address).ok


def test_a_picture_can_be_pasted(page, app_address, pictures):
    page.goto(app_address)
    page.locator("#upload input[type=file]").wait_for(state="attached")
    data = base64.b64encode(Path(pictures[1]).read_bytes()).decode()
    page.evaluate(
        """async (data) => {
            const blob = await (await fetch("data:image/png;base64," + data)).blob();
            const transfer = new DataTransfer();
            transfer.items.add(new File([blob], "pasted.png", { type: "image/png" }));
            document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
        }""",
        data,
    )
    page.wait_for_function(DONE, timeout=120_000)
    expect(page.locator("#viewer-compare").get_by_text("bundled demo weights").first).to_be_visible()


def test_a_screenshot_is_not_taken_for_a_radiograph(page, app_address, tmp_path):
    page.goto(app_address)
    shot = tmp_path / "page.png"
    page.wait_for_timeout(500)
    page.screenshot(path=shot)
    page.set_input_files("#upload input[type=file]", str(shot))
    page.wait_for_function(DONE, timeout=120_000)
    expect(page.locator(".warning")).to_contain_text(re.compile("radiograph", re.IGNORECASE))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_serious_for_axe_and_no_sideways_scrolling(browser, app_address, width, theme):
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    run_example(page, app_address, f"?__theme={theme}")
    assert serious_violations(page, "body") == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    context.close()


def test_keyboard_alone_reaches_an_example_and_its_result(page, app_address):
    page.goto(app_address)
    page.locator(".examples button").first.wait_for()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.examples') !== null"):
            break
    page.keyboard.press("Enter")
    page.wait_for_function(DONE, timeout=120_000)
