"""Reports of two models and their consensus on one small data set, and a folder with them as packaged."""

from __future__ import annotations

import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

from bonefx.consensus import CONSENSUS
from bonefx.evaluation import compare, consensus, report, score
from bonefx.evaluation.store import Store
from bonefx.results import Identity
from bonefx.ui.metrics.store import ELSEWHERE
from tests.evaluation import toy

FRCNN, YOLO = "faster-rcnn", "yolo"
BOX, FAR = [100.0, 100.0, 50.0, 50.0], [400.0, 100.0, 50.0, 50.0]

DATASET = toy.dataset([[(i % 5, BOX)] for i in range(30)] + [[]] * 30)  # class 5 has no lesion
STRONG = [(i, i % 5, BOX, 0.9 - i / 100) for i in range(24)] + [(i, 0, FAR, 0.3) for i in range(60)] * 9
WEAK = [(i, i % 5, BOX, 0.8 - i / 100) for i in range(9)] + [(i, 1, FAR, 0.2) for i in range(50)]
USED = {FRCNN: Identity("sha-frcnn.pth", "nms", 640), YOLO: Identity("sha-yolo.pt", "nms", 640)}
"""What the reports are about, as the page is told of the weights in use."""


def detector(model_id: str) -> dict[str, Any]:
    name, file = {FRCNN: ("Faster R-CNN", "frcnn.pth"), YOLO: ("YOLO", "yolo.pt")}[model_id]
    return {**toy.detector(name, file), "id": model_id}


@lru_cache(maxsize=1)
def _measured() -> dict[str, report.Report]:
    scores = {FRCNN: score(DATASET, toy.results(STRONG)), YOLO: score(DATASET, toy.results(WEAK))}
    return {
        mine: report.build(
            DATASET,
            scores[mine],
            detector(mine),
            created="2026-11-01T00:00:00Z",
            versions={"bonefx": "1"},
            timing={"ms_per_image": {"total": 12.5}, "processor": "a test's"},
            comparisons=[{"detector": detector(other), **compare(scores[mine], scores[other])}],
        )
        for mine, other in ((FRCNN, YOLO), (YOLO, FRCNN))
    }


def measured() -> dict[str, report.Report]:
    """By model id; the caller may change them. Faster R-CNN finds 80 % of the fractures, YOLO 30 %."""
    return copy.deepcopy(_measured())


@lru_cache(maxsize=1)
def _fused() -> report.Report:
    stored = [toy.results(STRONG), toy.results(WEAK)]
    mine = score(DATASET, consensus.results(DATASET, stored, [None, None]))
    made = [_measured()[member] for member in CONSENSUS.members]
    return report.build(
        DATASET,
        mine,
        **consensus.described(made),
        created="2026-11-01T00:00:00Z",
        comparisons=[
            {"detector": each["detector"], **compare(mine, score(DATASET, results))}
            for each, results in zip(made, stored, strict=True)
        ],
    )


def fused() -> report.Report:
    """Of the consensus of the two; the caller may change it."""
    return copy.deepcopy(_fused())


def package(folder: Path, *, ground_truth: bool = True, with_consensus: bool = False) -> Path:
    """Write the reports as the app's own files."""
    folder.mkdir(exist_ok=True)
    for model_id, name in ((FRCNN, "metrics_frcnn.json"), (YOLO, "metrics_yolo.json")):
        report.write(_measured()[model_id], folder / name)
    if with_consensus:
        report.write(_fused(), folder / "metrics_consensus.json")
    if ground_truth:
        Store(folder / "predictions").write_ground_truth(DATASET)
    return folder


def package_elsewhere(folder: Path, sha256: str | None = None) -> None:
    """Write reports of another data set beside packaged ones: 20 % and 10 % of the fractures are found.

    Args:
        folder: as `package` wrote it.
        sha256: of the weights, in place of their own.
    """
    dataset = toy.dataset([[(i % 5, BOX)] for i in range(50)] + [[]] * 50)
    (folder / ELSEWHERE).mkdir()
    for model_id, found, name in ((FRCNN, 10, "metrics_frcnn.json"), (YOLO, 5, "metrics_yolo.json")):
        results = toy.results([(i, i % 5, BOX, 0.9 - i / 100) for i in range(found)])
        about = detector(model_id)
        if sha256:
            about["members"][0]["sha256"] = sha256
        made = report.build(
            dataset, score(dataset, results), about, created="2026-11-01T00:00:00Z", versions={}
        )
        report.write(made, folder / ELSEWHERE / name)


def package_predictions(folder: Path) -> None:
    """Write what the models' reports were made of beside packaged ones."""
    kept = Store(folder / "predictions")
    for model_id, made in ((FRCNN, STRONG), (YOLO, WEAK)):
        kept.write_run(model_id, toy.results(made), {}, detector(model_id), {})
