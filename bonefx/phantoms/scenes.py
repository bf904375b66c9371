"""What lies in the beam: pose, direction of view, field and soft tissue of each region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bonefx.phantoms import anatomy, tissue
from bonefx.phantoms.sites import Site
from bonefx.phantoms.tissue import Locator, Tissue, Tube, unit

REGIONS = ("elbow", "fingers", "forearm", "humerus", "shoulder", "wrist")
VIEWS = {"ap": 0.0, "oblique": 45.0, "lateral": 90.0}


@dataclass(frozen=True, eq=False)
class Scene:
    """A posed arm and how it is looked at.

    Attributes:
        places: rotation and place of every bone.
        bones: the bones that are drawn.
        frame: float (3, 3), rows: to the right, up, and towards the viewer.
        centre: float (3,), what the field is centred on.
        field: width and height of the field in mm.
        body: the soft tissue.
        air: closed tubes around the lung, where it is in the beam.
    """

    places: dict[str, tuple[np.ndarray, np.ndarray]]
    bones: tuple[str, ...]
    frame: np.ndarray
    centre: np.ndarray
    field: tuple[float, float]
    body: Tissue
    air: tuple[Tube, ...] = ()


def point(places: dict, name: str, share: float) -> np.ndarray:
    """The point at a share of a bone's length, 0 proximal to 1 distal, in the body."""
    one = anatomy.bone(name)
    rotation, place = places[name]
    return rotation @ (one.origin + share * one.length * one.axes[2]) + place


def _frame(right: np.ndarray, up: np.ndarray, turn: float, rng: np.random.Generator) -> np.ndarray:
    """The directions of view, turned about `up` (degrees) and some degrees off, as positioning is."""
    up = unit(up)
    right = unit(right - (right @ up) * up)
    towards = np.cross(right, up)
    angle = np.radians(turn + rng.normal(0, 4))
    right, towards = (
        np.cos(angle) * right + np.sin(angle) * towards,
        np.cos(angle) * towards - np.sin(angle) * right,
    )
    tilt = np.radians(rng.normal(0, 2.5))
    up, towards = np.cos(tilt) * up + np.sin(tilt) * towards, np.cos(tilt) * towards - np.sin(tilt) * up
    return np.stack([right, up, towards])


def _spin(frame: np.ndarray, degrees: float) -> np.ndarray:
    """Turn the picture in its own plane."""
    angle = np.radians(degrees)
    right, up, towards = frame
    return np.stack(
        [np.cos(angle) * right + np.sin(angle) * up, np.cos(angle) * up - np.sin(angle) * right, towards]
    )


@dataclass(frozen=True, eq=False)
class _Shot:
    """How the posed arm is looked at: the fields of `Scene`, before small random shifts."""

    frame: np.ndarray
    centre: np.ndarray
    field: tuple[float, float]
    bones: tuple[str, ...]
    spin: float = 0.0
    air: tuple[Tube, ...] = ()


_LEFT = np.array([1.0, 0.0, 0.0])  # of the body; also across the elbow
_BEND = {"2": "pm2_flexion_r", "3": "pm3_flexion_r", "4": "pm4_flexion", "5": "pm5_flexion_r"}
_SPREAD = {"2": 0.1, "3": 0.0, "4": -0.08, "5": -0.18}


def _elbow_bent(region: str, view: str) -> bool:
    return region in ("elbow", "forearm") and view == "lateral"


def _joints(region: str, view: str, digit: str, rng: np.random.Generator) -> dict[str, float]:
    """Joint angles in radians as the patient is positioned."""
    joints = {"flexion_r": rng.normal(0, 0.08), "deviation_r": rng.normal(0.02, 0.06), "cmc_abduction": 0.15}
    for k, middle in _BEND.items():
        knuckle = f"mcp{k}_flexion_r"
        joints[middle], joints[knuckle] = np.abs(rng.normal(0.06, 0.05, 2))
        joints[f"mcp{k}_abduction_r"] = _SPREAD[k] * rng.uniform(0.4, 1.3)
        if region == "fingers" and k != digit:  # out of the way of the one that is looked at
            if view == "lateral":
                joints[middle], joints[knuckle] = rng.uniform(0.9, 1.3, 2)
            elif view == "oblique":
                joints[middle], joints[knuckle] = 0.1 * int(k), 0.25 * int(k) - 0.4
    if region in ("elbow", "forearm"):
        bent = _elbow_bent(region, view)
        joints["elbow_flexion_r"] = rng.normal(1.5, 0.12) if bent else abs(rng.normal(0.1, 0.08))
        joints["pro_sup_r"] = rng.normal(0.0, 0.1) if bent else rng.normal(-1.35, 0.08)
    elif region in ("humerus", "shoulder"):
        lifted = region == "humerus" and view == "lateral"  # off the chest
        joints["shoulder_elv_r"] = rng.uniform(0.9, 1.2) if lifted else rng.uniform(0.05, 0.4)
        joints["shoulder_rot_r"] = rng.normal(-0.2, 0.2)
        joints["elbow_flexion_r"] = abs(rng.normal(0.2, 0.15))
        joints["pro_sup_r"] = rng.normal(-0.6, 0.4)
    else:
        joints["elbow_flexion_r"] = 0.2
    return joints


def _wrist(at: Locator, turn: float, body: Tissue, rng: np.random.Generator) -> _Shot:
    tissue.hand(body, at)
    tissue.forearm(body, at, _LEFT)
    frame = _frame(at("5mc", 0.1) - at("2mc", 0.1), at("3mc", 0.2) - at("radius", 0.75), turn, rng)
    tall = rng.uniform(135, 185)
    centre = 0.75 * at("lunate", 0.2) + 0.25 * at("radius", 0.85)
    field = (tall * rng.uniform(0.52, 0.68), tall)
    return _Shot(frame, centre, field, ("radius", "ulna", *anatomy.HAND), rng.normal(0, 5))


def _fingers(
    at: Locator, turn: float, body: Tissue, aim: tuple[str, float], rng: np.random.Generator
) -> _Shot:
    tissue.hand(body, at)
    tissue.forearm(body, at, _LEFT)
    frame = _frame(at("5mc", 0.1) - at("2mc", 0.1), at("3proxph", 0.5) - at("3mc", 0.2), turn, rng)
    tall = rng.uniform(95, 145)
    knuckle = "thumb" if aim[0].startswith("thumb") else aim[0][0]
    centre = 0.6 * at(*aim) + 0.4 * at(f"{knuckle}proxph", 0.3) - 4 * frame[1]
    field = (tall * rng.uniform(0.5, 0.75), tall)
    return _Shot(frame, centre, field, ("radius", "ulna", *anatomy.HAND), rng.normal(0, 8))


def _forearm(at: Locator, turn: float, body: Tissue, bent: bool, rng: np.random.Generator) -> _Shot:
    tissue.forearm(body, at, _LEFT)
    tissue.arm(body, at, _LEFT)
    tissue.hand(body, at)
    up = at("ulna", 0.1) + at("radius", 0.1) - at("ulna", 1.0) - at("radius", 1.0)
    frame = _frame(_LEFT if bent else at("ulna", 0.97) - at("radius", 0.97), up, turn, rng)
    tall = rng.uniform(275, 320)
    centre = 0.5 * (at("ulna", 0.5) + at("radius", 0.5))
    field = (tall * rng.uniform(0.36, 0.5), tall)
    bones = ("humerus", "radius", "ulna", *anatomy.HAND)
    return _Shot(frame, centre, field, bones, rng.normal(0, 5) + rng.choice([0, 180]))


def _elbow(at: Locator, turn: float, body: Tissue, bent: bool, rng: np.random.Generator) -> _Shot:
    tissue.forearm(body, at, _LEFT)
    tissue.arm(body, at, _LEFT)
    centre = at("humerus", 0.97)
    if bent:
        tissue.elbow_fold(body, at, _LEFT)
        up = at("humerus", 0.7) - at("humerus", 1.0)
        centre = centre + 0.16 * (at("ulna", 0.5) - centre) + 0.1 * (at("humerus", 0.5) - centre)
    else:
        up = at("humerus", 0.75) - at("ulna", 0.25)
    frame = _frame(_LEFT, up, turn, rng)
    tall = rng.uniform(150, 200)
    field = (tall * (rng.uniform(0.8, 1.0) if bent else rng.uniform(0.55, 0.75)), tall)
    return _Shot(frame, centre, field, ("humerus", "radius", "ulna"), rng.normal(0, 8))


def _arm_tissue(at: Locator, body: Tissue) -> None:
    tissue.arm(body, at, unit(np.cross(at("humerus", 1.0) - at("humerus", 0.5), [0, 1.0, 0])))
    tissue.forearm(body, at, _LEFT)


def _humerus(at: Locator, turn: float, body: Tissue, rng: np.random.Generator) -> _Shot:
    _arm_tissue(at, body)
    frame = _frame(_LEFT, at("humerus", 0.1) - at("humerus", 0.9), turn, rng)
    bones: tuple[str, ...] = ("scapula", "clavicle", "humerus", "radius", "ulna")
    air: tuple[Any, ...] = ()
    if abs(turn) < 60:
        bones, air = (*bones, "ribs"), tissue.trunk(body, at)
    tall = rng.uniform(330, 375)
    field = (tall * rng.uniform(0.4, 0.55), tall)
    return _Shot(frame, at("humerus", 0.5), field, bones, rng.normal(0, 6), air)


def _shoulder(at: Locator, turn: float, body: Tissue, rng: np.random.Generator) -> _Shot:
    _arm_tissue(at, body)
    # Turned towards the injured side, and never fully: the other shoulder would lie in front.
    frame = _frame(_LEFT, np.array([0, 0, 1.0]), -0.7 * abs(turn), rng)
    tall = rng.uniform(190, 250)
    wide = tall * rng.uniform(0.95, 1.2)
    centre = at("humerus", 0.1) + (0.22 * wide - 38) * frame[0] - 0.14 * tall * frame[1]
    bones = ("humerus", "clavicle", "scapula", "ribs", "radius", "ulna")
    return _Shot(frame, centre, (wide, tall), bones, rng.normal(0, 3), tissue.trunk(body, at))


def build(region: str, view: str, site: Site | None, rng: np.random.Generator) -> Scene:
    """Pose the arm for a region's radiograph, as it is usually taken, with small differences.

    Args:
        region: one of `REGIONS`.
        view: a key of `VIEWS`.
        site: what is broken: a finger's radiograph is centred on that finger.
        rng: source of every choice.
    """
    turn = VIEWS[view] * rng.choice([-1.0, 1.0])
    digit = str(rng.choice(list("2345")))
    aim = (f"{digit}midph", 0.3)
    if region == "fingers" and site:
        aim, digit = (site.bone, 0.5), site.bone[0]
    joints = _joints(region, view, digit, rng)
    places = anatomy.pose(tuple(sorted((name, round(float(angle), 4)) for name, angle in joints.items())))
    # The radius ends short of its joint surface: close the gap that this leaves.
    nearer = 3.0 * unit(point(places, "radius", 0.8) - point(places, "radius", 1.0))
    places = {name: (r, t + nearer) if name in anatomy.HAND else (r, t) for name, (r, t) in places.items()}

    def at(name: str, share: float) -> np.ndarray:
        return point(places, name, share)

    body = Tissue(rng.uniform(0.88, 1.14))
    bent = _elbow_bent(region, view)
    if region == "wrist":
        shot = _wrist(at, turn, body, rng)
    elif region == "fingers":
        shot = _fingers(at, turn, body, aim, rng)
    elif region == "forearm":
        shot = _forearm(at, turn, body, bent, rng)
    elif region == "elbow":
        shot = _elbow(at, turn, body, bent, rng)
    elif region == "humerus":
        shot = _humerus(at, turn, body, rng)
    else:
        shot = _shoulder(at, turn, body, rng)
    centre = shot.centre + shot.field[0] * rng.normal(0, 0.02, 2) @ shot.frame[:2]
    frame = _spin(shot.frame, shot.spin)
    return Scene(places, shot.bones, frame, centre, shot.field, body, shot.air)
