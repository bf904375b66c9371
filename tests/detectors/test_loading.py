"""Which graph answers, in which precision."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from bonefx.detectors import base, loading
from bonefx.detectors.graphs import Card, Graph

pytest.importorskip("openvino")


def graph(form: str, **checks: bool) -> Graph:
    card = Card("yolo", form, "", None, {}, "", "", {}, {name: {"passed": ok} for name, ok in checks.items()})
    return Graph(Path(f"{form}.xml"), card)


GOOD, POOR, EIGHT = graph("float", bfloat16=True), graph("float", bfloat16=False), graph("int8", int8=True)


@pytest.mark.parametrize(
    ("graphs", "setting", "native", "expected"),
    [
        # the fastest form that was found to agree, then what can stand in for it
        ([GOOD, EIGHT], "auto", True, ["int8", "bfloat16"]),
        ([GOOD, EIGHT], "auto", False, ["int8", "float32"]),
        ([POOR, EIGHT], "auto", True, ["int8", "float32"]),
        ([GOOD], "auto", True, ["bfloat16"]),
        ([POOR], "auto", True, ["float32"]),
        ([GOOD], "auto", False, ["float32"]),
        # what was asked for, as far as it can be had
        ([GOOD, EIGHT], "float32", True, ["float32"]),
        ([POOR, EIGHT], "bfloat16", True, ["bfloat16"]),
        ([GOOD, EIGHT], "bfloat16", False, ["float32"]),
        ([GOOD, EIGHT], "int8", True, ["int8", "float32"]),
        ([GOOD], "int8", True, ["float32"]),
        # without a float graph torch is the other way
        ([EIGHT], "auto", True, ["int8"]),
        ([EIGHT], "float32", True, []),
        ([], "auto", True, []),
    ],
)
def test_the_form_that_answers(monkeypatch, graphs, setting, native, expected):
    monkeypatch.setattr("bonefx.detectors.engines.openvino_engine.has_bfloat16", lambda: native)
    monkeypatch.setattr(loading, "has_int8", lambda: True)
    found = {one.card.form: one for one in graphs}
    assert [precision for _, precision in loading.candidates(found, setting)] == expected


def test_eight_bits_answer_by_themselves_only_where_their_sums_are_whole(monkeypatch):
    monkeypatch.setattr("bonefx.detectors.engines.openvino_engine.has_bfloat16", lambda: False)
    monkeypatch.setattr(loading, "has_int8", lambda: False)
    found = {"float": GOOD, "int8": EIGHT}
    assert [precision for _, precision in loading.candidates(found, "auto")] == ["float32"]
    assert [precision for _, precision in loading.candidates(found, "int8")] == ["int8", "float32"]


@pytest.mark.parametrize(
    ("cpuinfo", "whole"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_vnni", True),
        ("flags\t\t: fpu avx2 avx_vnni", True),
        ("flags\t\t: fpu avx2 avx512f avx512bw", False),
        ("Features\t: fp asimd asimddp", True),
        ("Features\t: fp asimd", False),
        ("", False),
    ],
)
def test_a_processor_says_whether_it_adds_up_eight_bits_in_full(cpuinfo, whole, monkeypatch):
    lines = {line.partition("\t")[0]: line.partition(":")[2] for line in cpuinfo.splitlines()}
    monkeypatch.setattr(base, "_cpuinfo", lambda key: lines.get(key, ""))
    assert base.has_int8() == whole


def test_there_is_no_gpu_where_nothing_looks_like_one(monkeypatch):
    monkeypatch.setattr(loading, "_GPU_DEVICES", ())
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert not loading.has_gpu()


def test_a_gpu_that_is_hidden_from_torch_is_none(monkeypatch, tmp_path):
    torch = ModuleType("torch")
    torch.__spec__, torch.cuda = ModuleSpec("torch", None), SimpleNamespace(is_available=lambda: True)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(loading, "_GPU_DEVICES", (str(tmp_path),))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert loading.has_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not loading.has_gpu()
