"""Fractures: closed meshes are cut along a rough surface and the fragments moved.

A cut is a height over the bone's cross-section. Moving every vertex beyond it back onto it, along the bone's
axis, leaves the fragment closed: what was beyond folds into the fracture surface and encloses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
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
    axes = bone.axes
    points = (bone.surfaces - bone.origin) @ axes.T
    outer = points[:, 0]
    middle = rng.uniform(*site.between) * bone.length
    slab = outer[np.abs(outer[:, 2] - middle) < max(2.5, 0.02 * bone.length)]
    centre = np.array([*slab[:, :2].mean(axis=0), middle])
    radius = float(np.linalg.norm(slab - centre, axis=1).mean())
    points = points - centre
    gap = rng.uniform(0.45, 0.8) if kind == "hairline" else rng.uniform(0.6, 1.5)
    gap *= np.clip(radius / 8, 0.6, 1.3)
    rays = axes @ (placed[0].T @ towards)
    across = float(np.arctan2(rays[0], -rays[1]))
    steep = 1.0 if site.kinds == SHAFT else 0.5
    cuts = _cuts(kind, radius, gap, steep, across, rng)

    finest = max(0.45, radius / 16)

    def heights(at):
        return np.stack([at[..., 2] - cut(at[..., 0], at[..., 1]) for cut in cuts])

    def near(start, end):
        result = np.zeros(len(start), bool)
        step = start - end
        long = np.maximum.reduce(np.einsum("ijk,ijk->ij", step, step), axis=1) > finest**2
        close = np.flatnonzero(long & (np.abs(start[:, 0, 2]) < 6 * radius))
        below, above = heights(start[close]), heights(end[close])
        touched = (below * above < 0) | (np.minimum(np.abs(below), np.abs(above)) < 0.8)
        result[close] = touched.any(axis=(0, 2))
        return result

    points, faces = mesh.refine(points, bone.faces, near)
    rims = np.abs(heights(points[:, 0])) < 0.8

    def kept(low: Callable | None, high: Callable | None) -> np.ndarray:
        piece = points.copy()
        if high is not None:
            piece[..., 2] = np.minimum(piece[..., 2], high(piece[..., 0], piece[..., 1]))
        if low is not None:
            piece[..., 2] = np.maximum(piece[..., 2], low(piece[..., 0], piece[..., 1]))
        return piece

    motion = _motion(kind, displaced, radius, site, bone.length - middle, across, rng)
    still = Motion(np.eye(3), np.zeros(3), np.zeros(3))
    proximal, distal = kept(None, cuts[0]), kept(cuts[-1], None)
    moves = (motion, still) if site.proximal_moves else (still, motion)
    pieces = [moves[0](proximal), moves[1](distal)]
    edges = [moves[0](proximal[rims[0], 0]), moves[1](distal[rims[-1], 0])]
    if kind == "comminuted":
        between = kept(cuts[0], cuts[1])
        split = _roughness(radius, 0.08 * radius, rng)
        across = rng.uniform(-0.2, 0.2) * radius
        for side in (np.minimum, np.maximum):
            part = between.copy()
            part[..., 1] = side(part[..., 1], across + split(part[..., 0], part[..., 2]))
            loose = Motion(
                _rotation(rng.normal(size=3), rng.uniform(0.03, 0.25)),
                np.zeros(3),
                0.5 * motion.shift + rng.normal(size=3) * radius * rng.uniform(0.06, 0.2),
            )
            pieces.append(loose(part))
            edges.append(loose(part[rims.any(axis=0), 0]))

    rotation, place = placed
    back = axes @ rotation.T

    def to_body(at):
        return (at + centre) @ back + bone.origin @ rotation.T + place

    centre_in_body = to_body(np.zeros(3))
    in_body = Motion(back.T @ motion.turn @ back, centre_in_body + motion.pivot @ back, motion.shift @ back)
    ring = proximal[rims[0], 0]
    farthest = float(np.linalg.norm(motion(ring) - ring, axis=1).max())
    return Broken(
        tuple((to_body(piece), faces) for piece in pieces),
        in_body,
        to_body(np.concatenate(edges)),
        farthest,
    )


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
