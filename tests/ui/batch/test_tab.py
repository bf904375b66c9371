"""The Batch tab and its endpoint: many files in, a table and an archive out."""

from __future__ import annotations

import base64
import json
import re
import time
import zipfile
from pathlib import Path

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import expect

from bonefx import entries
from bonefx.detectors import MODELS, Registry
from bonefx.settings import NOTICE, Settings, packaged
from tests.browser import open_browser, record_errors, record_requests, serve, violations

EVIL = "<img src=x onerror=window.hacked=1>.png"


@pytest.fixture(scope="module")
def address():
    """The tab alone, on the bundled weights and their metrics."""
    from bonefx.ui.batch.tab import add_batch_tab
    from bonefx.ui.build import launch_options
    from bonefx.ui.metrics.store import MetricsStore

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


def choose(page, *paths: Path) -> None:
    page.set_input_files("#batch-files input[type=file]", [str(path) for path in paths])
    expect(page.locator("#batch h2")).to_contain_text("Ready to run: ", timeout=30_000)


def run_batch(page, *paths: Path) -> None:
    choose(page, *paths)
    page.get_by_role("button", name="Run", exact=True).click()


def names(page) -> list[str]:
    """Of the images that the table shows, from top to bottom."""
    return page.locator("#batch tbody tr .name").all_inner_texts()


# --- the page ----------------------------------------------------------------------------------------------


def test_from_files_to_table_and_archive(open_page, address, mixed, tmp_path):
    page = open_page()
    requests, errors = record_requests(page), record_errors(page)
    run_batch(page, mixed, packaged("examples") / "wrist-1.png")
    title = page.locator("#batch h2")
    expect(title).to_contain_text(re.compile(r"\d of 4 images done"), timeout=60_000)
    expect(page.locator("#batch .under-way")).to_contain_text(re.compile(r"\d of 4: "))
    expect(title).to_contain_text("Done: 4 files. 1 of them", timeout=240_000)
    expect(page.locator("#batch [role=status]")).to_contain_text("Done: 4 files.")

    table = page.locator("#batch table")
    expect(table.locator("thead th[scope=col]")).to_have_count(1 + len(MODELS))
    rows = table.locator("tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.nth(0).locator("th[scope=row]")).to_contain_text("mixed.zip/arms/elbow-1.png")
    assert rows.nth(1).locator("img").evaluate("image => image.naturalHeight") == 144
    expect(rows.nth(2)).to_contain_text(EVIL)
    expect(rows.nth(2).locator("td")).to_have_count(1)
    expect(rows.nth(2).locator("td")).to_contain_text("not an image")
    for cell in rows.nth(3).locator("td").all():
        expect(cell).to_contain_text(
            re.compile(r"\d+\s*best 0\.\d\d, [a-z]|no detection above the threshold")
        )
    # Thumbnails carry their boxes: as many as the cells count.
    counts = [int(text) for text in rows.nth(3).locator("td strong").all_inner_texts()]
    assert rows.nth(3).locator(".thumb rect").count() == sum(counts) > 0
    batch = page.locator("#batch")
    expect(batch).to_contain_text(NOTICE)
    expect(batch).to_contain_text("Demo weights, not the published models.")
    # One line a model: the same threshold for all images.
    expect(batch.locator("[data-part=made-by] li")).to_have_count(2)
    assert page.evaluate("window.hacked") is None
    assert "no fracture" not in page.inner_text("body").lower()

    with page.expect_download() as download:
        page.get_by_role("link", name="Download all (ZIP)").click()
    path = tmp_path / "all.zip"
    download.value.save_as(path)
    with zipfile.ZipFile(path) as archive:
        members = archive.namelist()
        saved = json.loads(archive.read("results.json"))
    assert members[:3] == [
        "annotated/001-elbow-1.png",
        "annotated/002-humerus-2.png",
        "annotated/004-wrist-1.png",
    ]
    assert (len(saved["results"]), saved["complete"]) == (4 * len(MODELS), True)
    assert {each["operating_point"]["fp_per_image"] for each in saved["results"] if "error" not in each} == {
        1.0
    }
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
    assert errors == []

    assert page.request.get(download.value.url).ok
    page.get_by_role("button", name="Delete these files now").click()
    expect(title).to_contain_text("Deleted.")
    expect(rows).to_have_count(0)
    expect(page.get_by_role("link", name="Download all (ZIP)")).to_be_hidden()
    assert not page.request.get(download.value.url).ok


def test_the_table_is_filtered_and_sorted_by_mouse_and_keyboard(open_page, tmp_path):
    page = open_page()
    blank = tmp_path / "blank.png"
    Image.new("L", (300, 300), 90).save(blank)
    bad = tmp_path / "a bad one.png"
    bad.write_bytes(b"no image")
    examples = packaged("examples")
    given = [examples / "wrist-2.png", bad, examples / "elbow-1.png", blank, examples / "wrist-4.png"]
    run_batch(page, *given)
    expect(page.locator("#batch h2")).to_contain_text("Done: 5 files", timeout=240_000)
    assert names(page) == [path.name for path in given]

    filters = page.get_by_role("group", name="Which images are shown")
    counts = dict(text.rsplit(" ", 1) for text in filters.get_by_role("button").all_inner_texts())
    assert (counts["All"], counts["Nothing found"], counts["Failed"]) == ("5", "1", "1")
    assert counts["Found"] == "3"
    for name, shown in (("Nothing found", ["blank.png"]), ("Failed", ["a bad one.png"])):
        button = filters.get_by_role("button", name=name)
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        assert names(page) == shown
    # Where only one model finds something, they differ. The keyboard does what the mouse does.
    filters.get_by_role("button", name="Models differ").focus()
    page.keyboard.press("Enter")
    differ = names(page)
    for row in page.locator("#batch tbody tr").all():
        assert row.locator(".none").count() == 1 or row.locator("td strong").count() == 2
    assert len(differ) == int(counts["Models differ"])
    assert set() < set(differ) < {"wrist-2.png", "elbow-1.png", "wrist-4.png"}
    filters.get_by_role("button", name="All").click()

    heads = page.locator("#batch thead th")
    assert [head.get_attribute("aria-sort") for head in heads.all()] == ["none", "none", "none"]
    heads.nth(0).get_by_role("button").click()
    expect(heads.nth(0)).to_have_attribute("aria-sort", "ascending")
    assert names(page) == sorted(path.name for path in given)
    heads.nth(2).get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(heads.nth(2)).to_have_attribute("aria-sort", "descending")
    expect(heads.nth(0)).to_have_attribute("aria-sort", "none")
    cells = page.locator("#batch tbody td:nth-child(3)").all_inner_texts()
    scores = [float(score) for score in re.findall(r"best (0\.\d+)", " ".join(cells))]
    assert scores == sorted(scores, reverse=True) != []
    assert names(page)[-1] == "a bad one.png"  # without a result: below those that found nothing
    page.keyboard.press("Enter")  # the focus has stayed where it was
    expect(heads.nth(2)).to_have_attribute("aria-sort", "ascending")
    assert names(page)[0] == "a bad one.png"


def test_a_cancelled_batch_keeps_what_is_finished_and_another_one_can_be_run(open_page, many, tmp_path):
    page = open_page()
    run_batch(page, many)
    title = page.locator("#batch h2")
    expect(title).to_contain_text(re.compile(r"[2-9] of 200 images done"), timeout=300_000)
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(title).to_contain_text(re.compile(r"Cancelled after \d+ of 200\."), timeout=60_000)
    finished = int(re.search(r"after (\d+)", title.inner_text())[1])
    assert 2 <= finished < 100
    expect(page.locator("#batch tbody tr")).to_have_count(finished)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all (ZIP)").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        saved = json.loads(archive.read("results.json"))
    assert (len(saved["results"]), saved["complete"]) == (finished * len(MODELS), False)
    page.wait_for_timeout(1000)
    expect(title).to_contain_text("Cancelled after")  # nothing goes on behind it

    run_batch(page, packaged("examples") / "wrist-2.png")
    expect(title).to_contain_text("Done: 1 file.", timeout=60_000)  # 200 images would take longer
    assert names(page) == ["wrist-2.png"]


def test_what_cannot_be_a_batch_is_said_at_once(open_page, tmp_path):
    page = open_page()
    run = page.get_by_role("button", name="Run", exact=True)
    expect(run).to_be_disabled()
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    page.set_input_files("#batch-files input[type=file]", str(tmp_path / "empty.zip"))
    expect(page.locator("#batch [role=alert]")).to_contain_text("There is no file", timeout=30_000)
    expect(run).to_be_disabled()


def test_one_score_for_all_in_place_of_a_price(open_page):
    page = open_page()
    choose(page, packaged("examples") / "wrist-1.png")
    expect(page.locator("#batch output")).to_have_text("about 1 false alarm per image, for each model")
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#batch output")).to_have_text("about 2 false alarms per image, for each model")
    page.get_by_text("By score").click()
    page.get_by_label("Lowest score").fill("2")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#batch [role=alert]")).to_contain_text("from 0 to 1", timeout=30_000)
    page.get_by_label("Lowest score").fill("0.02")
    page.get_by_role("button", name="Run again", exact=True).click()
    expect(page.locator("#batch h2")).to_contain_text("Done: 1 file.", timeout=120_000)
    page.locator("#batch summary", has_text="Details").click()
    for line in page.locator("#batch [data-part=made-by] li").all():
        expect(line).to_contain_text("scores from 0.02")


def test_what_is_dropped_goes_to_the_batch_and_its_rows_open_in_the_viewer(browser, app_address):
    """In the whole app: the page takes what is dropped, and the Read tab has the viewer."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    errors = record_errors(page)
    page.goto(f"{app_address}/?tab=batch", timeout=120_000)
    page.locator("#batch .bring").wait_for(timeout=60_000)
    files = [packaged("examples") / name for name in ("elbow-1.png", "wrist-2.png")]
    page.evaluate(
        """async (files) => {
            const transfer = new DataTransfer();
            for (const [name, data] of files) {
                const blob = await (await fetch("data:image/png;base64," + data)).blob();
                transfer.items.add(new File([blob], name, { type: "image/png" }));
            }
            const about = { dataTransfer: transfer, bubbles: true, cancelable: true };
            document.querySelector("#batch .bring").dispatchEvent(new DragEvent("drop", about));
        }""",
        [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in files],
    )
    title = page.locator("#batch h2")
    expect(title).to_contain_text("Ready to run: 2 files (elbow-1.png, wrist-2.png)", timeout=60_000)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(title).to_contain_text("Done: 2 files.", timeout=240_000)
    counts = [
        int(text) for text in page.locator("#batch tbody tr").nth(1).locator("strong").all_inner_texts()
    ]
    page.get_by_role("button", name="wrist-2.png").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", name="Read", exact=True)).to_have_attribute("aria-selected", "true")
    reader = page.locator("#reader")
    expect(reader).to_contain_text("wrist-2.png", timeout=60_000)
    for count in counts:  # what the viewer marks is what the table counts, and no model has run again
        expect(reader.locator(".caption", has_text=f"{count} mark").first).to_be_visible()
    expect(reader).to_contain_text("of fractures on hospital pictures")
    assert "tab=" not in page.url
    page.get_by_role("tab", name="Batch", exact=True).click()
    expect(page.locator("#batch tbody tr")).to_have_count(2)
    assert errors == []
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_for_axe_and_no_sideways_scrolling(open_page, mixed, width, theme):
    page = open_page(width, theme)
    run_batch(page, mixed)
    expect(page.locator("#batch h2")).to_contain_text("Done", timeout=120_000)
    page.locator("#batch summary", has_text="Details").click()
    assert violations(page, "#batch") == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    scroller = page.locator("#batch .scroller")
    assert scroller.evaluate("each => each.scrollWidth <= each.clientWidth + 1")
    if width == 390:
        heights = "all => all.map((each) => each.getBoundingClientRect().height)"
        assert min(page.locator("#batch :is(button, a):visible").evaluate_all(heights)) >= 40


# --- the endpoint ------------------------------------------------------------------------------------------


def test_the_endpoint_is_documented(client):
    described = client.view_api(return_format="dict")["named_endpoints"]
    assert set(described) == {"/batch"}
    parameters = [each["parameter_name"] for each in described["/batch"]["parameters"]]
    assert parameters == ["files", "threshold", "fp_per_image", "dicom"]
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


@pytest.mark.parametrize("wanted", [True, False, None])
def test_dicom_images_get_reports_where_that_is_asked_for(client, wanted):
    images = [handle_file(str(packaged("examples") / name)) for name in ("humerus-2.dcm", "wrist-1.png")]
    answer = client.predict(files=images, dicom=wanted, api_name="/batch")
    with zipfile.ZipFile(answer["archive"]) as archive:
        reports = [name for name in archive.namelist() if name.startswith("dicom/")]
    assert reports == (["dicom/001-humerus-2-sr.dcm", "dicom/001-humerus-2-sc.dcm"] if wanted else [])


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
