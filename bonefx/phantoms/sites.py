"""Where bones typically break, and how."""

from __future__ import annotations

from dataclasses import dataclass

from bonefx.phantoms.anatomy import HAND

FRACTURE_KINDS = ("transverse", "oblique", "spiral", "comminuted", "hairline")
SHAFT = FRACTURE_KINDS
_END = ("transverse", "oblique", "comminuted", "hairline")
_SMALL = ("transverse", "oblique", "hairline")


@dataclass(frozen=True)
class Site:
    """Where a bone typically breaks.

    Attributes:
        region: the radiograph that shows it.
        bone: the bone that breaks.
        between: the part of the bone's length, proximal to distal, that the cut's middle may lie in.
        kinds: the kinds of fracture seen here.
        label: unified class of the lesion.
        follows: bones that move with the distal fragment.
        proximal_moves: the proximal fragment is displaced instead.
        views: where the fracture is not hidden behind other bones.
    """

    region: str
    bone: str
    between: tuple[float, float]
    kinds: tuple[str, ...]
    label: str
    follows: tuple[str, ...] = ()
    proximal_moves: bool = False
    views: tuple[str, ...] = ("ap", "oblique", "lateral")


def _finger(digit: str) -> tuple[Site, ...]:
    bones = [f"{digit}{part}" for part in ("proxph", "midph", "distph") if f"{digit}{part}" != "thumbmidph"]
    return tuple(
        Site(
            "fingers",
            name,
            (0.3, 0.75),
            SHAFT if k == 0 else _END,
            "fingers positive",
            tuple(bones[k + 1 :]),
        )
        for k, name in enumerate(bones)
    )


SITES: tuple[Site, ...] = (
    Site("elbow", "humerus", (0.885, 0.92), _END, "elbow positive", ("ulna", "radius", *HAND)),
    Site("elbow", "ulna", (0.06, 0.09), _SMALL, "elbow positive", proximal_moves=True),
    Site("elbow", "radius", (0.045, 0.08), _SMALL, "elbow positive", proximal_moves=True),
    *(site for digit in ("2", "3", "4", "5", "thumb") for site in _finger(digit)),
    Site("forearm", "radius", (0.3, 0.72), SHAFT, "forearm fracture"),
    Site("forearm", "ulna", (0.28, 0.75), SHAFT, "forearm fracture"),
    Site("humerus", "humerus", (0.3, 0.72), SHAFT, "humerus", ("ulna", "radius", *HAND)),
    Site("shoulder", "humerus", (0.15, 0.2), _END, "shoulder fracture", ("ulna", "radius", *HAND)),
    Site("shoulder", "clavicle", (0.4, 0.65), _END, "shoulder fracture", views=("ap", "oblique")),
    Site("wrist", "radius", (0.87, 0.925), _END, "wrist positive", HAND),
    Site("wrist", "ulna", (0.93, 0.97), _SMALL, "wrist positive"),
    Site("wrist", "scaphoid", (0.45, 0.6), ("transverse", "hairline"), "wrist positive"),
)
