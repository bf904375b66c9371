"""Small data sets and predictions, without files."""

from __future__ import annotations

from typing import Any

import numpy as np

from bonefx.evaluation import report, score
from bonefx.evaluation.dataset import Dataset, LabelledImage

RUNTIME = {"engine": "torch", "precision": "float32", "device": "cpu"}


def dataset(lesions: list[list[tuple[int, list[float]]]]) -> Dataset:
    """One entry per image: its lesions as (class id, [x, y, width, height])."""
    rows = [(i, class_id, bbox) for i, image in enumerate(lesions) for class_id, bbox in image]
    return Dataset(
        "toy",
        "valid",
        tuple(LabelledImage(f"{i:05d}.png", None, 640, 640, f"{i:064x}") for i in range(len(lesions))),
        np.array([bbox for _, _, bbox in rows], dtype=np.float64).reshape(-1, 4),
        np.array([i for i, _, _ in rows], dtype=np.int64),
        np.array([class_id for _, class_id, _ in rows], dtype=np.int64),
    )


def results(rows: list[tuple[int, int, list[float], float]]) -> list[dict[str, Any]]:
    """COCO results from (image from 0, class id, [x, y, width, height], score)."""
    return [
        {"image_id": image + 1, "category_id": class_id + 1, "bbox": bbox, "score": score}
        for image, class_id, bbox, score in rows
    ]


def random_case(seed: int, images: int = 40, lesions: float = 1.5, detections: float = 8):
    """With near hits, duplicates, wrong classes, tied scores, and boxes that reach out of the image."""
    rng = np.random.default_rng(seed)

    def boxes(n):
        return np.hstack([rng.uniform(-40, 560, (n, 2)), rng.uniform(8, 160, (n, 2))]).round(
            rng.integers(0, 3)
        )

    truth, found = [], []
    for image in range(images):
        boxes_here = boxes(rng.poisson(lesions) if rng.random() < 0.6 else 0).tolist()
        truth.append([(int(rng.integers(0, 5)), box) for box in boxes_here])  # class 5 has no lesion
        for box in boxes(rng.poisson(detections)).tolist():
            found.append((image, int(rng.integers(0, 6)), box, float(rng.beta(1, 4))))
        for class_id, box in truth[-1]:
            for _ in range(rng.integers(0, 4)):
                near = (np.array(box) + rng.normal(0, 8, 4)).clip(min=[-99, -99, 1, 1]).tolist()
                wrong = int(rng.integers(0, 6)) if rng.random() < 0.2 else class_id
                found.append((image, wrong, near, float(rng.beta(3, 3))))
    rng.shuffle(found)
    decimals = int(rng.choice([1, 2, 9]))
    return dataset(truth), results([(i, k, box, round(score, decimals)) for i, k, box, score in found])


def detector(name: str, *files: str) -> dict[str, Any]:
    """As in a report, with one member a file."""
    return {
        "id": name.lower(),
        "name": name,
        "method": None,
        "members": [
            {
                "file": file,
                "sha256": f"sha-{file}",
                "source": "local",
                "repo": None,
                "revision": None,
                "nms": "nms",
                "image_size": 640,
                "runtime": RUNTIME,
            }
            for file in files
        ],
    }


def measure(
    dataset: Dataset, results: list[dict[str, Any]], name: str = "YOLO", comparisons=()
) -> report.Report:
    """A report of kind `measured`."""
    return report.build(
        dataset,
        score(dataset, results),
        detector(name, f"{name}.pt"),
        created="2026-11-01T00:00:00Z",
        versions={"numpy": "2", "bonefx": "1"},
        timing={"ms_per_image": {"model": 12.5}, "processor": "test"},
        comparisons=comparisons,
    )
