"""Folders on disk that several processes share, with small files in the place of graphs."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from bonefx.detectors.graphs import cache


def write(text: str):
    return lambda folder: (folder / "network.xml").write_text(text)


def whole(folder: Path) -> bool:
    return (folder / "network.xml").exists()


def found(base: Path, name: str) -> list[str]:
    return [(folder / "network.xml").read_text() for folder in cache.find(base, name)]


def test_what_is_stored_is_found(tmp_path):
    assert found(tmp_path / "c", "a") == []
    folder = cache.store(tmp_path / "c", "a", write("one"), whole)
    assert folder == tmp_path / "c" / "a"
    assert found(tmp_path / "c", "a") == ["one"]
    assert found(tmp_path / "c", "b") == []


def test_what_is_not_whole_is_replaced_and_what_is_stays(tmp_path):
    folder = cache.store(tmp_path, "a", write("one"), whole)
    cache.store(tmp_path, "a", write("two"), whole)
    assert found(tmp_path, "a") == ["one"]
    (folder / "network.xml").unlink()
    cache.store(tmp_path, "a", write("two"), whole)
    assert found(tmp_path, "a") == ["two"]


def test_writers_at_once_leave_one_whole_folder(tmp_path):
    arguments = (tmp_path, "a", write("x" * 100_000), whole)
    threads = [threading.Thread(target=cache.store, args=arguments) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found(tmp_path, "a") == ["x" * 100_000]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def fail(folder: Path) -> None:
        (folder / "network.xml").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        cache.store(tmp_path, "a", fail, whole)
    assert list(tmp_path.iterdir()) == []


def test_what_was_used_last_is_kept(tmp_path):
    made = [f"{i:02}" for i in range(cache.KEPT + 1)]
    for hours, name in enumerate(made, 1):
        used = time.time() - hours * 3600
        os.utime(cache.store(tmp_path, name, write("one"), whole), (used, used))
    cache.store(tmp_path, "new", write("one"), whole)
    kept = [name for name in made if (tmp_path / name).exists()]
    assert kept == made[: cache.KEPT - 1]
    used = time.time() - 86_400 * (cache.UNUSED_DAYS + 1)
    os.utime(tmp_path / made[0], (used, used))
    cache.store(tmp_path, "newer", write("one"), whole)
    assert found(tmp_path, made[0]) == []


def test_a_shared_folder_is_made_once_and_marked_as_used(tmp_path):
    folder = cache.shared(tmp_path / "c", "compiled")
    os.utime(folder, (0, 0))
    assert cache.shared(tmp_path / "c", "compiled") == folder
    assert folder.stat().st_mtime > 0


@pytest.mark.parametrize("temporary", [True, False])
def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch, temporary):
    """A temporary folder takes its place; where there is none either, that is said."""
    file = tmp_path / "file"
    file.write_text("no folder")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path if temporary else file))
    if temporary:
        folder = cache.store(file / "below", "a", write("one"), whole)
        assert folder.parent.parent == tmp_path
        assert found(file / "below", "a") == ["one"]
    else:
        assert cache.shared(file / "below", "a") is None
        with pytest.raises(OSError, match="can be written"):
            cache.store(file / "below", "a", write("one"), whole)
