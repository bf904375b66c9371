"""The package's types hold together: mypy reads all of it, and the way of an image strictly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_types_hold_together(tmp_path):
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--cache-dir", str(tmp_path)]
    made = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")


def test_others_are_told_that_there_are_types():
    assert (CHECKOUT / "bonefx" / "py.typed").exists()
