"""Talking to the Hugging Face Hub with deadlines, progress, and failures as sentences.

`huggingface_hub` says what a file is and makes commits. A download is done here, into the library's cache:
its own counts in steps of 10 MB, tries a dead Hub for half a minute, cannot be stopped, and takes a server's
word for a file's size, its content and the name to keep it under. The library is imported on first use: an
app that runs on local files needs none of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from bonefx.errors import SourceError
from bonefx.sources.cache import COMMIT, ETAG, RepoCache, check_name
from bonefx.sources.deadline import watch
from bonefx.sources.problems import MissingError, Request, explain

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

ANSWER_SECONDS = 3.0  # for a whole question to the Hub: name look-up, redirects and slow headers included
SILENCE_SECONDS = 10.0  # a download without a byte for so long has died; a slow one that moves goes on
PUSH_SECONDS = 300.0  # for a commit: a few megabytes on a slow line
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
        request = replace(self._request("", late), action="write to")
        return watch(commit, seconds, lambda error: explain(error, request))

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
            if beside and second is None and self._cache.names(beside, commit):
                return None  # it was there: without its settings a file would mean something else
            return HubFile(path, self.repo_id, commit, filename, sha256, second and second[0])
        except (OSError, ValueError) as error:
            raise explain(error, self._request(filename)) from error

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
                watch(
                    lambda report: self._read(filename, metadata, limit, report),
                    self.silence_seconds,
                    lambda error: explain(error, self._request(filename, late)),
                    progress,
                )
                sha256 = self._cache.blob(metadata.etag, limit)
            if sha256 is None:
                raise SourceError("What the Hub sent was gone before it could be read.")
            commit = metadata.commit_hash
            return self._cache.link(filename, self.revision, commit, metadata.etag), sha256
        except OSError as error:
            raise explain(error, self._request(filename)) from error

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
        request = self._request(filename, late)
        return watch(work, self.answer_seconds, lambda error: explain(error, request))

    def _request(self, filename: str, late: str = "") -> Request:
        return Request(self.endpoint, self.token, self.repo_id, self.revision, filename, "read", late)

    def _url(self, filename: str) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(
            self.repo_id,
            filename,
            repo_type=self.repo_type,
            revision=self.revision,
            endpoint=self.endpoint,
        )


def _too_large(filename: str, limit: int) -> SourceError:
    return SourceError(f"{filename} on the Hub is too large: at most {limit / 1e6:,.10g} MB are read.")
