"""The one place that knows the metrics files of the original application (its version 3).

Layout, as published with karinversan/bone_detector_app (cache/metrics_*.json, 2026-02-04):
`{"version": 3, "metrics": {"AP50-95", ..., "Sensitivity@1.0 FP/image"}, "per_class_ap": {name: AP},
"froc_curve": [{"fp_per_image", "sensitivity"}, ...], "bad_class_lines", "created_at"}`.

Its FROC matched within a class, so it is read as the class-aware rule. It has no thresholds, no hash of
weights or data and no counts; its curve moves by one detection at a time, from which the counts follow. Its
"F1@0.5" is made of averaged precision and recall, belongs to no threshold, and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from pydantic import ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict

from bonefx.evaluation.froc import FP_PER_IMAGE
from bonefx.evaluation.schema import REPORT_VERSION, Rate, Share, Text, checked
from bonefx.labels import CLASSES

VERSION = 3
NOTES = (
    "Reported by the authors of the original application; not measured here.",
    "Its models were cut at different scores (Faster R-CNN 0.05, YOLO 0.25), which ends both curves early: "
    "the two cannot be compared with each other, nor with figures measured here.",
    "It states no weight hash, no thresholds and no intervals.",
)

_COCO = {
    "ap": "AP50-95",
    "ap50": "AP50",
    "ap75": "AP75",
    **{f"ap_{size}": f"AP-{size}" for size in ("small", "medium", "large")},
    **{f"ar_{n}": f"AR@{n}" for n in (1, 10, 100)},
    **{f"ar_{size}": f"AR-{size}" for size in ("small", "medium", "large")},
}


@with_config(ConfigDict(strict=True, extra="forbid"))
class _Row(TypedDict):
    fp_per_image: Rate
    sensitivity: Share


@with_config(ConfigDict(strict=True))
class _File(TypedDict):
    metrics: dict[str, Share | None]
    per_class_ap: dict[str, Share | None]
    froc_curve: list[_Row]
    created_at: Text


_FILE = TypeAdapter(_File)


def translate(old: dict[str, Any], detector_id: str, detector_name: str) -> dict[str, Any]:
    """A version-3 file as a report of kind `reported`.

    Raises:
        MetricsError: naming the field that is not as the original application wrote it.
    """
    file = checked(_FILE, old)
    metrics, per_class, rows = file["metrics"], file["per_class_ap"], file["froc_curve"]
    rates = np.array([row["fp_per_image"] for row in rows])
    sensitivities = np.array([row["sensitivity"] for row in rows])
    images, lesions = _denominator(rates), _denominator(sensitivities)
    corner = np.diff(sensitivities, prepend=0) > 0
    corner[-1:] = True
    return {
        "schema_version": REPORT_VERSION,
        "kind": "reported",
        "created": file["created_at"],
        "notes": list(NOTES),
        "protocol": None,
        "dataset": {
            "name": "BoneFractureYolo8",
            "split": "valid",
            "sha256": None,
            "images": images,
            "boxes": lesions,
            "fracture_free": None,
            "boxes_per_class": None,
            "problems": None,
        },
        "detector": {"id": detector_id, "name": detector_name, "method": None, "members": []},
        "versions": {},
        "timing": None,
        "coco": _coco(metrics, per_class),
        "froc": {
            "any_fracture": None,
            "class_aware": {
                "points": list(_points(metrics, lesions, rates)),
                "curve": {
                    "fp_per_image": rates[corner].tolist(),
                    "sensitivity": sensitivities[corner].tolist(),
                    "threshold": [None] * int(corner.sum()),
                }
                if rows
                else None,
                "band": None,
            },
            "lenient": None,
        },
        "image_level": None,
        "strata": None,
        "calibration": None,
        "home": None,
        "comparisons": [],
    }


def _coco(metrics: Mapping[str, Any], per_class: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: metrics.get(theirs) for name, theirs in _COCO.items()},
        "per_class": [
            {"label": label, "boxes": None, "ap": per_class[label], "ap50": None, "ar_100": None}
            for label in CLASSES
            if label in per_class
        ],
        "precision_recall": None,
    }


def _points(metrics: Mapping[str, Any], lesions: int | None, rates: np.ndarray) -> Iterator[dict[str, Any]]:
    """The operating points that the file has; its thresholds and intervals nobody knows."""
    for rate in FP_PER_IMAGE:
        sensitivity = metrics.get(f"Sensitivity@{rate} FP/image")
        if sensitivity is not None:
            yield {
                "fp_per_image": rate,
                "sensitivity": sensitivity,
                "n": round(sensitivity * lesions) if lesions else None,
                "lesions": lesions,
                "threshold": None,
                "reached": bool(len(rates) and rates[-1] >= rate),
                "interval": None,
            }


def _denominator(shares: np.ndarray) -> int | None:
    """What the shares are fractions of, when their smallest step is one; None when there is no step."""
    steps = np.diff(shares, prepend=0)
    steps = steps[steps > 1e-9]
    return round(1 / float(steps.min())) if len(steps) else None
