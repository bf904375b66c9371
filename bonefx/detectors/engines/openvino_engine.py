"""A graph run by OpenVINO on the CPU."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from bonefx.detectors.base import processor_name
from bonefx.detectors.engines.openvino_import import VERSION, openvino
from bonefx.errors import EngineError
from bonefx.results import Runtime

_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
"""What OpenVINO computes with wherever a graph does not say otherwise; the layers of an eight-bit one do."""

_log = logging.getLogger(__name__)


class OpenVINOEngine:
    """See `bonefx.detectors.base.Engine`. All threads work on one image at a time."""

    at_once = 1

    def __init__(
        self,
        graph: Path,
        precision: str,
        ranks: tuple[tuple[int, ...], tuple[int, ...]],
        cache: Path | None,
        threads: int | None = None,
    ) -> None:
        """
        Args:
            graph: the file in XML; its weights lie beside it.
            precision: `float32`, `bfloat16` or, of a graph of eight bits, `int8`.
            ranks: how many axes each input has, and each output.
            cache: folder where OpenVINO keeps what it has compiled; None for nowhere.
            threads: for each image; None takes what the environment allows, else OpenVINO's own choice.

        Raises:
            EngineError: OpenVINO cannot load the graph, or it is another network's.
        """
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": _threads() if threads is None else threads,
            # torch and other programs use the same cores: the system may move our threads away.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            compiled = _compiled(graph, options, cache)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot load {graph.name}. {error}") from error
        if (_ranks(compiled.inputs), _ranks(compiled.outputs)) != ranks:
            raise EngineError(f"{graph.name} is the graph of another kind of network")
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()
        self.runtime = Runtime(f"openvino {VERSION}", precision, processor_name())

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        with self._lock:
            try:
                outputs = self._request.infer(list(inputs), share_inputs=True, share_outputs=True)
            except RuntimeError as error:
                raise EngineError(f"OpenVINO failed on the image. {error}") from error
            return [np.array(outputs[i]) for i in range(len(outputs))]

    def together(self, several: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
        return [self(inputs) for inputs in several]


def has_bfloat16() -> bool:
    """Whether the processor computes with it natively; OpenVINO can emulate it, slowly."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _compiled(graph: Path, options: dict[str, object], cache: Path | None) -> openvino.CompiledModel:
    if cache is not None:
        try:
            return _core().compile_model(graph, "CPU", {**options, "CACHE_DIR": str(cache)})
        except RuntimeError as error:  # a full disk, a damaged file of the cache
            _log.warning("OpenVINO's cache in %s cannot be used: %s", cache, error)
    return _core().compile_model(graph, "CPU", options)


def _ranks(ports: Sequence[openvino.ConstOutput]) -> tuple[int, ...]:
    return tuple(len(port.get_partial_shape()) for port in ports)


def _threads() -> int:
    number = os.environ.get("OMP_NUM_THREADS", "")
    return int(number) if number.isdecimal() else 0


@lru_cache(maxsize=1)
def _core() -> openvino.Core:
    return openvino.Core()
