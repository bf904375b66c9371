"""OpenVINO, imported without its converter, which takes half of the time and counts the program in.

Import OpenVINO through this module. The converter's import tells a statistics service on the internet of the
program, without asking, where the package `openvino_telemetry` is there; where it is not, a stub of
OpenVINO's takes the place.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def _missing(module: str) -> Iterator[None]:
    """Let the import of a module fail."""
    found = sys.modules.get(module)
    sys.modules[module] = None
    try:
        yield
    finally:
        del sys.modules[module]
        if found is not None:
            sys.modules[module] = found


with _missing("openvino.tools.ovc"):  # OpenVINO does without it
    import openvino

VERSION: str = openvino.__version__.partition("-")[0]
"""Such as 2026.4.1."""


def converter() -> Callable[..., openvino.Model]:
    """OpenVINO's `convert_model`."""
    with _missing("openvino_telemetry"):
        from openvino.tools.ovc import convert_model
    return convert_model
