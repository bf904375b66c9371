"""One shard: its images read, looked at by the models, and written as rows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from bonefx import images, inference
from bonefx.detectors import Registry
from bonefx.errors import BoneFXError, ImageError
from bonefx.images import MAX_BYTES, Radiograph
from bonefx.results import Outcome
from bonefx.settings import Settings
from bonefx.shards.places import Place
from bonefx.shards.plan import Shard
from bonefx.shards.rows import to_parquet

_READ_AHEAD = 2
"""Images that are read while the models look at one."""


@dataclass(frozen=True)
class Done:
    """What a shard took.

    Attributes:
        shard: its name.
        images: how many it has.
        cpu_seconds: processor time of this process meanwhile, all threads.
    """

    shard: str
    images: int
    cpu_seconds: float


class Worker:
    """Makes shards one after the other; the models are loaded once, with the first."""

    def __init__(
        self, source: Place, target: Place, models: Sequence[str], threshold: float, settings: Settings
    ) -> None:
        self._source, self._target = source, target
        self._models, self._threshold = tuple(models), threshold
        self._registry = Registry(settings)

    def make(self, shard: Shard) -> Done:
        """Look at the images and write the shard, whole.

        An image that cannot be read is a row that says why, and so is a model's failure.

        Raises:
            BoneFXError: the shard cannot be written. It names no image: what is raised may reach a log.
        """
        before = time.process_time()
        results = [
            outcome.to_result(self._threshold)
            for name, read in self._read(shard.images)
            for outcome in self._look(name, read)
        ]
        try:
            self._target.write(shard.name, to_parquet(results))
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise BoneFXError(f"{shard.name} could not be written to the target: {why}.") from None
        return Done(shard.name, len(shard.images), time.process_time() - before)

    def _look(self, name: str, read: Future[Radiograph]) -> Sequence[Outcome]:
        try:
            return inference.run(replace(read.result(), name=name), self._models, self._registry)
        except ImageError as error:
            return [Outcome(name, 0, 0, model, error=str(error)) for model in self._models]

    def _read(self, names: Sequence[str]) -> Iterator[tuple[str, Future[Radiograph]]]:
        """Each image in its turn; the next ones are read meanwhile."""
        with (
            tempfile.TemporaryDirectory(prefix="bonefx-") as folder,
            ThreadPoolExecutor(1, thread_name_prefix="bonefx-read") as reader,
        ):
            waiting: list[tuple[str, Future[Radiograph]]] = []
            for name in names:
                waiting.append((name, reader.submit(self._open, name, Path(folder))))
                if len(waiting) > _READ_AHEAD:
                    yield waiting.pop(0)
            yield from waiting

    def _open(self, name: str, folder: Path) -> Radiograph:
        try:
            content = self._source.read(name, MAX_BYTES + 1)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise ImageError(f"This file cannot be fetched from the source: {why}.") from None
        path = folder / "image"
        path.write_bytes(content)
        return images.read(path)
