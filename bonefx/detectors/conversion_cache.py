"""Converted networks on disk, shared by all processes of a user.

Each lies in a folder of its own, named by everything that it depends on, which appears whole or not at all:
it is written under another name first. `digests.json` in it holds the SHA-256 of every other file.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bonefx.detectors.base import processor_flags, processor_name
from bonefx.hub import sha256_of

CONVERSION = 5
"""Raised whenever the same weights must be converted anew."""

KEPT = 6
"""Networks kept, of whatever version: those that were used last."""

UNUSED_DAYS = 60

_DIGESTS = "digests.json"
_UNFINISHED = ".unfinished-"
_UNFINISHED_DAYS = 1  # by then nobody writes it any more: its process was stopped
_ON_WHICH = ("openvino", "torch", "ultralytics-opencv-headless")


@dataclass(frozen=True)
class Conversion:
    """What a converted network is made from.

    Attributes:
        module: the module that makes the torch network, by its function `convertible`. The network has
            `float32_layers`, beginnings of layers' names, in a traced network, that are never computed in
            less than float32, and `usual_shapes`, the heights and widths that most images have as it sees
            them.
        weights: the checkpoint; sha256: of its bytes, hexadecimal.
        config: the Detectron2 YAML beside it, if there is one.
        precision: `auto` or `float32`, as in the settings.
        cache: folder of the converted networks.
    """

    module: str
    weights: Path
    sha256: str
    config: Path | None
    precision: str
    cache: Path

    def folder_name(self) -> str:
        """Another one for everything that could make another network, or make it run differently."""
        config = hashlib.sha256(self.config.read_bytes()).hexdigest() if self.config else None
        versions = [_version(name) for name in _ON_WHICH]
        processor = [processor_name(), processor_flags()]
        parts = [CONVERSION, versions, self.module, self.sha256, config, self.precision, processor]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def to_json(self) -> str:
        """For another process."""
        return json.dumps({name: value and str(value) for name, value in vars(self).items()})

    @classmethod
    def from_json(cls, text: str) -> Conversion:
        """The other way round."""
        values = json.loads(text)
        paths = {name: values[name] and Path(values[name]) for name in ("weights", "config", "cache")}
        return cls(**{**values, **paths})


def find(conversion: Conversion) -> Path | None:
    """The folder of this conversion, marked as used; None where there is none, or a damaged one."""
    for base in _bases(conversion.cache):
        folder = base / conversion.folder_name()
        if _undamaged(folder):
            with contextlib.suppress(OSError):  # a cache that can only be read is a cache too
                os.utime(folder)
            return folder
    return None


def store(conversion: Conversion, write: Callable[[Path], None]) -> Path:
    """Keep what `write` puts into a folder, and let go of what has not been used for long.

    Raises:
        OSError: no folder can be written, or the disk is full.
    """
    base = next((base for base in _bases(conversion.cache) if _writable(base)), None)
    if base is None:
        raise OSError(f"neither {conversion.cache} nor the folder for temporary files can be written")
    folder = base / conversion.folder_name()
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=base))
    try:
        write(unfinished)
        digests = {path.name: sha256_of(path) for path in unfinished.iterdir()}
        (unfinished / _DIGESTS).write_text(json.dumps(digests), encoding="utf-8")
        if not _undamaged(folder):  # another process may have been faster
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # or be so right now: its result is as good
                os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    _forget_the_unused(base)
    if not _undamaged(folder):
        raise OSError(f"{folder} could not be written")
    return folder


def _bases(cache: Path) -> list[Path]:
    """Where networks may lie: the user's cache, else a folder of their own among the temporary files."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return [cache.expanduser(), Path(tempfile.gettempdir()) / f"bonefx-{user}"]


def _writable(base: Path) -> bool:
    """Whether networks can be kept there; the folder is made if need be, for this user alone."""
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=base).close()
    except OSError:
        return False
    return _ours(base)


def _ours(base: Path) -> bool:
    # Anybody may have put a folder of this name among the temporary files.
    return not hasattr(os, "getuid") or base.stat().st_uid in (os.getuid(), 0)


def _undamaged(folder: Path) -> bool:
    try:
        digests = json.loads((folder / _DIGESTS).read_bytes())
        return _ours(folder.parent) and all(sha256_of(folder / name) == sha for name, sha in digests.items())
    except (OSError, ValueError, AttributeError):
        return False


def _forget_the_unused(base: Path) -> None:
    now = time.time()
    whole: dict[Path, float] = {}
    for folder in base.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process does the same
            used = folder.stat().st_mtime
            if not folder.name.startswith(_UNFINISHED):
                whole[folder] = used
            elif used < now - _UNFINISHED_DAYS * 86_400:
                shutil.rmtree(folder, ignore_errors=True)
    for place, folder in enumerate(sorted(whole, key=whole.__getitem__, reverse=True)):
        if place >= KEPT or whole[folder] < now - UNUSED_DAYS * 86_400:
            shutil.rmtree(folder, ignore_errors=True)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
