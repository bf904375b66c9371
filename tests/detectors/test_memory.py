"""What is given back to the system, as the kernel counts it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bonefx.detectors import memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that is asked")

MEGABYTES = 64


def resident(file: Path) -> float:
    """Megabytes of a file that are mapped and in memory."""
    parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
    own = (part for part in parts if f" {file}\n" in part)
    return sum(int(re.search(r"^Rss: +(\d+) kB", part, re.MULTILINE)[1]) for part in own) * 1024 / 1e6


def test_a_released_file_is_out_of_memory_and_reads_as_before(tmp_path):
    files = [tmp_path / "released", tmp_path / "other"]
    content = np.random.default_rng(0).integers(0, 256, MEGABYTES * 1_000_000, np.uint8)
    for file in files:
        content.tofile(file)
    mapped = [np.memmap(file, np.uint8, "r") for file in files]
    assert all(np.array_equal(values, content) for values in mapped)
    assert all(resident(file) >= MEGABYTES for file in files)
    memory.release(files[0])
    assert resident(files[0]) == 0
    assert resident(files[1]) >= MEGABYTES
    assert np.array_equal(mapped[0], content)


def test_tensors_that_threads_free_go_back():
    """In a process of its own, for what is asked of the C library holds to the end."""
    code = """
import threading, sys, pathlib
import numpy as np
from bonefx.detectors import memory
if sys.argv[1] == "spare":
    memory.spare()
rounds = threading.Barrier(8)
def work():
    for _ in range(3):
        tensors = [np.ones(3_000_000, np.uint8) for _ in range(5)] + [np.ones(20_000_000, np.uint8)]
        rounds.wait()
        del tensors
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
print(int(status["VmRSS"].split()[0]) / 1000)
"""
    found = {
        how: float(subprocess.run([sys.executable, "-c", code, how], capture_output=True, check=True).stdout)
        for how in ("as it is", "spare")
    }
    assert found["spare"] < found["as it is"] - 50
