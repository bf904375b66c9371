"""Figures as `bonefx.benchmark.measure` makes them, without measuring anything."""

from __future__ import annotations

from typing import Any

from bonefx.benchmark.figures import spread
from bonefx.benchmark.worker import STAGES


def measured(full_size: bool = False) -> dict[str, Any]:
    """Two models, of which ours takes two fifths of the reference's time."""

    def side(engine: str, precision: str, factor: float, threads: int) -> dict[str, Any]:
        return {
            "runtimes": [{"engine": engine, "precision": precision, "device": "a processor"}],
            "threads": threads,
            "detections": 300,
            "ms": {stage: spread([factor * value for value in (90, 100, 110)]) for stage in STAGES},
        }

    stages = {stage: spread([7, 8, 9]) for stage in STAGES}
    models = [
        {
            "id": model_id,
            "name": name,
            "weights": {"source": "bundled", "file": f"{model_id}.weights", "sha256": "0"},
            "image_size": 384,
            "ratio": spread([0.36, 0.38, 0.4]),
            "reference": side("torch 2.11.0", "float32", 1.0, threads),
            "ours": side("openvino 2026.4.1", "bfloat16", 0.4, 2),
        }
        for model_id, name, threads in (("faster-rcnn", "Faster R-CNN", 2), ("yolo", "YOLO", 1))
    ]
    models[1]["ratio_to_all_threads"] = spread([0.7, 0.72, 0.74])
    seconds = spread([3.0, 3.2, 3.4])
    return {
        "schema_version": 2,
        "created": "2026-11-23T10:00:00Z",
        "command": "python -m bonefx benchmark",
        "seconds": 99.0,
        "notice": "Research and education. Not a medical device.",
        "machine": {"processor": "A Processor 9000", "cores": 2, "system": "Linux", "threads": 2},
        "versions": {"python": "3.11.7", "torch": "2.11.0"},
        "full_size": full_size,
        "rounds": 5,
        "images": 16,
        "models": models,
        "shapes": {"yolo": {"one": 100.0, "ten": 104.0, "ratio": 1.04}},
        "memory": {
            "reference": {"resident": 700.4, "peak": 800.0},
            "ours": {"resident": None, "peak": 900.0},
        },
        "start": {
            "first": {"reference": seconds, "ours": spread([2.0])},
            "conversion": 17.3,
            "import": spread([0.04]),
            "page": {"empty": seconds, "ours": seconds},
        },
        "lengths": [{"pixels": 512, "models": {"faster-rcnn": stages, "yolo": stages}}],
        "boxes": [
            {
                "boxes": 10,
                "ms": {name: spread([1.25]) for name in ("draw", "suppress", "match")},
            }
        ],
    }
