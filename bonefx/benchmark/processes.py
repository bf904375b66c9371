"""The processes that are measured: started, asked, and ended whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bonefx
from bonefx.errors import BoneFXError

if TYPE_CHECKING:
    from typing_extensions import Self

SIDES = ("reference", "ours")

ANSWER_SECONDS = 300.0  # a slow machine converts a large network in this time
_KEPT = ("BONEFX_PRECISION", "BONEFX_FRCNN_ENGINE")


def environment(side: str, weights: Path, cache: Path) -> dict[str, str]:
    """The environment of a side: this one, with the settings that tell the two apart.

    `BONEFX_PRECISION` of the caller holds for ours, so that it can be measured without bfloat16.
    `BONEFX_FRCNN_ENGINE` of the caller holds for the reference: Detectron2 itself can be that.

    Args:
        side: one of `SIDES`.
        weights: folder of weight files; a file that it lacks is taken from the bundled ones.
        cache: folder for what libraries keep.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or not name.startswith(("BONEFX_", "HF_"))
    }
    common = {
        "BONEFX_HUB": "off",
        "BONEFX_WEIGHTS_DIR": str(weights),
        "XDG_CACHE_HOME": str(cache),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(Path(bonefx.__file__).resolve().parents[1]), os.environ.get("PYTHONPATH")])
        ),
    }
    if side == "ours":
        return {**kept, **common, "BONEFX_RUNTIME": "auto", "BONEFX_FRCNN_ENGINE": "torchvision"}
    reference = {"BONEFX_RUNTIME": "torch", "BONEFX_PRECISION": "float32"}
    return {"BONEFX_FRCNN_ENGINE": "torchvision", **kept, **common, **reference}


class Program:
    """A Python program in a process group of its own: the end of the `with` block is that of all of it."""

    def __init__(self, name: str, arguments: Sequence[str], environment: dict[str, str]) -> None:
        """
        Args:
            name: what to call it in errors.
            arguments: of the Python interpreter.
            environment: all of it.
        """
        self.name = name
        self._said = tempfile.TemporaryFile()  # noqa: SIM115, closed with the program
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=environment,
            encoding="utf-8",
            start_new_session=True,  # the terminal's Ctrl-C is for this process, which then ends the others
        )
        assert self._process.stdin is not None  # they are pipes
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._process.wait()
        # A line that could not be written to it any more is lost with it.
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        self._output.close()
        self._said.close()

    def end(self) -> None:
        """End it and what it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def line(self, text: str = "", seconds: float = ANSWER_SECONDS) -> str:
        """Write a line to the program, if there is a text, and wait for one of its own.

        Raises:
            BoneFXError: it ended, or was too slow and had to be ended.
        """
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self.end()

        timer = threading.Timer(seconds, give_up)
        timer.start()
        try:
            if text:
                self._input.write(f"{text}\n")
                self._input.flush()
            answer = self._output.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            timer.cancel()
        if late.is_set():
            self._process.wait()
            raise BoneFXError(f"The {self.name} gave no answer in {seconds:g} seconds and was ended.")
        if not answer:
            raise self.ended()
        return answer

    def ended(self) -> BoneFXError:
        """Why it is not there any more."""
        status = self._process.wait()
        self._said.seek(0)
        last = self._said.read().decode(errors="replace").strip().rpartition("\n")[2]
        if status < 0:
            how = f"was ended by {signal.Signals(-status).name}"
            how += ", as the system does when memory runs out" if -status == signal.SIGKILL else ""
        else:
            how = f"ended with status {status}"
        return BoneFXError(f"The {self.name} {how}: {last or 'it said nothing'}")


class Worker(Program):
    """A process that runs `bonefx.benchmark.worker`."""

    def __init__(self, side: str, environment: dict[str, str]) -> None:
        super().__init__(f"worker of the {side} side", ["-m", "bonefx.benchmark.worker"], environment)

    def ask(self, task: str, **arguments: Any) -> Any:
        """Have one of `worker.TASKS` done; its answer.

        Raises:
            BoneFXError: the task failed, or the process did.
        """
        answer = json.loads(self.line(json.dumps({"do": task, **arguments})))
        if "error" in answer:
            raise BoneFXError(f"The {self.name} failed at {task!r}: {answer['error']}")
        return answer["answer"]
