"""A graph run by torch, on a GPU or a CPU: the reference, and the way to any checkpoint's first detection."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from bonefx.detectors.base import processor_name
from bonefx.results import Runtime


def best_device() -> torch.device:
    """The GPU if there is one that torch can use, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class TorchEngine:
    """See `bonefx.detectors.base.Engine`."""

    def __init__(self, graph: nn.Module, device: torch.device, library: str = "") -> None:
        """
        Args:
            graph: takes and returns tensors, as the engine arrays.
            device: to which it is moved.
            library: name and version of what computes, if that is not torch itself.
        """
        self.graph = graph.eval().to(device)
        self._device = device
        self._lock = threading.Lock()  # a graph may keep state between its layers, as Ultralytics' does
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
        self.runtime = Runtime(library or f"torch {torch.__version__.partition('+')[0]}", "float32", name)

    @torch.inference_mode()
    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        with self._lock:
            outputs = self.graph(*(torch.from_numpy(array).to(self._device) for array in inputs))
        several = outputs if isinstance(outputs, tuple) else (outputs,)
        return [output.cpu().numpy() for output in several]
