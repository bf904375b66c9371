"""A graph run by torch, on a GPU or a CPU: the reference, and the way to any checkpoint's first detection."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.backends import cudnn

from bonefx.detectors.base import processor_name
from bonefx.results import Runtime

ON_GPU, ON_CPU = 8, 1
"""How many images are computed at once: one keeps all cores of a CPU busy."""


def best_device() -> torch.device:
    """The GPU if there is one that torch can use, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class TorchEngine:
    """See `bonefx.detectors.base.Engine`."""

    def __init__(self, graph: nn.Module, device: torch.device, library: str = "") -> None:
        """
        Args:
            graph: takes and returns tensors, as the engine arrays. One that has a method `together` takes
                several images of one shape as well: a tuple of its inputs for each, a tuple of its outputs
                back for each.
            device: to which it is moved.
            library: name and version of what computes, if that is not torch itself.
        """
        self.graph = graph.eval().to(device)
        self.at_once = ON_GPU if device.type == "cuda" else ON_CPU
        self._device = device
        self._lock = threading.Lock()  # a graph may keep state between its layers, as Ultralytics' does
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
        self.runtime = Runtime(library or f"torch {torch.__version__.partition('+')[0]}", "float32", name)

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return self.together([inputs])[0]

    def together(self, several: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
        outputs: dict[int, list[np.ndarray]] = {}
        for places in self._alike(several):
            found = self._run([several[place] for place in places])
            outputs.update(zip(places, found, strict=True))
        return [outputs[place] for place in range(len(several))]

    def _alike(self, several: Sequence[Sequence[np.ndarray]]) -> Iterator[list[int]]:
        """The places of images that are computed together: padding one to another's shape would change it."""
        of_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for place, inputs in enumerate(several):
            of_shape[inputs[0].shape].append(place)
        most = self.at_once if hasattr(self.graph, "together") else 1
        for places in of_shape.values():
            yield from (places[first : first + most] for first in range(0, len(places), most))

    @torch.inference_mode()
    def _run(self, several: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
        # A GPU would round a convolution's inputs to 10 bits: that is not the float32 that `runtime` says.
        with self._lock, cudnn.flags(enabled=True, allow_tf32=False):
            images = [tuple(torch.from_numpy(each).to(self._device) for each in inputs) for inputs in several]
            found = [self.graph(*images[0])] if len(images) == 1 else self.graph.together(images)
        return [[output.cpu().numpy() for output in _as_tuple(outputs)] for outputs in found]


def _as_tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)
