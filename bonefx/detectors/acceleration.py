"""How a network passes from torch to OpenVINO while detections go on.

The first detection on a machine is torch's. After it a background thread has the network converted, by a
process that uses idle time only (see `convert`), loads the result and hands it over. The result stays on
disk: from then on it is loaded together with the weights. Whatever fails leaves torch at work.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from bonefx.detectors import conversion_cache, memory
from bonefx.detectors.conversion_cache import Conversion

if TYPE_CHECKING:  # it imports OpenVINO
    from bonefx.detectors.openvino_network import OpenVINONetwork

_log = logging.getLogger(__name__)

_one_at_a_time = threading.Lock()  # conversions in the background, whatever the number of models


class Acceleration:
    """The way of one network to OpenVINO. Safe to use from several threads."""

    def __init__(self, conversion: Conversion) -> None:
        """Loads the converted network, if there is one, while the caller imports torch and loads its own."""
        memory.spare()
        # Read when torch is imported: its threads that wait for work spin for less long, in OpenVINO's way.
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
        self._conversion = conversion
        self._take_over: Callable[[OpenVINONetwork], None] | None = None
        self._lock = threading.Lock()
        self._started = self._settled = self._awaited = False
        self._network: OpenVINONetwork | None = None
        self._idle_converter: subprocess.Popen[bytes] | None = None
        executor = ThreadPoolExecutor(1, "bonefx-converted-network")
        self._stored = executor.submit(lambda: self._load(conversion_cache.find(conversion)))
        executor.shutdown(wait=False)

    def attach(self, take_over: Callable[[OpenVINONetwork], None]) -> None:
        """Begin with what lay on disk.

        Args:
            take_over: called once, from whatever thread, with the network that is used from then on: now if
                it lay on disk, later if it has to be converted.
        """
        self._take_over = take_over
        self._attempt(self._stored.result)

    def begin(self) -> None:
        """Have the network prepared in the background, unless that has begun; does not wait."""
        if self._started:
            return
        with self._lock:
            if self._started:
                return
            self._started = True
        threading.Thread(target=self._in_background, name="bonefx-acceleration", daemon=True).start()

    def settle(self) -> None:
        """Wait until it is clear what computes from now on. Nothing is left to idle time any more."""
        with self._lock:
            self._awaited = True
            if not self._settled:
                self._started = True
                if self._idle_converter is not None:
                    self._idle_converter.kill()
        if not self._settled:
            self._attempt(lambda: self._prepare(idle=False))
        if self._network is not None:
            self._prepare_shapes(idle=False)

    def _in_background(self) -> None:
        with _one_at_a_time:
            self._attempt(lambda: self._prepare(idle=True))

    def _attempt(self, prepare: Callable[[], OpenVINONetwork | None]) -> None:
        """Hand over what `prepare` loads or makes; None leaves all as it is."""
        try:
            network = prepare()
            if network is None:
                return
            with self._lock:
                if self._settled:
                    return
                self._take_over(network)
                self._network = network
                self._started = self._settled = True
            memory.trim()
            threading.Thread(target=self._prepare_shapes, args=(True,), name="bonefx-shapes").start()
        except Exception as error:  # whatever it is: torch goes on computing
            with self._lock:
                if not self._settled:
                    name = self._conversion.weights.name
                    _log.warning("torch computes %s, without OpenVINO: %s", name, error)
                    self._started = self._settled = True

    def _prepare_shapes(self, idle: bool) -> None:
        try:
            self._network.prepare_shapes(idle)
        except Exception as error:  # whatever it is: each shape's first image takes its time
            _log.warning("no shapes are prepared for %s: %s", self._conversion.weights.name, error)

    def _load(self, folder: Path | None) -> OpenVINONetwork | None:
        if folder is None:
            return None
        from bonefx.detectors.openvino_network import OpenVINONetwork

        return OpenVINONetwork(folder, self._conversion.precision, _threads())

    def _prepare(self, idle: bool) -> OpenVINONetwork | None:
        """The converted network; see `_convert`."""
        import bonefx.detectors.openvino_guard  # noqa: F401  (without OpenVINO all the work would be in vain)

        return self._load(conversion_cache.find(self._conversion) or self._convert(idle))

    def _convert(self, idle: bool) -> Path | None:
        """Have the network converted by another process; None if `settle` does that meanwhile.

        Raises:
            RuntimeError: it failed; the text is the last line that the process has written.
        """
        package = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        with tempfile.TemporaryFile() as errors:
            with self._lock:
                if idle and self._awaited:
                    return None
                converter = subprocess.Popen(
                    [sys.executable, "-m", "bonefx.detectors.convert", "idle" if idle else "now"],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                )
                if idle:
                    self._idle_converter = converter
            with converter.stdin as line:  # open until the end, or it would end with it
                with contextlib.suppress(BrokenPipeError):  # it has ended already: its status says how
                    line.write(f"{self._conversion.to_json()}\n".encode())
                status = converter.wait()
            if idle and self._awaited:
                return None
            if status != 0:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip()
                raise RuntimeError(said.rpartition("\n")[2] or f"the conversion ended with {status}")
        return conversion_cache.find(self._conversion)


def _threads() -> int:
    """What the environment allows torch to use; 0, OpenVINO's own choice, where it says nothing."""
    number = os.environ.get("OMP_NUM_THREADS", "")
    return int(number) if number.isdecimal() else 0
