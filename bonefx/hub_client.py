"""Talking to the Hugging Face Hub with deadlines, progress, and failures as sentences.

`huggingface_hub` says what a file is and makes commits. A download is done here, into the library's cache:
its own counts in steps of 10 MB, tries a dead Hub for half a minute, cannot be stopped, and takes a server's
word for a file's size, its content and the name to keep it under. The library is imported on first use: an
app that runs on local files needs none of it.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from bonefx.errors import SourceError, quoted, shortened
from bonefx.hub_cache import COMMIT, ETAG, RepoCache, check_name

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

ANSWER_SECONDS = 3.0  # for a whole question to the Hub: name look-up, redirects and slow headers included
SILENCE_SECONDS = 10.0  # a download without a byte for so long has died; a slow one that moves goes on
PUSH_SECONDS = 300.0  # for a commit: a few megabytes on a slow line
_REPORT_SECONDS = 0.1  # between two reports of progress

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """How far a model is on its way; `done` and `total` in bytes, `total` None where unknown."""

    stage: Literal["checking the Hub", "downloading", "loading", "looking for fractures"]
    done: int = 0
    total: int | None = None

    def text(self) -> str:
        """For a person: "downloading 43 of 166 MB"."""
        if self.stage != "downloading":
            return self.stage
        unit, name = (1e6, "MB") if max(self.done, self.total or 0) >= 1e6 else (1e3, "kB")
        of_total = "" if self.total is None else f" of {self.total / unit:.0f}"
        return f"downloading {self.done / unit:.0f}{of_total} {name}"


OnProgress = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """The callback of a caller that shows no progress."""


@dataclass(frozen=True)
class HubFile:
    """A file of a Hub repository in this machine's cache.

    Attributes:
        path: where it lies.
        repo, revision, file: repository id, full commit SHA, name in the repository.
        sha256: of its bytes, hexadecimal.
        beside: the file that was asked for along with it; None where there is none.
        note: None when the Hub confirmed it, or it is pinned; else why the Hub did not.
    """

    path: Path
    repo: str
    revision: str
    file: str
    sha256: str
    beside: Path | None = None
    note: str | None = None


@dataclass(frozen=True)
class Pushed:
    """A commit on the Hub: its address and SHA; `changed` is False when all files were there already."""

    url: str
    revision: str
    changed: bool


class MissingError(SourceError):
    """The Hub answered that there is no such file, so a cached one is not what was asked for."""


@dataclass(frozen=True)
class HubRepo:
    """A repository on the Hub at one revision (commit, tag or branch), and how long to wait for it."""

    endpoint: str
    token: str | None = field(repr=False)
    repo_id: str
    repo_type: str = "model"
    revision: str = "main"
    answer_seconds: float = ANSWER_SECONDS
    silence_seconds: float = SILENCE_SECONDS

    def fetch(
        self,
        filename: str,
        limit: int,
        beside: str | None = None,
        progress: OnProgress = ignore,
        unasked: str | None = None,
    ) -> HubFile:
        """The file, downloaded unless the cache has it; a cached older one, with a note, if that fails.

        Its content is what the Hub says it is, in the cache too: every file there has its hash as its name.

        Args:
            filename: name in the repository.
            limit: bytes that it may have.
            beside: a second file wanted from the same commit. That it does not exist is no failure.
            progress: called in this thread; what it raises ends the download and comes out here.
            unasked: why the Hub must not be asked; None to ask. A cached file at a pinned full commit
                SHA cannot have changed and is never asked for.

        Raises:
            SourceError: the Hub did not give it, and the cache has none.
        """
        if COMMIT.fullmatch(self.revision) and (cached := self._cached(filename, limit, beside)):
            return cached
        try:
            if unasked:
                raise SourceError(unasked)
            progress(Progress("checking the Hub"))
            metadata = self._ask(filename, limit)
            second = None
            if beside:
                # Before the file itself, so that a cached file without this one is known to have none.
                with contextlib.suppress(MissingError):
                    second = replace(self, revision=metadata.commit_hash).fetch(beside, limit).path
            path, sha256 = self._download(filename, metadata, limit, progress)
            return HubFile(path, self.repo_id, metadata.commit_hash, filename, sha256, second)
        except MissingError:
            raise
        except SourceError as error:
            cached = self._cached(filename, limit, beside)
            if cached is None:
                raise
            return replace(cached, note=str(error))

    def commit(self, files: Mapping[str, bytes | Path], message: str, seconds: float) -> Pushed:
        """Write files in one commit; the repository is made where it is missing.

        Raises:
            SourceError: the token may not do that, or the Hub did not confirm it in time.
        """
        from huggingface_hub import CommitOperationAdd, HfApi

        api = HfApi(endpoint=self.endpoint, token=self.token or False)

        def commit(report: OnProgress) -> Pushed:
            additions = [CommitOperationAdd(name, content) for name, content in files.items()]
            api.create_repo(self.repo_id, repo_type=self.repo_type, exist_ok=True)
            info = api.create_commit(
                self.repo_id, additions, commit_message=message, repo_type=self.repo_type
            )
            # With every file unchanged the library returns the last commit, and marks none as committed.
            return Pushed(info.commit_url, info.oid, any(addition._is_committed for addition in additions))

        late = f"The Hub did not confirm the commit within {seconds:g} seconds."
        return _watch(commit, seconds, lambda error: self._explain(error, late, "write to"))

    @property
    def _cache(self) -> RepoCache:
        return RepoCache(self.repo_id, self.repo_type)

    def _cached(self, filename: str, limit: int, beside: str | None) -> HubFile | None:
        """The cache's file of this revision; None where there is none that is whole."""
        try:
            found = self._cache.find(filename, self.revision, limit)
            if found is None:
                return None
            path, commit, sha256 = found
            second = self._cache.find(beside, self.revision, limit) if beside else None
            return HubFile(path, self.repo_id, commit, filename, sha256, second and second[0])
        except (OSError, ValueError) as error:
            raise self._explain(error) from error

    def _ask(self, filename: str, limit: int) -> HfFileMetadata:
        from huggingface_hub import errors, get_hf_file_metadata

        def ask(report: OnProgress) -> HfFileMetadata:
            check_name(filename)
            metadata = get_hf_file_metadata(
                self._url(filename),
                token=self.token or False,
                timeout=self.answer_seconds,
                endpoint=self.endpoint,
            )
            # Both become names of files here.
            if not COMMIT.fullmatch(metadata.commit_hash or "") or not ETAG.fullmatch(metadata.etag or ""):
                raise errors.FileMetadataError
            if metadata.size is not None and metadata.size > limit:
                raise _too_large(filename, limit)
            return metadata

        return self._within_answer_seconds(ask, filename)

    def _download(
        self, filename: str, metadata: HfFileMetadata, limit: int, progress: OnProgress
    ) -> tuple[Path, str]:
        """Bring a file into the cache, unless it is there; its path and SHA-256."""
        try:
            sha256 = self._cache.blob(metadata.etag, limit)
            if sha256 is None:
                late = f"The download from the Hub stood still for {self.silence_seconds:g} seconds."
                _watch(
                    lambda report: self._read(filename, metadata, limit, report),
                    self.silence_seconds,
                    lambda error: self._explain(error, late, filename=filename),
                    progress,
                )
                sha256 = self._cache.blob(metadata.etag, limit)
            commit = metadata.commit_hash
            return self._cache.link(filename, self.revision, commit, metadata.etag), sha256
        except OSError as error:
            raise self._explain(error, filename=filename) from error

    def _read(self, filename: str, metadata: HfFileMetadata, limit: int, report: OnProgress) -> None:
        from huggingface_hub import get_session
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

        url = replace(self, revision=metadata.commit_hash)._url(filename)
        headers = build_hf_headers(token=self.token or False, headers={"Accept-Encoding": "identity"})
        done = 0
        with (
            self._cache.incoming(metadata.etag, limit) as file,
            get_session().stream("GET", url, headers=headers, timeout=self.silence_seconds) as response,
        ):
            hf_raise_for_status(response)
            for chunk in response.iter_bytes():
                done += len(chunk)
                if done > limit:
                    raise _too_large(filename, limit)
                file.write(chunk)
                report(Progress("downloading", done, metadata.size))
            if metadata.size is not None and done < metadata.size:
                raise EOFError

    def _within_answer_seconds(self, work: Callable[[OnProgress], T], filename: str) -> T:
        late = f"The Hub did not answer within {self.answer_seconds:g} seconds."
        return _watch(work, self.answer_seconds, lambda error: self._explain(error, late, filename=filename))

    def _url(self, filename: str) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(
            self.repo_id,
            filename,
            repo_type=self.repo_type,
            revision=self.revision,
            endpoint=self.endpoint,
        )

    def _explain(
        self, error: BaseException, late: str = "", action: str = "read", filename: str = ""
    ) -> SourceError:
        """What an error of the library or its HTTP client means, for a person."""
        import httpx2
        from huggingface_hub import errors

        repo = self.repo_id
        if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__:
            error = error.__cause__  # it only says that the cache had no file either
        causes = _causes(error)
        status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
        token_hint = f"set HF_TOKEN to a token that may {action} it"
        match error:
            case SourceError():
                return error
            case TimeoutError() | httpx2.TimeoutException():
                text = late
            case errors.HFValidationError():
                text = f"{quoted(repo)} is no repository id of the Hub: it must be OWNER/NAME."
            case errors.GatedRepoError():
                text = f"{repo} is gated: accept its conditions on the Hub, and {token_hint}."
            case errors.RepositoryNotFoundError():
                text = f"{repo} was not found on the Hub, or is private: check the name, or {token_hint}."
            case errors.RevisionNotFoundError():
                return MissingError(f"{repo} has no revision {self.revision}: check BONEFX_REVISION.")
            case errors.HfHubHTTPError() if status == 404:
                return MissingError(f"{repo} has no file {filename}.")
            case errors.HfHubHTTPError() if status == 401 and self.token:
                text = "The Hub does not accept the token (401): check HF_TOKEN."
            case errors.HfHubHTTPError() if status in (401, 403):
                text = f"The Hub does not allow to {action} {repo} ({status}): {token_hint}."
            case errors.HfHubHTTPError() if status == 429:
                text = "The Hub has had too many requests from here (429)."
            case errors.HfHubHTTPError() if status >= 500:
                text = f"The Hub has a fault of its own ({status})."
            case errors.HfHubHTTPError():
                text = f"The Hub answered with status {status}."
            case errors.OfflineModeIsEnabled():
                text = "huggingface_hub is in offline mode: unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE."
            case errors.FileMetadataError():
                text = f"What answered at {self.endpoint} is no Hub: check HF_ENDPOINT and the network."
            case httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
                text = f"{quoted(self.endpoint)} is no address of a Hub: check HF_ENDPOINT."
            case httpx2.LocalProtocolError() | UnicodeError():
                # Never with the error's own words: they quote the token.
                text = "The token has characters that no token has: check HF_TOKEN."
            case httpx2.TooManyRedirects():
                text = "The Hub redirects without end."
            case httpx2.ConnectError() if any(isinstance(cause, socket.gaierror) for cause in causes):
                text = f"The host of {self.endpoint} was not found: check the network and HF_ENDPOINT."
            case httpx2.ConnectError() if any(isinstance(cause, ssl.SSLError) for cause in causes):
                text = f"{self.endpoint} has no certificate that this machine trusts."
            case httpx2.ConnectError() | httpx2.ProxyError():
                text = f"No connection to {self.endpoint}: check the network."
            case httpx2.TransportError():
                text = "The connection to the Hub broke off."
            case EOFError():
                text = f"The Hub sent only a part of {filename}."
            case OSError(errno=errno.ENOSPC | errno.EDQUOT):
                text = f"There is no room left on the disk for {filename}."
            case OSError():
                text = f"The Hub's cache on this machine cannot be used: {error.strerror or error}."
            case _:
                text = f"The Hub could not be used ({type(error).__name__}: {shortened(str(error))})."
        return SourceError(text)


def _too_large(filename: str, limit: int) -> SourceError:
    return SourceError(f"{filename} on the Hub is too large: at most {limit / 1e6:,.10g} MB are read.")


def _causes(error: BaseException | None) -> list[BaseException]:
    causes = []
    while error is not None:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes


class _Abandoned(Exception):
    """Ends a thread whose result nobody waits for any more."""


class _Worker(threading.Thread, Generic[T]):
    """Runs `work(report)` and keeps what it reports, returns or raises.

    A daemon: a thread stuck in the network must not keep the program from ending.
    """

    def __init__(self, work: Callable[[OnProgress], T]) -> None:
        super().__init__(name="hub", daemon=True)
        self.news = threading.Event()
        self.abandoned = threading.Event()
        self.latest: Progress | None = None
        self.outcome: tuple[T | None, BaseException | None] | None = None
        self._work = work
        self._reported = float("-inf")

    def run(self) -> None:
        try:
            self.outcome = (self._work(self._report), None)
        except BaseException as error:
            self.outcome = (None, error)
        self.news.set()

    def _report(self, progress: Progress) -> None:
        if self.abandoned.is_set():
            raise _Abandoned
        self.latest = progress
        if time.monotonic() - self._reported >= _REPORT_SECONDS:
            self._reported = time.monotonic()
            self.news.set()


def _watch(
    work: Callable[[OnProgress], T],
    patience: float,
    explain: Callable[[BaseException], SourceError],
    progress: OnProgress = ignore,
) -> T:
    """What `work` returns, if it never goes `patience` seconds without a report.

    A socket's own timeout is not enough: it starts anew with every byte of a header, and knows nothing
    of name look-ups. `progress` is called in this thread, and its exceptions come out as they are.

    Raises:
        SourceError: `explain` of what `work` raised, or of TimeoutError.
    """
    worker = _Worker(work)
    worker.start()
    try:
        while True:
            if not worker.news.wait(patience):
                raise explain(TimeoutError())
            worker.news.clear()
            outcome = worker.outcome
            if worker.latest:
                progress(worker.latest)
            if outcome:
                break
    finally:
        worker.abandoned.set()
    result, error = outcome
    if error is not None:
        raise explain(error) from error
    return result
