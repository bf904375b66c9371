"""What is installed: the light way, the extras, a Space's requirements; and how a Space starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bonefx.settings import packaged
from tests.browser import free_port

ROOT = Path(__file__).resolve().parents[1]


UNPINNED = ("fastapi", "httpx2", "matplotlib", "pydantic", "spaces", "starlette", "typing_extensions")
"""What comes in the version that the others bring."""


def requirements() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line.partition("#")[0]) for line in lines if line.partition("#")[0].strip()]
    return {each.name: each for each in found}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the standard library reads TOML from Python 3.11 on")
def test_a_space_installs_the_light_way_and_torch_in_the_lowest_versions():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    light, torch = project["dependencies"], project["optional-dependencies"]["torch"]
    ranges = {each.name: each for each in map(Requirement, light + torch)}
    pins = requirements()
    assert pins.keys() == ranges.keys()
    assert not any(name.startswith(("torch", "ultralytics", "nncf")) for name in map(str, light))
    for name, pin in pins.items():
        for specifier in pin.specifier:
            assert specifier.operator == "=="
            assert f">={specifier.version}" in str(ranges[name].specifier).split(",")
        if not pin.specifier and name != "numpy":
            assert name in UNPINNED


def test_the_builder_of_spaces_pins_spaces_itself():
    assert str(requirements()["spaces"].specifier) == ""
    head = (ROOT / "README.md").read_text(encoding="utf-8").split("---")[1]
    assert f"sdk_version: {next(iter(requirements()['gradio'].specifier)).version}" in head
    assert 'python_version: "3.12"' in head  # of those that ZeroGPU takes


# The start, as the builder leaves it: another user than root, a checkout and a home that cannot be written,
# and in the folder for temporary files there is somebody else's folder of Gradio's.

AS_A_SCRIPT = [sys.executable, "app.py"]
NOBODY = "65534"
"""May read everything, wherever this Python lies, and write nothing that is another's."""
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
AS_NOBODY += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
AS_AN_IMPORT = [sys.executable, "-c", "import app; app.demo.launch(**app.launch_options())"]


def _can_be_nobody() -> bool:
    if not shutil.which("setpriv"):
        return False
    return subprocess.run([*AS_NOBODY, "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("space") / "app"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "bonefx", folder / "bonefx", ignore=ignored)
    shutil.copy(ROOT / "app.py", folder)
    for name in ("examples", "precomputed_metrics"):
        shutil.copytree(packaged(name), folder / name, ignore=ignored)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not _can_be_nobody(), reason="only root can be another user")
@pytest.mark.parametrize("command", [AS_A_SCRIPT, AS_AN_IMPORT], ids=["script", "import"])
def test_it_starts_as_another_user_where_nothing_can_be_written(checkout, tmp_path, command):
    from gradio_client import Client, handle_file

    home, temporary = tmp_path / "home", tmp_path / "tmp"
    for folder, mode in ((home, 0o555), (temporary, 0o1777), (temporary / "gradio", 0o700)):
        folder.mkdir()
        folder.chmod(mode)
    for folder in (checkout, *checkout.rglob("*")):
        folder.chmod(0o555 if folder.is_dir() else 0o444)
    port = str(free_port())
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "GRADIO_"))},
        "BONEFX_HUB": "off",
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": port,
        "HOME": str(home),
        "PYTHONPATH": str(checkout),
        "TMPDIR": str(temporary),
        "XDG_CACHE_HOME": str(home / ".cache"),
    }
    log = (tmp_path / "log").open("w+")
    with subprocess.Popen(
        [*AS_NOBODY, *command], cwd=checkout, env=environment, stdout=log, stderr=log
    ) as server:
        try:
            client = _client(Client, f"http://127.0.0.1:{port}", server)
            image = handle_file(str(packaged("examples") / "wrist-1.png"))
            answer = client.predict(image, api_name="/detect")
            assert answer["weights"]["source"] == "bundled"
            assert len(answer["detections"]) > 0
        finally:
            server.terminate()
            server.wait(30)
    log.seek(0)
    assert "Traceback" not in log.read()


def _client(kind, address: str, server: subprocess.Popen):
    deadline = time.monotonic() + 90
    while True:
        try:
            return kind(address, verbose=False)
        except Exception:
            assert server.poll() is None, "the app has ended"
            assert time.monotonic() < deadline, "the app does not answer"
            time.sleep(0.5)


@pytest.mark.slow
def test_the_builders_line_resolves():
    """As in the logs of Spaces; only what pip would install is asked, of the package index."""
    head = (ROOT / "README.md").read_text(encoding="utf-8").split("---")[1]
    sdk = head.partition("sdk_version: ")[2].split()[0]
    line = [
        "-r",
        "requirements.txt",
        f"gradio[oauth,mcp]=={sdk}",
        "uvicorn>=0.14.0",
        "websockets>=10.4",
        "spaces",
    ]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", *line]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
