"""A converted network, run by OpenVINO on the CPU."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from bonefx.detectors.base import Runtime, processor_name
from bonefx.detectors.openvino_guard import VERSION, openvino

NETWORK = "network.xml"
"""The network's file in its folder; the weights lie beside it and are mapped into memory, not read."""


class OpenVINONetwork:
    """One network with all its threads working on one image at a time.

    Attributes:
        runtime: OpenVINO's version, and the precision that the network really runs in.
    """

    def __init__(self, folder: Path, precision: str, threads: int) -> None:
        """
        Args:
            folder: holds `NETWORK`.
            precision: `float32`, or `auto`: bfloat16 where the processor computes with it natively.
            threads: for each inference; 0 leaves that to OpenVINO.
        """
        core = _core()
        # OpenVINO names BF16 for native instructions alone, though it can emulate them, slowly.
        reduced = precision == "auto" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        compiled = core.compile_model(
            core.read_model(folder / NETWORK),
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "bf16" if reduced else "f32",
                "INFERENCE_NUM_THREADS": threads,
                # torch and other programs use the same cores: the system may move our threads away.
                "ENABLE_CPU_PINNING": False,
                **({} if _is_small(folder) else {"CPU_RUNTIME_CACHE_CAPACITY": 0}),
            },
        )
        self._request = compiled.create_infer_request()
        self.runtime = Runtime(f"openvino {VERSION}", "bfloat16" if reduced else "float32", processor_name())

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """Outputs for float32 images (1, 3, h, w), of whatever height and width the network takes.

        They are OpenVINO's own memory, which the next call writes over: a caller with several threads
        lets one in at a time, until it has done with the outputs.
        """
        outputs = self._request.infer([images], share_inputs=True, share_outputs=True)
        return [outputs[i] for i in range(len(outputs))]


def _is_small(folder: Path) -> bool:
    """Whether what OpenVINO keeps for each shape of an image is worth its memory.

    It saves some milliseconds whenever the shape changes. Beside a large network's time that is nothing, and
    ten shapes take a hundred megabytes.
    """
    return (folder / NETWORK).with_suffix(".bin").stat().st_size < 64e6


@lru_cache(maxsize=1)
def _core() -> openvino.Core:
    return openvino.Core()
