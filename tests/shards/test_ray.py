"""The same rows from a cluster of two nodes, of which one is lost on the way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import bonefx
from bonefx.errors import SourceError
from bonefx.settings import Settings
from bonefx.shards.run import run
from tests.shards.conftest import MODELS, THRESHOLD
from tests.shards.test_shards import by_image_and_model, results

ROOT = Path(bonefx.__file__).parent.parent
MARK = "BONEFX_TEST_MARK"

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster():
    """Two nodes of one core each on this machine."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.second = made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    made.shutdown()


def test_a_lost_node_and_a_killed_worker_lose_no_row_and_double_none(source, expected, tmp_path, cluster):
    from bonefx.shards.ray_engine import RayEngine

    told, killed = [], []

    def tell(words: str) -> None:
        told.append(words)
        if words.startswith("1 of"):
            cluster.remove_node(cluster.second)  # with the worker on it, in the middle of its shard
        if words.startswith("2 of") and not killed:
            killed.extend(workers())
            os.kill(killed[0], signal.SIGKILL)

    engine = RayEngine(cluster.address)
    try:
        summary = run(
            str(source), str(tmp_path), MODELS, THRESHOLD, Settings(hub=False), engine, tell, shard_images=1
        )
    finally:
        engine.close()
    assert killed
    assert any(words.startswith("6 of 6 images, ") for words in told)
    assert summary["rows"] == {"faster-rcnn": 6, "yolo": 6}
    assert by_image_and_model(results(tmp_path)) == expected


def test_where_nodes_have_gpus_each_is_a_workers(source, expected, tmp_path, monkeypatch):
    """Ray hands out GPUs that are not there; by the settings the workers use the processor."""
    from ray.cluster_utils import Cluster

    from bonefx.shards import ray_engine

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    made.add_node(num_cpus=5, num_gpus=2)
    made.wait_for_nodes()
    engine = ray_engine.RayEngine(made.address)
    try:
        assert ray_engine._workers() == (2, 1, 2)
        settings = Settings(hub=False, runtime="cpu")
        run(str(source), str(tmp_path), MODELS, THRESHOLD, settings, engine, shard_images=3)
    finally:
        engine.close()
        made.shutdown()
    assert by_image_and_model(results(tmp_path)) == expected


def workers() -> list[int]:
    """Process ids of the workers of this test's cluster."""
    mine = psutil.Process().children(recursive=True)
    return [each.pid for each in mine if "MapWorker" in " ".join(each.cmdline())]


def test_an_address_without_a_cluster_is_said():
    from bonefx.shards.ray_engine import RayEngine

    with pytest.raises(SourceError, match="No Ray cluster answers at"):
        RayEngine("127.0.0.1:9")


def test_the_command_says_what_it_did_and_tells_nobody_else(source, tmp_path):
    command = [sys.executable, "-m", "bonefx", "detect", str(source), "--out", str(tmp_path), "--ray"]
    done = subprocess.run(
        [*command, "--model", "yolo", "--threshold", str(THRESHOLD)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
        env={**os.environ, "BONEFX_HUB": "off", MARK: str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1  # one image is damaged
    assert done.stdout.startswith("6 images, 6 rows, 1 of them an error. This run: 6 images in ")
    assert done.stdout.endswith("Not a medical device.\n")
    assert str(source) not in done.stderr
    assert json.loads((tmp_path / "_summary.json").read_text("utf-8"))["this_run"]["images"] == 6
    until = time.monotonic() + 30
    while left := marked(str(tmp_path)):
        assert time.monotonic() < until, f"these have outlived the command: {left}"
        time.sleep(0.5)


def marked(value: str) -> list[str]:
    """Processes that inherited this mark in their environment."""
    found = []
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == value:
                found.append(process.info["name"])
    return found
