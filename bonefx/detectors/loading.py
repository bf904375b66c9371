"""How weights become a detector: which engine, which graph, and what is said where something is missing.

A model's module offers what differs: `Processing`, `torch_engine(weights, settings, device)`,
`convertible(weights)` for OpenVINO, and `needs_torch(settings)`, whether an engine is chosen that no graph is
made of.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from bonefx.detectors import graphs
from bonefx.detectors.base import Detector, Engine, Processing, has_int8
from bonefx.detectors.conversion.background import BackgroundConversion, Request
from bonefx.detectors.graph_detector import GraphDetector
from bonefx.detectors.graphs import Graph, cache
from bonefx.errors import BoneFXError, WeightsError
from bonefx.settings import ZERO_GPU, Settings
from bonefx.sources.client import OnProgress
from bonefx.sources.hub import WeightFile, fetch_beside_weights, local_weights

TORCH_COMMAND = "`pip install '.[torch]'` in the folder of BoneFX"

_GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")

_log = logging.getLogger(__name__)


def load(module: str, weights: WeightFile, settings: Settings) -> Detector:
    """The detector of a weight file: torch on a GPU, a graph on a CPU, torch there until a graph is made.

    Args:
        module: the model's.
        weights: the file.
        settings: which runtime and precision, and where graphs are kept.

    Raises:
        WeightsError: the file is no checkpoint of the model, or it needs torch, which is not installed.
    """
    model = importlib.import_module(module)
    torch_it_is = settings.runtime == "torch" or model.needs_torch(settings)
    if torch_it_is or (settings.runtime == "auto" and has_gpu()):
        return GraphDetector(*model.torch_engine(weights, settings, None))

    def fallback() -> Engine:
        if local_weights(weights.path).sha256 != weights.sha256:
            raise WeightsError(f"{weights.file} is not the file any more that was loaded.")
        engine: Engine = model.torch_engine(weights, settings, "cpu")[1]
        return engine

    made = from_graph(model, weights, settings)
    if made is not None:
        return GraphDetector(*made, fallback=fallback)
    conversion = None
    if settings.cache_dir is not None and importlib.util.find_spec("openvino"):
        request = Request(module, weights, settings.cache_dir, settings.precision)
        conversion = BackgroundConversion(
            request, lambda: (from_graph(model, weights, settings) or (None, None))[1]
        )
    return GraphDetector(
        *model.torch_engine(weights, settings, "cpu"), fallback=fallback, conversion=conversion
    )


def from_graph(
    model: ModuleType, weights: WeightFile, settings: Settings
) -> tuple[Processing, Engine] | None:
    """What a detector is made of, from the graph of these weights that is wanted first and can be used."""
    made_here = None if settings.cache_dir is None else graphs.folder(settings.cache_dir)
    found, problems = graphs.find(short_name(model), weights, made_here)
    for problem in problems:
        _log.warning("%s", problem)
    for graph, precision in candidates(found, settings.precision):
        try:
            return _compiled(model, graph, precision, settings)
        except (BoneFXError, ImportError) as error:
            _log.warning("The graph %s is not used: %s", graph.path.name, error)
    return None


def wanted_cards(filename: str) -> dict[str, str]:
    """Without torch, the cards of which one must lie beside weights on the Hub, each with the reason."""
    if importlib.util.find_spec("torch") is not None:
        return {}
    path = Path(filename)
    reason = f"{filename} on the Hub has no graph, and without one it needs torch: {TORCH_COMMAND}."
    return {str(graphs.card_path(path.parent, path.stem, form)): reason for form in graphs.FORMS}


def fetch_graphs(weights: WeightFile, settings: Settings, progress: OnProgress) -> None:
    """Bring the graphs beside weights on the Hub to this machine, if its processor may have to answer."""
    if weights.source != "hub" or settings.runtime == "torch" or (has_gpu() and not ZERO_GPU):
        return
    path = Path(weights.file)
    for form in graphs.FORMS:
        card, *others = graphs.files(graphs.card_path(path.parent, path.stem, form))
        if fetch_beside_weights(settings, weights, [str(card)]):
            fetch_beside_weights(settings, weights, list(map(str, others)), progress)


def short_name(model: ModuleType) -> str:
    """What a graph's card calls a model."""
    return model.__name__.rpartition(".")[2]


def has_gpu() -> bool:
    """Whether torch has a GPU; it is imported only where there may be one."""
    if ZERO_GPU:
        return True
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":  # somebody hides them from torch
        return False
    if not (any(Path(device).exists() for device in _GPU_DEVICES) or shutil.which("nvidia-smi")):
        return False
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def require(*packages: str) -> None:
    """
    Raises:
        WeightsError: a package that only the extra `torch` brings is missing.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise WeightsError(
            f"these weights have no graph, and without one they need {' and '.join(missing)}: {TORCH_COMMAND}"
        )


def candidates(found: dict[str, Graph], precision: str) -> Sequence[tuple[Graph, str]]:
    """The graphs that may answer, each with what it computes in, the one that is wanted first."""
    wanted: list[tuple[Graph, str]] = []
    if "int8" in found and (precision == "int8" or (precision == "auto" and has_int8())):
        wanted.append((found["int8"], "int8"))
    if "float" in found:
        wanted.append((found["float"], _float_precision(found["float"], precision)))
    return wanted


def _float_precision(graph: Graph, setting: str) -> str:
    if setting == "bfloat16" or (setting == "auto" and graph.card.passed("bfloat16")):
        from bonefx.detectors.engines.openvino_engine import has_bfloat16

        return "bfloat16" if has_bfloat16() else "float32"
    return "float32"


def _compiled(
    model: ModuleType, graph: Graph, precision: str, settings: Settings
) -> tuple[Processing, Engine]:
    from bonefx.detectors.engines.openvino_engine import OpenVINOEngine

    processing = model.Processing.from_record(dict(graph.card.processing))
    kept = None
    if settings.cache_dir is not None:
        kept = cache.shared(settings.cache_dir / "compiled", graph.card.xml[:32])
    return processing, OpenVINOEngine(graph.path, precision, processing.ranks, kept)
