"""What an evaluation keeps beside the metrics, so that they can be computed again without model or images.

ground_truth.json   COCO ground truth, with the hash of each image and what was left out
MODEL.json          predictions: a COCO results list
MODEL.run.json      what made them
MODEL.journal       predictions under way; gone when they are complete
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bonefx.detections import SCORE_FLOOR, Detections
from bonefx.errors import DatasetError
from bonefx.evaluation.dataset import Dataset, Problem
from bonefx.evaluation.predictions import KEPT_PER_IMAGE
from bonefx.files import whole

METRICS = "precomputed_metrics"
"""The folder of metrics files."""

PREDICTIONS = "predictions"
"""The store's folder in it."""

_SCORE_STEPS = 10**6  # to a score of 1


@dataclass(frozen=True)
class Run:
    """What made a predictions file.

    Attributes:
        key: all that shapes the predictions: hashes of data and weights, NMS, image size, versions, ...
        detector, timing: as in a report.
        predictions_sha256: of the file's bytes.
    """

    key: dict[str, Any]
    detector: dict[str, Any]
    timing: dict[str, Any]
    predictions_sha256: str


def to_rows(image_id: int, detections: Detections) -> list[dict[str, Any]]:
    """The COCO results rows of one image: the protocol's best, highest score first.

    Coordinates are rounded to 1/100 pixel. Scores are rounded down, to 1e-6: a detection then reaches every
    threshold that comes from its row.
    """
    best = detections.above(SCORE_FLOOR)[:KEPT_PER_IMAGE]
    corners = best.boxes.astype(np.float64).round(2)
    bbox = np.hstack([corners[:, :2], (corners[:, 2:] - corners[:, :2]).round(2)])
    scores = np.floor(best.scores.astype(np.float64) * _SCORE_STEPS) / _SCORE_STEPS
    return [
        {"image_id": image_id, "category_id": class_id + 1, "bbox": box, "score": score}
        for class_id, box, score in zip(best.class_ids.tolist(), bbox.tolist(), scores.tolist(), strict=True)
    ]


@dataclass(frozen=True)
class Store:
    """The folder of these files."""

    folder: Path

    @property
    def ground_truth(self) -> Path:
        return self.folder / "ground_truth.json"

    def predictions(self, model_id: str) -> Path:
        return self.folder / f"{model_id}.json"

    def journal(self, model_id: str) -> Path:
        return self.folder / f"{model_id}.journal"

    def files(self, model_id: str) -> tuple[Path, Path]:
        """The predictions and what made them."""
        return self.predictions(model_id), self._run(model_id)

    def write_ground_truth(self, dataset: Dataset) -> None:
        """Keep the data set that predictions are about."""
        self.folder.mkdir(parents=True, exist_ok=True)
        coco = {**dataset.to_coco(), "problems": [asdict(problem) for problem in dataset.problems]}
        _replace(self.ground_truth, [json.dumps(coco, indent=1, ensure_ascii=False) + "\n"])

    def write_run(
        self,
        model_id: str,
        rows: Iterable[Mapping[str, Any]],
        key: Mapping[str, Any],
        detector: Mapping[str, Any],
        timing: Mapping[str, Any],
    ) -> None:
        """Keep complete predictions, then what made them: the second vouches for the first."""
        lines = (json.dumps(row, separators=(",", ":")) for row in rows)
        sha256 = _replace(self.predictions(model_id), _json_list(lines))
        run = Run(dict(key), dict(detector), dict(timing), sha256)
        _replace(self._run(model_id), [json.dumps(asdict(run), indent=1, ensure_ascii=False) + "\n"])

    def run(self, model_id: str) -> Run | None:
        """What made the stored predictions; None where there are none, or others than it made."""
        try:
            run = Run(**json.loads(self._run(model_id).read_bytes()))
            sha256 = hashlib.sha256(self.predictions(model_id).read_bytes()).hexdigest()
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise DatasetError(f"{self._run(model_id)} is damaged: delete it. ({error})") from None
        return run if sha256 == run.predictions_sha256 else None

    def _run(self, model_id: str) -> Path:
        return self.folder / f"{model_id}.run.json"


def read_results(path: Path) -> list[Any]:
    """The content of a COCO results file, which `bonefx.evaluation.score` checks.

    Raises:
        DatasetError: it cannot be read or is not JSON.
    """
    return _read_json(path)


def read_ground_truth(path: Path) -> Dataset:
    """The data set that `Store.write_ground_truth` kept.

    Raises:
        DatasetError: it cannot be read, or is not such a file.
    """
    coco = _read_json(path)
    try:
        return replace(Dataset.from_coco(coco), problems=tuple(Problem(**row) for row in coco["problems"]))
    except (DatasetError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is not ground truth that BoneFX wrote. ({error})") from None


class Journal:
    """Predictions under way: a line for each image, written at once, so that a stopped run can go on.

        with Journal(path, key) as journal:
            for image_id in range(journal.done + 1, n_images + 1):
                journal.append(image_id, {...})

    The first line is the key: the lines of a run with another key are thrown away, and so is a line that
    was torn when the run was killed.

    Attributes:
        done: images that the journal holds.
    """

    def __init__(self, path: Path, key: Mapping[str, Any]) -> None:
        self._path, self._key = path, dict(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        ends = [end for _, end in self._lines()]
        self.done = len(ends)
        self._file = path.open("ab")
        self._file.truncate(ends[-1] if ends else 0)
        if not ends:
            self._write(key)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def append(self, image_id: int, entry: Mapping[str, Any]) -> None:
        """Keep what was found in the image `done + 1`."""
        self._write({"image_id": image_id, **entry})
        self.done += 1

    def entries(self) -> Iterator[dict[str, Any]]:
        """What was kept of the images, in their order."""
        return (entry for entry, _ in self._lines())

    def _write(self, value: Mapping[str, Any]) -> None:
        try:
            self._file.write(json.dumps(value, separators=(",", ":")).encode() + b"\n")
            self._file.flush()
        except OSError as error:  # it knows no name
            error.filename = str(self._path)
            raise

    def _lines(self) -> Iterator[tuple[dict[str, Any], int]]:
        """Each whole entry, and where in the file it ends."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            if _whole(file.readline()) != self._key:
                return
            for image_id, line in enumerate(file, 1):
                entry = _whole(line)
                if not isinstance(entry, dict) or entry.get("image_id") != image_id:
                    return
                yield entry, file.tell()


def _whole(line: bytes) -> Any:
    """The value of a line; None where it was torn."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None


def _json_list(rows: Iterator[str]) -> Iterator[str]:
    """A JSON list with a row a line, without holding it in memory."""
    yield "["
    for number, row in enumerate(rows):
        yield f"{',' if number else ''}\n{row}"
    yield "\n]\n"


def _replace(path: Path, parts: Iterable[str]) -> str:
    """Write a file in one step, so that a reader never finds half of it; the SHA-256 of its bytes."""
    digest = hashlib.sha256()
    with whole(path) as file:
        for part in parts:
            data = part.encode()
            digest.update(data)
            file.write(data)
    return digest.hexdigest()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not JSON: {error}.") from None
