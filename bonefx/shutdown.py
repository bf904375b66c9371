"""How the app's process ends when it is told to: at once, with status 0, and with nothing of visitors left.

Python's own way out waits for nobody and takes the interpreter away under threads that compute; a library's
thread then aborts the process. So the folders are deleted, and the process ends without that.
"""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import os
import shutil
import signal
import sys
from pathlib import Path

_folders: set[Path] = set()


def delete_at_end(folder: Path) -> None:
    """Have a folder deleted when the process ends, by itself or by a signal that `end_on_signals` handles."""
    _folders.add(folder)


def end_on_signals() -> None:
    """From now on SIGTERM and SIGINT end the process with status 0, whatever its threads are doing."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)


@atexit.register
def _delete_folders() -> None:
    for folder in _folders:
        gone = folder.with_name(f"{folder.name}-gone")
        try:
            folder.rename(gone)  # so that no thread puts anything more into it
        except OSError:
            gone = folder
        shutil.rmtree(gone, ignore_errors=True)


def _end(*_: object) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    for child in multiprocessing.active_children():
        child.kill()
    _delete_folders()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)
