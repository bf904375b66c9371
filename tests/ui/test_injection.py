"""A stranger's text, in every field that reaches the page, in a real browser: it is shown, and never runs.

`test_templates` finds a template that could take text for code; here the text itself is sent.
"""

from __future__ import annotations

import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
import pydicom
import pytest
import torch
from playwright.sync_api import Page, expect

from bonefx.detectors import MODELS, Registry
from bonefx.evaluation import report
from bonefx.settings import Settings, packaged
from tests import hub_server as trouble
from tests.browser import open_browser, serve
from tests.ui import reports

CODE = "window.hacked=1"
"""What would run; there is no way to write it without a mark that the page must not take for its own."""

_IN_TEMPLATES = f"X${{{CODE}}}{{{{value}}}}`${{{CODE}}}`\\${{{CODE}}}"
HOSTILE = f"{_IN_TEMPLATES}<img src=x onerror={CODE}>\"'><script>{CODE}</script>"
NAME = HOSTILE.replace("/", "")
"""The same as a file's name."""

SIGNS = re.compile(r"window\.hacked", re.IGNORECASE)


def hostile_report(content: report.Report) -> dict[str, Any]:
    """A sound metrics file whose every text of free choice is hostile."""
    changed = json.loads(report.dumps(content))
    changed["notes"] = [HOSTILE]
    changed["dataset"] |= {"name": HOSTILE, "split": HOSTILE}
    changed["versions"] = {HOSTILE: HOSTILE}
    changed["timing"] = {"ms_per_image": {"total": 1.0}, "processor": HOSTILE}
    for detector in (changed["detector"], *(each["detector"] for each in changed["comparisons"])):
        detector["name"] = HOSTILE
        for member in detector["members"]:
            member |= {"file": HOSTILE, "repo": HOSTILE, "revision": HOSTILE, "nms": HOSTILE}
            member["runtime"] = dict.fromkeys(("engine", "precision", "device"), HOSTILE)
    return changed


def hostile_checkpoint(path: Path) -> None:
    """The bundled YOLO with a class of another name."""
    content = torch.load(packaged("bundled") / MODELS["yolo"].bundled, weights_only=False)
    names = content["model"].names
    content["model"].names = {**names, 0: HOSTILE}
    torch.save(content, path)


def hostile_dicom() -> bytes:
    """An example whose tags are hostile, those that decide about its pixels too."""
    dataset = pydicom.dcmread(packaged("examples") / "humerus-2.dcm")
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.PatientName = dataset.PatientID = dataset.StudyDescription = HOSTILE
        dataset.WindowCenterWidthExplanation = dataset.BodyPartExamined = HOSTILE
        dataset.PhotometricInterpretation = HOSTILE[:16]
        dataset.save_as(content)
    return content.getvalue()


def hostile_archive() -> bytes:
    content = io.BytesIO()
    picture = (packaged("examples") / "wrist-1.png").read_bytes()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(f"{NAME}/{NAME}.png", picture)
        file.writestr(f"{NAME}.png", b"no image")
        file.writestr(f"{NAME}.dcm", hostile_dicom())
    return content.getvalue()


@pytest.fixture
def app(hub, tmp_path) -> Iterator[gr.Blocks]:
    """Local weights, a Hub and metrics that all are hostile."""
    from bonefx.ui.build import build, launch_options

    weights = tmp_path / "weights"
    weights.mkdir()
    settings = Settings(
        repo_id="owner/x",
        weights_files={"YOLO": f"{NAME[:100]}.pt"},
        metrics_repo_id="owner/metrics",
        metrics_repo_type="dataset",
        endpoint=hub.url,
        weights_dir=weights,
    )
    hostile_checkpoint(weights / MODELS["yolo"].weights_file(settings))
    files = {
        name: json.dumps(hostile_report(reports.measured()[model])).encode()
        for model, name in (("yolo", "metrics_yolo.json"), ("faster-rcnn", "metrics_frcnn.json"))
    }
    hub.put("owner/metrics", files, "dataset")
    hub.trouble(trouble.answer(503, HOSTILE, HOSTILE), on="owner/x")
    blocks = build(Registry(settings))
    with serve(blocks, **launch_options()):
        yield blocks


@pytest.fixture
def settled(app, wait_until):
    """Waits until the server has nothing to do."""

    def wait(page: Page) -> None:
        page.wait_for_timeout(1500)
        wait_until(lambda: not len(app._queue) and not any(app._queue.active_jobs))
        page.wait_for_timeout(500)

    return wait


def check(page: Page) -> None:
    """Nothing has run, and nothing has become a part of the page but text."""
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src='x']").count() == 0
    assert page.locator("script", has_text=SIGNS).count() == 0


def test_a_strangers_text_is_shown_and_never_runs(app, settled, tmp_path):
    broken: list[str] = []
    with open_browser() as browser:
        page = browser.new_page()
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.on("dialog", lambda dialog: broken.append(dialog.message))
        query = "&".join(f"{name}={quote(HOSTILE)}" for name in ("example", "tab", "fp", "view", "x"))
        page.goto(f"{app.local_url}?{query}")
        page.locator("#upload input[type=file]").wait_for(state="attached", timeout=60_000)
        settled(page)
        check(page)

        picture = (packaged("examples") / "wrist-1.png").read_bytes()
        for content, name in ((picture, "png"), (b"no image", "png"), (hostile_dicom(), "dcm")):
            file = {"name": f"{NAME}.{name}", "mimeType": "image/png", "buffer": content}
            page.set_input_files("#upload input[type=file]", [file])
            settled(page)
            check(page)
        expect(page.locator("body")).to_contain_text(SIGNS)  # why the local weights are not used

        page.get_by_role("tab", name="Batch", exact=True).click()
        archive = {"name": f"{NAME}.zip", "mimeType": "application/zip", "buffer": hostile_archive()}
        page.locator("#batch-files input[type=file]").wait_for(state="attached", timeout=60_000)
        page.set_input_files("#batch-files input[type=file]", [archive])
        expect(page.locator("#batch h2")).to_contain_text(SIGNS, timeout=30_000)
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.locator("#batch tbody")).to_contain_text(SIGNS, timeout=120_000)
        settled(page)
        check(page)

        page.get_by_role("tab", name="Metrics", exact=True).click()
        expect(page.get_by_text(SIGNS).locator("visible=true").first).to_be_visible(timeout=60_000)
        check(page)
        predictions = {"name": f"{NAME}.json", "mimeType": "application/json"}
        found = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "score": 0.9}
        for content in ([found], [{**found, "category_id": HOSTILE}], [{**found, HOSTILE: HOSTILE}], HOSTILE):
            field = page.locator("#metrics-bring input[type=file]")
            field.set_input_files([{**predictions, "buffer": json.dumps(content).encode()}])
            settled(page)
            check(page)
            clear = page.get_by_label("Clear").or_(page.get_by_label("Remove this file"))
            if clear.locator("visible=true").count():
                clear.locator("visible=true").first.click()
                settled(page)
        for tab in page.get_by_role("tab").locator("visible=true").all():
            tab.click()
            page.wait_for_timeout(300)
            check(page)
    assert broken == []
