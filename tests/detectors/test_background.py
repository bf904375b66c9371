"""Weights without a graph: torch answers first, a graph is made in the background and takes over."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from bonefx import images, matching
from bonefx.detectors import Registry
from bonefx.detectors.base import Stopwatch
from bonefx.detectors.conversion.background import Request
from bonefx.settings import Settings, packaged
from bonefx.sources.hub import local_weights

pytestmark = pytest.mark.slow

pytest.importorskip("openvino")

RGB = images.read(packaged("examples") / "wrist-1.png").rgb


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A folder with weights that no graph lies beside."""
    folder = tmp_path_factory.mktemp("weights")
    shutil.copy(packaged("bundled") / "yolo26n_512.pt", folder / "best_yolo26m_640.pt")
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """One cache for all tests of this file: the first that needs the graph fills it."""
    return tmp_path_factory.mktemp("cache")


def loaded(weights: Path, cache: Path, **changes):
    settings = Settings(hub=False, weights_dir=weights, cache_dir=cache, **changes)
    return Registry(settings).get("yolo").detector


def detect(detector):
    stopwatch = Stopwatch()
    found = detector.detect(RGB, stopwatch)
    assert {"preprocess", "network", "postprocess"} <= set(stopwatch.ms)
    return found, stopwatch.runtime


def test_torch_answers_first_and_openvino_takes_over(weights, cache):
    fresh = loaded(weights, cache, precision="float32")
    expected, first = detect(fresh)
    assert first.engine.startswith("torch")
    fresh.finish_preparing()
    found, then = detect(fresh)
    assert then == fresh.runtime
    assert then.engine.startswith("openvino 20")
    assert then.precision == "float32"
    assert np.diag(matching.iou_matrix(expected.boxes, found.boxes)).min() > 0.999
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    # From then on the graph is there at the start.
    assert loaded(weights, cache, precision="float32").runtime == then


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="the system has no idle priority")
def test_the_background_takes_idle_time_alone_until_somebody_waits(weights, tmp_path):
    fresh = loaded(weights, tmp_path)
    detect(fresh)
    deadline = time.monotonic() + 60
    while not any(os.sched_getscheduler(pid) == os.SCHED_IDLE for pid in converters()):
        assert time.monotonic() < deadline, "no process at idle priority converts"
        time.sleep(0.05)
    fresh.finish_preparing()
    assert fresh.runtime.engine.startswith("openvino")
    assert converters() == []


def first_converters(parent: int) -> list[int]:
    """The processes that convert for another, as soon as there are any."""
    deadline = time.monotonic() + 60
    while not (found := converters(parent)):
        assert time.monotonic() < deadline, "nothing converts"
        time.sleep(0.01)
    return found


def kill_first_converter() -> None:
    for pid in first_converters(os.getpid()):
        os.kill(pid, signal.SIGKILL)


def test_a_conversion_that_is_killed_leaves_torch_and_nothing_on_disk(weights, tmp_path, caplog):
    fresh = loaded(weights, tmp_path)
    killer = threading.Thread(target=kill_first_converter)
    killer.start()
    detect(fresh)
    killer.join()
    while converters():
        time.sleep(0.01)
    with caplog.at_level(logging.WARNING, "bonefx.detectors.conversion.background"):
        assert detect(fresh)[1].engine.startswith("torch")
        assert detect(fresh)[1].engine.startswith("torch")
    (record,) = caplog.records
    assert "torch goes on with best_yolo26m_640.pt" in record.getMessage()
    assert not list(tmp_path.rglob("*.xml"))


def test_weights_that_changed_since_they_were_loaded_are_not_converted(weights, tmp_path, caplog):
    (tmp_path / "weights").mkdir()
    file = shutil.copy(weights / "best_yolo26m_640.pt", tmp_path / "weights")
    fresh = loaded(tmp_path / "weights", tmp_path / "cache")
    Path(file).write_bytes(b"another file")
    with caplog.at_level(logging.WARNING, "bonefx.detectors.conversion.background"):
        fresh.finish_preparing()
    assert "not the file any more" in caplog.text
    assert fresh.runtime.engine.startswith("torch")


def test_where_no_process_can_be_started_torch_goes_on(weights, tmp_path, caplog, monkeypatch):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    fresh = loaded(weights, tmp_path)
    monkeypatch.setattr("tempfile.TemporaryFile", fail)
    with caplog.at_level(logging.WARNING, "bonefx.detectors.conversion.background"):
        assert [detect(fresh)[1].engine[:5] for _ in range(3)] == ["torch"] * 3
        fresh.finish_preparing()
    (record,) = caplog.records
    assert "No space left" in record.getMessage()


def test_the_other_process_ends_with_this_one(weights, tmp_path):
    """As a program's end does: its pipes are closed, whatever ended it."""
    request = Request(
        "bonefx.detectors.yolo", local_weights(weights / "best_yolo26m_640.pt"), tmp_path, "float32"
    )
    assert Request.from_json(request.to_json()) == request
    process = subprocess.Popen(
        [sys.executable, "-m", "bonefx.detectors.conversion.process", "now"], stdin=subprocess.PIPE
    )
    process.stdin.write(f"{request.to_json()}\n".encode())
    process.stdin.close()
    assert process.wait(60) == 1
    assert not list(tmp_path.rglob("*.xml"))


def test_sigterm_ends_a_program_that_converts_and_its_converter(weights, tmp_path):
    code = f"""
import pathlib, time
from bonefx.shutdown import end_on_signals
end_on_signals()
from bonefx import images
from bonefx.detectors import Registry
from bonefx.detectors.base import Stopwatch
from bonefx.settings import Settings, packaged
folder, cache = pathlib.Path({str(weights)!r}), pathlib.Path({str(tmp_path)!r})
detector = Registry(Settings(hub=False, weights_dir=folder, cache_dir=cache)).get("yolo").detector
while True:
    detector.detect(images.read(packaged("examples") / "wrist-1.png").rgb, Stopwatch())
"""
    with subprocess.Popen([sys.executable, "-c", code]) as program:
        children = first_converters(program.pid)
        program.send_signal(signal.SIGTERM)
        assert program.wait(30) == 0
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < deadline, "the converter lives on"
        time.sleep(0.05)
    assert children


def converters(parent: int = os.getpid()) -> list[int]:
    """The processes that convert for this one, or for another."""
    children = Path(f"/proc/{parent}/task").glob("*/children")
    pids = [int(pid) for path in children for pid in path.read_text().split()]
    ours = b"bonefx.detectors.conversion.process"
    return [pid for pid in pids if ours in Path(f"/proc/{pid}/cmdline").read_bytes()]
