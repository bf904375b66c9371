"""One shard: its images read, looked at by the models, and written as rows.

An image can end the process that looks at it: memory that the kernel takes back, a fault in a decoder. Who
starts a shard leaves a note beside it and takes it away with the shard, so that the next one knows that the
one before ended on the way. That one writes into the note which image it is at, and an image at which two
have ended is passed over, with a row that says so.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
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

NOTE = ".note"
"""How the name of a shard's note ends."""

_MOST_ENDS = 2

ENDED = "The process that looked at this image ended without a word, twice: it is passed over."

_Read = tuple[str, Future[Radiograph]]
"""An image's name, and the image once it is read."""


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
        for model_id in self._models:
            self._prepare(model_id)
        try:
            notes, names = _Notes(self._target, shard.name), [os.fsdecode(name) for name in shard.images]
            several = 1 if notes.careful else inference.at_once(self._models, self._registry)
            results = [
                outcome.to_result(self._threshold)
                for batch in _in_batches(self._read(names, notes, ahead=several + 1), several)
                for outcome in self._look(batch)
            ]
            self._target.write(shard.name, to_parquet(results))
            notes.done()
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise BoneFXError(f"{shard.name} could not be written to the target: {why}.") from None
        return Done(shard.name, len(shard.images), time.process_time() - before)

    def _prepare(self, model_id: str) -> None:
        """Have every image looked at by the same runtime. What cannot be loaded is each row's error."""
        for member in inference.needed_by(model_id):
            with suppress(BoneFXError):
                self._registry.get(member).detector.finish_preparing()

    def _look(self, batch: Sequence[_Read]) -> Iterator[Outcome]:
        """The outcomes of some images, in their order."""
        readable: dict[str, Radiograph] = {}
        refused: dict[str, str] = {}
        for name, read in batch:
            try:
                readable[name] = replace(read.result(), name=name)
            except ImageError as error:
                refused[name] = str(error)
        found = inference.run_together(list(readable.values()), self._models, self._registry)
        outcomes = dict(zip(readable, found, strict=True))
        for name, _ in batch:
            if name in refused:
                yield from (Outcome(name, 0, 0, model, error=refused[name]) for model in self._models)
            else:
                yield from outcomes[name]

    def _read(self, names: Sequence[str], notes: _Notes, ahead: int) -> Iterator[_Read]:
        """Each image in its turn; the next ones are read meanwhile, unless one must be known by its note."""
        with (
            tempfile.TemporaryDirectory(prefix="bonefx-") as folder,
            ThreadPoolExecutor(1, thread_name_prefix="bonefx-read") as reader,
        ):
            waiting: list[_Read] = []
            for name in names:
                if not notes.may_look_at(name):
                    waiting.append((name, reader.submit(_passed_over)))
                else:
                    waiting.append((name, reader.submit(self._open, name, Path(folder))))
                if notes.careful or len(waiting) > ahead:
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


def _in_batches(reads: Iterator[_Read], size: int) -> Iterator[list[_Read]]:
    while batch := list(islice(reads, size)):
        yield batch


def _passed_over() -> Radiograph:
    raise ImageError(ENDED)


class _Notes:
    """What earlier attempts at a shard have left, and what this one leaves.

    Attributes:
        careful: whether an earlier one ended on the way.
    """

    def __init__(self, target: Place, shard: str) -> None:
        """Raises OSError: the target cannot be written."""
        self._target, self._name = target, f"_{shard}{NOTE}"
        self._ended: dict[str, int] = {}  # how often a careful attempt ended at an image
        self.careful = False
        with suppress(FileNotFoundError, ValueError):
            note = json.loads(target.read(self._name, MAX_BYTES))
            self.careful, self._ended = True, dict(note["ended"])
            if note["at"] is not None:
                self._ended[note["at"]] = self._ended.get(note["at"], 0) + 1
        self._write(None)

    def may_look_at(self, image: str) -> bool:
        """Whether an image may be looked at; in a careful attempt it is noted that it is in hand."""
        if self._ended.get(image, 0) >= _MOST_ENDS:
            return False
        if self.careful:
            self._write(image)
        return True

    def done(self) -> None:
        """The shard is written: its note goes."""
        self._target.remove(self._name)

    def _write(self, image: str | None) -> None:
        self._target.write(self._name, json.dumps({"at": image, "ended": self._ended}).encode())
