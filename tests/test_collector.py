"""Python's garbage collector rests while models are loaded, and works before and after."""

from __future__ import annotations

import gc
from dataclasses import replace

import pytest

from bonefx.collector import paused
from bonefx.detectors import MODELS, Registry
from bonefx.errors import SourceError, WeightsError
from bonefx.settings import Settings


def test_it_rests_within_and_works_afterwards():
    with paused():
        assert not gc.isenabled()
        with paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_who_has_it_switched_off_finds_it_so():
    gc.disable()
    try:
        with paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_model_that_cannot_be_loaded_leaves_it_at_work(monkeypatch):
    seen = []

    def load(weights, settings):
        seen.append(gc.isenabled())
        raise WeightsError("not today")

    monkeypatch.setitem(MODELS, "yolo", replace(MODELS["yolo"], load=load))
    with pytest.raises(SourceError, match="not today"):
        Registry(Settings(hub=False)).get("yolo")
    assert seen == [False]
    assert gc.isenabled()
