"""The page as a visitor meets it, in a real browser on the bundled weights."""

from __future__ import annotations

import base64
import csv
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from bonefx.ui.downloads import KINDS
from bonefx.ui.examples import examples
from tests.browser import open_browser, record_errors, record_requests, serious_violations

DONE = "document.querySelector('.status')?.innerText.startsWith('Done')"
BROKEN = "humerus-1"
"""An example in which the bundled weights find something."""

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


def run_example(page, address: str, query: str = "", click: bool = True) -> None:
    page.goto(f"{address}/{query}")
    if click:
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


def raw(viewer) -> Locator:
    viewer.locator("details:has(.raw)").evaluate("each => { each.open = true }")
    return viewer.get_by_label("YOLO: score threshold, as a number")


def count(viewer, words: str) -> int:
    """The number in the legend of the third view."""
    return int(viewer.locator(".kind", has_text=words).inner_text().split()[0])


def test_what_is_set_holds_in_all_tabs_and_asks_nobody(page, app_address):
    run_example(page, app_address)
    viewer, alone = page.locator("#viewer-compare"), page.locator("#viewer-yolo")
    for name in ("YOLO", "Consensus", "Compare"):  # each tab is made when it is first opened
        page.get_by_role("tab", name=name, exact=True).click()
        expect(
            page.get_by_role("slider", name="False alarms per image").locator("visible=true")
        ).to_be_visible()
    page.wait_for_timeout(500)
    requests = record_requests(page)
    for key in ("Home", "End"):
        viewer.get_by_role("slider", name="False alarms per image").press(key)
        expect(alone.locator(".point output")).to_have_text({"Home": "1/8", "End": "8"}[key])
        expect(page.locator("#viewer-consensus .point output")).to_have_text({"Home": "1/8", "End": "8"}[key])
    viewer.locator(".view").first.focus()
    for key in ("+", "+", "ArrowLeft", "i", "b", "l", "g", "0", "1"):
        page.keyboard.press(key)
    viewer.get_by_role("slider", name="Level").press("ArrowRight")
    raw(viewer).fill("0.02")
    page.get_by_role("tab", name="YOLO").click()
    expect(raw(alone)).to_have_value("0.02")
    raw(alone).fill("0.3")
    page.get_by_role("tab", name="Compare").click()
    expect(raw(viewer)).to_have_value("0.3")
    assert requests == []


def test_what_was_set_holds_for_the_next_image(page, app_address):
    run_example(page, app_address, "?fp=4")
    point = page.locator("#viewer-compare .point output")
    expect(point).to_have_text("4")
    page.locator("#viewer-compare").get_by_role("slider", name="False alarms per image").press("ArrowLeft")
    page.locator(".examples button").nth(1).click()
    expect(page.locator(".status")).not_to_contain_text("Done")
    page.wait_for_function(DONE, timeout=120_000)
    expect(point).to_have_text("2")


def test_agreement_changes_with_the_point(page, app_address):
    run_example(page, app_address, f"?fp=1/8&example={BROKEN}", click=False)
    viewer = page.locator("#viewer-compare")
    seen = []
    for label in ("1/8", "8"):
        expect(viewer.locator(".point output")).to_have_text(label)
        boxes = [
            viewer.locator(".lists table").nth(i).locator("tbody tr:visible button").count() for i in (0, 1)
        ]
        numbers = [count(viewer, words) for words in ("by both", "same place", "only by F", "only by Y")]
        both, other, *alone = numbers
        assert boxes == [both + other + alone[0], both + other + alone[1]]
        seen.append(numbers)
        viewer.get_by_role("slider", name="False alarms per image").press("End")
    assert seen[0] != seen[1]


@pytest.mark.parametrize("tab", ["Compare", "YOLO", "Consensus"])
def test_downloads_have_what_is_shown(page, app_address, tmp_path, tab):
    run_example(page, app_address, f"?fp=8&example={BROKEN}", click=False)
    page.get_by_role("tab", name=tab, exact=True).click()
    name = tab.lower()
    viewer, buttons = page.locator(f"#viewer-{name}"), page.locator(".downloads").locator("visible=true")
    expect(viewer.locator(".point output")).to_have_text("8")
    for step in ("at 8", "by score"):
        if step == "by score":
            raw_fields = viewer.locator("details:has(.raw)")
            raw_fields.evaluate("each => { each.open = true }")
            viewer.locator(".raw input[type=number]").last.fill("0.01")
        files = {}
        for kind, label in KINDS.items():
            with page.expect_download() as download:
                buttons.get_by_role("button", name=label, exact=True).click()
            assert download.value.suggested_filename == f"{BROKEN}_{name}.{kind}"
            files[kind] = tmp_path / f"{step}.{kind}"
            download.value.save_as(files[kind])
        thresholds = page.evaluate(f"bonefx.thresholds('viewer-{name}')")
        results = json.loads(files["json"].read_text("utf-8"))["results"]
        assert {result["model"]: result["threshold"] for result in results} == thresholds
        shown = (
            viewer.locator(".lists table").filter(has=page.locator("th", has_text="Size")).locator("tbody tr")
        )
        found = sum(len(result["detections"]) for result in results)
        assert found == shown.locator("visible=true").get_by_role("button").count() > 0
        rows = [row for row in csv.DictReader(files["csv"].open(encoding="utf-8")) if row["label"]]
        assert len(rows) == found
        assert Image.open(files["png"]).width >= results[0]["width"]


def test_there_is_nothing_to_download_before_a_result_and_after_it_was_deleted(page, app_address):
    page.goto(app_address)
    page.locator(".examples button").first.wait_for()
    expect(page.get_by_role("button", name="Annotated PNG")).to_have_count(0)
    page.locator(".examples button").first.click()
    page.wait_for_function(DONE, timeout=120_000)
    expect(page.get_by_role("button", name="Annotated PNG")).to_be_visible()
    page.get_by_role("button", name="Delete my image now").click()
    expect(page.get_by_role("button", name="Annotated PNG")).to_have_count(0)


@pytest.mark.parametrize("tab", ["Faster R-CNN", "YOLO", "Consensus", "Batch", "Metrics", "About"])
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


@pytest.mark.parametrize(("tab", "name"), [("consensus", "Consensus"), ("batch", "Batch")])
def test_links_know_all_tabs(page, app_address, tab, name):
    page.goto(f"{app_address}/?tab={tab}")
    expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")


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
