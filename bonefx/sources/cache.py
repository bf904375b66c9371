"""The cache of `huggingface_hub` on this machine, with the content of every file checked.

blobs/ETAG                     each file's bytes, named by their hash: of git, or SHA-256 for large files
snapshots/COMMIT/NAME          a link to its blob
refs/REVISION                  the commit that a branch or tag was last known at

The layout is the library's, so that other programs and the platform share it. Names that a server or the
settings give are checked before they become paths.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bonefx.errors import SourceError, quoted
from bonefx.files import open_regular, replaced

COMMIT = re.compile("[0-9a-f]{40}")
ETAG = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_STALE_SECONDS = 3600.0  # a partial file that nothing was written to for so long is nobody's


@dataclass(frozen=True)
class RepoCache:
    """The part of the cache that belongs to one repository."""

    repo_id: str
    repo_type: str

    @property
    def folder(self) -> Path:
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=self.repo_id, repo_type=self.repo_type)

    def find(self, name: str, revision: str, limit: int) -> tuple[Path, str, str] | None:
        """Path, commit and SHA-256 of a file of a revision; None where there is none, or none that is whole.

        Raises:
            SourceError: what lies there is no file, or has more than `limit` bytes.
            OSError, ValueError: the cache cannot be read.
        """
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.utils import validate_repo_id

        validate_repo_id(self.repo_id)
        check_name(name)
        found = try_to_load_from_cache(self.repo_id, name, revision=revision, repo_type=self.repo_type)
        if not isinstance(found, str):  # None, or "known to be missing"
            return None
        path = Path(found)
        blob = path.resolve()
        # On a disk without links a copy is in the link's place, and nothing says what its content must be.
        sha256 = _checked(blob, blob.name if ETAG.fullmatch(blob.name) else None, limit)
        commit = path.relative_to(self.folder / "snapshots").parts[0]
        return None if sha256 is None else (path, commit, sha256)

    def names(self, name: str, commit: str) -> bool:
        """Whether a commit is known to have a file of this name, be it that its content is gone."""
        return os.path.lexists(self.folder / "snapshots" / commit / name)

    def blob(self, etag: str, limit: int) -> str | None:
        """The SHA-256 of the file with this ETag; None where there is none, or none that is whole.

        Raises:
            SourceError, OSError: as of `find`.
        """
        path = self.folder / "blobs" / etag
        return _checked(path, etag, limit) if path.exists() else None

    @contextmanager
    def incoming(self, etag: str, limit: int) -> Iterator[BinaryIO]:
        """A file to write the content with this ETag into; it is kept if the context ends without an error.

        Raises:
            SourceError: the content is another.
            OSError: it cannot be written.
        """
        blob = self.folder / "blobs" / etag
        blob.parent.mkdir(parents=True, exist_ok=True)
        _sweep(blob)
        # A name of its own: whatever becomes of this download, nobody takes half a file for a whole one.
        partial = blob.with_name(f"{etag}.{uuid.uuid4().hex[:8]}.incomplete")
        try:
            with partial.open("wb") as file:
                yield file
            if _digest(partial, etag, limit) is None:
                raise SourceError("What the Hub sent is not the file that it announced.")
            os.replace(partial, blob)
        finally:
            partial.unlink(missing_ok=True)

    def link(self, name: str, revision: str, commit: str, etag: str) -> Path:
        """Give a blob its name in a commit, and make that the revision's commit; the path under that name.

        Raises:
            SourceError: a name would lead out of the cache.
            OSError: it cannot be written.
        """
        check_name(name)
        check_name(revision)
        blob, path = self.folder / "blobs" / etag, self.folder / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as beside:
            try:
                beside.symlink_to(os.path.relpath(blob, path.parent))
            except OSError:  # a disk without links
                shutil.copyfile(blob, beside)
        if revision != commit:
            ref = self.folder / "refs" / revision
            ref.parent.mkdir(parents=True, exist_ok=True)
            with replaced(ref) as beside:
                beside.write_text(commit, encoding="ascii")
        return path


def check_name(name: str) -> None:
    """
    Raises:
        SourceError: it is no name of a file or revision, and could lead out of the cache.
    """
    if not name or name.startswith("/") or "\0" in name or "\\" in name or ".." in name.split("/"):
        raise SourceError(f"{quoted(name)} is no name of a file or a revision in a repository.")


def _checked(path: Path, etag: str | None, limit: int) -> str | None:
    """`_digest` of a file, which is deleted where its content is another."""
    sha256 = _digest(path, etag, limit)
    if sha256 is None:
        path.unlink(missing_ok=True)
    return sha256


def _digest(path: Path, etag: str | None, limit: int) -> str | None:
    """The SHA-256 of a file; None where the ETag, if there is one, says that its content is another."""
    sha256 = hashlib.sha256()
    with open_regular(path, limit) as file:
        git = hashlib.sha1(b"blob %d\0" % os.fstat(file.fileno()).st_size, usedforsecurity=False)
        while block := file.read(1 << 24):  # large, for Python's lock is waited for after each
            sha256.update(block)
            if etag and len(etag) == 40:
                git.update(block)
    if etag and etag != (git if len(etag) == 40 else sha256).hexdigest():
        return None
    return sha256.hexdigest()


def _sweep(blob: Path) -> None:
    """Remove what downloads of this blob left when their process was killed."""
    for partial in blob.parent.glob(f"{blob.name}.*.incomplete"):
        with contextlib.suppress(OSError):
            if time.time() - partial.stat().st_mtime > _STALE_SECONDS:
                partial.unlink()
