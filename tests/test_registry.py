"""The registry: one load whatever the number of requests, and a better source when it comes back."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bonefx import detectors, images, inference
from bonefx.detectors import MODELS, Registry
from bonefx.errors import RequestError, SourceError, WeightsError
from bonefx.settings import Settings, packaged
from bonefx.sources.client import Progress
from tests.hub_server import answer
from tests.loads import load_by

YOLO = packaged("bundled") / MODELS["yolo"].bundled
FASTER_RCNN = packaged("bundled") / MODELS["faster-rcnn"].bundled


@pytest.fixture
def settings(hub, tmp_path) -> Settings:
    return Settings(repo_id="owner/weights", endpoint=hub.url, weights_dir=tmp_path / "weights")


def test_eight_simultaneous_first_requests_load_once(hub, settings, monkeypatch):
    hub.put("owner/weights", {MODELS["yolo"].weights_file(settings): YOLO.read_bytes()})
    loads = []

    def load(weights, settings):
        loads.append(weights.source)
        return real(weights, settings)

    real = load_by(monkeypatch, "yolo", load)
    registry, got = Registry(settings), []
    threads = [threading.Thread(target=lambda: got.append(registry.get("yolo"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["hub"]
    assert len({id(loaded) for loaded in got}) == 1
    assert len(got) == 8
    assert got[0].weights.described().to_record() == {
        "source": "hub",
        "repo": "owner/weights",
        "revision": hub.repos["model", "owner/weights"].head,
        "file": MODELS["yolo"].weights_file(settings),
        "sha256": got[0].weights.sha256,
    }


def test_the_caller_sees_what_it_waits_for(hub, settings):
    hub.put("owner/weights", {MODELS["yolo"].weights_file(settings): YOLO.read_bytes()})
    seen: list[Progress] = []
    Registry(settings).get("yolo", seen.append)
    assert [step.stage for step in seen if step.stage != "downloading"] == ["checking the Hub", "loading"]
    assert max(step.done for step in seen) == YOLO.stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no checkpoint at all", "damaged or is not a PyTorch checkpoint"),
        (
            YOLO.read_bytes()[:50_000],
            "damaged or is not a PyTorch checkpoint",
        ),  # cut off when it was uploaded
    ],
)
def test_a_file_that_is_no_checkpoint_means_the_next_source(hub, settings, content, words):
    hub.put("owner/weights", {MODELS["yolo"].weights_file(settings): content})
    loaded = Registry(settings).get("yolo")
    assert loaded.weights.source == "bundled"
    assert words in loaded.notes[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "error",
    [
        WeightsError("it is none"),
        RuntimeError("torch"),
        TypeError(),
        OverflowError(),
        RecursionError(),
        MemoryError(),
    ],
)
def test_whatever_a_file_brings_about_means_the_next_source(hub, settings, monkeypatch, error):
    hub.put("owner/weights", {MODELS["yolo"].weights_file(settings): b"hostile"})

    def load(weights, settings):
        if weights.source == "hub":
            raise error
        return real(weights, settings)

    real = load_by(monkeypatch, "yolo", load)
    loaded = Registry(settings).get("yolo")
    assert loaded.weights.source == "bundled"
    words = "it is none" if isinstance(error, WeightsError) else f"cannot be loaded ({type(error).__name__})"
    assert words in loaded.notes[0]


def test_who_no_longer_waits_is_no_problem_of_the_file(hub, settings, monkeypatch):
    hub.put("owner/weights", {MODELS["yolo"].weights_file(settings): YOLO.read_bytes()})
    registry = Registry(settings)

    def leave(step: Progress) -> None:
        if step.done == 7:
            raise RuntimeError("gone")

    def load(found, settings, progress):  # as it brings graphs from the Hub
        progress(Progress("downloading", 7))

    monkeypatch.setattr(detectors.loading, "fetch_graphs", load)
    with pytest.raises(RuntimeError, match="gone"):
        registry.get("yolo", leave)
    found = registry.get("yolo")
    assert (found.weights.source, found.notes) == ("hub", ())


def hostile_yolo(path: Path) -> None:
    """A whole checkpoint whose first weight is no number."""
    content = torch.load(YOLO, weights_only=False)
    next(content["model"].parameters()).detach().fill_(float("nan"))
    torch.save(content, path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        hostile_yolo,
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.write_bytes(FASTER_RCNN.read_bytes()),  # the other model's
        lambda path: torch.save({"model": torch.nn.Linear(1, 1)}, path),
    ],
)
def test_a_bad_file_of_one_model_takes_no_answer_from_either(tmp_path, make):
    settings = Settings(hub=False, weights_dir=tmp_path)
    make(tmp_path / MODELS["yolo"].weights_file(settings))
    phantom = images.read(packaged("examples") / "wrist-1.png")
    outcomes = inference.run(
        images.from_array(phantom.rgb[::4, ::4], "arm.png"), [*MODELS], Registry(settings)
    )
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert [outcome.weights.source for outcome in outcomes] == ["bundled", "bundled"]
    assert MODELS["yolo"].weights_file(settings) in outcomes[1].notes[0]


def test_a_model_without_any_file_leaves_the_other_its_result(tmp_path, monkeypatch):
    def load(weights, settings):
        raise MemoryError

    load_by(monkeypatch, "faster-rcnn", load)
    phantom = images.read(packaged("examples") / "wrist-1.png")
    settings = Settings(hub=False, weights_dir=tmp_path)
    radiograph = images.from_array(phantom.rgb[::4, ::4], "arm.png")
    failed, found = inference.run(radiograph, [*MODELS], Registry(settings))
    assert "cannot be loaded (MemoryError)" in failed.error
    assert found.error is None
    assert len(found.detections) > 0


def test_a_better_source_is_taken_when_it_comes_back(hub, settings):
    hub.put("owner/weights", {MODELS["yolo"].weights_file(settings): YOLO.read_bytes()})
    hub.trouble(answer(503))
    registry = Registry(settings)
    first = registry.get("yolo")
    assert first.weights.source == "bundled"
    assert first.notes
    hub.recover()
    assert registry.get("yolo") is first  # not yet: the failure is remembered
    registry.check_again()
    second = registry.get("yolo")
    assert (second.weights.source, second.notes) == ("hub", ())
    assert second.detector is first.detector  # the same bytes need no second load


def test_a_local_file_comes_first(hub, settings):
    hub.put("owner/weights", {MODELS["yolo"].weights_file(settings): b"never asked for"})
    settings.weights_dir.mkdir()
    shutil.copy(YOLO, settings.weights_dir / MODELS["yolo"].weights_file(settings))
    assert Registry(settings).get("yolo").weights.source == "local"
    assert hub.requests == []


def test_no_usable_source_is_an_error_with_each_reason(hub, settings, monkeypatch):
    monkeypatch.setitem(detectors.MODELS, "yolo", replace(MODELS["yolo"], bundled="not_there.pt"))
    with pytest.raises(SourceError, match=r"No weights of YOLO.*owner/weights.*not_there\.pt"):
        Registry(settings).get("yolo")


def test_an_unknown_model_is_named_with_the_known_ones(settings):
    with pytest.raises(RequestError, match=r"'retinanet'.*faster-rcnn, yolo"):
        Registry(settings).get("retinanet")
