"""A converted network, run by OpenVINO on the CPU."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bonefx.detectors.base import Runtime, processor_name
from bonefx.detectors.openvino_guard import VERSION, openvino

if TYPE_CHECKING:
    from torch import Tensor

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
            precision: as for `native_precision`.
            threads: for each inference; 0 leaves that to OpenVINO.
        """
        core = _core()
        precision = native_precision(precision)
        compiled = core.compile_model(
            core.read_model(folder / NETWORK),
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": {"bfloat16": "bf16", "float32": "f32"}[precision],
                "INFERENCE_NUM_THREADS": threads,
                # torch and other programs use the same cores: the system may move our threads away.
                "ENABLE_CPU_PINNING": False,
                **({} if _is_small(folder) else {"CPU_RUNTIME_CACHE_CAPACITY": 0}),
            },
        )
        self._request = compiled.create_infer_request()
        self._folder, self._used = folder, False
        self.runtime = Runtime(f"openvino {VERSION}", precision, processor_name())

    def __call__(self, images: np.ndarray) -> list[Tensor]:
        """Outputs for float32 images (1, 3, h, w), of whatever height and width the network takes.

        They are OpenVINO's own memory, which the next call writes over: a caller with several threads
        lets one in at a time, until it has done with the outputs.
        """
        outputs = self._request.infer([images], share_inputs=True, share_outputs=True)
        if not self._used:
            self._used = True
            _release_pages((self._folder / NETWORK).with_suffix(".bin"))
        return [_tensor(outputs[i]) for i in range(len(outputs))]


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


def _release_pages(file: Path) -> None:
    """Hand the memory back that a file takes which is mapped for reading.

    OpenVINO computes with its own arrangement of the weights, made at the first inference. Whatever it still
    needs of the file after that, the system reads again.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):  # another C library; no /proc
            libc = ctypes.CDLL(None)
            for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
                addresses, permissions, *_, path = line.split(maxsplit=5)
                if path == str(file.resolve()) and permissions.startswith("r--"):
                    start, end = (int(address, 16) for address in addresses.split("-"))
                    libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def _is_small(folder: Path) -> bool:
    """Whether what OpenVINO keeps for each shape of an image is worth its memory.

    It saves some milliseconds whenever the shape changes. Beside a large network's time that is nothing, and
    ten shapes take a hundred megabytes.
    """
    return (folder / NETWORK).with_suffix(".bin").stat().st_size < 64e6


@lru_cache(maxsize=1)
def _core() -> openvino.Core:
    return openvino.Core()
