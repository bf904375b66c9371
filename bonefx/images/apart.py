"""Decoding in a process that can be ended: for files whose cost their structure does not bound.

One process waits, started when it is first needed, and forks for each file: the fork is held to limits by
the kernel, and whatever a file does to it is gone with it. Ending it costs the next such file a new start.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from struct import pack, unpack
from time import monotonic, sleep
from typing import IO, Any

import numpy as np

from bonefx.errors import ImageError
from bonefx.images.pixels import Picture

SECONDS = 4
"""For one file; with the start of the process and the way there and back, below 5. On a busy machine, so
much processor time."""
MEMORY = 1_100_000_000
"""Bytes for one file, beside the file and its picture in the process that asked."""
PATIENCE = 60
"""Seconds to wait on a busy machine."""

_TOO_LONG = (
    f"Reading this image takes more than {SECONDS} seconds, as only very large or unusual files do. Save it "
    "again as PNG, or make it smaller."
)
_ENDED = "This image file is damaged: what reads it had to be ended. Export it again from where it came from."

_lock = threading.Lock()
_process: subprocess.Popen[bytes] | None = None


def decode(data: bytes) -> Picture:
    """Decode a file's first picture within the limits.

    Raises:
        ImageError: as `images.read`, or it takes too long or too much memory.
    """
    with _lock:
        process = _started()
        try:
            questions, _ = _pipes(process)
            questions.write(pack("<Q", len(data)))
            questions.write(data)
            questions.flush()
            answer = _answer(process)
        except (OSError, EOFError):
            raise ImageError(_stop()) from None
        except BaseException:
            _stop()
            raise
    if "error" in answer:
        raise ImageError(answer["error"])
    return Picture(answer["rgb"], answer["grey"], tuple(answer["notes"]))


def _started() -> subprocess.Popen[bytes]:
    global _process
    if _process is not None and _process.poll() is not None:  # ended by another: memory was short
        _stop()
    if _process is None:
        code = f"import sys; sys.path[:] = {sys.path!r}; from bonefx.images import apart; "
        code += f"apart.serve({SECONDS!r}, {MEMORY!r})"
        threads = {"OPENBLAS_NUM_THREADS": "1", "OPJ_NUM_THREADS": "2"}  # OpenJPEG decodes with two
        _process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | threads,
            start_new_session=True,  # Ctrl-C is for the process that asks
        )
    return _process


def _stop() -> str:
    """End the process and its fork, and say why it ended."""
    global _process
    process, _process = _process, None
    if process is None:
        return _ENDED
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    code = process.poll()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in _pipes(process):
        with suppress(OSError):
            pipe.close()
    return _TOO_LONG if code in (None, _LATE) else _ENDED


def _forget() -> None:
    """A fork of this process must not talk to the same one."""
    global _lock, _process
    _lock, _process = threading.Lock(), None


os.register_at_fork(after_in_child=_forget)
atexit.register(lambda: _stop() if _process else None)


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    """Where it is asked, and where it answers."""
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def _answer(process: subprocess.Popen[bytes]) -> dict:
    """What the process says of a file: an error, or a picture's arrays and notes."""
    deadline = monotonic() + PATIENCE
    length = unpack("<Q", _receive(process, bytearray(8), deadline))[0]
    answer = json.loads(_receive(process, bytearray(length), deadline))
    for name, kind in (("rgb", np.uint8), ("grey", np.uint16)):
        if answer.get(name):
            array = np.empty(answer[name], kind)
            _receive(process, array, deadline)
            answer[name] = array
    return answer


def _receive(process: subprocess.Popen[bytes], target, deadline: float):
    view, ready = memoryview(target).cast("B"), select.poll()
    _, answers = _pipes(process)
    ready.register(answers, select.POLLIN)
    while view:
        if not ready.poll(1000 * max(deadline - monotonic(), 0)):
            raise EOFError
        count = os.readv(answers.fileno(), [view])
        if not count:
            raise EOFError
        view = view[count:]
    return target


# --- in the process itself --------------------------------------------------------------------------------

_LATE, _LOST = 71, 72


def serve(seconds: float, memory: int) -> None:
    """Answer one file after another, each within these limits; end with the first that goes over them."""
    import bonefx.images.dicom  # noqa: F401  once for all forks

    requests, answers = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):  # a decoder that prints must not disturb the answer
        os.dup2(nowhere, stream)
    while head := requests.read(8):
        data = requests.read(unpack("<Q", head)[0])
        child = os.fork()
        if not child:
            try:
                _bounded(data, answers, memory)
                os._exit(0)
            finally:
                os._exit(1)
        del data
        _watch(child, seconds)


def _watch(child: int, seconds: float) -> None:
    """Wait for a fork; end it, and this process, when its time is over."""
    end, pause = monotonic() + seconds, 0.001
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if monotonic() >= end and _processor_seconds(child) >= seconds:
            os.kill(child, signal.SIGKILL)
            sys.exit(_LATE)
        sleep(pause)
        pause = min(2 * pause, 0.05)
    if status:
        sys.exit(_LOST)


def _processor_seconds(child: int) -> float:
    """How long a process has run; without an end where that cannot be told."""
    try:
        with open(f"/proc/{child}/stat", "rb") as file:
            user, system = file.read().rpartition(b")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return float("inf")


def _bounded(data: bytes, answers: int, memory: int) -> None:
    """Decode under limits of the kernel's, and write the answer."""
    import resource

    from bonefx.images import decode_here

    for limit, value in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (value, value))
    try:
        picture = decode_here(data)
        assert picture is not None  # there is no limit
        rgb, grey, notes = picture
        head: dict[str, Any] = {
            "rgb": rgb.shape,
            "grey": None if grey is None else grey.shape,
            "notes": notes,
        }
        parts: list[Any] = [rgb] if grey is None else [rgb, grey]
    except ImageError as error:
        head, parts = {"error": str(error)}, []
    text = json.dumps(head).encode()
    for part in (pack("<Q", len(text)), text, *map(np.ascontiguousarray, parts)):
        view = memoryview(part).cast("B")  # type: ignore[arg-type]  # arrays are buffers
        while view:
            view = view[os.write(answers, view) :]
