"""The README's examples run as they are printed."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import bonefx
from bonefx import detectors

ROOT = Path(bonefx.__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]


@pytest.fixture(autouse=True)
def in_a_checkout_without_the_hub(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("BONEFX_HUB", "off")
    detectors.default_registry.cache_clear()
    yield
    detectors.default_registry.cache_clear()


def test_without_a_server(capsys):
    (code,) = [code for code in PYTHON if 'print(result["weights"]' in code]
    exec(compile(code, "README.md", "exec"), {})
    assert "Not a medical device." in capsys.readouterr().out


def test_with_supervision(monkeypatch):
    import supervision

    shown = []
    monkeypatch.setattr(supervision, "plot_image", shown.append)  # it waits until its window is closed
    (code,) = [code for code in PYTHON if "supervision" in code]
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert (shown[0] != names["result"].radiograph.rgb).any()


def test_recipes_for_other_tools_are_four_statements_at_most():
    recipes = [code for code in PYTHON if re.search("supervision|fiftyone|label_studio", code)]
    statements = [
        [node for node in ast.parse(code).body if not isinstance(node, ast.Import)] for code in recipes
    ]
    assert [len(each) for each in statements] == [3, 3, 4]


def test_with_a_client(app_address, capsys):
    (code,) = [code for code in PYTHON if "gradio_client" in code]
    exec(compile(code.replace("http://127.0.0.1:7860", app_address), "README.md", "exec"), {})
    assert "faster-rcnn bundled" in capsys.readouterr().out


@pytest.mark.slow
def test_from_the_shell():
    (command,) = [command for command in SHELL if "bonefx detect examples" in command]
    assert '"schema_version": 1' in printed_by(command)


@pytest.mark.slow
def test_a_batch_from_the_shell(tmp_path, monkeypatch):
    (command,) = [command for command in SHELL if "bonefx detect my-radiographs.zip" in command]
    with zipfile.ZipFile(tmp_path / "my-radiographs.zip", "w") as archive:
        archive.write(ROOT / "examples/wrist-1.png", "wrist-1.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert "Not a medical device." in printed_by(command)
    assert {path.suffix for path in (tmp_path / "results").rglob("*.*")} == {".json", ".csv", ".png", ".txt"}


def printed_by(command: str) -> str:
    words = shlex.split(command)
    assert words.pop(0).endswith("python")
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=os.environ, check=True
    ).stdout


def test_every_environment_variable_is_listed():
    source = (ROOT / "bonefx" / "settings.py").read_text(encoding="utf-8")
    read = set(re.findall(r'get\(\s*"([A-Z_]+)"', source))
    assert len(read) > 10
    read -= {"SPACES_ZERO_GPU", "SPACE_HOST"}  # the platform's own
    assert [name for name in read if f"`{name}" not in SETTINGS] == []


def test_the_card_fits_a_space():
    import gradio
    import yaml

    card = yaml.safe_load(README.split("---")[1])
    assert card["sdk_version"] == gradio.__version__
    assert len(card["short_description"]) <= 60
    assert (card["sdk"], card["app_file"], card["license"]) == ("gradio", "app.py", "agpl-3.0")
    assert card["python_version"] == "3.12"


def test_every_page_that_it_names_is_there():
    assert [name for name in re.findall(r"\]\(([^):#]+)\)", README) if not (ROOT / name).is_file()] == []
