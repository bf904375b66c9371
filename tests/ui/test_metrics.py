"""The Metrics tab: what it says, and in a real browser what a person does with it."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import gradio as gr
import pytest

from bonefx.consensus import CONSENSUS
from bonefx.errors import BoneFXError
from bonefx.evaluation import report
from bonefx.settings import Settings
from bonefx.ui import metrics
from bonefx.ui.metrics_page import body_html, top_html
from bonefx.ui.metrics_store import MetricsStore
from tests.browser import open_browser, record_errors, record_requests, serious_violations, serve
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
    return " ".join(re.sub("<[^>]*>", " ", markup).replace("\N{NO-BREAK SPACE}", " ").split())


# --- what it says ------------------------------------------------------------------------------------------


def test_the_top_is_the_headline_and_the_sources(store):
    said = plain(top_html(store, store.current(), USED))
    assert said.startswith("At 1 false alarm per image, Faster R-CNN finds 80 % of fractures (")
    assert "the difference is more than chance explains. Faster R-CNN: measured" in said
    assert said.count("packaged with the app. The Hub is switched off") == 2
    assert said.count("These are the figures of the weights in use.") == 2


@pytest.mark.parametrize(
    ("shown", "used", "words"),
    [
        ("current", {}, "The model is not loaded yet, so it is not known whether"),
        (
            "current",
            {YOLO: ("f" * 64, "nms", 640)},
            "figures of other weights than those in use. No figures are",
        ),
        ("current", {YOLO: ("sha-yolo.pt", "nms-free", 640)}, "figures of other weights than those in use."),
        ("current", {YOLO: ("sha-yolo.pt", "nms", 320)}, "(SHA-256 sha-yolo.pt…)"),
        ("reported", USED, "does not name its weights, so nobody can tell"),
        ("reported", USED, "Those of the weights in use (SHA-256 sha-yolo.pt…) are packaged with the app."),
    ],
)
def test_whether_the_figures_are_those_of_the_weights_in_use(tmp_path, shown, used, words):
    reports.package(tmp_path)
    old = {**reports.measured()[YOLO], "kind": "reported"}
    old["detector"]["members"] = []
    report.write(old, tmp_path / "reported_yolo.json")
    store = MetricsStore(OFFLINE, folder=tmp_path)
    chosen = store.current() if shown == "current" else store.packaged(shown)
    said = plain(top_html(store, chosen, used))
    assert words in said
    assert "These are the figures of the weights in use." not in said


def test_the_top_without_any_figures(tmp_path):
    (tmp_path / "metrics_yolo.json").write_text("<b>")
    store = MetricsStore(OFFLINE, folder=tmp_path)
    said = plain(top_html(store, store.current(), {}))
    assert said.startswith("There are no such figures. Faster R-CNN: no such figures. YOLO: no such figures.")
    assert "The packaged metrics_yolo.json is not used. The metrics file is not JSON" in said
    assert body_html(store, {}, "any_fracture") == ""


def test_the_body_has_all_sections_and_the_files(store):
    markup = body_html(store, store.current(), "any_fracture")
    for title in ("(FROC)", "Does Faster R-CNN find more than YOLO?", "Average precision of each class"):
        assert title in markup
    for title in ("Precision against recall", "Summary", "in the image at all?", "Provenance", "Limits"):
        assert title in markup
    said = plain(markup)
    for limit in (
        "One split of one public data set: 60 images with 30 boxes",
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
    said = plain(top_html(store, store.current(), USED))
    assert re.search(
        r"chance explains\. At 1 false alarm per image, Consensus finds \d+ % of fractures", said
    )
    assert "; against YOLO, the difference" in said
    assert "Consensus: measured by the protocol of BoneFX; packaged with the app" in said
    assert said.count("These are the figures of the weights in use.") == 3
    assert 'style="--mark:#C050FF"' in top_html(store, store.current(), USED)

    markup = body_html(store, store.current(), "any_fracture")
    assert markup.count('<th scope="col">Consensus</th>') == 4  # FROC, precision, summary, provenance
    said = plain(markup)
    assert "Does Faster R-CNN find more than YOLO?" in said
    assert f"Fused by – – {CONSENSUS.method}" in said
    assert "frcnn.pth yolo.pt" in said
    assert 'download="metrics_consensus.json"' in markup
    assert "do not compare" not in said


@pytest.mark.parametrize(
    ("used", "words"),
    [
        ({YOLO: USED[YOLO]}, "Not all of its models are loaded yet, so it is not known whether"),
        (
            {**USED, YOLO: ("f" * 64, "nms", 640)},
            "No figures are known of the weights in use (SHA-256 sha-frcnn.pt…, ffffffffffff…).",
        ),
    ],
)
def test_whether_the_consensus_is_that_of_the_weights_in_use(tmp_path, used, words):
    store = MetricsStore(OFFLINE, folder=reports.package(tmp_path, with_consensus=True))
    said = plain(top_html(store, store.current(), used))
    assert words in said[said.index("Consensus: ") :]


def test_without_metrics_of_the_consensus_nothing_is_said_of_it(store):
    assert "onsensus" not in top_html(store, store.current(), USED)
    assert "onsensus" not in body_html(store, store.current(), "any_fracture")


def test_figures_that_must_not_be_compared(tmp_path, store):
    assert "do not compare" not in body_html(store, store.current(), "any_fracture")
    packaged = MetricsStore(OFFLINE).packaged("reported")
    said = plain(body_html(store, packaged, "any_fracture"))
    assert "Reported figures were not measured by one protocol: do not compare" in said
    assert "Any fracture: no such figures. Shown instead: right class." in said
    other = toy.measure(toy.dataset([[(0, BOX)], []]), MINE[:1], "Yours (x)")
    said = plain(body_html(store, store.current(), "any_fracture", other))
    assert "measured on different data: do not compare" in said


def test_one_s_own_predictions_stand_beside_the_models(tmp_path, store):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(MINE))
    own = metrics.score_file(path, reports.DATASET)
    assert own["froc"]["any_fracture"]["points"][3]["n"] == 15
    markup = body_html(store, store.current(), "any_fracture", own)
    assert "do not compare" not in markup
    assert markup.count('<th scope="col">Yours (mine)</th>') == 4  # FROC, precision, summary, provenance
    assert 'download="metrics_yours.json"' in markup


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
        ("[" + "0," * metrics.MAX_ENTRIES + "0]", "at most 200000 are scored here"),
        (" " * (metrics.MAX_BYTES + 1), "larger than 20 MB"),
    ],
)
def test_a_file_that_cannot_be_scored(tmp_path, content, words):
    path = tmp_path / "mine.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(BoneFXError, match=re.escape(words)) as caught:
        metrics.score_file(path, reports.DATASET)
    assert str(tmp_path) not in str(caught.value)


# --- what a person does ------------------------------------------------------------------------------------


def app(store: MetricsStore) -> gr.Blocks:
    with gr.Blocks(analytics_enabled=False) as blocks, gr.Tabs():
        with gr.Tab("Compare"):
            gr.HTML("<h1>The first tab</h1>")
        with gr.Tab("Metrics") as tab:
            metrics.build_metrics_tab(store, tab, lambda: {FRCNN: USED[FRCNN]})
    return blocks


THEME = {"theme": gr.themes.Default(font=["sans-serif"], font_mono=["monospace"])}


@pytest.fixture(scope="module")
def browser():
    with open_browser() as found:
        yield found


def test_the_tab_is_filled_when_it_is_opened(browser, hub, folder, tmp_path):
    made = reports.measured()
    for each in made.values():
        each["created"] = "2026-12-24T00:00:00Z"
    files = {
        name: report.dumps(made[m]).encode() for m, name in ((FRCNN, "metrics_frcnn.json"), (YOLO, "y.json"))
    }
    sha = hub.put("owner/metrics", files, "dataset")
    settings = Settings(metrics_repo_id="owner/metrics", metrics_repo_type="dataset", endpoint=hub.url)
    store = MetricsStore(settings, folder=folder)
    with serve(app(store), **THEME) as address:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        asked, errors = record_requests(page), record_errors(page)
        page.goto(address)
        page.get_by_text("The first tab").wait_for()
        assert hub.requests == []

        page.get_by_role("tab", name="Metrics").click()
        page.get_by_role("heading", name="At 1 false alarm per image, Faster R-CNN finds 80").wait_for()
        page.get_by_text(f"from the Hub dataset repo owner/metrics, commit {sha[:7]}, fetched").wait_for()
        page.get_by_text("owner/metrics has no file metrics_yolo.json").wait_for()
        page.get_by_text("These are the figures of the weights in use.").wait_for()
        assert page.get_by_role("img", name="Fractures found, against false alarms").is_visible()

        # New figures arrive while the page is open.
        newer = hub.put("owner/metrics", {"metrics_yolo.json": files["y.json"]}, "dataset")
        page.get_by_role("button", name="Check again").click()
        page.get_by_text(f"commit {newer[:7]}").nth(1).wait_for()

        page.get_by_role("radio", name="Right class").check()
        page.get_by_text("and names its class").first.wait_for()
        page.get_by_role("radio", name="Reported by the original authors").check()
        page.get_by_text("There are no such figures.").wait_for()
        page.get_by_role("radio", name="Packaged with the app").check()
        page.get_by_text("packaged with the app. ").first.wait_for()

        with page.expect_download() as download:
            page.get_by_role("link", name="metrics_yolo.json").click()
        assert report.read(download.value.path()) == reports.measured()[YOLO]
        assert serious_violations(page, ".metrics") == []
        foreign = [url for url in asked if not url.startswith((address.rstrip("/"), "data:", "blob:"))]
        assert (foreign, errors) == ([], [])
        page.close()


def test_an_open_page_shows_new_figures_by_itself(browser, hub, folder, monkeypatch):
    monkeypatch.setattr(metrics, "_TICK_SECONDS", 0.3)
    settings = Settings(metrics_repo_id="owner/metrics", metrics_repo_type="dataset", endpoint=hub.url)
    store = MetricsStore(settings, folder=folder, refresh_seconds=0.2)
    with serve(app(store), **THEME) as address:
        page = browser.new_page()
        page.goto(address)
        page.get_by_role("tab", name="Metrics").click()
        page.get_by_text("owner/metrics was not found on the Hub").first.wait_for()
        page.locator("#metrics-froc summary").click()
        content = report.dumps(reports.measured()[YOLO]).encode()
        sha = hub.put("owner/metrics", {"metrics_yolo.json": content}, "dataset")
        page.get_by_text(f"commit {sha[:7]}, fetched just now").wait_for()
        page.close()


def test_bring_your_own(browser, store, tmp_path):
    good, bad = tmp_path / "my detector.json", tmp_path / "bad.json"
    good.write_text(json.dumps(MINE))
    bad.write_text(json.dumps([{**MINE[0], "category_id": "<b>"}]))
    with serve(app(store), **THEME) as address:
        page = browser.new_page()
        errors = record_errors(page)
        page.goto(address)
        page.get_by_role("tab", name="Metrics").click()
        page.locator("#metrics-froc .legend").wait_for()
        upload = page.locator("input[type=file]")

        upload.set_input_files(good)
        page.get_by_text("At 1 false alarm per image, Yours (my detector) finds 50").wait_for(timeout=60_000)
        page.locator("#metrics-froc .legend", has_text="Yours (my detector)").wait_for()
        assert "Yours (my detector)" in page.locator("#metrics-class").inner_text()

        page.get_by_label("Clear").or_(page.get_by_label("Remove")).first.click()
        page.locator("#metrics-froc .legend", has_text="Yours").wait_for(state="detached")

        upload.set_input_files(bad)
        page.get_by_role("alert").get_by_text("has category_id '<b>'; it must be 1 to 6").wait_for()
        assert errors == []
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off_or_tiny(browser, store, scheme):
    with serve(app(store), **THEME) as address:
        page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
        page.goto(address)
        page.get_by_role("tab", name="Metrics").click()
        page.locator("#metrics-froc .legend").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for summary in page.locator(".metrics summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert serious_violations(page, ".metrics") == []
        seen = page.evaluate(
            """[...document.querySelectorAll('.metrics svg text, .metrics small, .metrics td')].map(e => {
                const { left, right } = e.getBoundingClientRect();
                return [parseFloat(getComputedStyle(e).fontSize), e.closest('.scroller') ? 0 : left, right,
                    Boolean(e.closest('.scroller'))];
            })"""
        )
        assert min(size for size, *_ in seen) >= 13
        assert all(left >= 0 and (right <= 390 or scrolls) for _, left, right, scrolls in seen)
        page.close()


def test_without_ground_truth_it_says_how_to_score(browser, tmp_path):
    store = MetricsStore(OFFLINE, folder=reports.package(tmp_path, ground_truth=False))
    with serve(app(store), **THEME) as address:
        page = browser.new_page()
        page.goto(address)
        page.get_by_role("tab", name="Metrics").click()
        page.get_by_text("python -m bonefx evaluate --data DIR --split valid --predictions FILE").wait_for()
        assert page.locator("input[type=file]").count() == 0
        page.close()
