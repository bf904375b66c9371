"""torchvision, imported without torch's compiler.

Import torchvision through this module. Its RoIAlign may ask the compiler a question, for deterministic
algorithms on a GPU alone, and so imports all of it at once, SymPy included: most of the time of that import,
which the first visitor waits for. Here the compiler is imported when it is asked.
"""

from __future__ import annotations

import sys
from types import ModuleType

import torch  # noqa: F401  (first, so that what follows is torchvision's own import alone)

_COMPILER = "torch._dynamo.utils"


def _is_compile_supported(device_type: str) -> bool:
    from torch._dynamo.utils import is_compile_supported

    return is_compile_supported(device_type)


_imported_before = _COMPILER in sys.modules
if not _imported_before:
    _stand_in = ModuleType(_COMPILER)
    _stand_in.is_compile_supported = _is_compile_supported
    sys.modules[_COMPILER] = _stand_in
try:
    from torchvision.models.detection.roi_heads import RoIHeads  # noqa: F401
    from torchvision.models.detection.rpn import (  # noqa: F401
        RegionProposalNetwork,
        concat_box_prediction_layers,
    )
    from torchvision.ops import FrozenBatchNorm2d, roi_align  # noqa: F401
finally:
    if not _imported_before:
        del sys.modules[_COMPILER]
