"""SIGTERM: the app ends with status 0, whatever it is doing, and leaves nothing of visitors behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from bonefx.settings import packaged
from bonefx.ui.storage import Storage
from tests.browser import free_port
from tests.processes import environment
from tests.ui.test_guards import FORM, form, uploaded
from tests.ui.test_injection import NAME, SIGNS, hostile_dicom

pytestmark = pytest.mark.slow

APP = packaged("examples").parent / "app.py"


class Running:
    """The app in a process of its own."""

    def __init__(self, folder: Path, runtime: str) -> None:
        self.files = folder / "files"
        self.files.mkdir(exist_ok=True)
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(APP)],
                env=environment(
                    GRADIO_SERVER_PORT=str(port),
                    GRADIO_ANALYTICS_ENABLED="False",
                    GRADIO_TEMP_DIR=str(self.files),
                    TMPDIR=str(self.files),
                    XDG_CACHE_HOME=str(folder / "cache"),
                    BONEFX_RUNTIME=runtime,
                ),
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=APP.parent,
            )

    def wait(self) -> None:
        """Until the page answers."""
        from urllib.request import urlopen

        end = time.monotonic() + 120
        while True:
            assert time.monotonic() < end
            assert self.process.poll() is None, self.log.read_text()
            try:
                urlopen(f"{self.address}/config", timeout=5).close()
                return
            except OSError:
                time.sleep(0.1)

    def left(self) -> list[Path]:
        """Folders with something of visitors."""
        return [*self.files.glob("bonefx-visitors-*/*"), *self.files.glob("bonefx-[!0-9v]*")]


@contextmanager
def running(folder: Path, runtime: str = "torch") -> Iterator[Running]:
    app = Running(folder, runtime)
    try:
        yield app
    finally:
        app.process.kill()
        app.process.wait()


def descendants(process: int) -> list[int]:
    """The processes that it has started, and those that they have."""
    found = []
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found += [child, *descendants(child)]
    return found


def alive(process: int) -> bool:
    """Whether it runs; a dead one may wait for somebody to ask how it ended."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def starting(app: Running, number: int) -> None:
    """At its imports, as soon as it listens to signals at all."""
    state = Path(f"/proc/{app.process.pid}/status")
    while not _caught(state.read_text()) >> (signal.SIGTERM - 1) & 1:
        time.sleep(0.01)


def _caught(status: str) -> int:
    """The signals that a process handles, one a bit."""
    return next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt"))


def idle(app: Running, number: int) -> None:
    app.wait()
    uploaded(app.address, str(packaged("examples") / "wrist-1.png"))
    assert app.left()


def uploading(app: Running, number: int) -> None:
    import http.client

    app.wait()
    link = http.client.HTTPConnection(app.address.removeprefix("http://"), timeout=60)
    link.putrequest("POST", "/gradio_api/upload")
    for name, value in {**FORM, "Content-Length": "50000000"}.items():
        link.putheader(name, value)
    link.endheaders()
    link.send(form(b"x" * 1_000_000)[:-60])
    end = time.monotonic() + 30
    while not app.left():
        assert time.monotonic() < end
        time.sleep(0.05)
    app.link = link  # open until the end


def detecting(app: Running, number: int) -> None:
    """With the first, which loads the models; with the next ones, which compute; converting in `auto`."""
    app.wait()
    client = Client(app.address, verbose=False)
    file = handle_file(str(packaged("examples") / "humerus-1.png"))
    if number:
        client.predict(image=file, api_name="/compare")
    for _ in range(3):
        client.submit(image=file, api_name="/compare")
    time.sleep(0.3 + number)


def in_a_batch(app: Running, number: int) -> None:
    app.wait()
    archive = app.files.parent / "many.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for each in range(40):
            file.write(packaged("examples") / "wrist-1.png", f"{each}.png")
    client = Client(app.address, verbose=False)
    job = client.submit(files=[handle_file(str(archive))], api_name="/batch")
    end = time.monotonic() + 120
    while not job.outputs():
        assert time.monotonic() < end
        time.sleep(0.1)
    time.sleep(number)


@pytest.mark.parametrize(
    ("doing", "number", "runtime"),
    [
        (starting, 0, "torch"),
        (uploading, 0, "torch"),  # idle otherwise
        (detecting, 0, "torch"),
        (detecting, 2, "auto"),  # the conversions begin with the first detection
        (in_a_batch, 1, "auto"),
    ],
)
def test_sigterm_ends_it_with_0_and_leaves_nothing(tmp_path, wait_until, doing, number, runtime):
    for _ in range(int(os.environ.get("SIGTERM_ROUNDS", "1"))):  # 10 make the fifty of a thorough look
        with running(tmp_path, runtime) as app:
            doing(app, number)
            started = descendants(app.process.pid)
            app.process.send_signal(signal.SIGTERM)
            assert app.process.wait(timeout=20) == 0, app.log.read_text()
            assert app.left() == []
            wait_until(lambda started=started: not any(map(alive, started)))
            assert "Traceback" not in app.log.read_text()


def test_what_is_left_after_sigkill_is_swept_by_the_next(tmp_path):
    with running(tmp_path) as app:
        idle(app, 0)
        app.process.kill()
        app.process.wait()
        assert app.left() != []
        following = Storage(app.files, sweep_seconds=0.2)
        following.sweep()
        assert app.left() != []  # for all it knows that process may be alive
        time.sleep(2)
        following.sweep()
        assert app.left() == []


def test_ctrl_c_is_no_other_end_and_the_log_has_nothing_of_what_was_sent(tmp_path):
    (tmp_path / f"{NAME}.dcm").write_bytes(hostile_dicom())
    (tmp_path / f"{NAME}.png").write_bytes(NAME.encode())
    with running(tmp_path) as app:
        idle(app, 0)
        client = Client(app.address, verbose=False)
        for name in ("dcm", "png"):
            with pytest.raises(AppError):
                client.predict(image=handle_file(str(tmp_path / f"{NAME}.{name}")), api_name="/detect")
        assert not SIGNS.search(app.log.read_text())
        app.process.send_signal(signal.SIGINT)
        assert app.process.wait(timeout=20) == 0, app.log.read_text()
        assert app.left() == []
