"""Folders, here or anywhere that fsspec reaches (`s3://`, `hf://`, `memory://`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from bonefx.entries import passed_over
from bonefx.errors import SourceError, quoted
from bonefx.files import whole

if TYPE_CHECKING:
    from fsspec.spec import AbstractBufferedFile


class Place:
    """A folder by its address; it can be sent to another process. Names are relative to it, with `/`.

    Attributes:
        address: as it was given.
    """

    def __init__(self, address: str) -> None:
        """Raises SourceError: nothing here can open such an address."""
        self.address = address
        try:
            self._files, root = url_to_fs(address)
        except (ImportError, ValueError) as error:
            raise SourceError(f"{quoted(address)} cannot be opened: {error}") from error
        self._root = root.rstrip("/")

    def images(self, leave_out: Place | None = None) -> Iterator[str]:
        """Names of all files that may be images, folder by folder, in an order that stays the same.

        Hidden files and those whose names say that they are text are passed over, as in a batch.

        Args:
            leave_out: a place whose files are passed over: what is written while this is read.

        Raises:
            SourceError: there is no such folder, or a folder in it cannot be listed.
        """
        if not self._files.isdir(self._root):
            raise SourceError(f"There is no folder {quoted(self.address)}.")
        written = leave_out._root if leave_out and type(leave_out._files) is type(self._files) else None
        waiting = [self._root]
        while waiting:
            folder = waiting.pop()
            folders = []
            for entry in self._listed(folder):
                path = entry["name"].rstrip("/")
                relative = path.removeprefix(f"{self._root}/")
                linked_folder = entry.get("islink") and self._files.isdir(path)
                if passed_over(relative) or path == written or linked_folder:  # a link may lead in a circle
                    continue
                if entry["type"] == "directory":
                    folders.append(path)
                else:
                    yield relative
            waiting += reversed(folders)

    def _listed(self, folder: str) -> list[dict[str, Any]]:
        try:  # not by fsspec's walk, which passes over a folder inside that it cannot list
            found = self._files.ls(folder, detail=True)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise SourceError(f"{folder[-200:]} in the source cannot be listed: {why}.") from error
        return sorted((each for each in found if each["name"] != folder), key=lambda each: each["name"])

    def read(self, name: str, most: int) -> bytes:
        """The first `most` bytes of a file.

        Raises:
            OSError: it cannot be read.
        """
        with self._files.open(self._path(name), "rb") as file:
            return file.read(most)

    def open(self, name: str) -> AbstractBufferedFile:
        """A file to read from, where one needs parts of it.

        Raises:
            OSError: it cannot be read.
        """
        return self._files.open(self._path(name), "rb")

    def write(self, name: str, content: bytes) -> None:
        """Write a file so that nobody sees half of it.

        Raises:
            OSError: it cannot be written; then nothing is there.
        """
        if not isinstance(self._files, LocalFileSystem):
            self._files.pipe_file(self._path(name), content)  # an object is there when it is whole
            return
        path = Path(self._path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as file:
            file.write(content)

    def remove(self, name: str) -> None:
        """Delete a file, if it is there.

        Raises:
            OSError: it cannot be deleted.
        """
        with suppress(FileNotFoundError):
            self._files.rm_file(self._path(name))

    def names(self, ending: str) -> set[str]:
        """Names of the files directly in it that end so; none where it does not exist yet."""
        self._files.invalidate_cache()
        try:
            found = self._files.ls(self._root, detail=False)
        except FileNotFoundError:
            return set()
        return {name.rsplit("/", 1)[-1] for name in found if name.endswith(ending)}

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"
