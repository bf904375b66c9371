"""Engines: who takes over when one fails, and what importing OpenVINO does not do."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bonefx.detections import Detections
from bonefx.detectors.base import Runtime, Stopwatch
from bonefx.detectors.graph_detector import GraphDetector
from bonefx.errors import EngineError, WeightsError


class Adds:
    """A graph that finds one box, as far to the right as its engine says."""

    nms, image_size, ranks = "none", 8, ((3,), (1,))

    def prepare(self, rgb):
        return [rgb.astype(np.float32)]

    def finish(self, outputs, height, width):
        left = float(outputs[0][0])
        return Detections(np.array([[left, 0, left + 1, 1]]), np.ones(1), np.zeros(1), ("a",))


class Engine:
    def __init__(self, name: str, left: float | None) -> None:
        self.runtime, self.left = Runtime(name, "float32", "here"), left

    def __call__(self, inputs):
        if self.left is None:
            raise EngineError("could not execute a primitive")
        return [np.array([self.left])]


RGB = np.zeros((4, 6, 3), np.uint8)


def test_where_an_engine_fails_another_goes_on_for_good(caplog):
    made = []

    def slow():
        made.append(Engine("slow", 3.0))
        return made[-1]

    detector = GraphDetector(Adds(), Engine("fast", None), fallback=slow)

    def detect(_):
        stopwatch = Stopwatch()
        return detector.detect(RGB, stopwatch), stopwatch.runtime.engine

    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(detect, range(8)))
    assert {engine for _, engine in answers} == {"slow"}
    assert {found.boxes[0, 0] for found, _ in answers} == {3.0}
    assert len(made) == 1
    assert detector.runtime.engine == "slow"
    assert "could not execute a primitive" in caplog.text


def test_without_another_engine_the_failure_is_told():
    with pytest.raises(EngineError, match="primitive"):
        GraphDetector(Adds(), Engine("fast", None)).detect(RGB, Stopwatch())

    def gone():
        raise WeightsError("not the file any more")

    with pytest.raises(WeightsError, match="not the file"):
        GraphDetector(Adds(), Engine("fast", None), fallback=gone).detect(RGB, Stopwatch())


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_an_answer_that_is_not_finite_is_a_failure_and_not_no_detection(number):
    detector = GraphDetector(Adds(), Engine("int8", number), fallback=lambda: Engine("torch", 3.0))
    assert detector.detect(RGB, Stopwatch()).boxes[0, 0] == 3
    detector = GraphDetector(Adds(), Engine("int8", number), fallback=lambda: Engine("torch", number))
    with pytest.raises(EngineError, match="not finite"):
        detector.detect(RGB, Stopwatch())


class Conversion:
    """One that has ended, with this engine or none."""

    def __init__(self, engine) -> None:
        self.made, self.began = engine, 0

    def begin(self):
        self.began += 1

    def ended(self):
        return self.began > 0

    def wait(self):
        self.began += 1

    def engine(self):
        return self.made


@pytest.mark.parametrize(("made", "then"), [(Engine("fast", 1.0), "fast"), (None, "slow")])
def test_the_faster_engine_takes_over_between_two_detections(made, then):
    detector = GraphDetector(Adds(), Engine("slow", 1.0), conversion=Conversion(made))
    runtimes = []
    for _ in range(3):
        stopwatch = Stopwatch()
        detector.detect(RGB, stopwatch)
        runtimes.append(stopwatch.runtime.engine)
    assert runtimes == ["slow", then, then]


def test_openvino_is_imported_without_a_word_to_anybody():
    """In a process of its own, whose every attempt to look up or reach another host is written down."""
    pytest.importorskip("openvino")
    code = """
import sys
tried = []
def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.connect", "socket.sendto", "socket.gethostbyname"):
        tried.append(arguments[:2])
sys.addaudithook(watch)
import pathlib, threading, time
from bonefx.detectors.engines import openvino_engine
from bonefx.detectors import convert
openvino_engine.has_bfloat16()
time.sleep(1)
print([name for name in sys.modules if "telemetry" in name or name.startswith("openvino.tools.ovc")])
print(tried, [thread.name for thread in threading.enumerate()])
import openvino
print(openvino.__name__)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == ["[]", "[] ['MainThread']", "openvino"]
