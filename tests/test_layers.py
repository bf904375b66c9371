"""The shape of the package: who may import whom, and what must not be imported early."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bonefx

PACKAGE = Path(bonefx.__file__).parent
ROWS = (
    (
        "settings",
        "labels",
        "errors",
        "detections",
        "results",
        "looks",
        "numbers",
        "files",
        "provenance",
        "quiet",
        "shutdown",
    ),
    ("images", "drawing", "marks", "matching", "agreement", "calibration", "fusion", "entries", "terminal"),
    ("sources",),
    ("evaluation", "fracatlas"),
    ("detectors",),
    ("consensus", "inference", "export", "interchange", "dicom_results", "batch", "notebook", "shards"),
    (
        "evaluation.predict",
        "evaluation.cluster",
        "evaluation.consensus",
        "evaluation.calibration",
        "evaluation.failures",
    ),
    ("training", "benchmark", "phantoms", "quiz"),
    ("ui", "commands", "__main__"),
)


def row(module: str) -> int:
    """The row of a module, by its own name or that of the nearest package that has one."""
    while module:
        for number, names in enumerate(ROWS):
            if module in names:
                return number
        module = module.rpartition(".")[0]
    raise AssertionError("not in any row")


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports anywhere, without the leading `bonefx.`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "bonefx":
            found |= {f"bonefx.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return {name.removeprefix("bonefx.") for name in found if name.startswith("bonefx.") and "__" not in name}


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_a_module_imports_only_from_its_own_row_and_the_rows_above(path):
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")
    if name == "":
        return  # the package's own front door stands on top of everything
    for other in imported(path):
        assert row(other) <= row(name), f"{name} imports {other}"


def test_no_function_is_longer_than_60_lines():
    long = [
        f"{path.relative_to(PACKAGE)}: {node.name}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 60
    ]
    assert long == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("bonefx", ("numpy", "torch", "gradio")),
        ("bonefx.images", ("torch", "gradio", "pydicom")),
        ("bonefx.sources.hub", ("torch", "gradio", "huggingface_hub")),
        ("bonefx.evaluation.report", ("torch", "gradio", "matplotlib")),
        ("bonefx.inference", ("torch", "ultralytics", "gradio")),
        ("bonefx.__main__", ("torch", "ultralytics", "gradio")),
    ],
)
def test_nothing_heavy_is_imported_early(module, heavy):
    code = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
