"""How long a person waits before the first detection: for the import, and for the page."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable
from typing import Any

from bonefx.benchmark.figures import spread
from bonefx.benchmark.processes import ANSWER_SECONDS, Program
from bonefx.errors import BoneFXError

PAGES = {
    "empty": "import gradio\nwith gradio.Blocks(analytics_enabled=False) as demo: pass\noptions = {}",
    "ours": "from bonefx.detectors import default_registry\n"
    "from bonefx.ui.build import build, launch_options\n"
    "demo, options = build(default_registry()), launch_options()",
}
"""Programs that make a page: an empty one, and ours, in the way of the app's entry point."""

_END_WITH_INPUT = (
    "import os, sys, threading\n"
    "threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()\n"
)
"""Lets a page end with the process that started it, however that ends."""

_LAUNCH = "\ndemo.launch(server_name='127.0.0.1', server_port={port}, quiet=True, **options)"
_IMPORT = "import time; t = time.perf_counter(); import bonefx; print(time.perf_counter() - t)"


def measure(rounds: int, environment: dict[str, str], tell: Callable[[str], None]) -> dict[str, Any]:
    """Seconds to `import bonefx`, and from the start of a process to its page's first answer, in turn."""
    imports: list[float] = []
    pages: dict[str, list[float]] = {name: [] for name in PAGES}
    for number in range(1, rounds + 1):
        tell(f"start-up, round {number} of {rounds}")
        imports.append(import_seconds(environment))
        for name in PAGES:
            pages[name].append(page_seconds(name, environment))
    return {
        "import": spread(imports),
        "page": {name: spread(seconds) for name, seconds in pages.items()},
    }


def import_seconds(environment: dict[str, str]) -> float:
    """Seconds that a new interpreter takes for `import bonefx`."""
    with Program("import of bonefx", ["-c", _IMPORT], environment) as program:
        return float(program.line())


def page_seconds(name: str, environment: dict[str, str]) -> float:
    """Seconds from the start of a process to the first answer of its page, one of `PAGES`.

    Raises:
        BoneFXError: there was none.
    """
    port = _free_port()
    code = _END_WITH_INPUT + PAGES[name] + _LAUNCH.format(port=port)
    start = time.perf_counter()
    with Program(f"page ({name})", ["-c", code], environment) as program:
        while not _answers(port):
            if not program.running():
                raise program.ended()
            if time.perf_counter() - start > ANSWER_SECONDS:
                raise BoneFXError(f"The page ({name}) gave no answer in {ANSWER_SECONDS:g} seconds.")
            time.sleep(0.02)
        return time.perf_counter() - start


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):  # nobody listens yet, or hardly
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
