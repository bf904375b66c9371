"""The Read page as a visitor meets it, in a real browser on the bundled weights."""

from __future__ import annotations

import base64
import csv
import json
import re
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from bonefx.calibration import calibration_of
from bonefx.detectors import MODELS
from bonefx.evaluation import report
from bonefx.results import Identity
from bonefx.settings import Settings, packaged
from bonefx.ui.examples import examples
from bonefx.ui.viewer.downloads import SINGLE_FILES
from tests.browser import open_browser, record_errors, record_requests, serious_violations, violations

BROKEN = "humerus-1"
"""An example in which the bundled weights find something."""

NOTICE = "Research and education. Not a medical device."
ALL = list(examples())
TABS = {"compare": "Compare", "faster-rcnn": "Faster R-CNN", "yolo": "YOLO", "agreement": "Agreement"}


@pytest.fixture(scope="module")
def browser():
    expect.set_options(timeout=20_000)  # a machine that does other things too
    with open_browser() as browser:
        yield browser


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    yield page
    context.close()


def shows(page, example: str | None = None, timeout: int = 90_000) -> None:
    """Wait until an example with its results is on the screen; None: any image."""
    which = "" if example is None else f'[data-example="{example}"]'
    page.locator(f'.viewer[data-done="true"]{which}:not(:has(.opening))').wait_for(timeout=timeout)
    page.wait_for_function("document.querySelector('.viewer .message').hidden")


def go(page, address: str, query: str = "", example: str = ALL[0]) -> None:
    page.goto(f"{address}/{query}")
    shows(page, example)


def upload(page, *paths: str) -> None:
    """As the file dialog does it."""
    page.locator("#upload input[type=file]").wait_for(state="attached")
    page.set_input_files("#upload input[type=file]", list(paths))


def settled(page) -> None:
    """Wait until the server has said which weights are in use: the page's first events are over."""
    page.locator('.viewer[data-settled="true"]').wait_for()
    page.wait_for_timeout(300)


def slider(page) -> Locator:
    return page.get_by_role("slider", name="False alarms per image")


def raw(page, model: str = "YOLO") -> Locator:
    page.locator("details.raws").evaluate("each => { each.open = true }")
    return page.get_by_label(f"{model}: score threshold, as a number")


def tab(page, name: str) -> Locator:
    return page.get_by_role("tab", name=name, exact=True)


def marks(page, pane: str) -> Locator:
    """The boxes that a pane shows."""
    return page.locator(f'.pane[aria-label="{pane}"] .view .mark:not(.dotted)').locator("visible=true")


# --- the first screen --------------------------------------------------------------------------------------


def test_it_opens_with_a_result(page, app_address):
    requests, errors = record_requests(page), record_errors(page)
    go(page, app_address)
    expect(page.locator("#result")).to_contain_text("mark")
    for pane in ("Faster R-CNN", "YOLO"):  # each shows its marks, or says that there are none at this setting
        assert marks(page, pane).count() > 0 or page.locator(".pane", has_text=f"{pane}no marks").count() == 1
    assert sum(marks(page, pane).count() for pane in ("Faster R-CNN", "YOLO")) > 0
    expect(page.get_by_text("Demo weights.")).to_be_visible()
    expect(page.get_by_text(NOTICE)).to_be_visible()
    expect(page.locator('.examples [aria-selected="true"]')).to_have_attribute("data-id", ALL[0])
    settled(page)
    assert [url for url in requests if not url.startswith((app_address, "data:", "blob:"))] == []
    assert errors == []


@pytest.mark.parametrize("size", [(1440, 900), (1024, 768)])
def test_the_first_screen_needs_no_scrolling(browser, app_address, size):
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    go(page, app_address)
    tops = {}
    for name in (".filmstrip", "#result", ".stage", ".point", "[data-part=findings]"):
        box = page.locator(name).bounding_box()
        tops[name] = box["y"]
        assert box["y"] >= 0, name
        assert box["y"] + box["height"] <= height, name
    assert sorted(tops, key=tops.get)[:3] == [".filmstrip", "#result", ".stage"]
    stage = page.locator(".stage").bounding_box()
    assert stage["width"] * stage["height"] > 0.4 * width * height
    context.close()


def test_nothing_shifts_while_it_loads(browser, app_address):
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.add_init_script(
        """window.shifted = 0;
        new PerformanceObserver((list) => {
            for (const each of list.getEntries()) if (!each.hadRecentInput) window.shifted += each.value;
        }).observe({ type: "layout-shift", buffered: true });"""
    )
    page = context.new_page()
    go(page, app_address)
    settled(page)
    assert page.evaluate("shifted") < 0.05
    context.close()


def test_the_page_comes_compressed_once(page, app_address):
    answer = page.request.get(app_address, headers={"Accept-Encoding": "br, gzip"})
    assert answer.headers["content-encoding"] == "br"
    assert "window.gradio_config" in answer.text()
    assert len(answer.body()) < 200_000  # as it is when it is unpacked; the viewer's scripts come apart


def test_what_is_chosen_before_the_viewers_scripts_are_there_waits_for_them(browser, app_address):
    def late(route) -> None:
        time.sleep(2)
        route.continue_()

    context = browser.new_context()
    page = context.new_page()
    errors = record_errors(page)
    page.route("**/viewer-*.json", late)
    go(page, app_address, "?example=shoulder-2&tab=yolo", "shoulder-2")
    assert tab(page, "YOLO").get_attribute("aria-selected") == "true"
    page.goto(app_address)
    page.locator('.examples [data-id="elbow-1"]').click()
    shows(page, "elbow-1")
    assert errors == []
    context.close()


def test_a_viewer_whose_scripts_do_not_come_says_so(browser, app_address):
    context = browser.new_context()
    page = context.new_page()
    page.route("**/viewer-*.json", lambda route: route.fulfill(status=503))
    page.goto(app_address)
    expect(page.locator(".viewer .message")).to_have_text(
        "The viewer cannot be opened now (the server answered 503). Reload the page."
    )
    context.close()


def test_the_last_of_several_clicks_wins(page, app_address):
    go(page, app_address)
    for first, second in (("elbow-1", "humerus-2"), ("shoulder-1", "fingers-1"), ("forearm-1", "wrist-2")):
        for each in (first, "wrist-1", second):
            page.locator(f'.examples [data-id="{each}"]').click()
            page.wait_for_timeout(70)
        shows(page, second)
        settled(page)
        assert page.locator(".viewer").get_attribute("data-example") == second
        chosen = page.locator('.examples [aria-selected="true"]')
        expect(chosen).to_have_count(1)
        expect(chosen).to_have_attribute("data-id", second)
        with page.expect_download() as download:
            page.locator("[data-save=json]").click()
        assert download.value.suggested_filename == f"{second}_compare.json"


def test_words_are_those_of_people(page, app_address):
    go(page, app_address, f"?fp=8&example={BROKEN}", BROKEN)
    said = page.inner_text(".viewer").lower()
    for word in ("suspicious", "positive", "sha-256", "processor", "bonefx_", "no fracture detected"):
        assert word not in said
    page.get_by_text("Details", exact=True).click()
    expect(page.locator(".weights").first).to_contain_text("SHA-256")
    expect(page.locator(".weights")).to_have_count(len(MODELS))


# --- what can be set ---------------------------------------------------------------------------------------


def test_the_threshold_filters_in_the_browser(page, app_address):
    go(page, app_address)
    field = raw(page)
    field.fill("0")
    assert marks(page, "YOLO").count() > 3
    field.fill("1")
    expect(page.locator('.pane[aria-label="YOLO"] .count')).to_have_text("no marks at this setting")
    raw(page, "Faster R-CNN").fill("1")
    expect(page.locator("#result")).to_have_text("Neither model marks anything at this setting.")
    expect(page.locator("[data-part=findings]")).to_contain_text("No detection above the threshold")


def test_what_is_set_holds_in_all_views_and_asks_nobody(page, app_address):
    go(page, app_address)
    settled(page)
    requests = record_requests(page)
    for key, label in (("Home", "1/8"), ("End", "8")):
        slider(page).press(key)
        for name in ("YOLO", "Agreement", "Compare"):
            tab(page, name).click()
            expect(slider(page)).to_have_attribute("aria-valuetext", label)
    page.locator(".view").first.focus()
    for key in ("+", "+", "ArrowLeft", "i", "b", "l", "g", "0", "1"):
        page.keyboard.press(key)
    raw(page).fill("0.02")
    tab(page, "YOLO").click()
    expect(raw(page)).to_have_value("0.02")
    assert requests == []


def test_what_was_set_holds_for_the_next_image(page, app_address):
    go(page, app_address, "?fp=4")
    slider(page).press("ArrowLeft")
    page.locator(".examples [data-id]").nth(1).click()
    shows(page, ALL[1])
    expect(slider(page)).to_have_attribute("aria-valuetext", "2")
    assert "fp=2" in page.url


def test_after_a_typed_score_the_slider_does_not_pretend(page, app_address):
    go(page, app_address)
    raw(page).fill("0.07")
    page.locator(".examples [data-id]").nth(2).click()
    shows(page, ALL[2])
    expect(slider(page)).to_have_attribute("aria-valuetext", "set by score")
    expect(page.locator(".rate")).to_have_text("set by score")
    expect(raw(page)).to_have_value("0.07")
    page.get_by_role("button", name="Back to false alarms").click()
    expect(slider(page)).to_have_attribute("aria-valuetext", "1")
    assert float(raw(page).input_value()) != 0.07


def test_agreement_changes_with_the_point(page, app_address):
    go(page, app_address, f"?fp=1/8&example={BROKEN}&tab=agreement", BROKEN)
    seen = []
    for key in ("Home", "End"):
        slider(page).press(key)
        counts = page.locator(".kind span span:first-child").all_inner_texts()
        rows = page.locator("tr.finding")
        assert rows.count() == sum(int(each or 0) for each in counts)
        assert marks(page, "Agreement").count() == rows.count()
        seen.append(rows.count())
    assert seen[0] < seen[1]


@pytest.mark.parametrize("view", ["compare", "yolo"])
def test_downloads_have_what_is_shown(page, app_address, tmp_path, view):
    go(page, app_address, f"?fp=8&example={BROKEN}&tab={view}", BROKEN)
    settled(page)
    for step in ("at 8", "by score"):
        if step == "by score":
            raw(page, "YOLO").fill("0.01")
        files = {}
        for kind in SINGLE_FILES:
            with page.expect_download() as download:
                page.get_by_role("button", name=kind.upper(), exact=True).click()
            assert download.value.suggested_filename == f"{BROKEN}_{view}.{kind}"
            files[kind] = tmp_path / f"{step}.{kind}"
            download.value.save_as(files[kind])
        thresholds = page.evaluate("bonefx.thresholds()")
        results = json.loads(files["json"].read_text("utf-8"))["results"]
        for result in results:
            assert result["threshold"] == thresholds[result["model"]]
        found = sum(len(result["detections"]) for result in results)
        names = {"compare": ["Faster R-CNN", "YOLO"]}.get(view, [TABS[view]])
        assert found == sum(marks(page, name).count() for name in names) > 0
        rows = [row for row in csv.DictReader(files["csv"].open(encoding="utf-8")) if row["label"]]
        assert len(rows) == found
        assert Image.open(files["png"]).width >= results[0]["width"]


@pytest.mark.parametrize(("example", "is_dicom"), [(BROKEN, False), ("humerus-2", True)])
def test_results_for_other_tools_and_as_dicom(page, app_address, example, is_dicom):
    go(page, app_address, f"?example={example}", example)
    page.get_by_text("For other tools").click()
    expect(page.get_by_role("button", name="DICOM report")).to_be_visible(visible=is_dicom)
    for name in ("COCO", "YOLO text", "Label Studio", *(["DICOM report"] if is_dicom else [])):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        assert zipfile.is_zipfile(download.value.path())


# --- links -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", TABS)
def test_a_link_opens_an_example_and_a_view(page, app_address, view):
    go(page, app_address, f"?example={BROKEN}&tab={view}&fp=2", BROKEN)
    expect(tab(page, TABS[view])).to_have_attribute("aria-selected", "true")
    expect(slider(page)).to_have_attribute("aria-valuetext", "2")
    strip, chosen = (
        page.locator(each).bounding_box() for each in (".filmstrip", '.examples [aria-selected="true"]')
    )
    assert strip["x"] <= chosen["x"] <= strip["x"] + strip["width"] - chosen["width"]


@pytest.mark.parametrize("name", ["Batch", "Metrics", "About"])
def test_links_know_the_other_tabs(page, app_address, name):
    errors = record_errors(page)
    page.goto(f"{app_address}/?tab={name.lower()}")
    expect(tab(page, name)).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tabpanel").filter(visible=True).first).to_be_visible()
    assert errors == []


def test_the_address_follows_and_back_works(page, app_address):
    go(page, app_address)
    page.locator('.examples [data-id="elbow-1"]').click()
    shows(page, "elbow-1")
    assert "example=elbow-1" in page.url
    tab(page, "YOLO").click()
    assert "tab=yolo" in page.url
    tab(page, "Metrics").click()
    assert "tab=metrics" in page.url
    page.go_back()
    expect(tab(page, "Read")).to_have_attribute("aria-selected", "true")
    expect(tab(page, "YOLO")).to_have_attribute("aria-selected", "true")
    page.go_back()
    expect(tab(page, "Compare")).to_have_attribute("aria-selected", "true")
    page.go_back()
    shows(page, ALL[0])
    page.go_forward()
    shows(page, "elbow-1")
    page.reload()
    shows(page, "elbow-1")


def test_a_copied_link_opens_what_one_sees(browser, app_address):
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=app_address)
    page = context.new_page()
    go(page, app_address, f"?example={BROKEN}", BROKEN)
    slider(page).press("ArrowRight")
    tab(page, "Agreement").click()
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator('[data-do="link"]')).to_have_text("Copied")
    link = page.evaluate("navigator.clipboard.readText()")
    said = page.locator("#result").inner_text()
    page.goto(link)
    shows(page, BROKEN)
    expect(tab(page, "Agreement")).to_have_attribute("aria-selected", "true")
    assert page.locator("#result").inner_text() == said
    context.close()


def test_an_example_that_is_not_there_is_said(page, app_address):
    page.goto(f"{app_address}/?example=knee-1")
    expect(page.locator(".news")).to_contain_text("There is no example 'knee-1'")
    shows(page, ALL[0])


# --- a visitor's own files ---------------------------------------------------------------------------------


def drop(page, paths: list[str], kind: str = "drop", on: str = "document.body") -> None:
    """Drop or paste files, as a browser tells the page of it."""
    files = [[Path(each).name, base64.b64encode(Path(each).read_bytes()).decode()] for each in paths]
    page.evaluate(
        """async ([files, kind, on]) => {
            const transfer = new DataTransfer();
            for (const [name, data] of files) {
                const blob = await (await fetch("data:image/png;base64," + data)).blob();
                transfer.items.add(new File([blob], name, { type: "image/png" }));
            }
            const options = { bubbles: true, cancelable: true };
            const event = kind === "paste"
                ? new ClipboardEvent("paste", { clipboardData: transfer, ...options })
                : new DragEvent(kind, { dataTransfer: transfer, ...options });
            eval(on).dispatchEvent(event);
            window.prevented = event.defaultPrevented;
        }""",
        [files, kind, on],
    )


def name_of(page) -> str:
    return page.locator(".title").inner_text()


def test_an_upload_is_read_and_can_be_deleted(page, app_address, pictures):
    go(page, app_address, f"?example={BROKEN}", BROKEN)
    addresses = []
    page.on("response", lambda r: addresses.append(r.url) if "/file=" in r.url and ".png" in r.url else None)
    upload(page, pictures[0])
    expect(page.locator(".title")).to_have_text(Path(pictures[0]).name, timeout=20_000)
    shows(page, "", timeout=120_000)
    assert "example" not in page.url
    address = addresses[-1]
    assert page.request.get(address).ok
    page.get_by_role("button", name="Delete my image now").click()
    expect(page.get_by_text("Deleted.")).to_be_visible()
    expect(page.locator(".view")).to_have_count(0)
    expect(page.get_by_role("button", name="PNG", exact=True)).to_be_hidden()
    assert not page.request.get(address).ok


@pytest.mark.parametrize(("kind", "number"), [("drop", 1), ("paste", 2)])
def test_a_file_can_be_dropped_and_pasted_anywhere(page, app_address, pictures, kind, number):
    go(page, app_address)
    drop(page, [pictures[number]], kind)
    assert page.evaluate("prevented")
    expect(page.locator(".title")).to_have_text(Path(pictures[number]).name, timeout=20_000)
    shows(page, "", timeout=120_000)


def test_several_files_are_offered_to_batch(page, app_address, pictures):
    go(page, app_address)
    drop(page, pictures[:3])
    expect(page.locator(".news")).to_contain_text("3 files are a batch")
    page.get_by_role("button", name="Open all in Batch").click()
    expect(tab(page, "Batch")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tabpanel").locator("visible=true").first).to_contain_text(
        re.compile(r"\b3 (images|files|radiographs|entries)"), timeout=20_000
    )


def test_a_file_dropped_where_nothing_takes_it_does_not_replace_the_page(page, app_address, pictures):
    page.goto(f"{app_address}/?tab=about")
    expect(tab(page, "About")).to_have_attribute("aria-selected", "true")
    for kind in ("dragover", "drop"):
        drop(page, [pictures[0]], kind)
        assert page.evaluate("prevented")


def test_a_bad_file_is_said_with_what_is_still_on_the_screen(page, app_address, tmp_path):
    go(page, app_address)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"this is no image")
    upload(page, str(bad))
    news = page.locator(".news")
    expect(news).to_contain_text("not an image that can be read", timeout=20_000)
    expect(news).to_contain_text("On the screen is still Wrist 1.")
    expect(page.locator('.examples [aria-selected="true"]')).to_have_attribute("data-id", ALL[0])
    assert marks(page, "YOLO").count() > 0
    news.get_by_role("button", name="Close").click()
    expect(news).to_be_hidden()
    with page.expect_download():
        page.locator("[data-save=json]").click()


def test_a_screenshot_is_not_taken_for_a_radiograph(page, app_address, tmp_path):
    page.goto(f"{app_address}/?tab=about")
    page.get_by_role("heading", name="What this is").wait_for()
    shot = tmp_path / "page.png"
    page.screenshot(path=shot)
    tab(page, "Read").click()
    upload(page, str(shot))
    shows(page, "", timeout=120_000)
    expect(page.locator(".warning")).to_contain_text(re.compile("radiograph", re.IGNORECASE))


# --- everyone ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_for_axe_and_no_sideways_scrolling(browser, app_address, width, theme):
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    go(page, app_address, f"?__theme={theme}&fp=4")
    page.locator("[data-toggle=truth]").click()
    page.locator(".viewer details").evaluate_all("all => all.forEach((each) => { each.open = true })")
    page.locator(".more").first.click()
    assert violations(page, ".filmstrip") == []
    assert violations(page, ".viewer") == []
    assert serious_violations(page, "body") == []
    assert violations(page, "footer") == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    context.close()


@pytest.mark.parametrize("change", ["narrow", "large text"])
def test_narrow_screens_and_large_text_lose_nothing(browser, app_address, change):
    context = browser.new_context(viewport={"width": 320 if change == "narrow" else 1280, "height": 700})
    page = context.new_page()
    go(page, app_address)
    if change == "large text":
        page.evaluate("document.body.style.zoom = 2")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    for name in (".disclaimer", "#result", ".views", ".stage", ".point", "[data-part=findings]"):
        box = page.locator(name).bounding_box()
        assert box["x"] >= -1, name
        assert box["x"] + box["width"] <= page.viewport_size["width"] + 1, name
    context.close()


def test_from_an_example_to_its_picture_by_keyboard(page, app_address):
    go(page, app_address)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.examples') !== null"):
            break
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    shows(page, ALL[2])
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('view')"):
            break
    assert page.evaluate("document.activeElement.classList.contains('view')")


def test_the_skip_link_leads_to_the_result(page, app_address):
    go(page, app_address, "?example=elbow-2&fp=2", "elbow-2")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#result")).to_be_focused()
    assert page.evaluate("performance.getEntriesByType('navigation').length") == 1
    assert page.locator(".viewer").get_attribute("data-example") == "elbow-2"


@pytest.mark.parametrize("which", ["bar", "views"])
def test_arrow_keys_move_in_tabs(page, app_address, which):
    go(page, app_address)
    first, second = {"bar": ("Read", "Batch"), "views": ("Compare", "Faster R-CNN")}[which]
    tab(page, first).focus()
    page.keyboard.press("ArrowRight")
    expect(tab(page, second)).to_have_attribute("aria-selected", "true")
    expect(tab(page, second)).to_be_focused()


def test_forced_colours_mark_the_open_tab_alone(browser, app_address):
    context = browser.new_context(viewport={"width": 1440, "height": 900}, forced_colors="active")
    page = context.new_page()
    go(page, app_address)
    for names, others in ((("Read",), ("Batch", "Metrics", "About")), (("Compare",), ("YOLO", "Agreement"))):
        (chosen,) = (look_of_tab(page, name) for name in names)
        assert chosen not in [look_of_tab(page, name) for name in others]
        assert len({look_of_tab(page, name) for name in others}) == 1
    context.close()


def look_of_tab(page, name: str) -> tuple[str, ...]:
    return tuple(
        tab(page, name).evaluate(
            """node => {
                const [own, after] = [getComputedStyle(node), getComputedStyle(node, "::after")];
                return [own.backgroundColor, own.borderBottomWidth, after.backgroundColor, after.content];
            }"""
        )
    )


def test_what_is_found_on_other_pictures_is_told_in_full(browser, app_address, pictures):
    """Of a visitor's own picture, whatever the width of the page."""
    for width, height in ((1440, 900), (1024, 768), (390, 844)):
        context = browser.new_context(viewport={"width": width, "height": height})
        page = context.new_page()
        go(page, app_address)
        upload(page, pictures[0])
        shows(page, "")
        told = page.locator("[data-part=recall]")
        expect(told).to_contain_text("% of fractures on")
        assert told.evaluate("node => node.scrollWidth <= node.clientWidth && node.clientHeight > 0")
        context.close()


def test_a_result_fits_the_first_screen_and_metrics_three(browser, app_address):
    for width, height, screens in ((1440, 900, 1), (1440, 900, 3), (1024, 768, 3), (390, 844, 3)):
        context = browser.new_context(viewport={"width": width, "height": height})
        page = context.new_page()
        go(page, app_address)
        if screens > 1:
            tab(page, "Metrics").click()
            expect(page.locator(".metrics .headline")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollHeight") <= screens * height, (width, screens)
        context.close()


def test_an_opened_finding_says_how_many_such_marks_are_fractures(page, app_address):
    """By the packaged calibration of the weights, from the very score that stands beside it."""
    go(page, app_address, "?tab=yolo&fp=8")
    page.locator(".finding .more").first.click()
    said = page.locator(".boxes:visible p").first.inner_text()
    score = float(re.match(r"YOLO (0\.\d+) ", said)[1])
    model = packaged_calibration("yolo")
    share = float(model.probability(np.array([score]))[0])
    many = "fewer than 1 in 20" if share < 0.05 else f"about {max(round(10 * share), 1)} in 10"
    assert f"on radiographs {many} marks like this are fractures" in said


def packaged_calibration(model_id: str):
    made = report.read(packaged("precomputed_metrics") / MODELS[model_id].metrics_file(Settings()))
    (member,) = made["detector"]["members"]
    return calibration_of(Identity(member["sha256"], member["nms"], member["image_size"]))


def test_headings_stand_in_order(page, app_address):
    go(page, app_address)
    levels = page.locator("h1:visible, h2:visible, h3:visible, h4:visible").evaluate_all(
        "all => all.map((each) => Number(each.tagName[1]))"
    )
    assert levels[0] == 1
    assert max(np.diff(levels)) <= 1


def test_a_phone_shows_the_disclaimer_on_every_tab(browser, app_address):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    go(page, app_address)
    for name in ("Read", "Batch", "Metrics", "About"):
        tab(page, name).click()
        disclaimer = page.locator(".disclaimer")
        expect(disclaimer).to_be_visible()
        expect(disclaimer).to_have_text(NOTICE)
        box, bar = disclaimer.bounding_box(), tab(page, name).bounding_box()
        below = page.locator("#tabs > .tabitem").locator("visible=true").bounding_box()
        assert bar["y"] + bar["height"] <= box["y"], name
        assert box["y"] + box["height"] <= below["y"], name
    context.close()


def test_a_phone_shows_one_pane_and_its_tools_are_large_enough(browser, app_address, pictures):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    go(page, app_address)
    for name in ("F", "Y", "Both"):
        tab(page, name).click()
        expect(page.locator(".pane").locator("visible=true")).to_have_count(1)
    tools = page.locator(".tools").bounding_box()
    assert tools["y"] > 844 / 2
    assert tools["y"] + tools["height"] <= 844
    small = page.locator(
        ".viewer button:visible, .filmstrip button:visible, .viewer summary:visible"
    ).evaluate_all(
        """all => all.map((each) => [each, each.getBoundingClientRect()])
            .filter(([, { width, height }]) => Math.min(width, height) < 39.5)
            .map(([each]) => each.outerHTML)"""
    )
    assert small == []
    page.evaluate("scrollTo(0, 600)")
    upload(page, pictures[3])
    shows(page, "", timeout=120_000)
    assert page.locator(".stage").bounding_box()["y"] >= 0
    context.close()
