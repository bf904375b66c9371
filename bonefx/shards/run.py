"""All missing shards of a plan, made here one after the other or handed to workers by Ray Data."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bonefx import __version__
from bonefx.settings import NOTICE, Settings
from bonefx.shards import SHARD_IMAGES
from bonefx.shards.places import Place
from bonefx.shards.plan import Plan, written
from bonefx.shards.rows import to_results
from bonefx.shards.worker import Done, Worker

SUMMARY = "_summary.json"

Engine = Callable[[Plan, Callable[[], Worker]], Iterator[Done]]
"""Makes the missing shards of a plan with workers that the function makes."""


def here(plan: Plan, worker: Callable[[], Worker]) -> Iterator[Done]:
    """In this process, one shard after the other."""
    mine = worker()
    for shard in plan.missing():
        yield mine.make(shard)


def run(
    source: str,
    target: str,
    models: Sequence[str],
    threshold: float,
    settings: Settings,
    engine: Engine = here,
    tell: Callable[[str], None] = lambda words: None,
    shard_images: int = SHARD_IMAGES,
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Make the shards that are missing, and the summary of all.

    Args:
        source, target: folders, or addresses that fsspec opens.
        models: ids of `inference.CHOICES`.
        threshold: lowest score of a detection that is written.
        settings: where weights come from; workers elsewhere have the same.
        engine: `here`, or one of `ray_engine`.
        tell: told the progress, with rate and time left.
        shard_images: images a shard, of a plan that is new.
        names: of the images, relative to the source; None: all that it has.

    Returns:
        The summary, which is also written to the target.

    Raises:
        BoneFXError: the source or the target cannot be used, or a shard cannot be written.
    """
    read_from, written_to = Place(source), Place(target)
    tell("listing the images")
    plan = Plan.of(read_from, written_to, models, threshold, shard_images, names)

    def worker() -> Worker:
        return Worker(read_from, written_to, models, threshold, settings)

    left = sum(len(shard.images) for shard in plan.missing())
    begun, made, cpu = time.monotonic(), 0, 0.0
    tell(f"{left} of {plan.head['images']} images to do")
    for done in engine(plan, worker):
        made, cpu = made + done.images, cpu + done.cpu_seconds
        tell(_progress(left, made, time.monotonic() - begun))
    seconds = time.monotonic() - begun
    this_run = {
        "images": made,
        "seconds": round(seconds, 1),
        "images_per_second": round(made / seconds, 2) if made else None,
        "processor_hours": round(cpu / 3600, 4),
    }
    summary = {**_summary(plan), "this_run": this_run}
    written_to.write(SUMMARY, json.dumps(summary, indent=1).encode())
    return summary


def results(target: str) -> Iterator[dict[str, Any]]:
    """The results in a target's shards, shard by shard, as the API gives them."""
    for table in _tables(Place(target)):
        yield from to_results(table)


def _tables(target: Place, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The written shards, one after the other; None for `columns` means all."""
    for shard in sorted(written(target)):
        with target.open(shard) as file:
            yield pq.read_table(file, columns=columns)


def _progress(left: int, made: int, seconds: float) -> str:
    rate = made / max(seconds, 1e-9)
    minutes = (left - made) / max(rate, 1e-9) / 60
    return f"{made} of {left} images, {rate:.1f} a second, {minutes:.0f} minutes left"


def _summary(plan: Plan) -> dict[str, Any]:
    """What all shards say together, read from themselves: a row that is not there does not count."""
    rows: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    detections: Counter[str] = Counter()
    weights: dict[str, dict[str, Any]] = {}
    for table in _tables(plan.target, ["model", "error", "detections", "weights", "members"]):
        for row in table.to_pylist():
            model = row["model"]
            rows[model] += 1
            failed[model] += row["error"] is not None
            detections[model] += len(row["detections"] or ())
            for used in (row["weights"], *(member["weights"] for member in row["members"] or ())):
                if used is not None:
                    weights[used["sha256"]] = used
    return {
        "bonefx": __version__,
        "notice": NOTICE,
        **plan.head,
        "rows": dict(rows),
        "failed": dict(failed),
        "detections": dict(detections),
        "weights": list(weights.values()),
    }
