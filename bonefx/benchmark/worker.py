"""One side of the comparison, in a process of its own: `python -m bonefx.benchmark.worker`.

It reads requests, one a line, as `{"do": task, ...}`, and answers each by a line, `{"answer": ...}` or
`{"error": sentence}`. Its environment says which runtime and which weights it has. It ends with its input.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bonefx import drawing, images, inference, matching
from bonefx.benchmark.figures import summaries
from bonefx.detections import Detections
from bonefx.detectors import MODELS, Registry
from bonefx.detectors.base import Detector, Stopwatch
from bonefx.drawing import Pane
from bonefx.errors import BoneFXError
from bonefx.labels import CLASSES
from bonefx.looks import BROUGHT
from bonefx.marks import marks_of
from bonefx.settings import Settings

if TYPE_CHECKING:
    from bonefx.benchmark.reference import Predictor

STAGES = ("decode", "preprocess", "network", "postprocess", "detection", "draw", "total")
"""`detection` is the whole call of the detector, its three stages and what is between; `total` is decode,
detection and draw."""

DRAWN = 10
"""How many of an image's detections are drawn, the best ones."""

_MEGABYTE = 1e6


def main() -> None:
    """Answer requests until there are no more."""
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    registry = Registry(Settings.from_env())
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"answer": TASKS[request.pop("do")](registry, **request)}
        except BoneFXError as error:
            answer = {"error": str(error)}
        except Exception as error:  # whatever it is, the person who waits is to read it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def first(registry: Registry, models: Sequence[str], file: str) -> None:
    """Run the models as the page does for its first visitor, loading them."""
    for outcome in inference.run(images.read(file), models, registry):
        if outcome.error is not None:
            raise BoneFXError(outcome.error)


def prepare(registry: Registry, models: Sequence[str]) -> dict[str, Any]:
    """Wait until each model has the runtime that it will keep.

    Returns:
        The seconds that took, the threads that compute, those that each model's library takes where nobody
        tells it otherwise, and each model's weights and image size.
    """
    start = time.perf_counter()
    facts = {}
    for model_id in models:
        loaded = registry.get(model_id)
        loaded.detector.finish_preparing()
        weights = loaded.weights.described().to_record()
        facts[model_id] = {
            "weights": {name: weights[name] for name in ("source", "file", "sha256")},
            "image_size": loaded.detector.image_size,
        }
    seconds = time.perf_counter() - start
    threads = _threads(registry)
    by_themselves = dict.fromkeys(models, threads)
    if _is_reference(registry) and "yolo" in models:
        from bonefx.benchmark.reference import THREADS

        by_themselves["yolo"] = THREADS
    return {"seconds": seconds, "threads": threads, "library_threads": by_themselves, "models": facts}


def detect(
    registry: Registry, model: str, files: Sequence[str], threads: int | None = None
) -> list[dict[str, Any]]:
    """One turn: from each file to the picture with its boxes.

    Args:
        registry: has the model.
        model: its id.
        files: the images.
        threads: that torch computes with from now on; None leaves them as they are.

    Returns:
        For each file the milliseconds of `STAGES`, the runtime that computed it, its threads and how many
        detections it found.
    """
    detector = _detector(registry, model)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    rows = []
    for file in files:
        stages, stopwatch = Stopwatch(), Stopwatch()
        with stages("total"):
            with stages("decode"):
                rgb = images.read(file).rgb
            with stages("detection"):
                found = detector.detect(rgb, stopwatch)
            with stages("draw"):
                drawing.draw(rgb, [Pane("", marks_of(found[:DRAWN], BROUGHT))], ())
        ms = {**stopwatch.ms, **stages.ms}
        rows.append(
            {
                "ms": {stage: ms[stage] for stage in STAGES},
                "runtime": vars(stopwatch.runtime),
                "threads": _threads(registry),
                "detections": len(found),
            }
        )
    return rows


def boxes(registry: Registry, file: str, counts: Sequence[int], repeats: int) -> list[dict[str, Any]]:
    """What grows with the number of boxes: milliseconds to draw, suppress and match them."""
    rgb = images.read(file).rgb
    rng = np.random.default_rng(0)
    found = []
    for count in counts:
        ours, others = (_scattered(rng, count, rgb.shape) for _ in range(2))
        rows = []
        for _ in range(repeats):
            stopwatch = Stopwatch()
            with stopwatch("draw"):
                drawing.draw(rgb, [Pane("", marks_of(ours, BROUGHT))], ())
            with stopwatch("suppress"):
                matching.nms(ours.boxes, ours.scores, 0.5, ours.class_ids)
            with stopwatch("match"):
                matching.match(ours.boxes, others.boxes)
            rows.append(stopwatch.ms)
        found.append({"boxes": count, "ms": summaries(rows)})
    return found


def memory(registry: Registry) -> dict[str, float | None]:
    """Megabytes of this process that are in memory now, and that were at most, as the kernel counts them."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        resident, peak = (int(lines[name].split()[0]) * 1024 / _MEGABYTE for name in ("VmRSS", "VmHWM"))
        return {"resident": round(resident, 1), "peak": round(peak, 1)}
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"resident": None, "peak": round(peak / _MEGABYTE, 1)}


def write_weights(registry: Registry, folder: str) -> None:
    """Write both published architectures with random weights, under the names that the registry looks for."""
    from bonefx.benchmark import weights

    settings = registry.settings
    Path(folder).mkdir(exist_ok=True)
    weights.write_faster_rcnn(Path(folder) / MODELS["faster-rcnn"].weights_file(settings))
    weights.write_yolo(Path(folder) / MODELS["yolo"].weights_file(settings))


TASKS: dict[str, Callable[..., Any]] = {
    task.__name__: task for task in (first, prepare, detect, boxes, memory, write_weights)
}


def _is_reference(registry: Registry) -> bool:
    return registry.settings.runtime == "torch"


def _detector(registry: Registry, model: str) -> Detector | Predictor:
    """What is measured; of the reference's YOLO, Ultralytics' own way."""
    loaded = registry.get(model)
    if _is_reference(registry) and model == "yolo":
        from bonefx.benchmark.reference import predictor

        return predictor(loaded.weights.path)
    return loaded.detector


def _threads(registry: Registry) -> int:
    """With how many threads the network is computed."""
    if _is_reference(registry):
        import torch

        return torch.get_num_threads()
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdecimal():
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _scattered(rng: np.random.Generator, count: int, shape: tuple[int, ...]) -> Detections:
    """Boxes of a twentieth to a quarter of the picture's sides, anywhere in it."""
    size = np.array([shape[1], shape[0]])
    corner = rng.uniform(0, 0.75, (count, 2)) * size
    side = rng.uniform(0.05, 0.25, (count, 2)) * size
    class_ids = rng.integers(0, len(CLASSES), count)
    labels = tuple(CLASSES[i] for i in class_ids)
    return Detections(np.hstack([corner, corner + side]), rng.uniform(size=count), class_ids, labels)


if __name__ == "__main__":
    main()
