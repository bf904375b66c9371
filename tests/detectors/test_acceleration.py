"""The fast runtime of a CPU: the same boxes, never in the way of a detection, kept on disk."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bonefx import images, inference, matching
from bonefx.detectors import MODELS, Registry, conversion_cache
from bonefx.detectors.acceleration import Acceleration
from bonefx.detectors.base import Stopwatch
from bonefx.detectors.conversion_cache import Conversion
from bonefx.settings import Settings, packaged

pytest.importorskip("openvino")

EXAMPLES = sorted(packaged("examples").glob("*.png"))[::4]


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """One cache for all tests of this file: the first that needs a conversion fills it."""
    return tmp_path_factory.mktemp("converted")


def settings(cache: Path, **changes) -> Settings:
    return Settings(hub=False, runtime="auto", cache_dir=cache, **changes)


def detector(model: str, chosen: Settings):
    return Registry(chosen).get(model).detector


def detect(of, rgb: np.ndarray):
    stopwatch = Stopwatch()
    found = of.detect(rgb, stopwatch)
    assert {"preprocess", "network", "postprocess"} <= set(stopwatch.ms)
    return found, stopwatch.runtime


@pytest.fixture(scope="module")
def radiographs() -> list[np.ndarray]:
    return [images.read(path).rgb for path in EXAMPLES]


@pytest.mark.parametrize("model", MODELS)
def test_the_first_detection_is_torchs_and_openvino_takes_over(model, cache, radiographs):
    fresh = detector(model, settings(cache, precision="float32"))
    _, first = detect(fresh, radiographs[0])
    assert first.engine.startswith(("torch", "ultralytics"))
    fresh.settle()
    _, then = detect(fresh, radiographs[0])
    assert then == fresh.runtime
    assert then.engine.startswith("openvino 20")
    assert then.precision == "float32"
    # After a start with this cache nothing is left to torch.
    assert detector(model, settings(cache, precision="float32")).runtime == then


@pytest.mark.parametrize(
    ("precision", "least_share", "score_step"),
    [
        ("float32", 1.0, 1e-4),
        # Where it is no native format this repeats the row above. Proposals that were cut at 1000 or fell to
        # NMS by a hair are others then.
        ("auto", 0.85, 0.05),
    ],
)
@pytest.mark.parametrize("model", MODELS)
def test_the_boxes_are_torchs(model, precision, least_share, score_step, cache, radiographs):
    """Boxes with a score above 0.05 are found again: same class, IoU at least 0.9, about the same score."""
    slow = detector(model, Settings(hub=False))
    fast = detector(model, settings(cache, precision=precision))
    fast.settle()
    found_again = []
    for rgb in radiographs:
        (expected, by_torch), (found, by_openvino) = detect(slow, rgb), detect(fast, rgb)
        assert by_torch != by_openvino
        iou = matching.iou_matrix(expected.boxes, found.boxes)
        close = np.abs(expected.scores[:, None] - found.scores[None]) <= score_step
        same = (iou >= 0.9) & close & (expected.class_ids[:, None] == found.class_ids[None])
        found_again += same[expected.scores > 0.05].any(axis=1).tolist()
    assert found_again
    assert np.mean(found_again) >= least_share


@pytest.mark.parametrize("model", MODELS)
def test_threads_do_not_mix_images_of_different_shapes(model, cache, radiographs):
    fast = detector(model, settings(cache, precision="float32"))
    fast.settle()
    pictures = [radiographs[0][: 500 - 90 * i] for i in range(4)]
    alone = [detect(fast, rgb)[0] for rgb in pictures]
    together = {}

    def work(i: int) -> None:
        together[i] = detect(fast, pictures[i])[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, expected in enumerate(alone):
        np.testing.assert_allclose(together[i].boxes, expected.boxes, atol=0.05)
        np.testing.assert_allclose(together[i].scores, expected.scores, atol=1e-4)


# Shapes that are prepared before an image has them


@pytest.mark.parametrize("model", MODELS)
def test_usual_images_have_the_shapes_that_are_prepared(model, cache, monkeypatch):
    from bonefx.detectors.openvino_network import OpenVINONetwork

    prepared, seen = [], []
    prepare, compute = OpenVINONetwork.prepare_shapes, OpenVINONetwork.__call__

    def note_what_is_left(network, idle):
        prepared.extend(map(tuple, network._unprepared))
        prepare(network, idle)

    def note_what_comes(network, pixels):
        seen.append(pixels.shape[2:])
        return compute(network, pixels)

    monkeypatch.setattr(OpenVINONetwork, "prepare_shapes", note_what_is_left)
    monkeypatch.setattr(OpenVINONetwork, "__call__", note_what_comes)
    fast = detector(model, settings(cache))
    fast.settle()
    for height, width in [(640, 640), (2000, 1001), (300, 599), (813, 601), (999, 1000)]:
        detect(fast, np.zeros((height, width, 3), np.uint8))
    assert len(set(seen)) == 4
    assert set(seen) <= set(prepared)
    assert prepared[0] == max(seen)  # whose memory is enough for the others
    # 448 px by 224 and so on, by multiples of the stride, to 448, and the same lying.
    assert len(set(prepared)) == {"faster-rcnn": 29, "yolo": 15}[model]


@pytest.fixture
def network(cache):
    """A converted network none of whose shapes is prepared yet."""
    from bonefx.detectors.openvino_network import OpenVINONetwork

    detector("yolo", settings(cache)).settle()
    smallest = min(cache.iterdir(), key=lambda folder: (folder / "network.bin").stat().st_size)
    return OpenVINONetwork(smallest, "auto", threads=0)


def test_shapes_are_prepared_in_idle_time(network):
    left = len(network._unprepared)
    thread = threading.Thread(target=network.prepare_shapes, args=(True,))
    thread.start()
    end = time.monotonic() + 1.5
    while time.monotonic() < end:  # somebody computes
        pass
    assert len(network._unprepared) >= left - 1  # the thread may have been quick to begin
    thread.join(120)
    assert not network._unprepared


def test_whoever_waits_does_not_wait_for_idle_time(network):
    thread = threading.Thread(target=network.prepare_shapes, args=(True,))
    thread.start()
    network.prepare_shapes(idle=False)
    assert not network._unprepared
    thread.join(120)
    assert not thread.is_alive()


def test_shapes_that_cannot_be_prepared_are_no_reason_to_fail(cache, radiographs, caplog, monkeypatch):
    from bonefx.detectors.openvino_network import OpenVINONetwork

    monkeypatch.setattr(OpenVINONetwork, "prepare_shapes", lambda network, idle: 1 / 0)
    with caplog.at_level(logging.WARNING, "bonefx.detectors.acceleration"):
        fast = detector("yolo", settings(cache))
        fast.settle()
        _, runtime = detect(fast, radiographs[0])
    assert runtime.engine.startswith("openvino")
    assert "no shapes are prepared" in caplog.text


def test_a_program_may_end_while_shapes_are_prepared(cache):
    code = (
        "import pathlib, time\n"
        "from bonefx.detectors import Registry\nfrom bonefx.settings import Settings\n"
        f"settings = Settings(hub=False, runtime='auto', cache_dir=pathlib.Path({str(cache)!r}))\n"
        "network = Registry(settings).get('yolo').detector._acceleration._network\n"
        "left = len(network._unprepared)\n"
        "while len(network._unprepared) == left: time.sleep(0.01)\n"
        "print('one is under way')"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (said.returncode, said.stdout.strip(), said.stderr) == (0, "one is under way", "")


# The background


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="the system has no idle priority")
def test_the_background_takes_idle_time_alone_until_somebody_waits(tmp_path, radiographs):
    fresh = detector("yolo", settings(tmp_path))
    detect(fresh, radiographs[0])
    deadline = time.monotonic() + 60
    while not any(os.sched_getscheduler(pid) == os.SCHED_IDLE for pid in converters()):
        assert time.monotonic() < deadline, "no process at idle priority converts"
        time.sleep(0.05)
    fresh.settle()
    assert fresh.runtime.engine.startswith("openvino")
    assert converters() == []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are looked up in /proc")
def test_a_background_process_that_is_ended_before_it_knows_its_work_does_no_harm(
    tmp_path, radiographs, monkeypatch
):
    begun, tell = threading.Event(), Conversion.to_json

    def tell_too_late(conversion: Conversion) -> str:
        if not begun.is_set():  # the first one is the background's
            begun.set()
            while converters():
                time.sleep(0.01)
        return tell(conversion)

    monkeypatch.setattr(Conversion, "to_json", tell_too_late)
    fresh = detector("yolo", settings(tmp_path))
    detect(fresh, radiographs[0])
    assert begun.wait(60)
    fresh.settle()
    assert fresh.runtime.engine.startswith("openvino")


def converters() -> list[int]:
    """The processes that convert for this one."""
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    pids = [int(pid) for path in children for pid in path.read_text().split()]
    return [pid for pid in pids if b"bonefx.detectors.convert" in Path(f"/proc/{pid}/cmdline").read_bytes()]


# What may go wrong


def given_up(model: str, chosen: Settings, radiographs, caplog) -> str:
    """What the log says of a detector that stays with torch, and answers."""
    with caplog.at_level(logging.WARNING, "bonefx.detectors.acceleration"):
        staying = detector(model, chosen)
        staying.settle()
        staying.settle()
        _, runtime = detect(staying, radiographs[0])
    assert not runtime.engine.startswith("openvino")
    (record,) = caplog.records
    return record.getMessage()


def test_a_conversion_that_fails_is_logged_once_and_leaves_torch(tmp_path, radiographs, caplog, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))  # the process that converts does not even start
    assert "without OpenVINO" in given_up("yolo", settings(tmp_path), radiographs, caplog)


def test_weights_that_changed_since_they_were_loaded_are_not_converted(tmp_path):
    weights = tmp_path / "a.pt"
    shutil.copy(packaged("bundled") / "yolo26n_448.pt", weights)
    conversion = Conversion("bonefx.detectors.yolo", weights, "0" * 64, None, "auto", tmp_path / "converted")
    acceleration = Acceleration(conversion)
    acceleration.attach(lambda network: pytest.fail("it took over"))
    acceleration.settle()
    assert not (tmp_path / "converted").exists()


def test_without_openvino_torch_goes_on(tmp_path):
    """In a process where its import fails."""
    code = (
        "import logging, sys; logging.basicConfig(); sys.modules['openvino'] = None\n"
        "import numpy as np, pathlib\n"
        "from bonefx.detectors import Registry\nfrom bonefx.detectors.base import Stopwatch\n"
        "from bonefx.settings import Settings\n"
        f"settings = Settings(hub=False, runtime='auto', cache_dir=pathlib.Path({str(tmp_path)!r}))\n"
        "detector = Registry(settings).get('yolo').detector\n"
        "detector.settle()\n"
        "detector.detect(np.zeros((64, 64, 3), np.uint8), Stopwatch())\n"
        "print(detector.runtime.engine)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("ultralytics")
    assert "without OpenVINO" in said.stderr


def test_openvino_is_imported_without_telemetry():
    code = (
        "import sys; from bonefx.detectors import openvino_guard as guard\n"
        "print([name in sys.modules for name in ('openvino', 'openvino.tools.ovc', 'openvino_telemetry')])\n"
        "print(guard.converter().__name__, 'openvino_telemetry' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == ["[True, False, False]", "convert_model False"]


class FailingRequest:
    """In the place of OpenVINO's own, which cannot be made to fail on a radiograph."""

    def infer(self, *arguments, **options):
        raise RuntimeError("could not execute a primitive")


@pytest.mark.parametrize("model", MODELS)
def test_an_image_on_which_openvino_fails_is_torchs_and_so_are_the_next(model, cache, caplog):
    registry = Registry(settings(cache, precision="float32"))
    fast = registry.get(model).detector
    fast.settle()
    radiograph = images.read(EXAMPLES[0])
    (expected,) = inference.run(radiograph, [model], registry)
    fast._acceleration._network._request = FailingRequest()
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda _: inference.run(radiograph, [model], registry)[0], range(4)))
    for answer in (*answers, *inference.run(radiograph, [model], registry)):
        assert answer.runtime.engine.startswith(("torch", "ultralytics"))
        assert answer.weights == expected.weights
        np.testing.assert_allclose(answer.detections.scores, expected.detections.scores, atol=1e-4)
    assert "could not execute a primitive" in caplog.text
    assert registry.get(model).detector is not fast


def test_weights_that_changed_are_not_loaded_for_torch_instead(cache, tmp_path):
    weights = tmp_path / "yolo26n_448.pt"
    shutil.copy(packaged("bundled") / weights.name, weights)
    registry = Registry(settings(cache, weights_dir=tmp_path, filename_yolo=weights.name))
    fast = registry.get("yolo").detector
    fast.settle()
    fast._acceleration._network._request = FailingRequest()
    weights.write_bytes(b"another file")
    (answer,) = inference.run(images.read(EXAMPLES[0]), ["yolo"], registry)
    assert answer.detections is None
    assert "not the file any more" in answer.error


# The cache, with small files in the place of networks


@pytest.fixture
def conversion(tmp_path) -> Conversion:
    weights = tmp_path / "w.pt"
    weights.write_bytes(b"weights")
    return Conversion("m", weights, "a" * 64, None, "auto", tmp_path / "cache")


def write(text: str):
    return lambda folder: (folder / "network.xml").write_text(text)


def test_what_is_stored_is_found(conversion):
    assert conversion_cache.find(conversion) is None
    folder = conversion_cache.store(conversion, write("one"))
    assert conversion_cache.find(conversion) == folder
    assert (folder / "network.xml").read_text() == "one"


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "b" * 64},  # other weights
        {"module": "n"},  # another way to make the network
        {"precision": "float32"},
        {"config": Path(__file__)},  # settings beside the weights
    ],
)
def test_another_conversion_is_another_entry(conversion, changes):
    conversion_cache.store(conversion, write("one"))
    assert conversion_cache.find(replace(conversion, **changes)) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "network.xml").write_text("oni"),  # other bytes
        lambda folder: (folder / "network.xml").unlink(),  # a file is gone
        lambda folder: (folder / "digests.json").write_text("[]"),  # the list is no list of digests
        lambda folder: (folder / "digests.json").write_text("{"),  # nor JSON
    ],
)
def test_a_damaged_entry_is_not_found_and_is_replaced(conversion, damage):
    damage(conversion_cache.store(conversion, write("one")))
    assert conversion_cache.find(conversion) is None
    conversion_cache.store(conversion, write("two"))
    assert (conversion_cache.find(conversion) / "network.xml").read_text() == "two"


def test_writers_at_once_leave_one_whole_entry(conversion):
    threads = [
        threading.Thread(target=conversion_cache.store, args=(conversion, write("x" * 100_000)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert conversion_cache.find(conversion) is not None
    assert len(list(conversion.cache.iterdir())) == 1


def test_a_writer_that_fails_leaves_nothing(conversion):
    def fail(folder: Path) -> None:
        (folder / "network.xml").write_text("half")
        raise MemoryError

    with pytest.raises(MemoryError):
        conversion_cache.store(conversion, fail)
    assert list(conversion.cache.iterdir()) == []


def test_the_cache_keeps_what_was_used_last(conversion):
    made = [replace(conversion, sha256=f"{i:064}") for i in range(conversion_cache.KEPT + 1)]
    for hours, one in enumerate(made, 1):
        used = time.time() - hours * 3600
        os.utime(conversion_cache.store(one, write("one")), (used, used))
    conversion_cache.store(conversion, write("one"))
    kept = [one for one in made if conversion_cache.find(one)]
    assert kept == made[: conversion_cache.KEPT - 1]
    used = time.time() - 86_400 * (conversion_cache.UNUSED_DAYS + 1)
    os.utime(conversion_cache.find(made[0]), (used, used))
    conversion_cache.store(conversion, write("one"))
    assert conversion_cache.find(made[0]) is None


@pytest.mark.parametrize("temporary", [True, False])
def test_a_cache_that_cannot_be_written(conversion, tmp_path, monkeypatch, temporary):
    """A temporary folder takes its place; where there is none either, that is said."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path if temporary else conversion.weights))
    blocked = replace(conversion, cache=conversion.weights / "below")
    if temporary:
        folder = conversion_cache.store(blocked, write("one"))
        assert folder.parent.parent == tmp_path
        assert conversion_cache.find(blocked) == folder
    else:
        with pytest.raises(OSError, match="can be written"):
            conversion_cache.store(blocked, write("one"))
