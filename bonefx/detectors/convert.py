"""The process that converts a network: `python -m bonefx.detectors.convert`, started by `acceleration`.

A process of its own, so that nothing of it is felt in the one that answers: neither its memory, nor Python's
lock held by a thread that gets no processor time, nor the crash of a library on a processor that it does not
know. It runs with one thread and, if told so, only while the processor has nothing else to do.

The first argument says `idle` or `now`. Standard input holds the `Conversion` as one line of JSON; when it
ends, so does the process.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bonefx.detectors import conversion_cache
from bonefx.detectors.conversion_cache import Conversion
from bonefx.hub import sha256_of

if TYPE_CHECKING:
    from torch import Tensor

_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}
"""Largest error of an output, by root mean square: this shows a broken kernel, not a loss of accuracy."""

_MOST_PIXELS = 640 * 640
"""Of a shape whose code is made before an image has it: larger images take far longer than that."""


def main() -> None:
    """Convert, check the result against torch, and store it."""
    conversion = Conversion.from_json(sys.stdin.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    if sys.argv[1] == "idle":
        _step_back()
    if sha256_of(conversion.weights) != conversion.sha256:
        raise OSError(f"{conversion.weights} is not the file any more that was loaded")
    conversion_cache.store(conversion, lambda folder: _convert(conversion, folder))


def _convert(conversion: Conversion, folder: Path) -> None:
    import torch

    from bonefx.detectors.openvino_guard import converter, openvino
    from bonefx.detectors.openvino_network import OpenVINONetwork, native_precision, store

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    precision = native_precision(conversion.precision)
    network = importlib.import_module(conversion.module).convertible(
        conversion.weights, conversion.config, precision
    )
    images = torch.rand(1, 3, 128, 192)  # multiples of any stride; sides that differ
    converted = converter()(
        network.eval(), example_input=images, input=[openvino.PartialShape([1, 3, -1, -1])]
    )
    for operation in converted.get_ops():
        if operation.get_friendly_name().startswith(network.float32_layers):
            operation.get_rt_info()["precise_0"] = ""  # the mark by which OpenVINO keeps float32
    largest, *others = sorted(network.usual_shapes, key=math.prod, reverse=True)
    usual = [largest, *(shape for shape in others if math.prod(shape) <= _MOST_PIXELS)]
    store(converted, usual, folder, precision)
    del converted
    images = torch.rand(1, 3, 192, 128)
    expected = network(images)
    found = OpenVINONetwork(folder, conversion.precision, threads=1)(images.numpy())
    _check(expected if isinstance(expected, tuple) else (expected,), found, precision)


def _check(expected: Sequence[Tensor], found: Sequence[Tensor], precision: str) -> None:
    for reference, values in zip(expected, found, strict=True):
        reference, error = reference.float(), values.float() - reference.float()
        relative = (error.square().mean() / reference.square().mean().clamp_min(1e-12)).sqrt()
        if not relative <= _TOLERANCE[precision]:  # nor is NaN
            raise ArithmeticError(f"OpenVINO's {precision} is off by {relative:.2g} of torch's values")


def _step_back() -> None:
    """Leave the processor to everything else, as far as the system offers that."""
    with contextlib.suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 19)
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _end_with_the_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
