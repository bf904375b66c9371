"""The consensus: a result that is made of those of all models, described as they are in the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bonefx.detectors import MODELS
from bonefx.fusion import BEST_OF_EACH, IOU, RULE
from bonefx.settings import Settings


@dataclass(frozen=True)
class Consensus:
    """A result that is derived from those of other models.

    Attributes:
        id, name, summary, metrics_filename: as of `bonefx.detectors.ModelSpec`.
        method: all that was chosen, in words that metrics files repeat; other words, other figures.
    """

    id: str
    name: str
    summary: str
    method: str
    metrics_filename: Callable[[Settings], str]

    @property
    def members(self) -> tuple[str, ...]:
        """Ids of the models that it is made of, in the order in which they are fused: all."""
        return tuple(MODELS)


CONSENSUS = Consensus(
    id="consensus",
    name="Consensus",
    summary="All models' boxes, fused: boxes on one place become one, and what one model alone found counts "
    f"less ({RULE} of the calibrated scores).",
    method=f"{RULE}, calibrated scores, IoU {IOU:g}, best {BEST_OF_EACH} of each model",
    metrics_filename=lambda settings: "metrics_consensus.json",
)
