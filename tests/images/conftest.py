"""The reader that every test of this folder goes through."""

from __future__ import annotations

import logging

import pytest

from bonefx import images


def pytest_make_parametrize_id(val):
    return "file" if isinstance(val, bytes) else None


@pytest.fixture
def read(tmp_path, capfd, caplog, recwarn):
    """`images.read` of these bytes, which must not print, warn or log, whatever happens."""
    caplog.set_level(logging.DEBUG)

    def read_bytes(content: bytes, name: str = "picture") -> images.Radiograph:
        path = tmp_path / name
        path.write_bytes(content)
        caplog.clear(), recwarn.clear(), capfd.readouterr()
        try:
            return images.read(path)
        finally:
            assert (caplog.text, recwarn.list, *capfd.readouterr()) == ("", [], "", "")

    return read_bytes
