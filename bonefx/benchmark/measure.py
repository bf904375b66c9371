"""The whole measurement: what is measured, by which process, in which order."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import bonefx
from bonefx import provenance
from bonefx.benchmark import pictures, startup
from bonefx.benchmark.figures import distinct, ratio, spread, summaries
from bonefx.benchmark.processes import SIDES, Worker, environment
from bonefx.detectors import MODELS
from bonefx.detectors.base import processor_name
from bonefx.settings import NOTICE

BENCHMARK_VERSION = 2

ALL_THREADS = "reference with all threads"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        full_size: the published architectures with random weights, in place of the bundled weights.
        models: ids of the registry.
        images: how many of the phantoms a turn has.
        rounds: turns of each side.
        starts: how often a new process answers its first request, and how often a page starts.
        shapes: whether ten shapes are compared with one.
        lengths: sides, in pixels, of the square images that show how time grows with them.
        boxes: numbers of boxes, likewise.
        repeats: measurements for each length and number of boxes.
    """

    full_size: bool = False
    models: tuple[str, ...] = tuple(MODELS)
    images: int = 16
    rounds: int = 5
    starts: int = 3
    shapes: bool = True
    lengths: tuple[int, ...] = (512, 1024, 2048, 4096)
    boxes: tuple[int, ...] = (0, 10, 50, 300)
    repeats: int = 3


BUNDLED = Plan()
FULL_SIZE = Plan(full_size=True, images=3, rounds=4, starts=2)
"""These take two and six minutes at most on two cores, most of it the reference's."""


def measure(plan: Plan, command: str, tell: Tell) -> dict[str, Any]:
    """Measure.

    Args:
        plan: what.
        command: recorded with the figures.
        tell: told what is measured now.

    Returns:
        The figures as plain values: milliseconds; of `start`, seconds; of `memory`, megabytes.

    Raises:
        BoneFXError: there are no images, or a process failed.
    """
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bonefx-benchmark-") as scratch:
        folder = Path(scratch)
        environments = {side: environment(side, folder / "weights", folder / "cache") for side in SIDES}
        phantoms = [str(path) for path in pictures.phantoms()]
        files = phantoms[:: -(-len(phantoms) // plan.images)]  # from all over the list: shapes differ
        conversion = _converted(plan, environments["ours"], folder, files[0], tell)
        first = _first(plan, environments, files[0], tell)
        with (
            Worker("reference", environments["reference"]) as reference,
            Worker("ours", environments["ours"]) as ours,
        ):
            workers = {"reference": reference, "ours": ours}
            settled = {side: worker.ask("prepare", models=plan.models) for side, worker in workers.items()}
            shapes = _shapes(plan, ours, folder, tell) if plan.shapes else {}
            turns = _take_turns(plan, workers, settled["reference"], files, tell)
            memory = {side: worker.ask("memory") for side, worker in workers.items()}
            lengths = [_length(plan, ours, folder, length, tell) for length in plan.lengths]
            tell("boxes")
            boxes = ours.ask("boxes", file=files[0], counts=plan.boxes, repeats=plan.repeats)
        waits = startup.measure(plan.starts, environments["ours"], tell)
    return {
        "schema_version": BENCHMARK_VERSION,
        "created": provenance.now(),
        "command": command,
        "seconds": round(time.perf_counter() - begun, 1),
        "notice": NOTICE,
        "machine": {**_machine(), "threads": settled["ours"]["threads"]},
        "versions": _versions(),
        "full_size": plan.full_size,
        "rounds": plan.rounds,
        "images": len(files),
        "models": [_figures_of(each, settled["ours"]["models"][each], turns[each]) for each in plan.models],
        "shapes": shapes,
        "memory": memory,
        "start": {"first": first, "conversion": round(conversion, 1), **waits},
        "lengths": lengths,
        "boxes": boxes,
    }


def _converted(plan: Plan, environment: dict[str, str], folder: Path, file: str, tell: Tell) -> float:
    """Have the graphs made, of weights that are made first where they must be large; the seconds it took."""
    if plan.full_size:
        tell("making weights")
        with Worker("ours", environment) as worker:
            worker.ask("write_weights", folder=str(folder / "weights"))
    tell("converting")
    with Worker("ours", environment) as worker:
        worker.ask("first", models=plan.models, file=file)
        return worker.ask("prepare", models=plan.models)["seconds"]


def _figures_of(model_id: str, settled: dict[str, Any], turns: Any) -> dict[str, Any]:
    return {"id": model_id, "name": MODELS[model_id].name, **settled, **_compared(turns)}


def _first(plan: Plan, environments: dict[str, dict[str, str]], file: str, tell: Tell) -> dict[str, Any]:
    """Seconds from the start of a process to all models' detections, in turn."""
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(1, plan.starts + 1):
        for side in SIDES:
            tell(f"first detection, round {number} of {plan.starts}, {side}")
            begun = time.perf_counter()
            with Worker(side, environments[side]) as worker:
                worker.ask("first", models=plan.models, file=file)
                seconds[side].append(time.perf_counter() - begun)
    return {side: spread(values) for side, values in seconds.items()}


def _shapes(plan: Plan, ours: Worker, folder: Path, tell: Tell) -> dict[str, Any]:
    """What ten shapes new to the process cost, as a share of one shape ten times, the first one left out.

    They can be new only once, and a machine's speed changes: the one is measured before and after.
    """
    one, ten = pictures.shapes(folder)
    found = {}
    for model_id in plan.models:
        tell(f"ten shapes, {MODELS[model_id].name}")
        ours.ask("detect", model=model_id, files=[str(one)])
        ms = {}
        for name, files in (("before", [one] * len(ten)), ("ten", ten), ("after", [one] * len(ten))):
            rows = ours.ask("detect", model=model_id, files=[str(path) for path in files])
            ms[name] = sum(_column(rows, "detection"))
        ms["one"] = (ms.pop("before") + ms.pop("after")) / 2
        found[model_id] = {**ms, "ratio": ms["ten"] / ms["one"]}
    return found


def _take_turns(
    plan: Plan, workers: dict[str, Worker], reference: dict[str, Any], files: list[str], tell: Tell
) -> dict[str, dict[str, list[list[dict[str, Any]]]]]:
    """Each model's rows by side and round; a round that warms up is left out.

    A reference whose library leaves cores idle has another turn, with all threads, as the side `ALL_THREADS`.
    """
    asked: dict[str, dict[str, tuple[Worker, int | None]]] = {}
    for model_id in plan.models:
        own = reference["library_threads"][model_id]
        asked[model_id] = {"reference": (workers["reference"], own), "ours": (workers["ours"], None)}
        if own != reference["threads"]:
            asked[model_id][ALL_THREADS] = workers["reference"], reference["threads"]
    turns: dict[str, dict[str, list[Any]]] = {
        model_id: {side: [] for side in sides} for model_id, sides in asked.items()
    }
    for number in range(plan.rounds + 1):
        for model_id, sides in asked.items():
            for side, (worker, used) in sides.items():
                name = f"round {number} of {plan.rounds}" if number else "warming up"
                tell(f"{name}, {MODELS[model_id].name}, {side}")
                turns[model_id][side].append(worker.ask("detect", model=model_id, files=files, threads=used))
    return {
        model_id: {side: rounds[1:] for side, rounds in sides.items()} for model_id, sides in turns.items()
    }


def _length(plan: Plan, ours: Worker, folder: Path, length: int, tell: Tell) -> dict[str, Any]:
    """Each model's stages on a square image, after one that is not counted."""
    tell(f"an image of {length} px")
    file = str(pictures.square(length, folder))
    found = {}
    for model_id in plan.models:
        rows = ours.ask("detect", model=model_id, files=[file] * (plan.repeats + 1))[1:]
        found[model_id] = summaries([row["ms"] for row in rows])
    return {"pixels": length, "models": found}


def _compared(sides: dict[str, list[list[dict[str, Any]]]]) -> dict[str, Any]:
    """One model: our share of the reference's time for a detection, and what each side did in which time."""
    times = {side: [_column(rows, "detection") for rows in rounds] for side, rounds in sides.items()}
    made: dict[str, Any] = {"ratio": ratio(times["ours"], times["reference"])}
    if ALL_THREADS in times:
        made["ratio_to_all_threads"] = ratio(times["ours"], times[ALL_THREADS])
    for side in SIDES:
        rows = [row for turn in sides[side] for row in turn]
        made[side] = {
            "runtimes": distinct(row["runtime"] for row in rows),
            "threads": rows[0]["threads"],
            "detections": median(row["detections"] for row in rows),
            "ms": summaries([row["ms"] for row in rows]),
        }
    return made


def _column(rows: Sequence[dict[str, Any]], stage: str) -> list[float]:
    return [row["ms"][stage] for row in rows]


def _machine() -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": processor_name(), "cores": cores, "system": platform.platform()}


def _versions() -> dict[str, str]:
    """Python's and those that the figures depend on and the runtimes do not name."""
    named = provenance.versions(("torch", "torchvision", "numpy", "pillow", "gradio"))
    return {"python": platform.python_version(), "bonefx": bonefx.__version__, **named}
