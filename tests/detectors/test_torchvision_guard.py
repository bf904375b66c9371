"""torchvision without torch's compiler, and with it once somebody asks."""

from __future__ import annotations

import subprocess
import sys


def said(code: str) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    ).stdout.splitlines()


def test_detections_do_without_the_compiler():
    code = """
import sys
from bonefx import images, inference
from bonefx.detectors import MODELS, Registry
from bonefx.settings import Settings, packaged
example = next(packaged("examples").glob("*.png"))
outcomes = inference.run(images.read(example), list(MODELS), Registry(Settings(hub=False)))
print([outcome.error for outcome in outcomes])
names = ("torchvision", "torch._dynamo", "torch._dynamo.utils", "sympy")
print([name for name in names if name in sys.modules])
"""
    assert said(code) == ["[None, None]", "['torchvision']"]


def test_roi_align_is_answered_by_the_compiler_itself():
    code = """
import sys
import bonefx.detectors.torchvision_guard
asks = sys.modules["torchvision.ops.roi_align"].is_compile_supported
answer = asks("cpu")
from torch._dynamo.utils import is_compile_supported
print(answer == is_compile_supported("cpu"), asks is is_compile_supported)
"""
    assert said(code) == ["True False"]


def test_a_compiler_that_is_there_is_left_alone():
    code = """
import sys, torch._dynamo.utils as compiler
import bonefx.detectors.torchvision_guard
asks = sys.modules["torchvision.ops.roi_align"].is_compile_supported
print(sys.modules["torch._dynamo.utils"] is compiler, asks is compiler.is_compile_supported)
"""
    assert said(code) == ["True True"]
