"""The consensus: a result that is made of those of all models, described as they are in the registry."""

from __future__ import annotations

from dataclasses import dataclass

from bonefx.detectors import MODELS
from bonefx.fusion import BEST_OF_EACH, ONE_PLACE_IOU, RULE
from bonefx.looks import Look
from bonefx.settings import Settings


@dataclass(frozen=True)
class Consensus:
    """A result that is derived from those of other models.

    Attributes:
        id, name, summary, look: as of `bonefx.detectors.ModelSpec`.
        method: all that was chosen, in words that metrics files repeat; other words, other figures.
    """

    id: str
    name: str
    summary: str
    look: Look
    method: str

    @property
    def members(self) -> tuple[str, ...]:
        """Ids of the models that it is made of, in the order in which they are fused: all."""
        return tuple(MODELS)

    def metrics_file(self, settings: Settings) -> str:
        """Its metrics file in the metrics repository: always the same, for it has no weights to choose."""
        return "metrics_consensus.json"


CONSENSUS = Consensus(
    id="consensus",
    name="Consensus",
    summary="All models' boxes, fused: boxes on one place become one, and what one model alone found counts "
    f"less ({RULE} of the calibrated scores).",
    look=Look("C", "#C050FF", "crossed", "14 4 3 4", "M0-6 6 5-6 5Z"),
    method=f"{RULE}, calibrated scores, IoU {ONE_PLACE_IOU:g}, best {BEST_OF_EACH} of each model",
)
