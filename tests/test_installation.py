"""What is installed: the light way, the extras, and a Space's requirements."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def requirements() -> set[str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return {line.partition("#")[0].strip() for line in lines} - {""}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the standard library reads TOML from Python 3.11 on")
def test_a_space_installs_the_light_way_and_torch():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    light, torch = set(project["dependencies"]), set(project["optional-dependencies"]["torch"])
    assert requirements() == light | torch
    assert not any(name.startswith(("torch", "ultralytics", "nncf")) for name in light)
