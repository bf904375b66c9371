"""The one folder in which everything of visitors lies, and what becomes of it.

Gradio serves and accepts files of its own folder only, so this is that folder too (`GRADIO_TEMP_DIR`).
Each upload, each visitor's results and each batch is an entry of it, with a random name that starts with the
second in which it was made: nobody can guess its address, and its age cannot change.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from functools import cache
from pathlib import Path

from bonefx.shutdown import delete_at_end

KEPT_MINUTES = 60
"""How long an upload and what was made of it stay on the server, at the most."""

SWEEP_SECONDS = 60.0
"""How often the folder is swept while the app runs."""

_PREFIX = "bonefx-visitors-"
_LASTING = "lasting-"
_SILENT_SWEEPS = 5
"""A process that has missed so many sweeps is dead, and so is its folder."""


class Storage:
    """One process's folder.

    Args:
        parent: where it is made, and where those of other processes lie.
        kept_seconds: after this time an entry is deleted; `sweep` is to be called every `sweep_seconds`.
    """

    def __init__(
        self, parent: Path, kept_seconds: float = KEPT_MINUTES * 60, sweep_seconds: float = SWEEP_SECONDS
    ) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        self.sweep_seconds = sweep_seconds
        self._kept = kept_seconds
        self.root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)).resolve()

    def new_entry(self, lasting: bool = False) -> Path:
        """An empty folder. What is no visitor's may last as long as the process."""
        prefix = _LASTING if lasting else f"{int(time.time())}-"
        return Path(tempfile.mkdtemp(prefix=prefix, dir=self.root))

    def entry_of(self, path: Path) -> Path | None:
        """The entry that a file belongs to; None where it is none of this folder's."""
        with contextlib.suppress(ValueError):
            parts = Path(path).relative_to(self.root).parts
            return self.root / parts[0] if parts and ".." not in parts else None
        return None

    def sweep(self) -> None:
        """Delete what has had its time, and what dead processes have left."""
        now = time.time()
        with contextlib.suppress(OSError):
            os.utime(self.root)  # this process is alive
        for entry in _inside(self.root):
            aged = _made(entry) < now - (self._kept - self.sweep_seconds)
            if aged and not entry.name.startswith(_LASTING):
                _delete(entry)
        for folder in _inside(self.root.parent):
            others = folder.name.startswith(_PREFIX) and folder != self.root and _is_ours(folder)
            if others and _changed(folder) < now - _SILENT_SWEEPS * self.sweep_seconds:
                _delete(folder)


@cache
def storage() -> Storage:
    """This process's folder, deleted when the process ends."""
    made = Storage(Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()))
    os.environ["GRADIO_TEMP_DIR"] = str(made.root)  # Gradio asks for it again and again
    delete_at_end(made.root)
    made.sweep()
    return made


@contextlib.asynccontextmanager
async def sweeping(tidy: Callable[[], None]) -> AsyncIterator[None]:
    """Sweep, and `tidy` whatever else grows, for as long as a server runs: its `lifespan`."""

    async def sweep_for_ever() -> None:
        while True:
            await asyncio.to_thread(storage().sweep)
            tidy()
            await asyncio.sleep(storage().sweep_seconds)

    task = asyncio.create_task(sweep_for_ever())
    try:
        yield
    finally:
        task.cancel()


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _made(entry: Path) -> float:
    """When an entry was made, in seconds. What is Gradio's own does not carry it in its name."""
    stamp = entry.name.partition("-")[0]
    return float(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) < 16 else _changed(entry)


def _changed(path: Path) -> float:
    """Never for what has vanished meanwhile: nothing is to be done about it."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return float("inf")


def _is_ours(folder: Path) -> bool:
    try:
        facts = folder.lstat()
    except OSError:
        return False
    return folder.is_dir() and not folder.is_symlink() and (os.name == "nt" or facts.st_uid == os.getuid())


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
