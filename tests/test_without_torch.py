"""On a processor the weights that travel with the code answer without torch, installed or not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from bonefx import images, inference
from bonefx.detectors import MODELS, Registry, graphs
from bonefx.detectors.loading import TORCH_COMMAND
from bonefx.settings import Settings, packaged
from tests.loads import load_by

BUNDLED = packaged("bundled")
HEAVY = ("torch", "torchvision", "ultralytics", "nncf", "openvino_telemetry", "gradio")


def said(code: str) -> dict:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


ANSWER = """
import json, logging, os, signal, sys, threading
import numpy as np
def state():
    root = logging.getLogger()
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    return dict(os.environ), handlers, root.handlers[:], root.level, str(np.array([1 / 3]))
before = state()
import bonefx
results = [bonefx.detect("%s", model=model, threshold=0.001) for model in ("yolo", "faster-rcnn")]
print(json.dumps({
    "engines": [result["runtime"]["engine"] for result in results],
    "found": [len(result["detections"]) for result in results],
    "imported": [name for name in %r if name in sys.modules],
    "unchanged": state() == before,
    "threads": [thread.name for thread in threading.enumerate() if not thread.daemon],
}))
""" % (packaged("examples") / "wrist-1.png", HEAVY)  # noqa: UP031


@pytest.mark.slow
def test_a_detection_imports_nothing_heavy_and_changes_nothing_in_the_process():
    answer = said(f"import os\nos.environ['BONEFX_HUB'] = 'off'\n{ANSWER}")
    assert all(engine.startswith("openvino 20") for engine in answer["engines"])
    assert all(found > 0 for found in answer["found"])
    assert answer["imported"] == []
    assert answer["unchanged"]
    assert answer["threads"] == ["MainThread"]


@pytest.mark.parametrize("model", MODELS)
def test_graphs_travel_with_the_bundled_weights(model):
    bundled = BUNDLED / MODELS[model].bundled
    cards = [graphs.card_path(bundled.parent, bundled.stem, form) for form in graphs.FORMS]
    assert cards[0].exists()
    for card in (card for card in cards if card.exists()):
        assert graphs.Card.from_json(card.read_text()).checks


def test_all_that_travels_is_at_most_50_megabytes_of_graphs():
    files = [file for form in graphs.FORMS for file in BUNDLED.glob(f"*.{form}.*")]
    assert sum(file.stat().st_size for file in files) <= 50_000_000


@pytest.fixture
def no_torch(monkeypatch):
    """As if it were not installed."""
    for name in ("torch", "torchvision", "ultralytics"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def settings(hub, tmp_path) -> Settings:
    return Settings(repo_id="owner/weights", endpoint=hub.url, weights_dir=tmp_path / "weights")


def beside(name: str) -> dict[str, bytes]:
    """The bundled YOLO's graph under the name of other weights, as the Hub would have it."""
    made = graphs.files(graphs.card_path(BUNDLED, "yolo26n_512", "float"))
    return {file.name.replace("yolo26n_512", name): file.read_bytes() for file in made}


def test_weights_on_the_hub_without_a_graph_are_not_downloaded(hub, settings, no_torch):
    hub.put("owner/weights", {MODELS["yolo"].weights_file(settings): b"x" * 1000})
    loaded = Registry(settings).get("yolo")
    assert loaded.weights.source == "bundled"
    (note,) = loaded.notes
    assert TORCH_COMMAND in note
    assert hub.requests  # for a card
    assert not any(request.startswith("GET") for request in hub.requests)


@pytest.mark.slow
def test_weights_on_the_hub_with_a_graph_answer(hub, settings, no_torch):
    stem = MODELS["yolo"].weights_file(settings).removesuffix(".pt")
    weights = (BUNDLED / "yolo26n_512.pt").read_bytes()
    hub.put("owner/weights", {MODELS["yolo"].weights_file(settings): weights, **beside(stem)})
    loaded = Registry(settings).get("yolo")
    assert (loaded.weights.source, loaded.notes) == ("hub", ())
    assert loaded.detector.runtime.engine.startswith("openvino")


@pytest.mark.slow
def test_a_graph_of_other_weights_on_the_hub_is_not_used(hub, settings, no_torch):
    stem = MODELS["yolo"].weights_file(settings).removesuffix(".pt")
    hub.put("owner/weights", {MODELS["yolo"].weights_file(settings): b"other weights", **beside(stem)})
    loaded = Registry(settings).get("yolo")
    assert loaded.weights.source == "bundled"
    assert TORCH_COMMAND in loaded.notes[0]


def test_a_local_file_without_a_graph_is_passed_over_with_the_command(tmp_path, no_torch):
    settings = Settings(hub=False, weights_dir=tmp_path)
    shutil.copy(BUNDLED / "yolo26n_512.pt", tmp_path / MODELS["yolo"].weights_file(settings))
    loaded = Registry(settings).get("yolo")
    assert loaded.weights.source == "bundled"
    assert any(TORCH_COMMAND in note for note in loaded.notes)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "expected"), [("float32", "float32"), ("auto", None)])
def test_the_precision_that_is_asked_for_computes(precision, expected):
    registry = Registry(Settings(hub=False, precision=precision))
    (outcome,) = inference.run(images.read(packaged("examples") / "wrist-1.png"), ["yolo"], registry)
    assert outcome.error is None
    assert outcome.runtime.precision == (expected or registry.get("yolo").detector.runtime.precision)
    assert outcome.runtime.precision in ("int8", "bfloat16", "float32")


# ZeroGPU, with a GPU that is refused in place of spaces' own


class Refused(Exception):
    """As gradio's error: what is said to the visitor is its `message`, with a link in it."""

    message = 'You have exceeded your quota. <a href="https://huggingface.co/join">Create an account</a>'


@pytest.fixture
def zero_gpu(monkeypatch):
    """What a Space on ZeroGPU has, and how often it asked for a GPU."""
    asked = []

    def refuse(rgbs, blanks, registry):
        asked.append(tuple(each.model for (each,) in blanks))
        raise Refused

    monkeypatch.setattr(inference, "ZERO_GPU", True)
    monkeypatch.setattr(inference, "_compute_on_gpu", refuse, raising=False)
    return asked


@pytest.mark.slow
def test_without_a_gpu_the_processor_answers_and_says_so(zero_gpu):
    registry = Registry(Settings(hub=False, runtime="torch"))
    outcomes = inference.run(images.read(packaged("examples") / "wrist-1.png"), list(MODELS), registry)
    assert zero_gpu == [tuple(MODELS)]
    for outcome in outcomes:
        assert outcome.error is None
        assert outcome.runtime.engine.startswith("openvino")
        assert outcome.notes[-1] == (
            "No GPU was given, so the processor answered. You have exceeded your quota. Create an account"
        )
        assert registry.get(outcome.model).detector.runtime.engine.startswith("torch")
    assert registry.on_cpu("yolo") is registry.on_cpu("yolo")


@pytest.mark.slow
def test_one_models_failure_on_the_processor_is_its_own(zero_gpu, monkeypatch):
    registry = Registry(Settings(hub=False, runtime="torch"))
    for model in MODELS:
        registry.get(model)

    def fail(weights, settings):
        raise RuntimeError("a traceback that nobody should see")

    load_by(monkeypatch, "yolo", fail)
    rcnn, yolo = inference.run(
        images.read(packaged("examples") / "wrist-1.png"), ["faster-rcnn", "yolo"], registry
    )
    assert rcnn.error is None
    assert "unexpected reason" in yolo.error
