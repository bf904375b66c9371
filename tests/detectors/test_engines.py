"""Engines: who takes over when one fails, and what importing OpenVINO does not do."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bonefx.detections import Detections
from bonefx.detectors.base import Stopwatch
from bonefx.detectors.graph_detector import GraphDetector
from bonefx.errors import EngineError, WeightsError
from bonefx.results import Runtime
from bonefx.settings import packaged


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


WATCHED = """
import sys
tried = []
def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.connect", "socket.sendto", "socket.gethostbyname"):
        tried.append(arguments[:2])
sys.addaudithook(watch)
import threading, time
%s
time.sleep(1)
print(sorted(name for name in sys.modules if "openvino_telemetry" in name or "openvino.tools.ovc" in name))
print(tried, [thread.name for thread in threading.enumerate() if "elemetry" in thread.name])
"""

QUANTISE = """
import numpy as np, torch
from bonefx.detectors.conversion.convert import Convertible
from bonefx.detectors.conversion.quantise import quantise
network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3))
image = np.random.default_rng(0).random((1, 3, 32, 48), np.float32)
model = quantise(Convertible(None, network, (image,), ("0", "2"), (), ((),), True), [[image]] * 2, ("2",))
assert sum("FakeQuantize" in operation.get_type_name() for operation in model.get_ops())
"""


@pytest.mark.parametrize(
    ("package", "code"),
    [
        ("openvino", "from bonefx.detectors.engines.openvino_engine import has_bfloat16; has_bfloat16()"),
        ("nncf", QUANTISE),
    ],
)
@pytest.mark.slow
def test_nobody_is_told_that_openvino_or_nncf_is_used(package, code):
    """In a process of its own, whose every attempt to look up or reach another host is written down."""
    pytest.importorskip("openvino")
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    said = subprocess.run(
        [sys.executable, "-c", WATCHED % code],
        capture_output=True,
        text=True,
        check=True,
        env={name: value for name, value in os.environ.items() if "PYTEST" not in name},  # NNCF looks
    )
    assert said.stdout.splitlines()[-2:] == ["[]", "[] []"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],  # the process was killed, or the disk full
        lambda content: bytes(
            byte ^ (place % 500 == 0) for place, byte in enumerate(content)
        ),  # flipped bits
        lambda content: b"",
    ],
)
def test_what_openvino_has_compiled_may_be_damaged(tmp_path, damage):
    pytest.importorskip("openvino")
    from bonefx.detectors.engines.openvino_engine import OpenVINOEngine

    graph = packaged("bundled") / "yolo26n_512.float.xml"
    image = np.random.default_rng(0).random((1, 3, 64, 96), np.float32)

    def compute():
        (found,) = OpenVINOEngine(graph, "float32", ((4,), (3,)), tmp_path)([image])
        return found

    expected = compute()
    (blob,) = tmp_path.glob("*.blob")
    np.testing.assert_array_equal(compute(), expected)
    blob.chmod(0o600)
    blob.write_bytes(damage(blob.read_bytes()))
    np.testing.assert_allclose(compute(), expected, rtol=1e-6)


def test_a_graph_of_another_kind_is_an_error_of_the_engine():
    pytest.importorskip("openvino")
    from bonefx.detectors.engines.openvino_engine import OpenVINOEngine

    graph = packaged("bundled") / "yolo26n_512.float.xml"
    with pytest.raises(EngineError, match="another kind"):
        OpenVINOEngine(graph, "float32", ((4, 1), (2, 1, 1)), None)
    with pytest.raises(EngineError, match="cannot load"):
        OpenVINOEngine(graph.with_suffix(".json"), "float32", ((4,), (3,)), None)
