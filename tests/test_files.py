"""Files are whole or not there, and what fails is named."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bonefx.files import whole
from tests.processes import environment


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_takes_the_place_of_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    for content in (b"one", b"two"):
        with whole(path) as file:
            file.write(content)
    assert (path.read_bytes(), names(tmp_path)) == (b"two", ["a.json"])


def _fail(path, error):
    with whole(path) as file:
        file.write(b"half")
        raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("before", [b"before", None])
def test_a_failure_leaves_what_was_there(tmp_path, error, before):
    path = tmp_path / "a.json"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(error if isinstance(error, type) else type(error)) as raised:
        _fail(path, error)
    assert names(tmp_path) == ([] if before is None else ["a.json"])
    assert before is None or path.read_bytes() == before
    if isinstance(raised.value, OSError):
        assert raised.value.filename == str(path)


def test_a_disk_that_takes_no_more_is_named_with_the_file(tmp_path):
    code = (
        "import resource; from pathlib import Path; from bonefx.files import whole\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    with whole(Path('a.json')) as file: file.write(bytes(100_000))\n"
        "except OSError as error: print(error.filename, error.strerror)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "a.json File too large\n"
    assert names(tmp_path) == []


@pytest.mark.parametrize("place", ["gone/a.json", "file/a.json"])
def test_a_folder_that_is_none_is_named_by_the_file(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=place) as raised, whole(tmp_path / place):
        pass
    assert raised.value.filename == str(tmp_path / place)
