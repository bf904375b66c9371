"""OpenVINO, imported without telling anybody of it.

Import OpenVINO through this module. Its package imports a converter that BoneFX does not use, and that import
tells a statistics service on the internet of the program, without asking: it has no switch but a file in the
user's home, and the package that does it, `openvino_telemetry`, is a hard dependency. OpenVINO does without
the converter, and where the package is missing a stub of its own takes the place. NNCF asks for it too.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """While this lasts, an import of the converter or of the telemetry fails, as if they were not there."""
    hidden = ("openvino.tools.ovc", "openvino_telemetry")
    found = {name: sys.modules.get(name) for name in hidden}
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: an import of it fails
    try:
        yield
    finally:
        for name, module in found.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


with without_telemetry():
    import openvino

__all__ = ["VERSION", "openvino", "without_telemetry"]

VERSION: str = openvino.__version__.partition("-")[0]
"""Such as 2026.4.1."""
