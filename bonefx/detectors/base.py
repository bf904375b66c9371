"""What every detector is: the protocol, and the small values that it reports."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bonefx.detections import Detections
from bonefx.results import Runtime

MAX_DETECTIONS = 300
"""Most detections that a detector returns for an image."""


_DOT_PRODUCTS = frozenset(("avx512_vnni", "avx_vnni", "amx_int8", "asimddp"))
"""Linux' names for such an instruction: of x86 processors, and of ARM's."""


class Stopwatch:
    """Milliseconds by stage: `with stopwatch("network"): ...`. A stage entered twice adds up.

    Attributes:
        ms: the milliseconds.
        runtime: what computed; the detector says so.
    """

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}
        self.runtime: Runtime | None = None

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, (time.perf_counter() - start) * 1000)

    def add(self, stage: str, ms: float) -> None:
        """Count milliseconds that something else has measured."""
        self.ms[stage] = self.ms.get(stage, 0.0) + ms


class Detector(Protocol):
    """A loaded model.

    Attributes:
        runtime: what it would run on now; a faster one may take over between two detections.
        nms: how duplicate boxes are removed, in words that metrics files repeat.
        image_size: the longest side, in pixels, that the network sees.
        at_once: how many images it may be given at once; 1 where that is no faster than one by one.
    """

    @property
    def runtime(self) -> Runtime: ...

    @property
    def nms(self) -> str: ...

    @property
    def image_size(self) -> int: ...

    @property
    def at_once(self) -> int: ...

    def detect(self, rgb: np.ndarray, stopwatch: Stopwatch) -> Detections:
        """Detections in an RGB uint8 image (h, w, 3): score at least 0.001, at most 300 of them.

        May be called from several threads. Framework habits (colour order, resizing, label mapping)
        stay inside. Stages timed: preprocess, network, postprocess. `stopwatch.runtime` tells what
        computed.
        """

    def detect_together(self, rgbs: Sequence[np.ndarray], stopwatch: Stopwatch) -> list[Detections]:
        """As `detect` for each of several images, within 1e-3 px and 1e-4 in score, timed together.

        Any failure is one of all of them.
        """

    def finish_preparing(self) -> None:
        """Wait until nothing is left to be prepared: `runtime` is the one that will be used from now on."""


class Processing(Protocol):
    """What is done in NumPy before and after a graph: the same whatever engine runs it.

    Attributes:
        nms, image_size: as of `Detector`.
        ranks: how many axes each input of the graph has, and each output.
    """

    @property
    def nms(self) -> str: ...

    @property
    def image_size(self) -> int: ...

    @property
    def ranks(self) -> tuple[tuple[int, ...], tuple[int, ...]]: ...

    def prepare(self, rgb: np.ndarray) -> list[np.ndarray]:
        """The graph's inputs for an RGB uint8 image (h, w, 3)."""

    def finish(self, outputs: Sequence[np.ndarray], height: int, width: int) -> Detections:
        """Detections in an image of this size from the graph's outputs."""

    def to_record(self) -> dict[str, Any]:
        """All that it depends on as plain values, which travel beside a graph."""


class Engine(Protocol):
    """Runs a graph. Safe to use from several threads.

    Attributes:
        runtime: what computes.
        at_once: for how many images it pays to be asked at once.
    """

    @property
    def runtime(self) -> Runtime: ...

    @property
    def at_once(self) -> int: ...

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The graph's outputs, which are the caller's own.

        Raises:
            EngineError: the engine failed where another one may succeed.
        """

    def together(self, several: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
        """The outputs for each of several images, of any shapes.

        Raises:
            EngineError: see above.
        """


def processor_name() -> str:
    """The CPU's own name, as far as the system tells it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def has_int8() -> bool:
    """Whether the processor adds up products of eight-bit numbers in 32 bits, by one instruction.

    On others OpenVINO adds up in 16 bits, where a sum can be cut off: there the same graph answers otherwise.
    """
    return not _DOT_PRODUCTS.isdisjoint((_cpuinfo("flags") or _cpuinfo("Features")).split())


def _cpuinfo(key: str) -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(key):
                return line.partition(":")[2].strip()
    return ""
