"""The folder of visitors' files: what is in it lives for its time, whatever happens to the process."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from bonefx.ui import session
from bonefx.ui import storage as module
from bonefx.ui.storage import Storage, sweeping


@pytest.mark.slow
def test_an_entry_has_its_time_whatever_is_put_into_it(tmp_path):
    storage = Storage(tmp_path, kept_seconds=3, sweep_seconds=0.5)
    old, young = storage.new_entry(), None
    (old / "a.png").write_bytes(b"x")
    end = time.monotonic() + 20
    while old.exists():
        assert time.monotonic() < end
        (old / f"{time.monotonic()}").touch()  # a folder is as young as its newest entry, but not here
        young = storage.new_entry()
        time.sleep(0.25)
        storage.sweep()
    assert young.exists()
    assert end - 20 + 1.5 < time.monotonic()


def test_what_gradio_puts_there_by_itself_is_swept_too(tmp_path):
    storage = Storage(tmp_path, kept_seconds=100, sweep_seconds=1)
    names = {"tmpab12": 200, "deep_links": 200, "0123abcd": 200, "fresh": 0}
    for name, age in names.items():
        path = storage.root / name
        path.mkdir() if name == "deep_links" else path.touch()
        os.utime(path, (time.time() - age, time.time() - age))
    (tmp_path / "of somebody else").touch()
    os.utime(tmp_path / "of somebody else", (0, 0))
    lasting = storage.new_entry(lasting=True)
    os.utime(lasting, (0, 0))
    storage.sweep()
    assert {path.name for path in storage.root.iterdir()} == {"fresh", lasting.name}
    assert (tmp_path / "of somebody else").exists()


def test_what_a_dead_process_left_is_swept_and_what_a_living_one_has_is_not(tmp_path):
    dead, living, storage = (Storage(tmp_path, kept_seconds=3600, sweep_seconds=1) for _ in range(3))
    for each in (dead, living):
        (each.new_entry() / "a.png").touch()
    os.utime(dead.root, (time.time() - 60, time.time() - 60))
    living.sweep()
    assert not dead.root.exists()
    assert len(list(living.root.iterdir())) == 1
    assert storage.root.exists()


def test_links_are_deleted_and_not_followed(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "a.png").touch()
    storage = Storage(tmp_path, kept_seconds=1, sweep_seconds=0.5)
    (storage.root / "1-link").symlink_to(kept)
    (tmp_path / f"{module._PREFIX}link").symlink_to(kept)
    os.utime(tmp_path / f"{module._PREFIX}link", (0, 0), follow_symlinks=False)
    storage.sweep()
    assert list(storage.root.iterdir()) == []
    assert (kept / "a.png").exists()


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        ("1-a/x/y.png", "1-a"),
        ("1-a", "1-a"),
        ("", None),
        ("../other/y.png", None),
        ("1-a/../../other/y.png", None),
        ("/etc/passwd", None),
    ],
)
def test_the_entry_of_a_file(tmp_path, path, entry):
    storage = Storage(tmp_path)
    assert storage.entry_of(storage.root / path) == (entry and storage.root / entry)


def test_who_deletes_an_image_takes_no_other_visitors(tmp_path, monkeypatch):
    storage = Storage(tmp_path)
    monkeypatch.setattr(session, "storage", lambda: storage)
    workspace, mine, theirs = session.Workspace(), storage.new_entry(), storage.new_entry()
    for entry in (mine, theirs):
        (entry / "hash").mkdir()
        (entry / "hash" / "arm.png").write_bytes(b"the same picture")
    kept = tmp_path / "kept.png"
    kept.touch()
    made = workspace.new_folder()
    workspace.forget(session.Session(path=mine / "hash" / "arm.png", folder=made))
    assert (mine.exists(), made.exists(), (theirs / "hash" / "arm.png").exists()) == (False, False, True)
    workspace.forget_upload(kept)
    assert kept.exists()


def test_two_sweeps_at_once_take_nothing_from_one_another(tmp_path):
    """A folder that vanishes between listing and looking is no error."""
    storage = Storage(tmp_path, kept_seconds=0, sweep_seconds=0)
    for _ in range(300):
        (storage.new_entry() / "a").touch()
    asyncio.run(_together(storage))
    assert list(storage.root.iterdir()) == []


async def _together(storage: Storage) -> None:
    await asyncio.gather(*(asyncio.to_thread(storage.sweep) for _ in range(4)))


def test_a_running_server_sweeps(tmp_path, monkeypatch):
    storage = Storage(tmp_path, kept_seconds=1, sweep_seconds=0.2)
    monkeypatch.setattr(module, "storage", lambda: storage)
    entry = storage.new_entry()

    async def run() -> None:
        async with sweeping(lambda: None):
            for _ in range(100):
                if not entry.exists():
                    return
                await asyncio.sleep(0.1)

    asyncio.run(run())
    assert not entry.exists()
