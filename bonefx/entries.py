"""Files, folders and ZIP archives to a list of image files, each opened when its turn comes.

Nothing that an archive says is trusted: its names are only shown, never used as a path, sizes are measured
while unpacking, and nothing in it is unpacked twice.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from bonefx.errors import BoneFXError, ImageError, RequestError
from bonefx.images import MAX_BYTES

MAX_ENTRIES = 200
MAX_UNPACKED = 512 * 1024 * 1024
"""Bytes of all files of a batch together, unpacked."""

_TEXTS = {".txt", ".md", ".csv", ".tsv", ".json", ".yaml", ".yml", ".xml", ".html", ".log", ".py"}
_NAME_LENGTH = 200
_PIECE = 1024 * 1024
_FEWER = f"A batch has at most {MAX_ENTRIES} files: make several smaller ones."
_DAMAGED = "This ZIP archive is damaged or cut off. Make it again."
_TOO_MUCH = (
    f"This and what came before it are more than {MAX_UNPACKED // 1024**2} MB unpacked. "
    "Send the rest in a second batch."
)


@dataclass(frozen=True)
class Entry:
    """One file of a batch, not opened yet.

    Attributes:
        name: what it is called, and no other entry of the batch is.
        path: the file, or the archive that holds it.
        member: its place in the archive; None for a file.
        inside: whether it lies in a folder or an archive, where an archive is not unpacked.
        problem: why it cannot be opened, as far as that is known already.
    """

    name: str
    path: Path
    member: zipfile.ZipInfo | None = None
    inside: bool = False
    problem: str | None = None


class _Archive(io.FileIO):
    """A ZIP file that is read in small pieces only: Python's reader makes objects of all it lists."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = _PIECE
        if size > _PIECE:
            raise RequestError(f"This archive lists too much. {_FEWER}")
        return super().read(size)


class Opener:
    """Opens entries one after the other; what an archive holds lies in a temporary folder meanwhile.

    A context manager: the folder is deleted at its end. All that is opened shares `MAX_UNPACKED`.

    Args:
        scratch: where that folder is made; None takes the system's place for temporary files.
    """

    def __init__(self, scratch: Path | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bonefx-", dir=scratch)
        self._left = MAX_UNPACKED

    def __enter__(self) -> Opener:
        return self

    def __exit__(self, *exception: object) -> None:
        self._folder.cleanup()

    @contextmanager
    def open(self, entry: Entry) -> Iterator[Path]:
        """The entry as a file, while the context lasts.

        A file larger than an image may be is not unpacked to its end: its reader says so.

        Raises:
            ImageError: it cannot be unpacked, or is an archive that is not.
        """
        if entry.problem is not None:
            raise ImageError(entry.problem)
        if entry.member is None:
            _refuse_archive(entry)
            yield entry.path
            return
        path = Path(self._folder.name) / "entry"
        try:
            try:
                self._unpack(entry, path)
            except OSError as error:
                raise ImageError(f"There is no room to unpack this file ({error.strerror}).") from None
            _refuse_archive(Entry(entry.name, path, inside=True))
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _unpack(self, entry: Entry, path: Path) -> None:
        assert entry.member is not None  # what is no member is opened where it lies
        with path.open("wb") as file:
            for piece in _pieces(entry.path, entry.member):
                self._left -= len(piece)
                if self._left < 0:
                    raise ImageError(_TOO_MUCH)
                file.write(piece)
                if file.tell() > MAX_BYTES:
                    break


def collect(paths: Sequence[Path], *, limited: bool = True, leave_out: Path | None = None) -> list[Entry]:
    """All files that are named: themselves, in folders, in ZIP archives.

    Folders are looked into. Hidden files, what macOS adds to archives, and, inside of folders and archives,
    files whose names say that they are text (a README, tables, JSON) are passed over. Names within an archive
    or a folder are relative to it; of several sources each puts its own name before them.

    Args:
        paths: files, folders and ZIP archives. One that cannot be read, and a folder in one, becomes an
            entry that says so when it is opened.
        limited: whether the limits hold for files and folders as well; they always hold for each archive.
        leave_out: a folder that is passed over, such as the one that is written to.

    Raises:
        RequestError: there is no file at all, or more than `MAX_ENTRIES` files or `MAX_UNPACKED` bytes.
    """
    found: list[Entry] = []
    for path in paths:
        before = f"{_shown(path.name)}/" if len(paths) > 1 else ""
        if _is_folder(path):
            found += _walk(path, before, leave_out)
        elif _is_archive(path):
            found += _members(path, before)
        else:
            found.append(Entry(_shown(path.name), path))
    if not found:
        raise RequestError("There is no file in what was given. Choose image files, or a ZIP of them.")
    if limited:
        _check_limits(found)
    return _with_unique_names(found)


def _walk(folder: Path, before: str, leave_out: Path | None) -> list[Entry]:
    """What lies below a folder, by name, and the folders that cannot be read."""
    out = leave_out and os.path.realpath(leave_out)
    found: list[Entry] = []

    def name_it(error: OSError) -> None:
        path = Path(error.filename)
        name = _shown(path.relative_to(folder).as_posix() if path != folder else folder.name)
        problem = f"This folder cannot be read ({error.strerror}). What is in it is left out."
        found.append(Entry(before + name, path, inside=True, problem=problem))

    for root, folders, files in os.walk(folder, onerror=name_it):
        folders[:] = sorted(
            name
            for name in folders
            if not _hidden(name) and os.path.realpath(os.path.join(root, name)) != out
        )
        paths = [Path(root) / name for name in sorted(files) if not passed_over(name)]
        found += [
            Entry(before + _shown(path.relative_to(folder).as_posix()), path, inside=True) for path in paths
        ]
    return found


def _members(path: Path, before: str) -> list[Entry]:
    """What a ZIP archive lists; where its list cannot be read, the archive itself, to say so."""
    try:
        with _Archive(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except BoneFXError:
        raise
    except Exception:
        return [Entry(_shown(path.name), path, problem=_DAMAGED)]
    found = [
        Entry(before + _shown(member.filename), path, member, inside=True)
        for member in members
        if not member.is_dir() and not passed_over(member.filename.replace("\\", "/"))
    ]
    _check_limits(found)
    return found


def _pieces(path: Path, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """The unpacked bytes of an archive's member."""
    if member.flag_bits & 0x1:
        raise ImageError("This file is encrypted. Make an archive without a password.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ImageError("This is a link, not a file. Put the file itself into the archive.")
    # Only these two are unpacked bit by bit; the others can burst from kilobytes into memory.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ImageError("This file is compressed in a way that is not read here. Make a plain ZIP archive.")
    try:
        with _Archive(path) as file, zipfile.ZipFile(file) as archive, archive.open(member) as source:
            while piece := source.read(_PIECE):
                yield piece
    except Exception:  # zipfile's errors are of many kinds
        raise ImageError("This part of the archive is damaged. Make the archive again.") from None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # its reader says why it is of no use
        return False


def _is_archive(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except (OSError, ValueError):
        return False


def _refuse_archive(entry: Entry) -> None:
    if entry.inside and _is_archive(entry.path):
        raise ImageError("This is a ZIP archive in a folder or in another archive. Send it by itself.")


def _check_limits(found: Sequence[Entry]) -> None:
    if len(found) > MAX_ENTRIES:
        raise RequestError(f"These are {len(found)} files. {_FEWER}")
    if sum(map(_size, found)) > MAX_UNPACKED:
        raise RequestError(
            f"These files are more than {MAX_UNPACKED // 1024**2} MB unpacked. Make several smaller batches."
        )


def _size(entry: Entry) -> int:
    """Bytes, as far as one can tell without opening it."""
    if entry.member is not None:
        return entry.member.file_size
    try:
        return entry.path.stat().st_size
    except (OSError, ValueError):
        return 0


def _hidden(name: str) -> bool:
    return name == "__MACOSX" or (name.startswith(".") and name not in (".", ".."))


def passed_over(name: str) -> bool:
    """Whether a file is left out by its name, with the folders that it is in: hidden, or text."""
    return PurePosixPath(name).suffix.lower() in _TEXTS or any(map(_hidden, name.split("/")))


def _shown(name: str) -> str:
    """A name that is safe to show and to write: no way up, no control signs, no endless length."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    text = "/".join(parts).encode("utf-8", "replace").decode("utf-8")
    text = "".join(sign for sign in text if unicodedata.category(sign)[0] != "C")
    return text[-_NAME_LENGTH:] or "file"


def _with_unique_names(found: Sequence[Entry]) -> list[Entry]:
    """The entries with a number in the name of each whose name has been there before."""
    taken: set[str] = set()
    apart = []
    for entry in found:
        end = PurePosixPath(entry.name).suffix
        name, number = entry.name, 1
        while name in taken:
            number += 1
            name = f"{entry.name.removesuffix(end)} ({number}){end}"
        taken.add(name)
        apart.append(replace(entry, name=name))
    return apart
