"""The Batch tab and its endpoint: many files in, a table and an archive out."""

from __future__ import annotations

import json
import re
import time
import zipfile
from pathlib import Path

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from playwright.sync_api import expect

from bonefx import entries
from bonefx.detectors import MODELS, Registry
from bonefx.settings import NOTICE, Settings, packaged
from tests.browser import open_browser, record_errors, record_requests, serious_violations, serve

EVIL = "<img src=x onerror=window.hacked=1>.png"


@pytest.fixture(scope="module")
def address():
    """The tab alone, on the bundled weights and their metrics."""
    from bonefx.ui.batch_tab import add_batch_tab
    from bonefx.ui.build import launch_options
    from bonefx.ui.metrics_store import MetricsStore

    settings = Settings(hub=False)
    with gr.Blocks(analytics_enabled=False) as demo:
        gr.HTML("<h1>Batch</h1>")
        add_batch_tab(Registry(settings), MetricsStore(settings))
    with serve(demo, **launch_options()) as address:
        yield address.rstrip("/")


@pytest.fixture(scope="module")
def client(address) -> Client:
    return Client(address, verbose=False)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    """Two examples, and a file that is none of an image but has a name to be careful with."""
    path = tmp_path_factory.mktemp("mixed") / "mixed.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name in ("elbow-1.png", "humerus-2.dcm"):
            file.write(packaged("examples") / name, f"arms/{name}")
        file.writestr(EVIL, b"no image at all")
    return path


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """So many that nobody would wait for all of them."""
    path = tmp_path_factory.mktemp("many") / "many.zip"
    picture = (packaged("examples") / "wrist-1.png").read_bytes()
    with zipfile.ZipFile(path, "w") as file:
        for i in range(entries.MAX_ENTRIES):
            file.writestr(f"{i}.png", picture)
    return path


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture
def open_page(browser, address):
    """Opens the tab; what runs for it ends with the test."""
    contexts = []

    def open_page(width: int = 1440, theme: str = "light"):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}))
        page = contexts[-1].new_page()
        page.goto(f"{address}?__theme={theme}", timeout=60_000)
        page.locator("#batch-files input[type=file]").wait_for(state="attached", timeout=60_000)
        return page

    yield open_page
    for context in contexts:
        context.close()


def run_batch(page, *paths: Path) -> None:
    page.set_input_files("#batch-files input[type=file]", [str(path) for path in paths])
    expect(page.locator("#batch-status")).to_contain_text("Ready to run: ", timeout=30_000)
    page.get_by_role("button", name="Run on all files").click()


# --- the page ----------------------------------------------------------------------------------------------


def test_from_files_to_table_and_archive(open_page, address, mixed, tmp_path):
    page = open_page()
    requests, errors = record_requests(page), record_errors(page)
    run_batch(page, mixed, packaged("examples") / "wrist-1.png")
    status = page.locator("#batch-status")
    expect(status).to_contain_text(re.compile(r"\d of 4: "), timeout=60_000)
    expect(status).to_contain_text("Done: 4 files. 1 of them", timeout=240_000)

    table = page.locator("#batch-results table")
    expect(table.locator("thead th[scope=col]")).to_have_count(1 + len(MODELS))
    rows = table.locator("tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.nth(0).locator("th[scope=row]")).to_contain_text("mixed.zip/arms/elbow-1.png")
    picture = rows.nth(1).get_by_alt_text("Thumbnail of mixed.zip/arms/humerus-2.dcm")
    assert picture.evaluate("image => image.naturalHeight") == 96
    expect(rows.nth(2)).to_contain_text(EVIL)
    expect(rows.nth(2).locator("td")).to_have_count(1)
    expect(rows.nth(2).locator("td")).to_contain_text("not an image")
    for cell in rows.nth(3).locator("td").all():
        expect(cell).to_contain_text(re.compile(r"\d+ best 0\.\d\d, [a-z]|no detection above the threshold"))
    results = page.locator("#batch-results")
    expect(results).to_contain_text(NOTICE)
    expect(results).to_contain_text("Demo weights.")
    expect(results.locator(".made-by li")).to_have_count(2)  # one a model: the same threshold for all images
    assert page.evaluate("window.hacked") is None
    assert "no fracture" not in page.inner_text("body").lower()

    with page.expect_download() as download:
        page.locator("#batch-download").click()
    path = tmp_path / "all.zip"
    download.value.save_as(path)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        saved = json.loads(archive.read("results.json"))
    assert names[:3] == [
        "annotated/001-elbow-1.png",
        "annotated/002-humerus-2.png",
        "annotated/004-wrist-1.png",
    ]
    assert len(saved["results"]) == 4 * len(MODELS)
    assert {each["operating_point"]["fp_per_image"] for each in saved["results"] if "error" not in each} == {
        1.0
    }
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
    assert errors == []

    assert page.request.get(download.value.url).ok
    page.get_by_role("button", name="Delete these files now").click()
    expect(status).to_contain_text("Deleted.")
    expect(rows).to_have_count(0)
    expect(page.locator("#batch-download")).to_be_hidden()
    assert not page.request.get(download.value.url).ok


def test_a_batch_can_be_cancelled_and_another_one_run(open_page, many):
    page = open_page()
    run_batch(page, many)
    status = page.locator("#batch-status")
    expect(status).to_contain_text(re.compile(r"[2-9] of 200: "), timeout=120_000)
    page.get_by_role("button", name="Cancel the batch").click()
    expect(status).to_contain_text("Cancelled.")
    page.wait_for_timeout(1000)
    expect(status).to_contain_text("Cancelled.")  # nothing goes on behind it
    page.reload()
    run_batch(page, packaged("examples") / "wrist-2.png")
    expect(status).to_contain_text("Done: 1 file.", timeout=60_000)  # 200 images would take longer


def test_what_cannot_be_a_batch_is_said_at_once(open_page, tmp_path):
    page = open_page()
    run = page.get_by_role("button", name="Run on all files")
    expect(run).to_be_disabled()
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    page.set_input_files("#batch-files input[type=file]", str(tmp_path / "empty.zip"))
    expect(page.locator("#batch-status [role=alert]")).to_contain_text("There is no file", timeout=30_000)
    expect(run).to_be_disabled()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_serious_for_axe_and_no_sideways_scrolling(open_page, mixed, width, theme):
    page = open_page(width, theme)
    run_batch(page, mixed)
    expect(page.locator("#batch-status")).to_contain_text("Done", timeout=120_000)
    assert serious_violations(page, "body") == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    scroller = page.locator("#batch-results .scroller")
    assert scroller.evaluate("each => each.scrollWidth <= each.clientWidth + 1")


# --- the endpoint ------------------------------------------------------------------------------------------


def test_the_endpoint_is_documented(client):
    described = client.view_api(return_format="dict")["named_endpoints"]
    assert set(described) == {"/batch"}
    parameters = [each["parameter_name"] for each in described["/batch"]["parameters"]]
    assert parameters == ["files", "threshold", "fp_per_image"]
    assert "not a medical device" in described["/batch"]["description"]


def test_the_endpoint_answers_with_results_and_archive(client, mixed):
    answer = client.predict(files=[handle_file(str(mixed))], threshold=0.01, api_name="/batch")
    assert answer["schema_version"] == 1
    made = [(each["image"], each["model"], "error" in each) for each in answer["results"]]
    names = {"arms/elbow-1.png": False, "arms/humerus-2.dcm": False, EVIL: True}
    assert made == [(name, model, failed) for name, failed in names.items() for model in MODELS]
    assert {each["threshold"] for each in answer["results"] if "error" not in each} == {0.01}
    with zipfile.ZipFile(answer["archive"]) as archive:
        assert json.loads(archive.read("results.json"))["results"] == answer["results"]


def test_the_endpoint_has_operating_points(client, mixed):
    files = [handle_file(str(packaged("examples") / "wrist-1.png"))]
    answer = client.predict(files=files, fp_per_image=0.5, api_name="/batch")
    assert [each["operating_point"]["fp_per_image"] for each in answer["results"]] == [0.5, 0.5]
    assert len({each["threshold"] for each in answer["results"]}) == 2  # each model's own


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"threshold": 1.5}, "from 0 to 1"),
        ({"fp_per_image": 0}, "above 0"),
        ({"threshold": 0.5, "fp_per_image": 1}, "not both"),
        ({"files": []}, "no files"),
        ({"files": None}, "no files"),
    ],
)
def test_wrong_arguments_get_a_sentence(client, pictures, arguments, words):
    with pytest.raises(AppError, match=words):
        client.predict(**{"files": [handle_file(pictures[0])], **arguments}, api_name="/batch")


def test_a_single_image_is_answered_between_the_images_of_a_batch(app_address, many, pictures):
    own = Client(app_address, verbose=False)
    job = own.submit(files=[handle_file(str(many))], api_name="/batch")
    deadline = time.monotonic() + 120
    while not job.outputs() and time.monotonic() < deadline:
        time.sleep(0.1)
    other = Client(app_address, verbose=False)
    for picture in pictures[:3]:
        result = other.predict(image=handle_file(picture), api_name="/detect")
        assert result["image"] == Path(picture).name
    assert not job.done()  # 200 images take longer
    job.cancel()


def test_a_cancelled_job_frees_the_models(client, many):
    job = client.submit(files=[handle_file(str(many))], api_name="/batch")
    deadline = time.monotonic() + 60
    while not job.outputs() and time.monotonic() < deadline:
        time.sleep(0.1)
    job.cancel()
    start = time.monotonic()
    client.predict(files=[handle_file(str(packaged("examples") / "wrist-2.png"))], api_name="/batch")
    assert time.monotonic() - start < 40  # 200 images take longer
