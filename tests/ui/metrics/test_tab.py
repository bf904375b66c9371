"""The Metrics tab: what it says, and in a real browser what a person does with it."""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path

import gradio as gr
import pytest

from bonefx.consensus import CONSENSUS
from bonefx.errors import BoneFXError
from bonefx.evaluation import report
from bonefx.results import Identity
from bonefx.settings import Settings
from bonefx.ui.build import launch_options
from bonefx.ui.metrics import tab as metrics
from bonefx.ui.metrics.brought import MAX_BYTES, MAX_ENTRIES, image_list, score_file
from bonefx.ui.metrics.page import brought_html, curves_html, top_html
from bonefx.ui.metrics.rest import rest_html
from bonefx.ui.metrics.shown import Shown
from bonefx.ui.metrics.store import MetricsStore
from tests.browser import open_browser, record_errors, record_requests, serve, violations
from tests.evaluation import toy
from tests.ui import reports
from tests.ui.reports import BOX, FRCNN, USED, YOLO

OFFLINE = Settings(hub=False)
WAIT = 10.0
MINE = toy.results([(i, i % 5, BOX, 0.9) for i in range(15)])  # half of the fractures, no false alarm


@pytest.fixture
def folder(tmp_path) -> Path:
    return reports.package(tmp_path / "packaged")


@pytest.fixture
def store(folder) -> MetricsStore:
    found = MetricsStore(OFFLINE, folder=folder)
    assert found.refresh(WAIT)
    return found


def plain(markup: str) -> str:
    words = html.unescape(re.sub("<[^>]*>", " ", markup))
    return " ".join(words.replace("\N{NO-BREAK SPACE}", " ").split())


# --- what it says ------------------------------------------------------------------------------------------


def shown(store: MetricsStore, kind: str = "", brought=None) -> Shown:
    return Shown.of(store, store.packaged(kind) if kind else store.current(), brought)


def test_the_top_is_the_headline_the_large_figures_and_one_line_on_the_weights(store):
    markup = top_html(store, shown(store), USED)
    said = plain(markup)
    assert said.startswith("At 1 false alarm per image, Faster R-CNN finds 80 % of fractures (")
    assert "the difference is more than chance explains. On pictures of the first data set" in said
    assert re.findall(r"<strong>(\d+).%</strong>", markup) == ["80", "30"]
    assert "of 30 fractures in 60 images" in said
    assert "On hospital pictures Nobody has measured these weights there." in said
    assert said.count("These are the figures of the weights in use.") == 1  # of both models at once


def test_two_sets_of_pictures_stand_side_by_side(folder):
    reports.package_elsewhere(folder)
    store = MetricsStore(OFFLINE, folder=folder)
    markup = top_html(store, shown(store), USED)
    said = plain(markup)
    assert said.startswith(
        "On pictures of the first data set, Faster R-CNN finds 80 % of fractures, and YOLO 30 %, at 1 false "
        "alarm per image; on hospital pictures, 20 % and 10 %. On pictures of"
    )
    assert re.findall(r"<strong>(\d+).%</strong>", markup) == ["80", "30", "20", "10"]
    assert "Nobody has measured" not in said
    curves = curves_html(store, shown(store), "any_fracture")
    assert curves.count("<figure ") == 2
    assert plain(curves).count("Fractures found, against false alarms, on ") == 2
    ticks = re.findall(r">(\d+ %)</text>", curves)
    # One scale, so that the two can be compared.
    assert ticks[:6] == ticks[6:] != []
    rest = plain(rest_html(store, shown(store), "any_fracture"))
    assert "YOLO, elsewhere" in rest
    assert "One further data set stands for all hospitals" in rest
    assert 'download="FracAtlasUpper_metrics_yolo.json"' in rest_html(store, shown(store), "any_fracture")
    assert "do not compare" not in said


def test_figures_elsewhere_are_only_those_of_the_same_weights(folder):
    reports.package_elsewhere(folder, sha256="f" * 64)
    store = MetricsStore(OFFLINE, folder=folder)
    assert shown(store).away == {}
    assert "Nobody has measured these weights there." in plain(top_html(store, shown(store), USED))


@pytest.mark.parametrize(
    ("kind", "used", "words"),
    [
        ("", {}, "Not loaded yet, so it is not known whether these figures are those of the weights in use."),
        (
            "",
            {YOLO: Identity("f" * 64, "nms", 640)},
            "figures of other weights than those in use. No figures are",
        ),
        ("", {YOLO: Identity("sha-yolo.pt", "nms-free", 640)}, "figures of other weights than those in use."),
        ("", {YOLO: Identity("sha-yolo.pt", "nms", 320)}, "No figures are known of the weights in use."),
        ("reported", USED, "does not name its weights, so nobody can tell"),
        ("reported", USED, "Those of the weights in use are packaged with the app."),
    ],
)
def test_whether_the_figures_are_those_of_the_weights_in_use(tmp_path, kind, used, words):
    reports.package(tmp_path)
    old = {**reports.measured()[YOLO], "kind": "reported"}
    old["detector"]["members"] = []
    report.write(old, tmp_path / "reported_yolo.json")
    store = MetricsStore(OFFLINE, folder=tmp_path)
    said = plain(top_html(store, shown(store, kind), used))
    assert words in said
    assert "These are the figures of the weights in use." not in said


def test_the_top_without_any_figures(tmp_path):
    (tmp_path / "metrics_yolo.json").write_text("<b>")
    store = MetricsStore(OFFLINE, folder=tmp_path)
    said = plain(top_html(store, shown(store), {}))
    assert said.startswith("There are no such figures.")
    assert "The packaged metrics_yolo.json is not used. The metrics file is not JSON" in said
    assert curves_html(store, shown(store), "any_fracture") == ""
    assert rest_html(store, shown(store), "any_fracture") == ""


def test_the_rest_is_folded_and_has_all_parts_and_the_files(store):
    markup = rest_html(store, shown(store), "any_fracture")
    parts = re.findall(r"<details class='part'><summary><h3>([^<]*)</h3>", markup)
    assert parts == [
        "Is the difference between the models chance?",
        "Each class, and precision against recall",
        "Small and large fractures, and each site",
        "All figures in one table",
        "Is there a fracture in the image at all?",
        "Limits of this evidence",
        "Where the figures come from",
    ]
    for title in ("Does Faster R-CNN find more than YOLO?", "Average precision of each class"):
        assert title in markup
    said = plain(markup)
    assert (
        said.count("packaged with the app. The Hub is switched off") == 1
    )  # where they come from is said once
    for limit in (
        "One split of one public data set: 60 images with 30 boxes",
        "What the models do on images from another hospital, device or country is not known",
        "augmented copies",
        "no patients",
    ):
        assert limit in said
    assert "Not a medical device" in said
    links = dict(re.findall(r'download="([^"]*)" href="data:application/json;base64,([^"]*)"', markup))
    assert list(links) == ["metrics_frcnn.json", "metrics_yolo.json"]
    assert report.loads(base64.b64decode(links["metrics_yolo.json"])) == reports.measured()[YOLO]


def test_the_consensus_is_shown_like_the_models(tmp_path):
    store = MetricsStore(OFFLINE, folder=reports.package(tmp_path, with_consensus=True))
    said = plain(top_html(store, shown(store), USED))
    assert said.count("These are the figures of the weights in use.") == 1
    curves = curves_html(store, shown(store), "any_fracture")
    assert 'style="--mark:#C050FF"' in curves

    markup = rest_html(store, shown(store), "any_fracture")
    said = plain(markup)
    assert re.search(
        r"chance explains\. At 1 false alarm per image, Consensus finds \d+ % of fractures", said
    )
    assert "; against YOLO, the difference" in said
    assert (curves + markup).count('<th scope="col">Consensus</th>') == 5  # FROC and four tables
    assert "Does Faster R-CNN find more than YOLO?" in said
    assert f"Fused by – – {CONSENSUS.method}" in said
    assert "frcnn.pth yolo.pt" in said
    assert 'download="metrics_consensus.json"' in markup
    assert "do not compare" not in said


@pytest.mark.parametrize(
    ("used", "words"),
    [
        ({YOLO: USED[YOLO]}, "Faster R-CNN, Consensus: Not loaded yet, so it is not known whether"),
        (
            {**USED, YOLO: Identity("f" * 64, "nms", 640)},
            "YOLO, Consensus: These are the figures of other weights than those in use.",
        ),
    ],
)
def test_whether_the_consensus_is_that_of_the_weights_in_use(tmp_path, used, words):
    store = MetricsStore(OFFLINE, folder=reports.package(tmp_path, with_consensus=True))
    assert words in plain(top_html(store, shown(store), used))


def test_without_metrics_of_the_consensus_nothing_is_said_of_it(store):
    for markup in (
        top_html(store, shown(store), USED),
        curves_html(store, shown(store), "any_fracture"),
        rest_html(store, shown(store), "any_fracture"),
    ):
        assert "onsensus" not in markup


def test_figures_that_must_not_be_compared(store):
    assert "do not compare" not in top_html(store, shown(store), USED)
    packaged = MetricsStore(OFFLINE)
    said = plain(top_html(packaged, shown(packaged, "reported"), USED))
    assert "Reported figures were not measured by one protocol: do not compare" in said
    said = plain(curves_html(packaged, shown(packaged, "reported"), "any_fracture"))
    assert "Any fracture: no such figures. Shown instead: right class." in said
    other = toy.measure(toy.dataset([[(0, BOX)], []]), MINE[:1], "Yours (x)")
    said = plain(top_html(store, shown(store, brought=other), USED))
    assert "measured on different data: do not compare" in said


def test_one_s_own_predictions_stand_beside_the_models_and_differ_by_so_much(tmp_path, folder):
    reports.package_predictions(folder)
    store = MetricsStore(OFFLINE, folder=folder)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(MINE))
    wanted = {model_id: entry.report for model_id, entry in store.current().items()}
    *said, own = score_file(path, store.predictions, wanted)
    assert said == ["Scoring yours…", "Comparing with Faster R-CNN…", "Comparing with YOLO…"]
    assert own["froc"]["any_fracture"]["points"][3]["n"] == 15
    mine = shown(store, brought=own)
    assert "Yours (mine)" in plain(curves_html(store, mine, "any_fracture"))
    markup = rest_html(store, mine, "any_fracture")
    assert markup.count('<th scope="col">Yours (mine)</th>') == 4  # precision and three tables
    assert 'download="metrics_yours.json"' in markup

    verdict = brought_html(own, shown(store).series(store))
    assert "At 1 false alarm per image, Yours (mine) finds 50 % of fractures" in plain(verdict)
    # 15 found of 30; Faster R-CNN finds 24, YOLO 9
    assert re.search(
        r"Against Faster R-CNN, .*: 30 percentage points fewer found \(-\d+ to -\d+\)", plain(verdict)
    )
    assert re.search(r"Against YOLO, .*: 20 percentage points more found \(", plain(verdict))
    assert verdict.count("<figure ") == 2


def test_a_model_is_compared_with_only_where_its_predictions_are_there(tmp_path, store):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(MINE))
    wanted = {model_id: entry.report for model_id, entry in store.current().items()}
    *_, own = score_file(path, store.predictions, wanted)
    said = plain(brought_html(own, shown(store).series(store)))
    assert said.count("no predictions of these weights travel with the app to compare with") == 2


def test_the_list_of_images_has_the_numbers_that_predictions_need():
    rows = image_list(reports.DATASET).splitlines()
    assert rows[0] == "image_id,file_name,width,height"
    assert len(rows) == 61
    first = reports.DATASET.images[0]
    assert rows[1] == f"1,{first.file_name},{first.width},{first.height}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("half a fi", "The file is not JSON"),
        ("\x00\xff", "The file is not JSON"),
        ("[" * 100_000, "The file is not JSON"),  # deeper than Python's stack
        ("{}", "must be a COCO results list"),
        ("[]", "no curve"),
        (json.dumps([{**MINE[0], "score": 0.0001}]), "no curve"),
        (json.dumps([{**MINE[0], "image_id": 61}]), "Entry 0 of the predictions has image_id 61"),
        (json.dumps([{**MINE[0], "bbox": [0, 0, -1, 5]}]), "negative"),
        (json.dumps([{**MINE[0], "score": float("nan")}]), "not a finite number"),
        ("[" + "0," * MAX_ENTRIES + "0]", "at most 200000 are scored here"),
        (" " * (MAX_BYTES + 1), "larger than 20 MB"),
    ],
)
def test_a_file_that_cannot_be_scored(tmp_path, store, content, words):
    path = tmp_path / "mine.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(BoneFXError, match=re.escape(words)) as caught:
        list(score_file(path, store.predictions, {}))
    assert str(tmp_path) not in str(caught.value)


# --- what a person does ------------------------------------------------------------------------------------


def app(store: MetricsStore) -> gr.Blocks:
    with gr.Blocks(analytics_enabled=False, fill_width=True) as blocks, gr.Tabs(elem_id="tabs"):
        with gr.Tab("Read"):
            gr.HTML("<h1>The first tab</h1>")
        with gr.Tab("Metrics") as tab:
            metrics.build_metrics_tab(store, tab, lambda: {FRCNN: USED[FRCNN]})
    return blocks


@pytest.fixture(scope="module")
def browser():
    with open_browser() as found:
        yield found


@pytest.fixture
def open_tab(browser):
    """Opens the tab of an app, in a window of its own."""
    pages = []

    def open_tab(address: str, width: int = 1440, height: int = 900, **options):
        pages.append(browser.new_page(viewport={"width": width, "height": height}, **options))
        pages[-1].goto(address)
        pages[-1].get_by_role("tab", name="Metrics").click()
        pages[-1].locator("#metrics-froc .legend").wait_for()
        return pages[-1]

    yield open_tab
    for page in pages:
        page.close()


def test_the_tab_is_filled_when_it_is_opened(browser, hub, folder):
    made = reports.measured()
    for each in made.values():
        each["created"] = "2026-12-24T00:00:00Z"
    files = {
        name: report.dumps(made[m]).encode() for m, name in ((FRCNN, "metrics_frcnn.json"), (YOLO, "y.json"))
    }
    sha = hub.put("owner/metrics", files, "dataset")
    settings = Settings(metrics_repo_id="owner/metrics", metrics_repo_type="dataset", endpoint=hub.url)
    store = MetricsStore(settings, folder=folder)
    with serve(app(store), **launch_options()) as address:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        asked, errors = record_requests(page), record_errors(page)
        page.goto(f"{address}?__theme=light")
        page.get_by_text("The first tab").wait_for()
        assert hub.requests == []

        page.get_by_role("tab", name="Metrics").click()

        def says(words: str) -> None:  # in a part that is folded
            page.get_by_text(words).first.wait_for(state="attached")

        page.get_by_role("heading", name="At 1 false alarm per image, Faster R-CNN finds 80").wait_for()
        says(f"from the Hub dataset repo owner/metrics, commit {sha[:7]}, fetched")
        says("owner/metrics has no file metrics_yolo.json")
        page.get_by_text("These are the figures of the weights in use.").wait_for()
        assert page.get_by_role("img", name="Fractures found, against false alarms").is_visible()

        # New figures arrive while the page is open.
        page.get_by_role("button", name="Other figures, and what counts as found").click()
        newer = hub.put("owner/metrics", {"metrics_yolo.json": files["y.json"]}, "dataset")
        page.get_by_role("button", name="Check again for newer figures").click()
        says(f"commit {newer[:7]}")

        page.get_by_role("radio", name="Right class").check()
        page.get_by_text("and names its class").first.wait_for()
        page.get_by_role("radio", name="Reported by the original authors").check()
        page.get_by_text("There are no such figures.").wait_for()
        page.get_by_role("radio", name="Packaged with the app").check()
        says("packaged with the app. ")

        page.get_by_role("heading", name="Where the figures come from").click()
        with page.expect_download() as download:
            page.get_by_role("link", name="metrics_yolo.json").click()
        assert report.read(download.value.path()) == reports.measured()[YOLO]
        with page.expect_download() as download:
            page.get_by_role("link", name="images.csv").click()
        assert download.value.path().read_text() == image_list(reports.DATASET)
        foreign = [url for url in asked if not url.startswith((address.rstrip("/"), "data:", "blob:"))]
        assert (foreign, errors) == ([], [])
        page.close()


def test_an_open_page_shows_new_figures_by_itself(hub, folder, monkeypatch, open_tab):
    monkeypatch.setattr(metrics, "_TICK_SECONDS", 0.3)
    settings = Settings(metrics_repo_id="owner/metrics", metrics_repo_type="dataset", endpoint=hub.url)
    store = MetricsStore(settings, folder=folder, refresh_seconds=0.2)
    with serve(app(store), **launch_options()) as address:
        page = open_tab(address)
        page.get_by_text("owner/metrics was not found on the Hub").first.wait_for(state="attached")
        content = report.dumps(reports.measured()[YOLO]).encode()
        sha = hub.put("owner/metrics", {"metrics_yolo.json": content}, "dataset")
        page.get_by_text(f"commit {sha[:7]}").first.wait_for(state="attached")


def test_three_screens_at_most_and_nothing_in_them_leads_away(folder, open_tab):
    reports.package_elsewhere(folder)
    store = MetricsStore(OFFLINE, folder=folder)
    with serve(app(store), **launch_options()) as address:
        page = open_tab(f"{address}?example=x&tab=metrics")
        page.locator("#metrics-froc-away .legend").wait_for()
        page.get_by_role("heading", name="Bring your own").wait_for()
        assert page.evaluate("document.documentElement.scrollHeight") <= 2700
        assert page.locator(".metrics details[open]").count() == 0
        # At one moment: Gradio's padding is still on its way when the page has just opened.
        left, right = page.evaluate(
            "['metrics-froc', 'metrics-froc-away'].map("
            "(id) => document.getElementById(id).getBoundingClientRect().toJSON())"
        )
        assert (left["y"], left["width"]) == (right["y"], right["width"])  # side by side, of one size
        # A link to a part of the page would load it anew, as the page has a base address.
        links = page.locator(".metrics a").evaluate_all(
            "links => links.map((link) => link.getAttribute('href'))"
        )
        assert links
        assert all(link.startswith("data:") for link in links)


def test_bring_your_own(folder, tmp_path, open_tab):
    reports.package_predictions(folder)
    store = MetricsStore(OFFLINE, folder=folder)
    good, bad = tmp_path / "my detector.json", tmp_path / "bad.json"
    good.write_text(json.dumps(MINE))
    bad.write_text(json.dumps([{**MINE[0], "category_id": "<b>"}]))
    with serve(app(store), **launch_options()) as address:
        page = open_tab(address)
        errors = record_errors(page)
        upload = page.locator("input[type=file]")

        upload.set_input_files(good)
        page.get_by_text("At 1 false alarm per image, Yours (my detector) finds 50").wait_for(timeout=90_000)
        page.get_by_text("Against YOLO, at 1 false alarm per image: 20 percentage points more").wait_for()
        page.get_by_role("img", name="Does Yours (my detector) find more than Faster R-CNN?").wait_for()
        page.locator("#metrics-froc .legend", has_text="Yours (my detector)").wait_for()
        page.get_by_text("Each class, and precision against recall").click()
        assert "Yours (my detector)" in page.locator("#metrics-class").inner_text()
        assert violations(page, ".metrics") == []

        page.get_by_label("Clear").or_(page.get_by_label("Remove")).first.click()
        page.locator("#metrics-froc .legend", has_text="Yours").wait_for(state="detached")

        upload.set_input_files(bad)
        page.get_by_role("alert").get_by_text("has category_id '<b>'; it must be 1 to 6").wait_for()
        assert errors == []


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_cut_off_tiny_or_wrong_for_axe(folder, open_tab, theme, width):
    reports.package_elsewhere(folder)
    store = MetricsStore(OFFLINE, folder=folder)
    with serve(app(store), **launch_options()) as address:
        page = open_tab(f"{address}?__theme={theme}", width, 844)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_role("button", name="Other figures, and what counts as found").click()
        for summary in page.locator(".metrics summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert violations(page, "[role=tabpanel]") == []
        seen = page.evaluate(
            """[...document.querySelectorAll('.metrics svg text, .metrics small, .metrics td')].map(e => {
                const { left, right } = e.getBoundingClientRect();
                const scrolls = [...document.querySelectorAll('.metrics *')].some(
                    each => each.contains(e) && getComputedStyle(each).overflowX === 'auto');
                return [parseFloat(getComputedStyle(e).fontSize), left, right, scrolls];
            })"""
        )
        assert min(size for size, *_ in seen) >= 13
        assert all(scrolls or (left >= 0 and right <= width) for _, left, right, scrolls in seen)


def test_without_ground_truth_it_says_how_to_score(tmp_path, open_tab):
    store = MetricsStore(OFFLINE, folder=reports.package(tmp_path, ground_truth=False))
    with serve(app(store), **launch_options()) as address:
        page = open_tab(address)
        page.get_by_text("python -m bonefx evaluate --data DIR --split valid --predictions FILE").wait_for()
        assert page.locator("input[type=file]").count() == 0
