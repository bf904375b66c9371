"""The consensus of the two models: their detections of one image, fused into one set.

The method is Weighted Boxes Fusion: R. Solovyev, W. Wang, T. Gabruseva, "Weighted boxes fusion: Ensembling
boxes from different object detection models", Image and Vision Computing 107 (2021) 104117,
https://doi.org/10.1016/j.imavis.2021.104117. `fuse` says exactly what was chosen where it leaves a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bonefx.detections import SCORE_FLOOR, Detections
from bonefx.labels import CLASSES
from bonefx.matching import iou_matrix
from bonefx.settings import Settings

IOU = 0.55
"""A box joins a cluster whose fused box it overlaps by more than this: the paper's own value."""

BEST_OF_EACH = 100
"""How many detections of each model take part: as many as evaluations store, so that figures which are
computed from stored predictions are those of the results that people see."""


@dataclass(frozen=True)
class Consensus:
    """A result that is derived from those of other models, described as they are in the registry.

    Attributes:
        id, name, summary, metrics_filename: as of `bonefx.detectors.ModelSpec`.
        members: ids of the models that it is made of, in the order in which `fuse` takes them.
        method: all that was chosen, in words that metrics files repeat; other words are other figures.
    """

    id: str
    name: str
    summary: str
    members: tuple[str, ...]
    method: str
    metrics_filename: Callable[[Settings], str]


CONSENSUS = Consensus(
    id="consensus",
    name="Consensus",
    summary="Both models' boxes, fused: boxes of one label on one place become one, and what only one model "
    "found keeps half of its score (Weighted Boxes Fusion).",
    members=("faster-rcnn", "yolo"),
    method=f"Weighted Boxes Fusion per class, IoU {IOU:g}, best {BEST_OF_EACH} of each model, raw scores, "
    "mean score times min(T, N) / N",
    metrics_filename=lambda settings: "metrics_consensus.json",
)


def fuse(members: Sequence[Detections]) -> Detections:
    """Fuse what several models found in one image.

    Class by class, the detections of all models go through one list, highest score first. Each joins the
    cluster whose fused box it overlaps most, if that IoU is above `IOU`, and otherwise begins a new cluster.
    The fused box of a cluster is the mean of its boxes, weighted by their scores, and is computed again with
    every box that joins. At the end, its score is the mean of its boxes' scores times min(T, N) / N, for T
    boxes and N models, the first of the two rescalings in the paper.

    What follows from that, and is left as published:
        Scores are taken raw, and all models have the same weight. Two models' scores are not on one scale:
        the model that gives the higher ones pulls fused boxes its way and comes first in the ranking; where
        the scales are far apart, the consensus is little more than that model's result, and can be worse
        than the other's. Its metrics tell. Neither scores, nor weights, nor the IoU were adjusted, because
        the only split to do that on is the one that the figures are measured on. A threshold of a model
        means nothing for the consensus, which has its own.
        T counts boxes, whichever model they are of: two boxes of one model that its own NMS has left on one
        place count as two.
        A weak box that joins lowers the mean.

    Args:
        members: one a model. Of each, the best `BEST_OF_EACH` with a score of at least `SCORE_FLOOR` take
            part. Of equal scores, the earlier model's comes first, then the earlier in its own order; of
            equal overlaps, the cluster that began first is joined.

    Returns:
        float32 boxes in the pixels of the members' boxes, scores of at least `SCORE_FLOOR`, and as
        `model_labels` the unified labels. At most `BEST_OF_EACH` for each model. The same members, in the
        same order, give the same values.
    """
    taking_part = [member.above(SCORE_FLOOR)[:BEST_OF_EACH] for member in members]
    if not any(map(len, taking_part)):
        return Detections.empty()
    boxes = np.concatenate([each.boxes for each in taking_part]).astype(np.float64)
    scores = np.concatenate([each.scores for each in taking_part]).astype(np.float64)
    class_ids = np.concatenate([each.class_ids for each in taking_part])
    order = np.argsort(-scores, kind="stable")
    boxes, scores, class_ids = boxes[order], scores[order], class_ids[order]
    fused = [
        (*_clusters(boxes[class_ids == class_id], scores[class_ids == class_id], len(members)), class_id)
        for class_id in np.unique(class_ids)
    ]
    found = np.concatenate([np.full(len(scores), class_id) for _, scores, class_id in fused])
    return Detections(
        np.concatenate([boxes for boxes, _, _ in fused]),
        np.concatenate([scores for _, scores, _ in fused]),
        found,
        tuple(CLASSES[class_id] for class_id in found),
    ).above(SCORE_FLOOR)


def _clusters(boxes: np.ndarray, scores: np.ndarray, models: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 4) and scores (n,) of the clusters of one class, in the order in which they began."""
    fused, weighted = np.empty_like(boxes), np.zeros_like(boxes)
    total, size = np.zeros(len(boxes)), np.zeros(len(boxes))
    alone = iou_matrix(boxes, boxes)
    overlap = np.empty_like(alone)  # of each cluster's fused box with each box, kept as clusters grow
    count = 0
    for i, (box, score) in enumerate(zip(boxes, scores, strict=True)):
        cluster = int(overlap[:count, i].argmax()) if count else 0
        joins = count > 0 and overlap[cluster, i] > IOU
        if not joins:
            cluster = count
            count += 1
        weighted[cluster] += score * box
        total[cluster] += score
        size[cluster] += 1
        fused[cluster] = weighted[cluster] / total[cluster]
        overlap[cluster] = iou_matrix(fused[cluster], boxes)[0] if joins else alone[i]
    mean = total[:count] / size[:count]
    return fused[:count], mean * np.minimum(size[:count], models) / models
