"""A converted network, run by OpenVINO on the CPU."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bonefx.detectors import memory
from bonefx.detectors.base import Runtime, processor_name
from bonefx.detectors.openvino_guard import VERSION, openvino
from bonefx.errors import AccelerationError

if TYPE_CHECKING:
    from torch import Tensor

# The files of a network: the graph as OpenVINO has rewritten it for this processor, which would take most of
# the time at every start; the weights, which are mapped into memory, not read; and a list in JSON.
_COMPILED, _WEIGHTS, _USUAL_SHAPES = "network.blob", "network.bin", "usual_shapes.json"


class OpenVINONetwork:
    """One network with all its threads working on one image at a time.

    Attributes:
        runtime: OpenVINO's version, and the precision that the network really runs in.
    """

    def __init__(self, folder: Path, precision: str, threads: int) -> None:
        """
        Args:
            folder: what `store` has written, on a processor like this one and with the same `precision`.
            precision: as for `native_precision`.
            threads: for each inference; 0 leaves that to OpenVINO.
        """
        precision = native_precision(precision)
        shapes = json.loads((folder / _USUAL_SHAPES).read_text(encoding="utf-8"))
        self._compiled = _core().import_model(
            (folder / _COMPILED).read_bytes(),
            "CPU",
            {
                **_options(precision),
                "WEIGHTS_PATH": str(folder / _WEIGHTS),
                "INFERENCE_NUM_THREADS": threads,
                # torch and other programs use the same cores: the system may move our threads away.
                "ENABLE_CPU_PINNING": False,
                # What is made for a shape takes megabytes: it is kept for those alone that will come again.
                **({} if len(shapes) > 1 else {"CPU_RUNTIME_CACHE_CAPACITY": 0}),
            },
        )
        self._request = self._compiled.create_infer_request()
        self._unprepared = deque(shapes)
        self._weights, self._used = folder / _WEIGHTS, False
        self.runtime = Runtime(f"openvino {VERSION}", precision, processor_name())

    def __call__(self, images: np.ndarray) -> list[Tensor]:
        """Outputs for float32 images (1, 3, h, w), of whatever height and width the network takes.

        They are OpenVINO's own memory, which the next call writes over: a caller with several threads
        lets one in at a time, until it has done with the outputs.

        Raises:
            AccelerationError: OpenVINO cannot compute them.
        """
        try:
            outputs = self._request.infer([images], share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            raise AccelerationError(
                f"OpenVINO failed; BONEFX_RUNTIME=torch does without it. {error}"
            ) from error
        if not self._used:
            self._used = True
            # What it computes with is OpenVINO's own arrangement of the weights, made by now.
            memory.release(self._weights)
        return [_tensor(outputs[i]) for i in range(len(outputs))]

    def prepare_shapes(self, idle: bool) -> None:
        """Have each usual shape computed once: its first image would wait for memory and code.

        The largest one comes first. The memory that it takes is enough for the others.

        Args:
            idle: one after another, whenever this process has had nothing else to do for a moment; ends early
                when the program does.
        """
        request = None
        while self._unprepared and (not idle or _until_idle()):
            request = request or self._compiled.create_infer_request()  # another's outputs may be in use
            with contextlib.suppress(IndexError):  # another thread does the same, and took the last one
                height, width = self._unprepared.popleft()
                request.infer([np.zeros((1, 3, height, width), np.float32)])


def store(
    network: openvino.Model, usual_shapes: Sequence[tuple[int, int]], folder: Path, precision: str
) -> None:
    """Write what `OpenVINONetwork` loads.

    Args:
        network: as OpenVINO has converted it.
        usual_shapes: heights and widths that most images have, the largest one first.
        folder: where to.
        precision: `float32` or `bfloat16`, as `native_precision` answers.
    """
    graph = folder / "network.xml"
    openvino.save_model(network, graph, compress_to_fp16=False)
    compiled = _core().compile_model(graph, "CPU", _options(precision))
    (folder / _COMPILED).write_bytes(compiled.export_model().getvalue())
    (folder / _USUAL_SHAPES).write_text(json.dumps(usual_shapes), encoding="utf-8")
    graph.unlink()


def _options(precision: str) -> dict[str, str]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": {"bfloat16": "bf16", "float32": "f32"}[precision],
        "CACHE_MODE": "OPTIMIZE_SIZE",  # the compiled network has its weights elsewhere
    }


def _until_idle() -> bool:
    """Wait until this process has computed next to nothing for half a second; False if it is about to end."""
    computed, still = time.process_time(), 0
    while still < 5 and threading.main_thread().is_alive():
        time.sleep(0.1)
        before, computed = computed, time.process_time()
        still = still + 1 if computed - before < 0.02 else 0
    return threading.main_thread().is_alive()


def native_precision(setting: str) -> str:
    """`float32`, or for `auto` where the processor computes with it natively `bfloat16`."""
    # OpenVINO names BF16 for native instructions alone, though it can emulate them, slowly.
    native = "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bfloat16" if setting == "auto" and native else "float32"


def _tensor(values: np.ndarray) -> Tensor:
    import torch  # loading a network is to go on while torch is imported

    if values.dtype == np.float16:  # so OpenVINO calls bfloat16, which NumPy does not have
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(values)


@lru_cache(maxsize=1)
def _core() -> openvino.Core:
    return openvino.Core()
