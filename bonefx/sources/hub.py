"""Where a weight or metrics file comes from: a folder, the Hugging Face Hub, or the bundled demo weights.

The Hub may be slow, silent or broken, and the app must start all the same: a source that fails is passed
over with a sentence that says why, and left alone for some minutes.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from bonefx.errors import SourceError
from bonefx.files import open_regular
from bonefx.results import Source, Weights
from bonefx.settings import Settings, packaged
from bonefx.sources.client import (
    ANSWER_SECONDS,
    PUSH_SECONDS,
    SILENCE_SECONDS,
    HubFile,
    HubRepo,
    OnProgress,
    Progress,
    Pushed,
    ignore,
)
from bonefx.sources.problems import MissingError

__all__ = [
    "HubFile",
    "Progress",
    "Pushed",
    "SourceProblem",
    "WeightFile",
    "WeightSources",
    "check_push_beside_weights",
    "fetch_beside_weights",
    "fetch_metrics",
    "ignore",
    "local_weights",
    "push",
    "push_beside_weights",
]

MAX_WEIGHTS_BYTES = 2 * 10**9
MAX_METRICS_BYTES = 10**7
MAX_CARD_BYTES = 10**6
RETRY_SECONDS = 300.0  # how long a source that failed is left alone

_SWITCHED_OFF = "The Hub is switched off (BONEFX_HUB=off or HF_HUB_OFFLINE=1)."
_FROM_CACHE = "The copy in this machine's cache is used."


@dataclass(frozen=True)
class WeightFile:
    """A weight file that lies ready on this machine, and where it came from.

    Attributes:
        path: the file.
        source, repo, revision, file, sha256: as of `bonefx.results.Weights`.
        config: the YAML beside it; None where there is none.
    """

    path: Path
    source: Source
    repo: str | None
    revision: str | None
    file: str
    sha256: str
    config: Path | None = None

    def described(self) -> Weights:
        """What travels with every result."""
        return Weights(self.source, self.repo, self.revision, self.file, self.sha256)


@dataclass(frozen=True)
class SourceProblem:
    """Why a source was passed over, or why its file is an older copy: a sentence for a person."""

    source: Source
    reason: str


def local_weights(path: Path, source: Source = "local") -> WeightFile:
    """The weight file at `path`, with `<stem>.yaml` or else `config.yaml` in its folder as its config.

    Raises:
        SourceError: there is no such file, it cannot be read, or is too large.
    """
    with open_regular(path, MAX_WEIGHTS_BYTES) as file:
        sha256 = _sha256(file)
    configs = (path.with_suffix(".yaml"), path.with_name("config.yaml"))
    # Whatever it is: one that cannot be read must not pass for none.
    config = next((config for config in configs if os.path.lexists(config)), None)
    return WeightFile(path, source, None, None, path.name, sha256, config)


class WeightSources:
    """The sources of weight files in their order, and what is remembered of their failures.

    One for the process, safe to use from several threads. It loads no file: who finds that a candidate
    is no checkpoint says so with `reject` and takes the next one.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        retry_after: float = RETRY_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._retry_after = retry_after
        self._clock = clock
        self._repo = HubRepo(
            settings.endpoint,
            settings.token,
            settings.repo_id,
            revision=settings.revision or "main",
            answer_seconds=answer_seconds,
            silence_seconds=silence_seconds,
        )
        # Replaced under the lock, never changed: reading it takes no lock, which a fork could inherit.
        self._lock = threading.Lock()
        self._failures: dict[tuple[str, Source], _Failure] = {}

    def candidates(
        self,
        filename: str,
        bundled: str,
        progress: OnProgress = ignore,
        wanted: Mapping[str, str] | None = None,
        with_config: bool = False,
    ) -> Iterator[WeightFile | SourceProblem]:
        """The weight files to try, best source first, each looked for only when it is asked for.

        That there is no local file is the normal case and yields nothing. Every other source that is
        passed over yields a problem. A cached file that the Hub could not confirm comes after one too.

        Args:
            filename: name in the weights folder and in the Hub repository, or an absolute path.
            bundled: name among the bundled demo weights.
            progress: called in this thread; what it raises ends a download and comes out here.
            wanted: small files of which the Hub must have one for its weights to count, each with the reason.
            with_config: whether a YAML file of the same name is fetched too, if the Hub has one.
        """
        now = self._clock()
        with self._lock:
            self._failures = {
                key: failure
                for key, failure in self._failures.items()
                if key[0] != filename or now < failure.until
            }
        local = self._settings.weights_dir / filename
        if _is_there(local):
            yield self._from_folder(filename, "local", local)
        beside = str(Path(filename).with_suffix(".yaml")) if with_config else None
        yield from self._from_hub(filename, beside, progress, wanted or {})
        yield self._from_folder(filename, "bundled", packaged("bundled") / bundled)

    def reject(self, filename: str, weights: WeightFile, reason: str) -> SourceProblem:
        """Remember that a candidate for `filename` is no checkpoint, like any failure of its source."""
        text = f"{weights.file} ({weights.source}) is not used: {reason}"
        return self._remember(filename, weights.source, text, cache=False)

    def due(self, filename: str) -> bool:
        """Whether a source that failed for this file may be tried again by now."""
        now = self._clock()
        return any(name == filename and now >= failure.until for (name, _), failure in self._failures.items())

    def check_again(self) -> None:
        """Make every source that failed `due`."""
        now = self._clock()
        with self._lock:
            self._failures = {key: replace(failure, until=now) for key, failure in self._failures.items()}

    def _from_folder(self, filename: str, source: Source, path: Path) -> WeightFile | SourceProblem:
        if failure := self._failures.get((filename, source)):
            return SourceProblem(source, failure.reason)
        try:
            return local_weights(path, source)
        except SourceError as error:
            return self._remember(filename, source, str(error), cache=False)

    def _from_hub(
        self, filename: str, beside: str | None, progress: OnProgress, wanted: Mapping[str, str]
    ) -> Iterator[WeightFile | SourceProblem]:
        failure = self._failures.get((filename, "hub"))
        if failure and not failure.cache:
            yield SourceProblem("hub", failure.reason)
            return
        unasked = None if self._settings.hub else _SWITCHED_OFF
        if failure:
            unasked = failure.reason
        try:
            if not unasked:
                self._check_wanted(wanted)
            file = self._repo.fetch(filename, MAX_WEIGHTS_BYTES, beside, progress, unasked)
        except SourceError as error:
            if not unasked:
                self._remember(filename, "hub", str(error), cache=not isinstance(error, MissingError))
            yield SourceProblem("hub", str(error))
            return
        if file.note:
            if not unasked:
                self._remember(filename, "hub", file.note, cache=True)
            yield SourceProblem("hub", f"{file.note} {_FROM_CACHE}")
        yield WeightFile(file.path, "hub", file.repo, file.revision, file.file, file.sha256, file.beside)

    def _check_wanted(self, wanted: Mapping[str, str]) -> None:
        """
        Raises:
            SourceError: the Hub has none of these files, or does not answer.
        """
        missing = ""
        for name, reason in wanted.items():
            try:
                self._repo.fetch(name, MAX_CARD_BYTES)
            except MissingError:
                missing = reason
            else:
                return
        if missing:
            raise MissingError(missing)

    def _remember(self, filename: str, source: Source, reason: str, *, cache: bool) -> SourceProblem:
        failure = _Failure(reason, self._clock() + self._retry_after, cache)
        with self._lock:
            self._failures = {**self._failures, (filename, source): failure}
        return SourceProblem(source, reason)


@dataclass(frozen=True)
class _Failure:
    reason: str
    until: float  # on the clock of its WeightSources
    cache: bool  # whether a cached copy may stand in meanwhile


def fetch_metrics(settings: Settings, filename: str) -> HubFile:
    """The newest `filename` of the metrics repository; a cached copy, with a note, if the Hub is silent.

    Raises:
        SourceError: neither the Hub nor the cache has it.
    """
    unasked = None if settings.hub else _SWITCHED_OFF
    return _metrics_repo(settings).fetch(filename, MAX_METRICS_BYTES, unasked=unasked)


def push(
    settings: Settings, files: Mapping[str, bytes | Path], message: str, *, seconds: float = PUSH_SECONDS
) -> Pushed:
    """Publish files to the metrics repository in one commit, making the repository where it is missing.

    Args:
        files: content, or the path of a file with it, by name in the repository.
        message: of the commit.
        seconds: after which a silent Hub is given up.

    Raises:
        SourceError: there is no token, it may not write there, or the Hub did not confirm the commit.
    """
    _check_push(settings, settings.metrics_repo_id)
    return _metrics_repo(settings).commit(files, message, seconds)


def push_beside_weights(
    settings: Settings, files: Mapping[str, bytes | Path], message: str, *, seconds: float = PUSH_SECONDS
) -> Pushed:
    """Publish files to the repository that the weights come from; otherwise as `push`.

    Raises:
        SourceError: see `push`; or a revision is pinned, which what is published now could not be part of.
    """
    check_push_beside_weights(settings)
    return HubRepo(settings.endpoint, settings.token, settings.repo_id).commit(files, message, seconds)


def check_push_beside_weights(settings: Settings) -> None:
    """
    Raises:
        SourceError: `push_beside_weights` cannot work.
    """
    _check_push(settings, settings.repo_id)
    if settings.revision is not None:
        raise SourceError("BONEFX_REVISION pins the weights: unset it to publish beside the newest ones.")


def fetch_beside_weights(
    settings: Settings, weights: WeightFile, names: Sequence[str], progress: OnProgress = ignore
) -> bool:
    """Bring files of the commit that weights on this machine came from beside them; whether all are there."""
    if weights.repo is None or weights.revision is None:
        return False
    repo = HubRepo(settings.endpoint, settings.token, weights.repo, revision=weights.revision)
    unasked = None if settings.hub else _SWITCHED_OFF
    try:
        for name in names:
            repo.fetch(name, MAX_WEIGHTS_BYTES, progress=progress, unasked=unasked)
    except SourceError:
        return False
    return True


def _check_push(settings: Settings, repo_id: str) -> None:
    if not settings.hub:
        raise SourceError(_SWITCHED_OFF)
    if settings.token is None:
        raise SourceError(f"Publishing needs a token that may write to {repo_id}: set HF_TOKEN.")


def _metrics_repo(settings: Settings) -> HubRepo:
    return HubRepo(settings.endpoint, settings.token, settings.metrics_repo_id, settings.metrics_repo_type)


def sha256_of(path: Path) -> str:
    """Of a file's bytes, hexadecimal.

    Raises:
        OSError: it cannot be read, is no regular file, or too large.
    """
    try:
        with open_regular(path, MAX_WEIGHTS_BYTES) as file:
            return _sha256(file)
    except SourceError as error:
        raise error.__cause__ or OSError(str(error)) from None


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 24):  # large, for Python's lock is waited for after each
        digest.update(block)
    return digest.hexdigest()


def _is_there(path: Path) -> bool:
    """Whether a name is taken, also by what cannot be read."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True
