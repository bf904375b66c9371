"""Soft tissue: tubes around the bones, with the usual widths in millimetres (half width, half depth)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bonefx.phantoms import mesh

Tube = tuple[np.ndarray, np.ndarray]
Locator = Callable[[str, float], np.ndarray]
"""Gives the point at a share of a bone's length, 0 proximal to 1 distal, in the body."""


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector at length 1."""
    return vector / np.linalg.norm(vector)


class Tissue:
    """The soft tissue of one body: sections along lines, each the base of a tube.

    `build` scales every width: a slim arm or a stout one.
    """

    def __init__(self, build: float):
        self.build = build
        self._lines: list[tuple[np.ndarray, np.ndarray, np.ndarray, float]] = []

    def add(self, stations: list, across: np.ndarray, radii: list, fat: float) -> None:
        """A line of elliptic sections: their middles, the direction of the first radius, radii, fat in mm."""
        across = np.broadcast_to(across, (len(stations), 3))
        self._lines.append((np.array(stations), across, self.build * np.array(radii, np.float64), fat))

    def skin(self, beyond: float = 0.0) -> list[Tube]:
        """Tubes along the skin, or so many millimetres outside of it."""
        return [mesh.tube(stations, across, size + beyond) for stations, across, size, _ in self._lines]

    def muscle(self) -> list[Tube]:
        """Tubes along the inner side of the fat."""
        return [
            mesh.tube(stations, across, np.maximum(size - fat, 0.4 * size))
            for stations, across, size, fat in self._lines
        ]


def hand(tissue: Tissue, at: Locator) -> None:
    """Palm, fingers and thumb."""
    across = unit(at("5mc", 0.5) - at("2mc", 0.5))

    def row(share):
        return np.mean([at(f"{k}mc", share) for k in "2345"], axis=0)

    wrist = 0.5 * (at("scaphoid", 0.0) + at("triquetrum", 0.0))
    tissue.add(
        [wrist, row(0.0), row(0.5), row(0.95), row(0.95) + 0.22 * (row(0.95) - row(0.3))],
        across,
        [(28, 19), (33, 19), (39, 17), (42, 14), (38, 9)],
        2.5,
    )
    for k in "2345":
        prox, mid, dist = f"{k}proxph", f"{k}midph", f"{k}distph"
        size = 0.88 if k == "5" else 1.0
        stations = [at(f"{k}mc", 0.85), at(prox, 0.1), at(prox, 0.55), at(mid, 0.0), at(mid, 0.5)]
        stations += [at(dist, 0.0), at(dist, 0.45), at(dist, 0.88)]
        wide = [11, 11, 10.2, 10.0, 9.2, 8.8, 8.4, 7.2]
        tissue.add(stations, across, [(size * w, size * w * 0.95) for w in wide], 2.0)
    thumb = [at("1mc", s) for s in (0.0, 0.5, 0.95)] + [at("thumbproxph", s) for s in (0.4, 0.95)]
    thumb += [at("thumbdistph", s) for s in (0.4, 0.85)]
    tissue.add(
        thumb, across, [(17, 17), (16, 15), (13, 13), (11.5, 11), (11, 10.5), (10.5, 9.5), (8.5, 7)], 2.5
    )


def forearm(tissue: Tissue, at: Locator, elbow_across: np.ndarray) -> None:
    """From the elbow, wide across the joint, to the wrist, wide across the palm."""
    wrist_across = unit(at("5mc", 0.0) - at("2mc", 0.0))
    shares = np.array([0.0, 0.12, 0.28, 0.48, 0.68, 0.86, 1.0])
    start = 0.5 * (at("radius", 0.0) + at("ulna", 0.08))
    end = 0.5 * (at("radius", 1.0) + at("ulna", 1.0))
    stations = [start + s * (end - start) for s in shares]
    stations = [
        0.5 * (p + 0.5 * (at("radius", s) + at("ulna", 0.06 + 0.94 * s)))
        for p, s in zip(stations, shares, strict=True)
    ]
    stations.append(0.5 * (at("scaphoid", 0.3) + at("triquetrum", 0.3)))
    shares = np.append(shares, 1.05)
    wrist_across = wrist_across * np.sign(wrist_across @ elbow_across or 1.0)
    across = elbow_across * (1 - shares[:, None]) + wrist_across * shares[:, None] + 1e-6
    radii = [(43, 37), (46, 41), (44, 40), (38, 34), (32, 26), (29, 21), (29, 20), (29, 19)]
    tissue.add(stations, across, radii, 3.5)


def elbow_fold(tissue: Tissue, at: Locator, across: np.ndarray) -> None:
    """Fills the crook of a bent elbow."""
    joint = at("humerus", 0.97)
    inwards = unit(at("humerus", 0.6) - joint) + unit(at("ulna", 0.4) - joint)
    tissue.add([joint + k * inwards for k in (10.0, 22.0)], across, [(40, 42), (38, 38)], 4.0)


def arm(tissue: Tissue, at: Locator, across: np.ndarray) -> None:
    """From the shoulder to the elbow."""
    stations = [at("humerus", s) for s in (0.02, 0.15, 0.35, 0.6, 0.8, 0.93, 1.0)]
    radii = [(44, 48), (50, 54), (49, 54), (44, 47), (40, 41), (42, 38), (40, 34)]
    tissue.add(stations, across, radii, 5.0)


def trunk(tissue: Tissue, at: Locator) -> tuple[Tube, ...]:
    """Chest, shoulder and neck, right half; returns the lung."""
    left = np.array([1.0, 0, 0])
    heights = (1100, 1200, 1300, 1380, 1440, 1480)
    chest = [np.array([0, 95.0, z]) for z in heights]
    tissue.add(chest, left, [(150, 112), (156, 115), (160, 112), (152, 100), (126, 80), (80, 60)], 9.0)
    neck = [np.array([0, 130.0, z]) for z in (1470, 1520, 1580, 1640)]
    tissue.add(neck, left, [(75, 62), (60, 58), (56, 58), (56, 60)], 5.0)
    shoulder = [np.array([-20, 115.0, 1480]), np.array([-80, 108, 1478]), at("scapula", 0.1)]
    shoulder = [*shoulder[:2], at("humerus", 0.0) + np.array([25, 5, -12]), at("humerus", 0.12)]
    tissue.add(shoulder, np.array([0, 1.0, 0]), [(60, 55), (58, 46), (54, 42), (52, 48)], 6.0)
    lung = [(-75, 98, 1150), (-76, 98, 1250), (-72, 98, 1340), (-64, 98, 1410), (-52, 98, 1462)]
    size = np.array([(58, 84), (57, 82), (53, 76), (44, 62), (24, 36)], np.float64)
    return (mesh.tube(np.array(lung, np.float64), np.tile(left, (5, 1)), size),)
