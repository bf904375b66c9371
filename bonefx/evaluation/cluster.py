"""Predictions of a data set from a Ray cluster: shards of `bonefx.shards`, read back in its order."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from bonefx.detections import SCORE_FLOOR, Detections
from bonefx.detectors import Loaded, ModelSpec, Registry
from bonefx.errors import DatasetError
from bonefx.evaluation.dataset import Dataset
from bonefx.evaluation.predict import described, key_of, settled, timing, up_to_date
from bonefx.evaluation.store import Store, to_rows
from bonefx.shards.ray_engine import RayEngine
from bonefx.shards.rows import as_text
from bonefx.shards.run import results, run
from bonefx.terminal import replace_line

_SHARD_IMAGES = 50


def predict_on_cluster(
    models: Sequence[ModelSpec], registry: Registry, dataset: Dataset, store: Store, address: str | None
) -> None:
    """Store the predictions of several models, going on where a run was stopped.

    They are those of `predict`, but for boxes that a shard has rounded to 1/1000 pixel before: their corners
    may differ by 1/100 pixel. The workers must find the images under the same paths as this process, and the
    same weights.

    Args:
        models: to predict with.
        registry: the models of this process: what the workers' answers are compared with.
        dataset: the images.
        store: where predictions are kept; shards lie beside them until all are there.
        address: of the cluster; None starts one of this machine alone.

    Raises:
        DatasetError: a worker could not answer for an image, or answered with other weights or another
            runtime than this process has.
        SourceError: nothing answers at the address.
    """
    waiting = []
    for model in models:
        loaded = settled(model, registry)
        key = key_of(loaded, dataset)
        if not up_to_date(model, store, key):
            waiting.append((model, loaded, key))
    if not waiting:
        return
    files = [image.file for image in dataset.images]
    root = Path(os.path.commonpath([file.parent for file in files]))
    names = [file.relative_to(root).as_posix() for file in files]
    engine = RayEngine(address)
    try:
        for model, loaded, key in waiting:
            digest = hashlib.sha256(json.dumps([key, names]).encode()).hexdigest()[:16]
            target = store.folder / f"{model.id}-{digest}.shards"
            run(
                str(root), str(target), [model.id], SCORE_FLOOR, registry.settings, engine,
                partial(_tell, model.name), _SHARD_IMAGES, names,
            )  # fmt: skip
            replace_line()
            found = {each["image"]: each for each in results(str(target))}
            answers = [_checked(found.get(as_text(name)), name, loaded) for name in names]
            rows = (
                row
                for image_id, answer in enumerate(answers, 1)
                for row in to_rows(image_id, Detections.from_records(answer["detections"]))
            )
            ms = [answer["timings_ms"] for answer in answers]
            store.write_run(model.id, rows, key, described(loaded, model), timing(loaded, ms))
            shutil.rmtree(target)
    finally:
        engine.close()


def _tell(name: str, words: str) -> None:
    replace_line(f"{name}: {words}")


def _checked(answer: dict[str, Any] | None, name: str, loaded: Loaded) -> dict[str, Any]:
    """An answer that was made with this process's weights and runtime.

    Raises:
        DatasetError: it was not, or there is none.
    """
    if answer is None or "error" in answer:
        raise DatasetError(f"{name} has no result: {answer['error'] if answer else 'it is in no shard'}")
    if answer["weights"]["sha256"] != loaded.weights.sha256:
        raise DatasetError(f"{name} was looked at with other weights than those of this machine.")
    if answer["runtime"] != asdict(loaded.detector.runtime):
        raise DatasetError(
            f"{name} was looked at by {' '.join(answer['runtime'].values())}, and this machine is "
            f"{' '.join(asdict(loaded.detector.runtime).values())}: figures are of one of them."
        )
    return answer
