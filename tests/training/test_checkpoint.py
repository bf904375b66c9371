"""Checkpoints are whole or not there."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from bonefx.training import checkpoint
from tests.processes import environment


def test_it_comes_back(tmp_path):
    checkpoint.save({"step": 3, "weight": torch.arange(4.0)}, tmp_path / "a.pt")
    found = torch.load(tmp_path / "a.pt", weights_only=True)
    assert (found["step"], found["weight"].tolist()) == (3, [0, 1, 2, 3])


@pytest.mark.slow
def test_a_full_disk_keeps_the_old_one_and_is_named(tmp_path):
    checkpoint.save({"step": 1}, tmp_path / "a.pt")
    code = (
        "import resource, torch; from pathlib import Path; from bonefx.training import checkpoint\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try: checkpoint.save({'step': 2, 'weight': torch.zeros(100_000)}, Path('a.pt'))\n"
        "except OSError as error: print(error.filename, error.strerror)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "a.pt File too large\n"
    assert torch.load(tmp_path / "a.pt", weights_only=True) == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
