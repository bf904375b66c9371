"""What all tests share: an environment of their own, no way to a real Hub, and a Hub on loopback."""

from __future__ import annotations

import os
import socket
import tempfile

import pytest

from tests.hub_server import Hub


def pytest_configure(config):
    """Set the environment before any import: huggingface_hub reads it only once."""
    home = tempfile.TemporaryDirectory(prefix="bonefx-tests-")
    config.add_cleanup(home.cleanup)
    ours = ("HF_", "HUGGINGFACE_", "HUGGING_FACE_", "TRANSFORMERS_OFFLINE", "BONEFX_")
    for name in list(os.environ):
        if name.startswith(ours) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # tests are about the processor; a GPU would answer in its place
    os.environ["HF_HOME"] = home.name
    os.environ["HF_HUB_CACHE"] = os.path.join(home.name, "hub")
    os.environ["XDG_CACHE_HOME"] = os.path.join(home.name, "cache")
    # Programs that tests start read this one; port 9 discards, and nothing listens there.
    os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"


def pytest_collection_modifyitems(items):
    """Mark the tests of modules that drive a browser."""
    for item in items:
        if hasattr(item.module, "open_browser"):
            item.add_marker("browser")


@pytest.fixture(autouse=True, scope="session")
def only_loopback():
    """No name but this machine's own is known to a test: the network might as well not exist."""
    real = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        name = host.decode() if isinstance(host, bytes) else host
        if name not in (
            None,
            "",
            "localhost",
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            socket.gethostname(),
        ) and not own(name):
            raise socket.gaierror(socket.EAI_NONAME, f"{name} is out of bounds for tests")
        return real(host, *args, **kwargs)

    def own(address):
        """Whether it is an address of this machine: a socket can be bound to it."""
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.bind((address, 0))
        except OSError:
            return False
        return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub on loopback, and an empty cache for its files."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    with Hub() as server:
        yield server
