"""Path lengths on the detector: bones, soft tissue, plaster and metal."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bonefx.phantoms import anatomy, film, mesh
from bonefx.phantoms.raster import thickness
from bonefx.phantoms.scenes import Scene
from bonefx.phantoms.tissue import Tube


class Canvas:
    """Projects the body onto the detector and adds up path lengths there."""

    def __init__(self, scene: Scene, size: int, left: bool):
        self.pitch = max(scene.field) / size
        self.shape = round(scene.field[1] / self.pitch), round(scene.field[0] / self.pitch)
        self._frame, self._centre, self._left = scene.frame, scene.centre, left

    def project(self, points: np.ndarray) -> np.ndarray:
        """Column, row (pixels) and depth (mm) of points in the body."""
        right, up, towards = np.moveaxis((points - self._centre) @ self._frame.T, -1, 0)
        if self._left:  # a mirrored body has the same path lengths
            right, towards = -right, -towards
        height, width = self.shape
        column = right / self.pitch + (width - 1) / 2
        return np.stack([column, (height - 1) / 2 - up / self.pitch, towards], axis=-1)

    def paths(
        self, vertices: np.ndarray, faces: np.ndarray, window: tuple[slice, slice] | None = None
    ) -> tuple[np.ndarray, tuple[slice, slice]]:
        """Path lengths in mm, and the part of the picture (the mesh's own box if None) that they are for."""
        at = self.project(vertices)
        if window is None:
            low = np.clip(np.floor(at[:, 1::-1].min(axis=0)).astype(int), 0, self.shape)
            high = np.clip(np.ceil(at[:, 1::-1].max(axis=0)).astype(int) + 1, low, self.shape)
            window = slice(low[0], high[0]), slice(low[1], high[1])
        shape = window[0].stop - window[0].start, window[1].stop - window[1].start
        if 0 in shape:
            return np.zeros(shape, np.float32), window
        part = thickness(at - [window[1].start, window[0].start, 0], faces, shape)
        return np.maximum(part, 0), window


def bone_path(
    canvas: Canvas,
    bone: anatomy.Bone,
    place: tuple[np.ndarray, np.ndarray],
    pieces: tuple[tuple[np.ndarray, np.ndarray], ...],
    strands: np.ndarray,
) -> np.ndarray:
    """Path in mm of compact bone; spongy bone counts by its density, less towards a long bone's middle.

    Args:
        canvas: where to.
        bone: the bone, for its axis and density.
        place: its rotation and place, which say where along the axis a pixel is.
        pieces: surfaces (n, 2, 3) in the body and faces of all its fragments.
        strands: noise of unit deviation, (h, w), for the spongy bone.
    """
    rotation, shift = place
    result = np.zeros(canvas.shape, np.float32)
    ends = np.stack([bone.origin, bone.origin + bone.length * bone.axes[2]]) @ rotation.T + shift
    start, end = canvas.project(ends)[:, :2]
    axis = end - start
    length = float(np.hypot(*axis))
    for surfaces, faces in pieces:
        whole, window = canvas.paths(surfaces[:, 0], faces)
        spongy = canvas.paths(surfaces[:, 1], faces, window)[0]
        spongy = np.minimum(spongy, whole)
        density = bone.spongy * (1 + 0.15 * strands[window])
        if bone.name not in anatomy.CARPALS and length * canvas.pitch > 0.35 * bone.length:
            row, column = np.mgrid[window].astype(np.float32)
            share = ((column - start[0]) * axis[0] + (row - start[1]) * axis[1]) / length**2
            to_end = np.clip(np.minimum(share, 1 - share) / 0.3, 0, 1)
            density = density * (1 - 0.75 * to_end * to_end * (3 - 2 * to_end))
        result[window] += whole - spongy + spongy * density
    return result


def soft_path(canvas: Canvas, tubes: Iterable[Tube], power: float = 5.0) -> np.ndarray:
    """Path in mm through overlapping tubes: a little more than the longest, the less the higher `power`."""
    total = np.zeros(canvas.shape, np.float32)
    for vertices, faces in tubes:
        part, window = canvas.paths(vertices, faces)
        total[window] += (part / 50) ** power
    return 50 * total ** (1 / power)


def plaster_path(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Path in mm through a plaster sleeve: a thick skin, bandage folds and a weave."""
    # A high power: where tubes overlap, the sleeve must not get thicker.
    outer = soft_path(canvas, scene.body.skin(beyond=rng.uniform(8, 11)), power=16)
    limb = soft_path(canvas, scene.body.skin(beyond=2), power=16)
    outer, limb = film.blur(outer, 0.6 / canvas.pitch), film.blur(limb, 1.0 / canvas.pitch)
    folds = 1 + 0.1 * film.texture(canvas.shape, 5 / canvas.pitch, rng, (1.0, 0.25), 4)
    weave = 1 + 0.03 * film.texture(canvas.shape, 0.8 / canvas.pitch, rng)
    return np.maximum(outer - limb, 0) * folds * weave


def metal_path(canvas: Canvas, scene: Scene, name: str, share: float, rng: np.random.Generator) -> np.ndarray:
    """Path in mm through a plate along the named bone, about a share of its length, and its screws."""
    bone = anatomy.bone(name)
    rotation, place = scene.places[name]
    points = (bone.surfaces[:, 0] - bone.origin) @ bone.axes.T
    reach = np.clip(rng.uniform(0.1, 0.17), 0, min(share, 1 - share) - 0.04)
    width = np.clip(0.03 * bone.length, 2, 6)
    facing = rng.uniform(0, 2 * np.pi)
    out = np.array([np.cos(facing), np.sin(facing), 0])
    aside = np.cross([0, 0, 1.0], out)
    metal = np.zeros(canvas.shape, np.float32)

    def add(line, across, radii, sides):
        vertices, faces = mesh.tube(np.array(line), np.tile(across, (len(line), 1)), np.array(radii), sides)
        vertices = (vertices @ bone.axes + bone.origin) @ rotation.T + place
        part, window = canvas.paths(vertices, faces)
        metal[window] += part

    middles, fronts, backs = [], [], []
    for hole in np.linspace(share - reach, share + reach, int(rng.integers(5, 8))) * bone.length:
        slab = points[np.abs(points[:, 2] - hole) < 0.015 * bone.length]
        middle = np.append(slab[:, :2].mean(axis=0), hole)
        heights = (slab - middle) @ out
        middles.append(middle)
        fronts.append(heights.max())
        backs.append(heights.min())
    # A plate bends less than the bone under it.
    lifts = 0.5 * (np.array(fronts) + max(fronts)) + 1.2
    heads = np.array(middles) + lifts[:, None] * out
    add(heads, aside, [(width, 1.4)] * len(heads), 40)
    for middle, back, head in zip(middles, backs, heads, strict=True):
        if rng.random() < 0.85:
            tip = middle + out * (back + rng.uniform(-2, 1))
            shank = head + (tip - head) * np.linspace(0, 1, 24)[:, None]
            thread = 0.27 * width * (1 + 0.12 * (np.arange(24) % 2))
            add(shank, [0, 0, 1.0], np.stack([thread, thread], axis=1), 12)
    return metal
