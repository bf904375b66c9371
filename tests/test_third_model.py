"""A third model takes part everywhere, without a line of code that names it (`tests/third_model`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from bonefx.evaluation import report
from bonefx.phantoms import make_dataset
from bonefx.settings import packaged
from tests.browser import free_port, open_browser, record_errors, violations

THREE = ["faster-rcnn", "yolo", "contrast"]
GREEN = "#009E73"
WRIST = packaged("examples") / "wrist-1.png"


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("three")
    (folder / "contrast.json").write_text('{"cell": 48}')
    ours = {"BONEFX_HUB": "off", "BONEFX_WEIGHTS_DIR": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    return {**os.environ, **ours, "GRADIO_SERVER_PORT": str(free_port())}


@pytest.fixture(scope="module")
def run(environment):
    def run(*arguments, status: int = 0) -> str:
        made = subprocess.run(
            [sys.executable, "-m", "tests.third_model", *map(str, arguments)],
            env=environment,
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
        )
        assert made.returncode == status, made.stderr
        return made.stdout

    return run


@pytest.fixture(scope="module")
def address(environment):
    with subprocess.Popen(
        [sys.executable, "-m", "tests.third_model", "page"],
        env=environment,
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        yield next(line.split()[1].rstrip("/") for line in server.stdout if line.startswith("at "))
        server.communicate("\n", timeout=60)


@pytest.fixture(scope="module")
def client(address):
    from gradio_client import Client

    return Client(address, verbose=False)


def green(picture: Image.Image) -> int:
    return int((np.asarray(picture.convert("RGB")) == ImageColor.getrgb(GREEN)).all(axis=2).sum())


def test_the_command_line_runs_all_and_a_consensus_of_all(run, tmp_path):
    answers = json.loads(run("detect", WRIST, "--threshold", "0.05", "--json"))
    assert [each["model"] for each in answers] == THREE
    assert answers[2]["weights"]["file"] == "contrast.json"
    assert len(answers[2]["detections"]) > 0
    (fused,) = json.loads(run("detect", WRIST, "--model", "consensus", "--json"))
    assert [member["model"] for member in fused["members"]] == THREE


def test_a_batch_draws_it_and_exports_it(run, tmp_path):
    run("detect", WRIST, "--threshold", "0.05", "--out", tmp_path / "out", "--format", "yolo")
    (picture,) = (tmp_path / "out" / "annotated").glob("*.png")
    assert green(Image.open(picture)) > 100
    assert ",contrast," in (tmp_path / "out" / "results.csv").read_text()
    assert list((tmp_path / "out").rglob("yolo/contrast/*.txt"))


def test_its_weights_become_a_graph(run, environment):
    said = run("convert", Path(environment["BONEFX_WEIGHTS_DIR"]) / "contrast.json")
    assert "contrast.json: float" in said
    (found,) = json.loads(run("detect", WRIST, "--model", "contrast", "--json"))
    assert found["runtime"]["engine"].startswith("openvino")


def test_it_is_evaluated_and_stands_beside_the_others(run, tmp_path):
    make_dataset(tmp_path / "data", 6, 1, split="valid")
    run("evaluate", "--data", tmp_path / "data", "--split", "valid", "--out", tmp_path / "metrics")
    made = report.read(tmp_path / "metrics" / "metrics_contrast.json")
    assert made["detector"]["id"] == "contrast"
    assert {each["detector"]["id"] for each in made["comparisons"]} == {"faster-rcnn", "yolo", "consensus"}
    fused = report.read(tmp_path / "metrics" / "metrics_consensus.json")
    assert len(fused["detector"]["members"]) == 3


def test_the_api_offers_it_and_tells_the_agreement_of_any_two(client):
    from gradio_client import handle_file

    assert [each["id"] for each in client.predict(api_name="/models")["models"]] == THREE
    image = handle_file(str(WRIST))
    one = client.predict(image, "Contrast", 0.05, api_name="/detect")
    assert one["model"] == "contrast"
    every = client.predict(image, 0.05, api_name="/compare")
    assert [each["model"] for each in every["results"]] == THREE
    assert list(every["agreement"]["only"]) == THREE[:2]
    two = client.predict(image, 0.05, None, "contrast, yolo", api_name="/compare")
    assert list(two["agreement"]["only"]) == ["contrast", "yolo"]
    assert len(two["agreement"]["only"]["contrast"]) > 0
    for pair in ("yolo", "yolo,yolo", "yolo,consensus", "yolo,nothing"):
        with pytest.raises(Exception, match=r"different models|no model"):
            client.predict(image, 0.05, None, pair, api_name="/compare")


@pytest.fixture(scope="module")
def page(address):
    with open_browser() as browser:
        context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
        page = context.new_page()
        errors = record_errors(page)
        page.goto(f"{address}/?example=wrist-1")
        page.locator('.viewer[data-done="true"]').wait_for(timeout=90_000)
        yield page
        assert errors == []


def test_the_page_has_its_view_and_lets_one_choose_which_two_are_compared(page):
    tabs = page.locator(".views [role=tab]")
    names = ["Compare", "Faster R-CNN", "YOLO", "Contrast", "Agreement"]
    assert tabs.locator(".long").all_inner_texts() == names
    assert page.locator(".pane:visible").count() == 2
    choice = page.get_by_label("The two models that are compared")
    assert len(choice.locator("option").all()) == 3
    choice.select_option("yolo,contrast")
    shown = [each.get_attribute("aria-label") for each in page.locator(".pane:visible").all()]
    assert shown == ["YOLO", "Contrast"]
    assert "Faster R-CNN" not in page.locator("[data-part=verdict]").inner_text()
    assert violations(page, ".viewer") == []


def test_its_marks_are_in_what_is_taken_away(page, tmp_path):
    page.get_by_label("The two models that are compared").select_option("yolo,contrast")
    page.get_by_role("tab", name="Contrast").click()
    with page.expect_download() as taken:
        page.get_by_role("button", name="PNG").click()
    taken.value.save_as(tmp_path / "taken.png")
    marks = page.locator(".pane:visible .mark:visible").count()
    assert (green(Image.open(tmp_path / "taken.png")) > 100) == (marks > 0)
    page.get_by_role("tab", name="Agreement").click()
    with page.expect_download() as taken:
        page.get_by_role("button", name="JSON").click()
    content = json.loads(Path(taken.value.path()).read_text())
    assert [each["model"] for each in content["results"]] == ["yolo", "contrast"]
    assert list(content["agreement"]["only"]) == ["yolo", "contrast"]


def test_the_api_page_offers_it(address, client):
    offered = client.view_api(return_format="dict")["named_endpoints"]["/detect"]["parameters"]
    (model,) = (each for each in offered if each["parameter_name"] == "model")
    assert "'contrast'" in model["python_type"]["type"]


def test_a_batch_on_the_server_has_it(client, tmp_path):
    from gradio_client import handle_file

    answer = client.predict([handle_file(str(WRIST))], api_name="/batch")
    with zipfile.ZipFile(answer["archive"]) as content:
        answers = json.loads(content.read("results.json"))["results"]
    assert [each["model"] for each in answers] == THREE
