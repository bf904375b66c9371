"""A model whose loading is the test's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bonefx.detectors import MODELS, loading


def load_by(monkeypatch: Any, model_id: str, load: Callable[..., Any]) -> Callable[..., Any]:
    """From now on `load(weights, settings)` loads this model; the real way is returned."""
    real = loading.load

    def chosen(module: str, weights: Any, settings: Any) -> Any:
        if module == MODELS[model_id].module:
            return load(weights, settings)
        return real(module, weights, settings)

    monkeypatch.setattr(loading, "load", chosen)
    return lambda weights, settings: real(MODELS[model_id].module, weights, settings)
