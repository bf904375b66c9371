"""A graph made in the background while torch answers.

Another process makes it, so that nothing of it is felt in the one that answers: neither its memory, nor
Python's lock held by a thread that gets no processor time, nor the crash of a library on a processor that it
does not know. No thread waits for it: whoever detects next looks whether it has ended.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import bonefx
from bonefx.detectors.base import Engine
from bonefx.sources.hub import WeightFile

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What the other process is told.

    Attributes:
        module: the model's.
        weights: to convert.
        cache, precision: as in the settings.
    """

    module: str
    weights: WeightFile
    cache: Path
    precision: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Request:
        values = json.loads(text)
        weights = values["weights"]
        paths = {name: weights[name] and Path(weights[name]) for name in ("path", "config")}
        cache = Path(values["cache"])
        return cls(values["module"], WeightFile(**{**weights, **paths}), cache, values["precision"])


class BackgroundConversion:
    """One graph on its way. Safe to use from several threads."""

    def __init__(self, request: Request, load: Callable[[], Engine | None]) -> None:
        """
        Args:
            request: what to make.
            load: makes the engine once the graph is there; None if it is not.
        """
        self._request, self._load = request, load
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._problem = ""  # why there is no process

    def begin(self) -> None:
        """Start the process, at idle priority, unless that was done before; does not wait."""
        if self._process is None:
            with self._lock:
                if self._process is None:
                    self._try_to_start("idle")

    def ended(self) -> bool:
        """Whether the process has begun and ended, however it ended, or could not even begin."""
        return bool(self._problem) or (self._process is not None and self._process.poll() is not None)

    def wait(self) -> None:
        """Wait for the graph, which is left to idle time no longer."""
        with self._lock:
            if not self.ended():
                if self._process is not None:
                    self._process.kill()
                    self._process.wait()
                self._try_to_start("now")
        if self._process is not None:
            self._process.wait()

    def engine(self) -> Engine | None:
        """The engine with the graph that was made; None, and a line in the log, if it could not be."""
        if not self._problem and self._process is not None:
            status = self._process.wait()
            if status == 0 and (made := self._load()) is not None:
                return made
            self._said.seek(0)
            last = self._said.read().decode(errors="replace").strip().rpartition("\n")[2]
            self._problem = last or f"the conversion ended with {status}"
        _log.warning("torch goes on with %s: %s", self._request.weights.path.name, self._problem)
        return None

    def _try_to_start(self, when: str) -> None:
        try:
            self._said = tempfile.TemporaryFile()  # noqa: SIM115, closed with this object
            self._process = self._start(when)
        except OSError as error:  # a full disk, too many processes
            self._problem = str(error)

    def _start(self, when: str) -> subprocess.Popen[bytes]:
        package = str(Path(bonefx.__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        process = subprocess.Popen(
            [sys.executable, "-m", "bonefx.detectors.conversion.process", when],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        # Its input stays open as long as this process lives: it ends with it.
        with contextlib.suppress(BrokenPipeError):  # it has ended already: its status says how
            assert process.stdin is not None
            process.stdin.write(f"{self._request.to_json()}\n".encode())
        return process
