"""A detector made of its three parts: what is done before the graph, the graph, what is done after it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bonefx.detections import Detections
from bonefx.detectors.base import Engine, Processing, Stopwatch
from bonefx.errors import EngineError
from bonefx.results import Runtime

if TYPE_CHECKING:
    from bonefx.detectors.conversion.background import BackgroundConversion

_log = logging.getLogger(__name__)


class GraphDetector:
    """See `bonefx.detectors.base.Detector`."""

    def __init__(
        self,
        processing: Processing,
        engine: Engine,
        *,
        fallback: Callable[[], Engine] | None = None,
        conversion: BackgroundConversion | None = None,
    ) -> None:
        """
        Args:
            processing: before and after the graph.
            engine: runs the graph.
            fallback: makes the engine that takes over for good where a faster one fails on an image.
            conversion: makes a graph for a faster engine, which takes over when it is ready.
        """
        self.processing = processing
        self.nms, self.image_size = processing.nms, processing.image_size
        self._engine, self._fallback, self._conversion = engine, fallback, conversion
        self._changing = threading.Lock()

    @property
    def runtime(self) -> Runtime:
        return self._engine.runtime

    @property
    def at_once(self) -> int:
        return self._engine.at_once

    def detect(self, rgb: np.ndarray, stopwatch: Stopwatch) -> Detections:
        self._take_over()
        engine = self._engine
        with stopwatch("preprocess"):
            inputs = self.processing.prepare(rgb)
        with stopwatch("network"):
            try:
                outputs = _finite(engine(inputs))
            except EngineError as error:
                engine = self._replacement(engine, error)
                outputs = _finite(engine(inputs))
        stopwatch.runtime = engine.runtime
        if self._conversion is not None:
            self._conversion.begin()
        with stopwatch("postprocess"):
            return self.processing.finish(outputs, *rgb.shape[:2])

    def detect_together(self, rgbs: Sequence[np.ndarray], stopwatch: Stopwatch) -> list[Detections]:
        with stopwatch("preprocess"):
            prepared = [self.processing.prepare(rgb) for rgb in rgbs]
        with stopwatch("network"):
            engine = self._engine
            outputs = [_finite(each) for each in engine.together(prepared)]
        stopwatch.runtime = engine.runtime
        with stopwatch("postprocess"):
            return [
                self.processing.finish(each, *rgb.shape[:2]) for each, rgb in zip(outputs, rgbs, strict=True)
            ]

    def finish_preparing(self) -> None:
        if self._conversion is not None:
            self._conversion.wait()
        self._take_over()

    def _take_over(self) -> None:
        """Go on with the faster engine if its graph has become ready."""
        conversion = self._conversion
        if conversion is None or not conversion.ended():
            return
        with self._changing:
            if self._conversion is not None:
                self._conversion = None
                self._engine = conversion.engine() or self._engine

    def _replacement(self, failed: Engine, error: EngineError) -> Engine:
        """The engine in the place of one that failed; several threads may ask for it."""
        with self._changing:
            if self._engine is failed:
                if self._fallback is None:
                    raise error
                _log.warning("another engine goes on: %s", error)
                self._engine = self._fallback()
            return self._engine


def _finite(outputs: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """
    Raises:
        EngineError: a number is none: what would be left after it is thrown out is no finding.
    """
    if not all(np.isfinite(output).all() for output in outputs):
        raise EngineError("The network's answer on this image holds numbers that are not finite.")
    return outputs
