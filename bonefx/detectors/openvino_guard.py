"""OpenVINO, imported without its telemetry.

Import OpenVINO through this module. Its own import counts the program in at a statistics service on the
internet, without asking, where the package `openvino_telemetry` is there; where it is not, a stub of
OpenVINO's takes the place.
"""

from __future__ import annotations

import sys

_found = sys.modules.get("openvino_telemetry")
sys.modules["openvino_telemetry"] = None  # an import of it fails from here on

import openvino  # noqa: E402
import openvino.tools.ovc  # noqa: E402  (the part that counts; the stub stays in it)

if _found is None:
    del sys.modules["openvino_telemetry"]
else:
    sys.modules["openvino_telemetry"] = _found

VERSION: str = openvino.__version__.partition("-")[0]
"""Such as 2026.4.1."""
