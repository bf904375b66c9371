"""What made a run: `run.json`, with its curves in `losses.jsonl`, `validation.jsonl` and `curves.svg`.

The lists grow a line at a time, so that a run that is killed loses nothing. A run that was resumed goes
over some steps again; the later line of a step replaces the earlier.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import bonefx
from bonefx import provenance
from bonefx.detectors.base import processor_name
from bonefx.errors import RequestError
from bonefx.files import whole
from bonefx.training.validation import BEST_BY

RUN = "run.json"
CURVES = "curves.svg"
POINTS = 500
"""Most points of the loss curve in `run.json`: each is the mean over as many steps as it takes."""

_LOSSES, _VALIDATION = "losses.jsonl", "validation.jsonl"
_LIBRARIES: tuple[str, ...] = ("torch", "torchvision", "numpy", "pillow", "pycocotools")
_LIBRARIES += ("ultralytics", "ultralytics-opencv-headless", "opencv-python", "opencv-python-headless")


class RunRecord:
    """The record of a run in its folder. Made when the run starts or goes on."""

    def __init__(self, out: Path, identity: Mapping[str, Any], device: str, resume: bool) -> None:
        """
        Args:
            out: folder of the run.
            identity: what makes the run this one: model, recipe, data, initial weights. Plain values.
            device: `cpu` or `cuda`.
            resume: go on with the run that the folder holds.

        Raises:
            RequestError: there is none to go on with, another one, or one that would be overwritten.
        """
        self._out = out
        identity = json.loads(json.dumps(identity))  # as it will be read: lists for tuples
        before = read(out)
        if resume:
            _check_same(before, identity, out)
        elif before:
            raise RequestError(f"{out} holds a run already. Go on with it by --resume, or choose another.")
        out.mkdir(parents=True, exist_ok=True)
        self._steps, self._epochs = _rows(out / _LOSSES, "step"), _rows(out / _VALIDATION, "epoch")
        self._losses = (out / _LOSSES).open("a", encoding="utf-8", buffering=1)
        self._started = time.monotonic()
        part = {
            "command": shlex.join(["python", "-m", "bonefx", *sys.argv[1:]]),
            "started": provenance.now(),
            "seconds": 0.0,
            "from_step": None,
            "versions": {
                "python": platform.python_version(),
                "bonefx": bonefx.__version__,
                **provenance.versions(_LIBRARIES),
            },
            "hardware": hardware(device),
        }
        self._record = {**identity, "finished": False, "parts": [*before.get("parts", []), part], "files": []}
        self._write()

    def step(self, step: int, losses: Mapping[str, float]) -> None:
        """Keep the losses of a step, counted from 1."""
        part = self._record["parts"][-1]
        if part["from_step"] is None:
            part["from_step"] = step
        self._steps[step] = {"step": step, **losses}
        self._losses.write(json.dumps(self._steps[step]) + "\n")

    def epoch(self, epoch: int, figures: Mapping[str, float | None]) -> bool:
        """Keep the figures of an epoch; whether they are the best so far. Nothing measured is never best."""
        best = False
        if figures:
            earlier = [row[BEST_BY] or 0.0 for number, row in self._epochs.items() if number < epoch]
            best = not earlier or (figures[BEST_BY] or 0.0) > max(earlier)
            self._epochs[epoch] = {"epoch": epoch, **figures}
            with (self._out / _VALIDATION).open("a", encoding="utf-8") as file:
                file.write(json.dumps(self._epochs[epoch]) + "\n")
        self._write()
        return best

    def finish(self, files: Iterable[Path]) -> None:
        """Close the record of a complete run with the hashes of its weight files, and draw the curves."""
        self._losses.close()
        self._record["finished"] = True
        self._record["files"] = [describe(file) for file in files]
        self._write()
        draw(self._record["curves"], self._out / CURVES)

    def _write(self) -> None:
        self._record["parts"][-1]["seconds"] = round(time.monotonic() - self._started, 1)
        self._record["curves"] = {
            "losses": _columns(_thin(list(self._steps.values()))),
            "validation": _columns(list(self._epochs.values())),
        }
        with whole(self._out / RUN) as file:
            file.write((json.dumps(self._record, indent=1, ensure_ascii=False) + "\n").encode())


def read(out: Path) -> dict[str, Any]:
    """What a folder's `run.json` says; nothing where there is none.

    Raises:
        RequestError: it cannot be read.
    """
    try:
        return json.loads((out / RUN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RequestError(f"{out / RUN} cannot be read ({error}). Choose another folder.") from None


def describe(file: Path) -> dict[str, Any]:
    """Name, size in bytes and SHA-256 of a file."""
    content = file.read_bytes()
    return {"file": file.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def hardware(device: str) -> dict[str, Any]:
    """What computes, with how many threads."""
    import torch

    processor = processor_name()
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else processor,
        "processor": processor,
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
    }


def draw(curves: Mapping[str, Mapping[str, list]], path: Path) -> None:
    """Losses over steps above, figures on the held-out images over epochs below."""
    from matplotlib.figure import Figure

    shown = [(name, columns) for name, columns in curves.items() if columns]
    figure = Figure(figsize=(8, 4 * len(shown)), layout="constrained")
    for axes, (title, columns) in zip(figure.subplots(len(shown), squeeze=False)[:, 0], shown, strict=True):
        (along, positions), *lines = columns.items()
        marker = "." if along == "epoch" else None
        for name, values in lines:
            axes.plot(positions, values, label=name.replace("_", " "), marker=marker)
        axes.set(title=title, xlabel=along, ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path)


def _check_same(before: Mapping[str, Any], identity: Mapping[str, Any], out: Path) -> None:
    if not before:
        raise RequestError(f"{out} holds no run to go on with. Start it without --resume.")
    changed = [name.replace("_", " ") for name, value in identity.items() if before.get(name) != value]
    if changed:
        raise RequestError(
            f"The run in {out} was started with another {' and '.join(changed)}. "
            "Resume it with the command that started it, or choose another folder."
        )


def _rows(path: Path, key: str) -> dict[int, dict[str, Any]]:
    """The lines of a list by step or epoch; a last line that was torn is left out."""
    if not path.exists():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found[row[key]] = row
    return dict(sorted(found.items()))


def _thin(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over windows of rows, named by their last step."""
    width = -(-len(rows) // POINTS)
    means = []
    for start in range(0, len(rows), max(width, 1)):
        window = rows[start : start + width]
        mean = {name: sum(row[name] for row in window) / len(window) for name in window[0]}
        means.append({**mean, "step": window[-1]["step"]})
    return means


def _columns(rows: list[dict[str, Any]]) -> dict[str, list]:
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
