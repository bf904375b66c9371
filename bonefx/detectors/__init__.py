"""The registry of detectors.

A further detector is one module (see `bonefx.detectors.loading`) and one entry in `MODELS`;
CONTRIBUTING.md has an example.
"""

from __future__ import annotations

import functools
import logging
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from bonefx.detectors import loading
from bonefx.detectors.base import Detector
from bonefx.detectors.turns import Turns
from bonefx.errors import BoneFXError, RequestError, SourceError, quoted
from bonefx.looks import Look
from bonefx.results import Identity
from bonefx.settings import Settings, packaged
from bonefx.sources.client import OnProgress, Progress, ignore
from bonefx.sources.hub import SourceProblem, WeightFile, WeightSources, local_weights

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelSpec:
    """All that BoneFX knows of a model before it is loaded.

    Attributes:
        id: its name in the API and on the command line.
        name: its name for people.
        summary: what kind of model it is, in a sentence for people.
        look: of its boxes and curves; no other model's has its letter, colour, line, dash or mark.
        module: the module that makes it a detector, with what `bonefx.detectors.loading` asks of it.
        weights: weight file at the local and Hub sources, unless `HF_FILENAME_<variable>` names another.
        metrics: its metrics file, unless `HF_METRICS_FILENAME_<variable>` names another.
        variable: the end of these variables' names.
        bundled: weight file that travels with the code.
        has_config: whether a YAML file of the same name lies beside its weights.
    """

    id: str
    name: str
    summary: str
    look: Look
    module: str
    weights: str
    metrics: str
    variable: str
    bundled: str
    has_config: bool = False

    def weights_file(self, settings: Settings) -> str:
        """Its weight file's name at the local and Hub sources."""
        return settings.weights_files.get(self.variable, self.weights)

    def metrics_file(self, settings: Settings) -> str:
        """Its metrics file's name in the metrics repository."""
        return settings.metrics_files.get(self.variable, self.metrics)


MODELS: dict[str, ModelSpec] = {
    spec.id: spec
    for spec in (
        ModelSpec(
            id="faster-rcnn",
            name="Faster R-CNN",
            summary="A two-stage detector (ResNet-50 with a feature pyramid), in Detectron2's format: it "
            "proposes regions first, then judges each.",
            look=Look("F", "#E69F00", "brackets", "", "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0Z"),
            module="bonefx.detectors.faster_rcnn",
            weights="model_final_frcnn.pth",
            metrics="metrics_frcnn.json",
            variable="FRCNN",
            bundled="faster_rcnn_r50_res4_512.pth",
            has_config=True,
        ),
        ModelSpec(
            id="yolo",
            name="YOLO",
            summary="A one-stage detector (Ultralytics YOLO26): it judges all places of the image at once.",
            look=Look("Y", "#56B4E9", "double", "9 4", "M-4.5-4.5h9v9h-9Z"),
            module="bonefx.detectors.yolo",
            weights="best_yolo26m_640.pt",
            metrics="metrics_yolo.json",
            variable="YOLO",
            bundled="yolo26n_512.pt",
        ),
    )
}


def spec(model_id: str) -> ModelSpec:
    """The model of this id.

    Raises:
        RequestError: there is none.
    """
    if model_id not in MODELS:
        raise RequestError(f"There is no model {quoted(model_id)}. The models are: {', '.join(MODELS)}.")
    return MODELS[model_id]


def model_of(file: Path, settings: Settings) -> ModelSpec:
    """The model of a weight file: by its name if that is a known one, else by how it ends.

    Raises:
        BoneFXError: it is no model's, or more than one's.
    """
    named = [each for each in MODELS.values() if file.name in (each.weights_file(settings), each.bundled)]
    alike = named or [each for each in MODELS.values() if Path(each.weights).suffix == file.suffix]
    if len(alike) != 1:
        names = ", ".join(f"{each.weights_file(settings)} ({each.name})" for each in MODELS.values())
        raise BoneFXError(f"Nothing says which model {file} is of. Give it one of these names: {names}.")
    return alike[0]


@dataclass(frozen=True)
class Loaded:
    """A model in memory, the file it came from, and why no preferred source was used."""

    detector: Detector
    weights: WeightFile
    notes: tuple[str, ...]

    @property
    def identity(self) -> Identity:
        """What figures must share to be those of this model as it is run here."""
        return Identity(self.weights.sha256, self.detector.nms, self.detector.image_size)


class Registry:
    """Loads each model on first use, once, whatever the number of simultaneous requests.

    A model that had to fall back on a lesser source tries the better ones again after some minutes, or
    at once after `check_again`.

    Attributes:
        settings: where weights are, and how they are run.
        turns: who may run the models next.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.turns = Turns()
        self._sources = WeightSources(settings)
        self._loaded: dict[str, Loaded] = {}
        self._on_cpu: dict[str, tuple[str, Detector]] = {}
        self._locks = {model_id: threading.Lock() for model_id in MODELS}

    def loaded(self, model_id: str) -> Loaded | None:
        """The model if it is in memory; never waits."""
        return self._loaded.get(model_id)

    def in_memory(self, model_id: str) -> Loaded:
        """The model, which has been loaded before."""
        return self._loaded[model_id]

    def known_weights(self, model_id: str) -> WeightFile | None:
        """The weights in use, where that is known without loading them or asking a source; else None."""
        filename = spec(model_id).weights_file(self.settings)
        if loaded := self._loaded.get(model_id):
            return None if self._sources.due(filename) else loaded.weights
        if self.settings.hub or (self.settings.weights_dir / filename).exists():
            return None
        return _bundled_weights(MODELS[model_id].bundled)

    def check_again(self) -> None:
        """Forget which sources failed, so that the next use of each model asks them again."""
        self._sources.check_again()

    def get(self, model_id: str, progress: OnProgress = ignore) -> Loaded:
        """The model, loaded now if need be.

        A model in memory is returned without taking a lock: a forked process inherits locks as they
        are, and one that another thread held would never be released there.

        Raises:
            RequestError: there is no such model.
            SourceError: no source gave a usable file; the message tells each one's reason.
        """
        filename = spec(model_id).weights_file(self.settings)
        loaded = self._loaded.get(model_id)
        if loaded is None:
            with self._locks[model_id]:
                loaded = self._loaded.get(model_id)
                return self._load(model_id, None, progress) if loaded is None else loaded
        lock = self._locks[model_id]
        # Who comes while another request tries the better sources goes on with what there is.
        if self._sources.due(filename) and lock.acquire(blocking=False):
            try:
                return self._load(model_id, loaded, progress)
            finally:
                lock.release()
        return loaded

    def on_cpu(self, model_id: str) -> Detector:
        """A model that is in memory, for the processor: where a GPU was promised and is not given.

        Raises:
            BoneFXError: it cannot be loaded.
        """
        loaded = self._loaded[model_id]
        with self._locks[model_id]:
            kept = self._on_cpu.get(model_id)
            if kept is None or kept[0] != loaded.weights.sha256:
                detector = loading.load(
                    MODELS[model_id].module, loaded.weights, replace(self.settings, runtime="cpu")
                )
                kept = self._on_cpu[model_id] = loaded.weights.sha256, detector
            return kept[1]

    def _load(self, model_id: str, current: Loaded | None, progress: OnProgress) -> Loaded:
        model = MODELS[model_id]
        filename = model.weights_file(self.settings)
        problems: list[str] = []
        wanted, told = loading.wanted_cards(filename), _Told(progress)
        for found in self._sources.candidates(
            filename, model.bundled, told, wanted, with_config=model.has_config
        ):
            if isinstance(found, SourceProblem):
                problems.append(found.reason)
                continue
            if current is not None and current.weights.sha256 == found.sha256:
                detector = current.detector
            else:
                told(Progress("loading"))
                try:
                    loading.fetch_graphs(found, self.settings, told)
                    detector = loading.load(model.module, found, self.settings)
                except Exception as error:  # whatever a file of others brings about, it is its problem
                    if told.raised:
                        raise
                    problems.append(self._sources.reject(filename, found, _reason(error)).reason)
                    continue
            self._loaded[model_id] = Loaded(detector, found, tuple(problems))
            return self._loaded[model_id]
        raise SourceError(f"No weights of {model.name} could be used. {' '.join(problems)}")


class _Told:
    """Hands progress on; what the listener raises is no file's problem: it ends the load."""

    def __init__(self, listener: OnProgress) -> None:
        self._listener, self.raised = listener, False

    def __call__(self, step: Progress) -> None:
        self.raised = True
        self._listener(step)
        self.raised = False


def _reason(error: Exception) -> str:
    """Why a file could not be loaded, for a person; what no reader of files foresaw goes to the log too."""
    if isinstance(error, BoneFXError):
        return str(error)
    _log.error("a weight file could not be loaded", exc_info=error)
    return f"it cannot be loaded ({type(error).__name__}); the log has details"


@functools.cache
def _bundled_weights(file: str) -> WeightFile:
    return local_weights(packaged("bundled") / file, "bundled")


@functools.lru_cache(maxsize=1)
def default_registry() -> Registry:
    """The registry of this process, configured by the environment."""
    return Registry(Settings.from_env())
