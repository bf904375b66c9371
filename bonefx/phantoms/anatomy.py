"""The skeleton of the right arm: meshes of the package `myo-sim`, closed and smoothed, in any pose.

Millimetres throughout. The body stands upright in its default pose: x to its left, y backwards, z up.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from bonefx.phantoms import mesh

_HAND = {
    **{f"{k}mc": (1.6, 0.30) for k in "12345"},
    **{f"{k}proxph": (1.4, 0.28) for k in ("thumb", *"2345")},
    **{f"{k}midph": (1.1, 0.28) for k in "2345"},
    **{f"{k}distph": (0.8, 0.30) for k in ("thumb", *"2345")},
}
CARPALS = ("scaphoid", "lunate", "triquetrum", "pisiform", "trapezium", "trapezoid", "capitate", "hamate")
_MESH_OF = {"thumbproxph": "thumbprox", "thumbdistph": "thumbdist", "ribs": "torso_geom_13_ribcage_s"}

# Thickest cortex in mm, and how dense the spongy bone at the ends is beside compact bone.
BONES: dict[str, tuple[float, float]] = {
    "clavicle": (2.0, 0.30),
    "scapula": (1.3, 0.30),
    "humerus": (4.2, 0.20),
    "ulna": (3.0, 0.26),
    "radius": (2.9, 0.26),
    **dict.fromkeys(CARPALS, (0.7, 0.42)),
    **_HAND,
    "ribs": (0.8, 0.25),
}
HAND = (*CARPALS, *_HAND)


@dataclass(frozen=True, eq=False)
class Bone:
    """One bone in its own frame.

    `surfaces` is float64 (n, 2, 3): the outer surface and, vertex by vertex, the inner face of the cortex.
    Both have the same `faces` (m, 3). `origin`, `axes` (rows u, v, s) and `length` describe the bone's long
    axis: s runs from the proximal to the distal end, `origin` is the proximal end.
    """

    name: str
    surfaces: np.ndarray
    faces: np.ndarray
    origin: np.ndarray
    axes: np.ndarray
    length: float
    spongy: float


@lru_cache(maxsize=1)
def _model():
    import mujoco
    from myo_sim.build.compose import build_spec

    # The package attaches parts without a prefix, on purpose; MuJoCo warns, and logs into the current folder.
    handler = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = build_spec("myoarm_r").compile()
    mujoco.set_mju_user_warning(handler)
    geoms = {}
    for geom in range(model.ngeom):
        if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH:
            geoms[model.mesh(model.geom_dataid[geom]).name] = geom
    return model, geoms


def _geom(name: str) -> int:
    _, geoms = _model()
    wanted = _MESH_OF.get(name, name)
    for candidate in (wanted, f"{wanted}_r", f"{wanted[1:]}{wanted[0]}_r"):
        if candidate in geoms:
            return geoms[candidate]
    raise KeyError(name)


@lru_cache(maxsize=128)
def pose(joints: tuple[tuple[str, float], ...]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rotation (3, 3) and place (3,) of every bone, with the named joints at these angles in radians."""
    import mujoco

    model, _ = _model()
    data = mujoco.MjData(model)
    for joint, angle in joints:
        data.qpos[model.joint(joint).qposadr[0]] = angle
    # Shoulder rhythm: the model couples girdle joints to the arm's elevation, its solver is not run here.
    for follower, leader, law in zip(model.eq_obj1id, model.eq_obj2id, model.eq_data, strict=True):
        lead = data.qpos[model.jnt_qposadr[leader]]
        data.qpos[model.jnt_qposadr[follower]] = np.polynomial.polynomial.polyval(lead, law[:5])
    mujoco.mj_forward(model, data)
    geoms = {name: _geom(name) for name in BONES}
    return {
        name: (data.geom_xmat[geom].reshape(3, 3).copy(), 1000 * data.geom_xpos[geom])
        for name, geom in geoms.items()
    }


@lru_cache(maxsize=64)
def bone(name: str) -> Bone:
    """The named bone (a key of `BONES`), made once."""
    model, _ = _model()
    number = model.geom_dataid[_geom(name)]
    at, count = model.mesh_vertadr[number], model.mesh_vertnum[number]
    vertices = 1000 * model.mesh_vert[at : at + count].astype(np.float64)
    at, count = model.mesh_faceadr[number], model.mesh_facenum[number]
    faces = model.mesh_face[at : at + count].astype(np.int64)
    if name in ("humerus", "radius", "ulna", "clavicle"):
        vertices, faces = mesh.remesh(vertices, faces, 2.0 if name == "humerus" else 1.5)
    elif name == "scapula":  # its blade is thinner than any useful grid
        vertices, faces = mesh.merge_close(vertices, faces, 0.01)
        faces = mesh.close(vertices, faces)
        vertices, faces = mesh.refine(vertices, faces, lambda a, b: np.linalg.norm(a - b, axis=1) > 3.0)
        vertices = mesh.relax(vertices, faces, 6)
    else:
        vertices, faces = mesh.merge_close(vertices, faces, 0.9)
        if name == "ribs":  # an emblem lies on the chest; ribs and sternum have 90 to 1500 faces each
            part = mesh.parts(vertices, faces)
            size = np.bincount(part)[part]
            faces = faces[(size > 80) & (size < 3000)]
        faces = mesh.close(vertices, faces)
        vertices = mesh.relax(vertices, faces, 2)
    if name in CARPALS:  # the model's joints are wider than cartilage is thick
        vertices = vertices.mean(axis=0) + 1.07 * (vertices - vertices.mean(axis=0))

    centre = vertices.mean(axis=0)
    _, _, directions = np.linalg.svd(vertices - centre, full_matrices=False)
    rotation, _ = pose(())[name]
    distal = rotation.T @ (np.array([-1.0, 0, 0]) if name == "clavicle" else np.array([0, 0, -1.0]))
    along = directions[0] * np.sign(directions[0] @ distal)
    aside = directions[1]
    axes = np.stack([aside, np.cross(along, aside), along])
    heights = (vertices - centre) @ along
    origin = centre + heights.min() * along
    length = float(np.ptp(heights))

    cortex, spongy = BONES[name]
    share = (heights - heights.min()) / length
    shaft = np.clip(np.minimum(share - 0.06, 0.94 - share) / 0.26, 0, 1)
    shaft = shaft * shaft * (3 - 2 * shaft)
    if name in CARPALS or name in ("scapula", "ribs"):
        wall = np.full(len(vertices), cortex)
    else:
        wall = 0.7 + (cortex - 0.7) * shaft
    wall = np.minimum(wall, 0.6 * mesh.inner_radius(vertices, faces))
    inner = mesh.relax(vertices - wall[:, None] * mesh.normals(vertices, faces), faces, 2)
    return Bone(name, np.stack([vertices, inner], axis=1), faces, origin, axes, length, spongy)
