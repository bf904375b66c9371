"""One phantom: a scene is drawn, broken where asked, and exposed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bonefx.labels import CLASSES
from bonefx.phantoms import anatomy, film, scenes
from bonefx.phantoms.fractures import Broken, break_bone
from bonefx.phantoms.projection import Canvas, bone_path, metal_path, plaster_path, soft_path
from bonefx.phantoms.sites import FRACTURE_KINDS, SITES, Site


@dataclass(frozen=True)
class Lesion:
    """A fracture and where it appears.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the image.
        class_id: index into `bonefx.labels.CLASSES`.
        bone: the broken bone.
        kind: one of `bonefx.phantoms.FRACTURE_KINDS`.
        displaced: whether the fragments were moved.
        visibility: how strongly the fracture changed the picture, 0 to 1: c / (c + 10), where c is the
            contrast-to-noise ratio that 1 % of the box exceed.
        difficulty: "easy", "medium" or "hard", from visibility and displacement.
    """

    box: tuple[float, float, float, float]
    class_id: int
    bone: str
    kind: str
    displaced: bool
    visibility: float
    difficulty: str


@dataclass(frozen=True, eq=False)
class Phantom:
    """A rendered radiograph.

    Attributes:
        image: uint16 (h, w), bone bright.
        lesions: its fractures; empty for an intact arm.
        region: one of `REGIONS`.
        view: one of `VIEWS`.
        side: "L" or "R", as its marker says.
        pitch: millimetres a pixel.
    """

    image: np.ndarray
    lesions: tuple[Lesion, ...]
    region: str
    view: str
    side: str
    pitch: float

    @property
    def grey(self) -> np.ndarray:
        """The image as uint8 (h, w)."""
        return (self.image >> 8).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class _Break:
    site: Site
    kind: str
    displaced: bool
    broken: Broken


def _outline_box(canvas: Canvas, broken: Broken) -> np.ndarray:
    """The box around the fracture's edges, with the margin that the data set's annotators left."""
    at = canvas.project(broken.outline)[:, :2]
    low, high = at.min(axis=0), at.max(axis=0)
    margin = 0.12 * (high - low).max() + 0.012 * max(canvas.shape)
    least = 0.05 * max(canvas.shape)
    grow = np.maximum(margin, (least - (high - low)) / 2)
    height, width = canvas.shape
    return np.clip(np.concatenate([low - grow, high + grow]), 0, [width, height, width, height])


def _choose(region: str, view: str, fracture: str, bone: str | None, rng) -> tuple[Site, str]:
    sites = [s for s in SITES if s.region == region and bone in (None, s.bone)]
    if bone is None:
        sites = [s for s in sites if view in s.views]
    if fracture != "random":
        sites = [s for s in sites if fracture in s.kinds]
    if not sites:
        raise ValueError(f"No {fracture} fracture of {bone or 'any bone'} is drawn in the region {region!r}.")
    site = sites[rng.integers(len(sites))]
    return site, fracture if fracture != "random" else str(rng.choice(site.kinds))


def _chosen(
    region: str, view: str, fracture: str, bone: str | None, rng: np.random.Generator
) -> Iterator[tuple[Site, str]]:
    """Where the arm breaks, and how; of a forearm now and then both bones."""
    first = _choose(region, view, fracture, bone, rng)
    yield first
    if region == "forearm" and bone is None and rng.random() < 0.3:
        other = "ulna" if first[0].bone == "radius" else "radius"
        yield _choose(region, view, fracture, other, rng)


def _bones(
    canvas: Canvas, scene: scenes.Scene, breaks: list[_Break], rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Attenuation by all bones, and for each broken one what the fracture changed in it; each (h, w)."""
    ends = [scenes.point(scene.places, scene.bones[0], share) for share in (0.0, 1.0)]
    start, end = canvas.project(np.stack(ends))[:, :2]
    x, y = (end - start) / np.hypot(*(end - start))
    strands = 0.8 * film.texture(canvas.shape, 0.4 / canvas.pitch, rng, (x, y), 2.5)
    strands += 0.5 * film.texture(canvas.shape, 0.35 / canvas.pitch, rng, (-y, x), 1.8)
    strands += 0.4 * film.texture(canvas.shape, 3 / canvas.pitch, rng)
    broken = {one.site.bone: one.broken for one in breaks}
    total, changes = np.zeros(canvas.shape, np.float32), {}
    for name in scene.bones:
        bone, place = anatomy.bone(name), scene.places[name]
        surfaces = bone.surfaces @ place[0].T + place[1]
        for one in breaks:
            if name in one.site.follows:
                surfaces = one.broken.motion(surfaces)
        path = bone_path(canvas, bone, place, ((surfaces, bone.faces),), strands)
        if name in broken:
            intact, path = path, bone_path(canvas, bone, place, broken[name].pieces, strands)
            changes[name] = film.BONE * (path - intact)
        total += path
    mottle = film.texture(canvas.shape, 1.5 / canvas.pitch, rng)
    return film.BONE * total * (1 + 0.02 * mottle), changes


def _soft_tissue(canvas: Canvas, scene: scenes.Scene, rng: np.random.Generator) -> np.ndarray:
    """Attenuation by fat, muscle and the lung's lack of them, (h, w)."""
    skin, muscle = soft_path(canvas, scene.body.skin()), soft_path(canvas, scene.body.muscle())
    skin = film.blur(skin, 0.8 / canvas.pitch)
    muscle = np.minimum(film.blur(muscle, 1.6 / canvas.pitch), skin)
    for vertices, faces in scene.air:
        part, window = canvas.paths(vertices, faces)
        muscle[window] = np.maximum(muscle[window] - 0.75 * part, 0.3 * muscle[window])
    fibres = film.texture(canvas.shape, 5 / canvas.pitch, rng)
    muscle *= 1 + 0.008 * fibres
    return film.FAT * np.maximum(skin - muscle, 0) + film.MUSCLE * muscle


def _lesion(one: _Break, box: np.ndarray, change: np.ndarray, noise: float, pitch: float) -> Lesion:
    """Grade a fracture by what it changed inside its box (attenuation, (h, w)) and the noise there."""
    # Texture hides as much as a hundredth of attenuation does.
    ratio = float(np.percentile(np.abs(film.blur(change, 0.7)), 99) / (noise + 0.01))
    visibility = ratio / (ratio + 10)
    moved = one.broken.displacement / pitch
    x1, y1, x2, y2 = (round(float(edge), 1) for edge in box)
    clear = "easy" if moved >= 4 and visibility >= 0.5 else "medium"
    difficulty = "hard" if visibility < 0.3 else clear
    return Lesion(
        (x1, y1, x2, y2),
        CLASSES.index(one.site.label),
        one.site.bone,
        one.kind,
        one.displaced,
        round(visibility, 3),
        difficulty,
    )


def _check(region: str, view: str, size: int, fracture: str | None, side: str | None) -> None:
    if region not in scenes.REGIONS or view not in scenes.VIEWS:
        raise ValueError(f"The region is one of {scenes.REGIONS} and the view one of {tuple(scenes.VIEWS)}.")
    if fracture not in (None, "random", *FRACTURE_KINDS) or side not in (None, "L", "R"):
        raise ValueError(
            f"A fracture is None, 'random' or one of {FRACTURE_KINDS}; a side is None, 'L' or 'R'."
        )
    if size < 128:
        raise ValueError(f"A size of {size} pixels leaves no room for the marker; take 128 or more.")


def _break(
    scene: scenes.Scene, site: Site, kind: str, displaced: bool | None, rng: np.random.Generator
) -> _Break:
    """Break a bone of the scene; `displaced` as of `render`."""
    shifts = bool(rng.random() < 0.6 if displaced is None else displaced)
    bone, place = anatomy.bone(site.bone), scene.places[site.bone]
    broken = break_bone(bone, place, site, kind, shifts, scene.frame[2], rng)
    return _Break(site, kind, shifts and kind != "hairline", broken)


def _metal(
    canvas: Canvas, scene: scenes.Scene, region: str, bone: str | None, rng: np.random.Generator
) -> np.ndarray:
    """Attenuation by a plate with screws, (h, w), on the bone or one of the region's."""
    site = next(s for s in SITES if s.region == region and bone in (None, s.bone))
    return film.METAL * metal_path(canvas, scene, site.bone, float(np.mean(site.between)), rng)


def _lesions(
    canvas: Canvas,
    breaks: list[_Break],
    changes: dict[str, np.ndarray],
    attenuation: np.ndarray,
    photons: float,
    field: np.ndarray,
) -> Iterator[tuple[Lesion, tuple[slice, slice]]]:
    """The fractures that are in the field, each with the pixels of its box."""
    for each, box, window in _seen(canvas, breaks, field):
        noise = np.sqrt(np.exp(np.median(attenuation[window])) / photons)
        yield _lesion(each, box, changes[each.site.bone][window], float(noise), canvas.pitch), window


def _seen(
    canvas: Canvas, breaks: list[_Break], field: np.ndarray
) -> Iterator[tuple[_Break, np.ndarray, tuple[slice, slice]]]:
    """The fractures that are not collimated away, each with its box and the pixels of that."""
    for each in breaks:
        x1, y1, x2, y2 = box = _outline_box(canvas, each.broken)
        window = slice(int(y1), int(y2) + 1), slice(int(x1), int(x2) + 1)
        if min(x2 - x1, y2 - y1) >= 3 and field[window].mean() >= 0.5:
            yield each, box, window


def render(
    region: str,
    view: str = "ap",
    seed: int = 0,
    size: int = 512,
    fracture: str | None = None,
    *,
    bone: str | None = None,
    displaced: bool | None = None,
    side: str | None = None,
    cast: bool = False,
    plate: bool = False,
) -> Phantom:
    """Render a phantom radiograph.

    The same arguments give the same bytes again on one machine with the same package versions.

    Args:
        region: one of `REGIONS`.
        view: one of `VIEWS`.
        seed: of everything that is left to chance.
        size: the long side in pixels, at least 128.
        fracture: None, one of `FRACTURE_KINDS`, or "random".
        bone: the bone that breaks; None for any bone of the region.
        displaced: whether the fragments shift; None leaves it to chance. Hairline fractures never do.
        side: "L" or "R"; None leaves it to chance.
        cast: put the arm into a plaster cast.
        plate: fix a plate with screws to a long bone of the region.

    Raises:
        ValueError: an unknown region, view, kind or side, too small a size, or a bone that does not break so.
    """
    _check(region, view, size, fracture, side)
    # Anatomy, fracture and film draw from streams of their own: the same arm can be shown with and without.
    key = zlib.crc32(f"{region} {view}".encode())
    rng, break_rng, film_rng = (np.random.default_rng([seed, key, k]) for k in range(3))
    side = side or str(rng.choice(["L", "R"]))
    chosen = [] if fracture is None else list(_chosen(region, view, fracture, bone, break_rng))
    scene = scenes.build(region, view, chosen[0][0] if chosen else None, rng)
    canvas = Canvas(scene, size, side == "L")
    breaks = [_break(scene, site, kind, displaced, break_rng) for site, kind in chosen]
    bony, changes = _bones(canvas, scene, breaks, film_rng)
    attenuation = bony + _soft_tissue(canvas, scene, film_rng)
    if cast:
        attenuation += film.PLASTER * plaster_path(canvas, scene, film_rng)
    if plate:
        attenuation += _metal(canvas, scene, region, bone, film_rng)
    field, inside = film.collimation(canvas.shape, film_rng)
    signal, photons = film.expose(attenuation, canvas.pitch, 0.02 + 0.98 * field, film_rng)
    value = film.display(np.where(field > 0.5, signal, 0), canvas.pitch, film_rng)
    value = film.shutter(value, field, inside, film_rng)
    found = list(_lesions(canvas, breaks, changes, attenuation, photons, field))
    taken = attenuation + 12 * (field < 0.9)
    for _, window in found:
        taken[window] += 20
    value = film.marker(value, side, taken, film_rng)
    image = np.round(np.clip(value, 0, 1) * 65535).astype(np.uint16)
    return Phantom(image, tuple(lesion for lesion, _ in found), region, view, side, canvas.pitch)
