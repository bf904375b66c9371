"""What a model made of an image, and all that it was made with: values that travel as themselves.

They can cross a process. At an edge (API, file, browser) each becomes a plain dict once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bonefx.detections import Detections
from bonefx.settings import NOTICE

RESULT_VERSION = 1

Source = Literal["local", "hub", "bundled"]


@dataclass(frozen=True)
class Weights:
    """Which weights a result was made with.

    Attributes:
        source: where they came from.
        repo, revision: Hub repository and full commit SHA; None for the other sources.
        file: its name in the repository, or in its folder.
        sha256: of its bytes, hexadecimal.
    """

    source: Source
    repo: str | None
    revision: str | None
    file: str
    sha256: str

    def to_record(self) -> dict[str, str | None]:
        """As API and files have it."""
        return {key: getattr(self, key) for key in ("source", "repo", "revision", "file", "sha256")}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Weights:
        """The other way round.

        Raises:
            KeyError: something is missing.
        """
        return cls(**{key: record[key] for key in ("source", "repo", "revision", "file", "sha256")})


@dataclass(frozen=True)
class Runtime:
    """What computes: library and version, number format, processor."""

    engine: str
    precision: str
    device: str


@dataclass(frozen=True)
class Identity:
    """What must be the same for figures to be those of a result: the weight file, and how it is run.

    Attributes:
        sha256: of the file.
        nms: how duplicate boxes are removed, in the words of `Detector.nms`.
        image_size: the longest side, in pixels, that the network sees.
    """

    sha256: str
    nms: str
    image_size: int

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Identity:
        """Of a file's entry about weights, which may say more of them.

        Raises:
            KeyError: something is missing.
        """
        return cls(record["sha256"], record["nms"], record["image_size"])


@dataclass(frozen=True)
class Member:
    """One of the models that a consensus is made of.

    Attributes:
        model: its id.
        weights, runtime: of its own result; None where it has none.
        nms, image_size: as of `Identity`.
    """

    model: str
    weights: Weights | None
    nms: str
    image_size: int
    runtime: Runtime | None

    @property
    def identity(self) -> Identity | None:
        """None where the weights are not known."""
        return None if self.weights is None else Identity(self.weights.sha256, self.nms, self.image_size)

    def to_record(self) -> dict[str, Any]:
        """As API and files have it."""
        return {
            "model": self.model,
            "weights": None if self.weights is None else self.weights.to_record(),
            "nms": self.nms,
            "image_size": self.image_size,
            "runtime": None if self.runtime is None else vars(self.runtime),
        }


@dataclass(frozen=True)
class Outcome:
    """What one model made of one image.

    Attributes:
        image, width, height: the image's file name and size in pixels.
        model: the model's id.
        detections: everything above the detectors' common floor; None after a failure.
        error: in a person's words, where the model failed.
        weights: that were used; None of a consensus.
        runtime: what computed; None of a consensus.
        nms, image_size: as of `Identity`.
        timings_ms: milliseconds by stage.
        notes: for the person: on the image, and on why no better weights were used.
        members: of a consensus, the models that it is made of; otherwise empty.
    """

    image: str
    width: int
    height: int
    model: str
    detections: Detections | None = None
    error: str | None = None
    weights: Weights | None = None
    runtime: Runtime | None = None
    nms: str = ""
    image_size: int = 0
    timings_ms: Mapping[str, float] | None = None
    notes: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()

    @property
    def identities(self) -> tuple[Identity, ...] | None:
        """What figures must share to belong to this outcome, one for each weight file; None: not known."""
        made_by = [member.identity for member in self.members or (self.as_member(),)]
        known = [identity for identity in made_by if identity is not None]
        return tuple(known) if len(known) == len(made_by) else None

    def as_member(self) -> Member:
        """What a consensus tells of it."""
        return Member(self.model, self.weights, self.nms, self.image_size, self.runtime)

    def to_result(self, threshold: float) -> dict[str, Any]:
        """The answer of API and command line (`schema_version` 1), with detections from `threshold` up."""
        head = {
            "schema_version": RESULT_VERSION,
            "image": self.image,
            "width": self.width,
            "height": self.height,
            "model": self.model,
            "weights": None if self.weights is None else self.weights.to_record(),
            **({"members": [member.to_record() for member in self.members]} if self.members else {}),
            "runtime": None if self.runtime is None else vars(self.runtime),
            "threshold": threshold,
            "timings_ms": {stage: round(ms, 2) for stage, ms in (self.timings_ms or {}).items()},
            "notes": list(self.notes),
            "notice": NOTICE,
        }
        if self.detections is None:
            return {**head, "error": self.error}
        return {**head, "detections": self.detections.above(threshold).to_records()}
