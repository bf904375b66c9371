"""Fractures: closed meshes are cut along a rough surface and the fragments moved.

A cut is a height over the bone's cross-section. Moving every vertex beyond it back onto it, along the bone's
axis, leaves the fragment closed: what was beyond folds into the fracture surface and encloses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bonefx.phantoms import mesh
from bonefx.phantoms.anatomy import Bone
from bonefx.phantoms.sites import SHAFT, Site


@dataclass(frozen=True, eq=False)
class Motion:
    """A rigid motion of points in millimetres: turned about `pivot`, then shifted."""

    turn: np.ndarray
    pivot: np.ndarray
    shift: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return (points - self.pivot) @ self.turn.T + self.pivot + self.shift


@dataclass(frozen=True, eq=False)
class Broken:
    """What a fracture leaves.

    Attributes:
        pieces: surfaces (n, 2, 3) and faces of each fragment, in the body's millimetres.
        motion: how the displaced fragment, and what follows it, moved.
        outline: float (k, 3), the fracture's edges on the bone's surface in every fragment, as moved.
        displacement: the farthest that a point of the cut moved, in mm.
    """

    pieces: tuple[tuple[np.ndarray, np.ndarray], ...]
    motion: Motion
    outline: np.ndarray
    displacement: float


def _rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _roughness(radius: float, height: float, rng: np.random.Generator) -> Callable:
    """A random rough surface: waves from the bone's width down to an eighth of it."""
    lengths = radius * np.array([2.0, 1.2, 0.7, 0.45, 0.3, 0.25])
    direction, phase = rng.uniform(0, 2 * np.pi, (2, len(lengths)))
    size = height * np.array([0.8, 0.7, 0.5, 0.4, 0.3, 0.25])
    to_u, to_v = 2 * np.pi / lengths * np.cos(direction), 2 * np.pi / lengths * np.sin(direction)

    def surface(u, v):
        total = np.zeros(np.shape(u))
        for a, b, start, high in zip(to_u, to_v, phase, size, strict=True):
            total += high * np.sin(a * u + b * v + start)
        return total

    return surface


def _choose_angle(across: float, rng: np.random.Generator) -> float:
    """An angle about the axis, usually near `across` or opposite to it."""
    if rng.random() < 0.2:
        return rng.uniform(0, 2 * np.pi)
    return across + rng.choice([0.0, np.pi]) + rng.normal(0, 0.35)


def _cuts(
    kind: str, radius: float, gap: float, steep: float, across: float, rng: np.random.Generator
) -> list[Callable]:
    """Heights of the fracture surfaces from proximal to distal, as functions of u and v about the axis.

    `steep` is 1 in a shaft; the wide ends have no room for such slopes.
    """
    facing = _choose_angle(across, rng)
    rough = _roughness(radius, rng.uniform(0.03, 0.07) * radius + 0.1, rng)
    slope = {"oblique": rng.uniform(0.6, 1.5), "comminuted": rng.uniform(0.3, 0.9)}.get(
        kind, rng.uniform(0, 0.3)
    )
    slope *= steep
    if kind == "spiral":
        pitch = rng.uniform(4, 6) * radius * rng.choice([-1, 1])

        def first(u, v):
            angle = np.mod(np.arctan2(v, u) - facing, 2 * np.pi) / (2 * np.pi) - 0.5
            return pitch * angle + rough(u, v)
    else:

        def first(u, v):
            return slope * (u * np.cos(facing) + v * np.sin(facing)) + rough(u, v)

    if kind == "comminuted":
        rise, other = steep * rng.uniform(0.9, 1.8), _roughness(radius, 0.06 * radius, rng)

        def wedge(u, v):
            outwards = u * np.cos(facing) + v * np.sin(facing)
            return first(u, v) + np.maximum(0, rise * (outwards + 0.5 * radius) + other(u, v))

        return [first, wedge]
    if kind == "hairline":
        open_side = rng.uniform(0, 2 * np.pi)
        reach = rng.uniform(-0.6, 0.3) * radius

        def closing(u, v):
            deep = (u * np.cos(open_side) + v * np.sin(open_side) - reach) / radius
            return first(u, v) + gap * np.clip(1.5 * deep, 0, 1)

        return [first, closing]
    return [first, lambda u, v: first(u, v) + gap]


@dataclass(frozen=True, eq=False)
class _Cuts:
    """The surfaces that a bone is cut along, in the frame of its axes about the fracture's middle.

    Attributes:
        surfaces: one or two heights over the cross-section, proximal first.
        radius: of the bone there, mm.
        finest: the longest edge of a triangle at a cut, mm.
    """

    surfaces: list[Callable]
    radius: float
    finest: float

    def heights(self, at: np.ndarray) -> np.ndarray:
        """How far points lie beyond each cut."""
        return np.stack([at[..., 2] - cut(at[..., 0], at[..., 1]) for cut in self.surfaces])

    def near(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Which edges of triangles are too long for a cut that they touch."""
        result = np.zeros(len(start), bool)
        step = start - end
        long = np.maximum.reduce(np.einsum("ijk,ijk->ij", step, step), axis=1) > self.finest**2
        close = np.flatnonzero(long & (np.abs(start[:, 0, 2]) < 6 * self.radius))
        below, above = self.heights(start[close]), self.heights(end[close])
        touched = (below * above < 0) | (np.minimum(np.abs(below), np.abs(above)) < 0.8)
        result[close] = touched.any(axis=(0, 2))
        return result


def _between(points: np.ndarray, low: Callable | None, high: Callable | None) -> np.ndarray:
    """The fragment between two cuts: what lies beyond is moved onto them."""
    piece = points.copy()
    if high is not None:
        piece[..., 2] = np.minimum(piece[..., 2], high(piece[..., 0], piece[..., 1]))
    if low is not None:
        piece[..., 2] = np.maximum(piece[..., 2], low(piece[..., 0], piece[..., 1]))
    return piece


def _loose_fragments(
    middle: np.ndarray, radius: float, shift: np.ndarray, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """The two halves of what lies between the cuts of a comminuted fracture, each gone its own way."""
    split = _roughness(radius, 0.08 * radius, rng)
    across = rng.uniform(-0.2, 0.2) * radius
    for side in (np.minimum, np.maximum):
        part = middle.copy()
        part[..., 1] = side(part[..., 1], across + split(part[..., 0], part[..., 2]))
        loose = Motion(
            _rotation(rng.normal(size=3), rng.uniform(0.03, 0.25)),
            np.zeros(3),
            0.5 * shift + rng.normal(size=3) * radius * rng.uniform(0.06, 0.2),
        )
        yield loose(part)


def break_bone(
    bone: Bone,
    placed: tuple[np.ndarray, np.ndarray],
    site: Site,
    kind: str,
    displaced: bool,
    towards: np.ndarray,
    rng: np.random.Generator,
) -> Broken:
    """Break a posed bone at a site.

    Args:
        bone: from `anatomy.bone`.
        placed: its rotation and place, from `anatomy.pose`.
        site: one of `SITES`, of this bone.
        kind: one of `FRACTURE_KINDS`; a hairline fracture is never displaced.
        displaced: whether the fragments shift and turn.
        towards: the direction of the rays in the body. A radiograph is chosen to show the fracture: most cuts
            slope and shift across the rays and not along them.
        rng: source of every choice.
    """
    points = (bone.surfaces - bone.origin) @ bone.axes.T
    centre, radius = _middle(points[:, 0], bone.length, site, rng)
    gap = rng.uniform(0.45, 0.8) if kind == "hairline" else rng.uniform(0.6, 1.5)
    gap *= np.clip(radius / 8, 0.6, 1.3)
    rays = bone.axes @ (placed[0].T @ towards)
    across = float(np.arctan2(rays[0], -rays[1]))
    steep = 1.0 if site.kinds == SHAFT else 0.5
    cuts = _Cuts(_cuts(kind, radius, gap, steep, across, rng), radius, max(0.45, radius / 16))
    points, faces = mesh.refine(points - centre, bone.faces, cuts.near)
    rims = np.abs(cuts.heights(points[:, 0])) < 0.8

    motion = _motion(kind, displaced, radius, site, bone.length - centre[2], across, rng)
    still = Motion(np.eye(3), np.zeros(3), np.zeros(3))
    first, last = cuts.surfaces[0], cuts.surfaces[-1]
    proximal, distal = _between(points, None, first), _between(points, last, None)
    moves = (motion, still) if site.proximal_moves else (still, motion)
    pieces = [moves[0](proximal), moves[1](distal)]
    edges = [pieces[0][rims[0], 0], pieces[1][rims[-1], 0]]
    if kind == "comminuted":
        loose = list(_loose_fragments(_between(points, first, last), radius, motion.shift, rng))
        pieces += loose
        edges += [piece[rims.any(axis=0), 0] for piece in loose]

    rotation, place = placed
    back = bone.axes @ rotation.T

    def to_body(at):
        return (at + centre) @ back + bone.origin @ rotation.T + place

    pivot = to_body(np.zeros(3)) + motion.pivot @ back
    in_body = Motion(back.T @ motion.turn @ back, pivot, motion.shift @ back)
    ring = proximal[rims[0], 0]
    farthest = float(np.linalg.norm(motion(ring) - ring, axis=1).max())
    fragments = tuple((to_body(piece), faces) for piece in pieces)
    return Broken(fragments, in_body, to_body(np.concatenate(edges)), farthest)


def _middle(
    outer: np.ndarray, length: float, site: Site, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Where on its axes a bone of this outer surface breaks, and how thick it is there, in mm."""
    along = rng.uniform(*site.between) * length
    slab = outer[np.abs(outer[:, 2] - along) < max(2.5, 0.02 * length)]
    centre = np.array([*slab[:, :2].mean(axis=0), along])
    return centre, float(np.linalg.norm(slab - centre, axis=1).mean())


def _motion(
    kind: str,
    displaced: bool,
    radius: float,
    site: Site,
    beyond: float,
    across: float,
    rng: np.random.Generator,
) -> Motion:
    """How the loose fragment lies; the axis frame's origin is the middle of the cut."""
    aside = _choose_angle(across, rng)
    sideways = np.array([np.cos(aside), np.sin(aside), 0.0])
    hinge = np.array([-np.sin(aside), np.cos(aside), 0.0])
    if kind == "hairline":
        return Motion(np.eye(3), np.zeros(3), np.zeros(3))
    if not displaced:
        turn = _rotation(hinge, rng.uniform(-0.03, 0.03))
        return Motion(turn, np.zeros(3), sideways * rng.uniform(0, 0.08) * radius)
    angle = rng.uniform(0.06, 0.32)
    if site.proximal_moves:  # muscle pulls the small end piece away
        shift = sideways * rng.uniform(0.0, 0.3) * radius
        shift[2] = -rng.uniform(0.15, 0.55) * radius
        return Motion(_rotation(hinge, angle), np.zeros(3), shift)
    if site.follows:
        shift = sideways * rng.uniform(0.2, 0.8) * radius
        shift[2] = rng.uniform(-0.15, 0.15) * radius
        return Motion(_rotation(hinge, angle), np.zeros(3), shift)
    # Nothing follows: the far joint stays, and the fragment turns about it.
    reach = rng.uniform(0.3, 1.3) * radius
    pivot = np.array([0.0, 0.0, beyond])
    shift = np.array([0.0, 0.0, rng.uniform(-0.3, 0.1) * radius])
    return Motion(_rotation(hinge, min(0.3, reach / beyond)), pivot, shift)
