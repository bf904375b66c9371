"""The programmer's way in: gradio_client and plain HTTP, against the running app."""

from __future__ import annotations

import json
import threading
import urllib.request
from pathlib import Path

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from bonefx import agreement, inference
from bonefx.detections import Detections
from bonefx.detectors import MODELS, Registry
from bonefx.evaluation import report
from bonefx.inference import CHOICES
from bonefx.settings import Settings, packaged
from bonefx.ui.api import add_endpoints
from bonefx.ui.metrics.store import MetricsStore
from bonefx.ui.operating import calibration_in
from tests.browser import serve


@pytest.fixture(scope="module")
def client(app_address) -> Client:
    return Client(app_address, verbose=False)


@pytest.mark.slow
def test_endpoints_are_these_and_documented(client):
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert {"/detect", "/compare", "/models", "/metrics"} <= set(named)
    assert not [name for name in named if name.startswith("/_") or "download" in name]
    detect = {parameter["parameter_name"]: parameter for parameter in named["/detect"]["parameters"]}
    assert list(detect) == ["image", "model", "threshold", "fp_per_image"]
    assert detect["model"]["parameter_default"] == "yolo"
    assert detect["threshold"]["parameter_has_default"]
    assert detect["fp_per_image"]["parameter_has_default"]
    compare = [parameter["parameter_name"] for parameter in named["/compare"]["parameters"]]
    assert compare == ["image", "threshold", "fp_per_image", "pair"]
    assert "not a medical device" in named["/detect"]["description"]


def test_the_api_page_has_our_words_and_a_radiograph_as_its_sample(app_address):
    named = json.load(urllib.request.urlopen(f"{app_address}/gradio_api/info"))["named_endpoints"]
    parameters = [
        {"of": name, **each}
        for name in ("/detect", "/compare", "/batch")
        for each in named[name]["parameters"]
    ]
    assert len(parameters) == 12
    words = {(each["of"], each["parameter_name"]): each["python_type"]["description"] for each in parameters}
    assert words["/detect", "model"].startswith('"yolo", "faster-rcnn", or "consensus" of both')
    for (_, name), said in words.items():
        assert "FileData" not in said
        assert {
            "image": "at most 64 MB and 50 megapixels",
            "files": "at most 200 images, and 512 MB",
            "model": '"yolo" if left out',
            "threshold": "from 0 to 1. Left out it is 0.25",
            "fp_per_image": "above 0 and up to 100",
            "pair": "a comma between",
            "dicom": "a structured report",
        }[name] in said
    assert named["/detect"]["parameters"][1]["type"]["enum"] == list(CHOICES)
    sample = f"{app_address}/examples/wrist-1.png"
    for name in ("/detect", "/compare", "/batch"):
        snippets = named[name]["code_snippets"]
        assert all(sample in snippets[language] for language in ("python", "javascript", "cli")), name
        assert "sample_file" not in str(snippets)
    # Where they begin is said, as the page begins elsewhere.
    assert "The page begins at 1 false positive per image" in words["/compare", "threshold"]


def test_the_sample_of_the_api_page_can_be_called_as_it_is(client, app_address):
    result = client.predict(image=handle_file(f"{app_address}/examples/wrist-1.png"), api_name="/detect")
    assert result["image"] == "wrist-1.png"
    assert result["detections"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["YOLO", " Faster-RCNN ", "Consensus"])
def test_a_model_s_name_in_any_case(client, pictures, name):
    result = client.predict(image=handle_file(pictures[0]), model=name, api_name="/detect")
    assert result["model"] == name.strip().lower()


@pytest.mark.parametrize("model", MODELS)
def test_detect(client, model):
    file = packaged("examples") / "humerus-1.png"
    result = client.predict(image=handle_file(str(file)), model=model, threshold=0.0, api_name="/detect")
    width, height = Image.open(file).size
    assert (result["schema_version"], result["model"]) == (1, model)
    assert (result["image"], result["width"], result["height"]) == (file.name, width, height)
    assert result["weights"]["source"] == "bundled"
    assert result["operating_point"] is None
    assert result["detections"]
    for record in result["detections"]:
        box = record["box"]
        assert 0 <= box["x1"] <= box["x2"] <= width
        assert 0 <= box["y1"] <= box["y2"] <= height


def test_the_consensus_is_a_model_too(client):
    file = handle_file(str(packaged("examples") / "humerus-1.png"))
    result = client.predict(image=file, model="consensus", threshold=0.0, api_name="/detect")
    assert result["weights"] is None
    assert [member["model"] for member in result["members"]] == list(MODELS)
    assert result["detections"]


def test_at_one_price_each_model_has_its_own_score(client):
    file = handle_file(str(packaged("examples") / "humerus-1.png"))
    answer = client.predict(image=file, fp_per_image=2, api_name="/compare")
    for result in answer["results"]:
        name = {"faster-rcnn": "metrics_frcnn.json", "yolo": "metrics_yolo.json"}[result["model"]]
        measured = report.read(packaged("precomputed_metrics") / name)
        assert result["threshold"] == report.threshold_for(measured, 2.0)
        point = report.operating_point(measured, 2.0)
        assert result["operating_point"] == {
            "fp_per_image": 2.0,
            "sensitivity": point["sensitivity"],
            "interval": point["interval"],
        }
        assert all(each["score"] >= result["threshold"] - 1e-6 for each in result["detections"])
        calibration = calibration_in(measured)
        assert [each["share"] for each in result["detections"]] == pytest.approx(
            [float(calibration.probability(each["score"])) for each in result["detections"]], abs=1e-4
        )
    sides = [Detections.from_records(result["detections"]) for result in answer["results"]]
    assert (
        answer["agreement"]["only"] == agreement.to_record("faster-rcnn", sides[0], "yolo", sides[1])["only"]
    )


@pytest.mark.slow
def test_without_metrics_of_the_weights_a_price_is_refused(pictures, tmp_path):
    settings = Settings(hub=False)
    with gr.Blocks() as blocks:
        add_endpoints(Registry(settings), MetricsStore(settings, folder=tmp_path))
    with serve(blocks) as address:
        own = Client(address, verbose=False)
        with pytest.raises(AppError, match=r"No metrics belong to the weights of YOLO.*Send a threshold"):
            own.predict(image=handle_file(pictures[0]), fp_per_image=1, api_name="/detect")


def test_compare_answers_for_every_model_at_the_default_threshold(client, pictures):
    answer = client.predict(image=handle_file(pictures[0]), api_name="/compare")
    assert answer["schema_version"] == 1
    assert [result["model"] for result in answer["results"]] == list(MODELS)
    assert {result["threshold"] for result in answer["results"]} == {0.25}


def test_compare_tells_where_the_models_agree(client):
    file = handle_file(str(packaged("examples") / "humerus-1.png"))
    answer = client.predict(image=file, threshold=0.001, api_name="/compare")
    rcnn, yolo = (Detections.from_records(result["detections"]) for result in answer["results"])
    found = answer["agreement"]
    expected = agreement.to_record("faster-rcnn", rcnn, "yolo", yolo)
    assert found["only"] == expected["only"]
    for kind in ("both", "other_label"):  # the IoU of rounded boxes differs in the last digit
        pairs = [[(pair["faster-rcnn"], pair["yolo"]) for pair in each[kind]] for each in (found, expected)]
        assert pairs[0] == pairs[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"threshold": 1.5}, "from 0 to 1"),
        ({"threshold": -1}, "from 0 to 1"),
        ({"fp_per_image": 0}, "above 0 and at most 100"),
        ({"fp_per_image": 101}, "above 0 and at most 100"),
        ({"fp_per_image": 1, "threshold": 0.5}, "not both"),
        ({"model": "retinanet"}, "no model"),
        ({"image": None}, "no image"),
    ],
)
def test_wrong_arguments_get_a_sentence(client, pictures, arguments, words):
    sent = {"image": handle_file(pictures[0]), **arguments}
    with pytest.raises(AppError, match=words):
        client.predict(**sent, api_name="/detect")


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7 not an image", b"\x89PNG\r\n\x1a\n cut off"])
def test_a_bad_file_gets_a_sentence(client, tmp_path, content):
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(AppError) as caught:
        client.predict(image=handle_file(str(path)), api_name="/detect")
    assert "Traceback" not in str(caught.value)
    assert len(str(caught.value)) > 20


def test_models_tells_what_is_loaded(client, pictures):
    client.predict(image=handle_file(pictures[0]), api_name="/detect")
    answer = client.predict(api_name="/models")
    yolo = next(model for model in answer["models"] if model["id"] == "yolo")
    assert yolo["loaded"]
    assert yolo["weights"]["source"] == "bundled"
    assert "one-to-many" in yolo["nms"]


def test_metrics_has_a_report_for_each_model(client):
    answer = client.predict(api_name="/metrics")
    assert answer["schema_version"] == 1
    assert answer["reports"]


@pytest.mark.parametrize(
    "values",
    [
        [],
        [None],  # what the JavaScript client sends for values that are left out by position
        [None, None, None],
        ["yolo", 0.0],  # as before there was fp_per_image
        ["yolo", None, 8],
    ],
)
def test_plain_http(app_address, pictures, values):
    """Upload, call and read as the API page says, with nothing but HTTP."""
    boundary = "bonefx-boundary"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    ).encode() + Path(pictures[2]).read_bytes()
    body += f"\r\n--{boundary}--\r\n".encode()
    upload = urllib.request.Request(
        f"{app_address}/gradio_api/upload",
        body,
        {"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    (path,) = json.load(urllib.request.urlopen(upload))
    image = {"path": path, "meta": {"_type": "gradio.FileData"}}
    call = urllib.request.Request(
        f"{app_address}/gradio_api/call/detect",
        json.dumps({"data": [image, *values]}).encode(),
        {"Content-Type": "application/json"},
    )
    event = json.load(urllib.request.urlopen(call))["event_id"]
    answer = urllib.request.urlopen(f"{app_address}/gradio_api/call/detect/{event}").read().decode()
    (result,) = json.loads(answer.split("data: ", 1)[1].splitlines()[0])
    assert (result["width"], result["height"]) == Image.open(pictures[2]).size
    assert result["model"] == "yolo"


@pytest.mark.slow
def test_eight_clients_at_once_each_get_their_own_answer(app_address, pictures):
    answers: dict[int, dict] = {}

    def ask(i: int) -> None:
        own = Client(app_address, verbose=False)
        answers[i] = own.predict(image=handle_file(pictures[i]), threshold=0.0, api_name="/compare")

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    for i, path in enumerate(pictures):
        size = Image.open(path).size
        for result in answers[i]["results"]:
            assert (result["image"], (result["width"], result["height"])) == (Path(path).name, size)


def test_what_zerogpu_says_arrives_as_words(client, pictures, monkeypatch):
    """Its error is a fake: no ZeroGPU can be had here."""

    def refuse(*_):
        raise gr.Error(
            'You have <b>used up</b> your quota. <a href="/join">Join</a>', title="ZeroGPU quota exceeded"
        )

    monkeypatch.setattr(inference, "run", refuse)
    with pytest.raises(AppError) as raised:
        client.predict(handle_file(pictures[0]), api_name="/compare")
    assert str(raised.value) == "ZeroGPU quota exceeded: You have used up your quota. Join"
