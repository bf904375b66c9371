"""Processes that are measured: they answer, they fail in words, and they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from bonefx.benchmark.processes import Program, Worker, environment
from bonefx.errors import BoneFXError


@pytest.fixture
def surroundings(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return environment("reference", tmp_path / "weights", tmp_path / "cache")


def gone(pid: int) -> bool:
    """Whether a process ends within seconds; a zombie has ended."""
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("side", "caller", "expected"),
    [
        ("reference", {}, ("torch", "float32", "torchvision")),
        ("ours", {}, ("auto", None, "torchvision")),
        # ours without bfloat16
        ("ours", {"BONEFX_PRECISION": "float32"}, ("auto", "float32", "torchvision")),
        ("reference", {"BONEFX_PRECISION": "auto"}, ("torch", "float32", "torchvision")),
        # Detectron2 itself as the reference, and only there
        ("reference", {"BONEFX_FRCNN_ENGINE": "detectron2"}, ("torch", "float32", "detectron2")),
        ("ours", {"BONEFX_FRCNN_ENGINE": "detectron2"}, ("auto", None, "torchvision")),
        # what would make the two sides alike
        ("ours", {"BONEFX_RUNTIME": "torch"}, ("auto", None, "torchvision")),
    ],
)
def test_what_tells_the_sides_apart(tmp_path, monkeypatch, side, caller, expected):
    for name, value in {**caller, "HF_FILENAME_YOLO": "mine.pt", "HF_TOKEN": "secret"}.items():
        monkeypatch.setenv(name, value)
    made = environment(side, tmp_path, tmp_path)
    names = ("BONEFX_RUNTIME", "BONEFX_PRECISION", "BONEFX_FRCNN_ENGINE")
    assert tuple(made.get(name) for name in names) == expected
    assert made["BONEFX_HUB"] == "off"
    assert not {"HF_FILENAME_YOLO", "HF_TOKEN"} & set(made)


def test_memory_is_the_kernels(surroundings):
    with Worker("reference", surroundings) as worker:
        found = worker.ask("memory")
    assert 10 < found["resident"] <= found["peak"] < 1000


def test_a_failure_is_a_sentence_and_the_worker_goes_on(surroundings):
    with Worker("reference", surroundings) as worker:
        with pytest.raises(BoneFXError, match=r"reference side failed at 'detect': There is no model 'x'"):
            worker.ask("detect", model="x", files=[])
        assert worker.ask("memory")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "import sys; print('loading', file=sys.stderr); sys.exit('no room')",
            "ended with status 1: no room",
        ),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "SIGKILL, as the system does when memory",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGABRT)", "was ended by SIGABRT: it said nothing"),
    ],
)
def test_a_process_that_dies_tells_its_reason(code, words):
    with Program("model", ["-c", code], dict(os.environ)) as program:
        with pytest.raises(BoneFXError, match="The model") as caught:
            program.line("a request")
        assert words in str(caught.value)


def test_a_process_that_hangs_is_ended():
    with Program("model", ["-c", "import time; time.sleep(60)"], dict(os.environ)) as program:
        with pytest.raises(BoneFXError, match=r"gave no answer in 0\.2 seconds"):
            program.line(seconds=0.2)
        assert not program.running()


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="the test reads /proc")
def test_what_a_process_started_ends_with_it():
    code = "import subprocess, sys, time\n"
    code += "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    code += "print(child.pid, flush=True); time.sleep(60)"
    with Program("model", ["-c", code], dict(os.environ)) as program:
        child = int(program.line())
    assert gone(child)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="the test reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_stops_it_stops_the_workers(number):
    command = [sys.executable, "-m", "bonefx", "benchmark"]
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as benchmark:
        assert "converting" in benchmark.stderr.readline()
        workers = []
        while not workers:
            time.sleep(0.05)
            with open(f"/proc/{benchmark.pid}/task/{benchmark.pid}/children", encoding="utf-8") as file:
                workers = [int(pid) for pid in file.read().split()]
        benchmark.send_signal(number)
        said = benchmark.stderr.read()
        assert benchmark.wait() == 130
    assert "Stopped." in said
    assert "Traceback" not in said
    assert all(gone(pid) for pid in workers)
