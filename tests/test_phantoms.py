"""Phantom radiographs: path lengths, cuts, pictures, labels, and the examples made of them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from bonefx import phantoms
from bonefx.labels import CLASSES, DATASET_CLASSES
from bonefx.phantoms import anatomy, fractures, mesh, projection, scenes, sites
from bonefx.phantoms.raster import thickness

pytest.importorskip("myo_sim", reason="needs the extra `phantoms`")

EXAMPLES = Path(__file__).parent.parent / "examples"


def straight_tube(radius: float, length: float):
    stations = np.array([[0, 0, 0], [0, length / 2, 0], [0, length, 0]], np.float64)
    return mesh.tube(stations, np.tile([1.0, 0, 0], (3, 1)), np.full((3, 2), radius))


# --- path lengths --------------------------------------------------------------------------------------


def test_thickness_of_a_tube_is_its_chord():
    vertices, faces = straight_tube(radius=20, length=60)
    at = np.column_stack([vertices[:, 0] + 50, 90 - vertices[:, 1], vertices[:, 2]])
    path = thickness(at, faces, (120, 100))
    column = np.arange(100) - 50
    chord = 2 * np.sqrt(np.maximum(20.0**2 - column**2, 0))
    assert path[60] == pytest.approx(chord, abs=0.6)  # a polygon of 40 sides
    assert path.sum() == pytest.approx(mesh.volume(vertices, faces), rel=0.01)


@pytest.mark.parametrize(
    ("shift_x", "shift_y"),
    [
        pytest.param(-60, 0, id="cut off at the left edge"),
        pytest.param(50, 0, id="cut off at the right edge"),
        pytest.param(0, -70, id="cut off at the top"),
        pytest.param(500, 500, id="outside of the picture"),
    ],
)
def test_a_mesh_that_leaves_the_picture_keeps_its_values_inside(shift_x, shift_y):
    vertices, faces = straight_tube(radius=20, length=60)
    at = np.column_stack([vertices[:, 0] + 50 + shift_x, 90 - vertices[:, 1] + shift_y, vertices[:, 2]])
    large = thickness(at + np.array([600, 600, 0]), faces, (1300, 1300))
    assert thickness(at, faces, (120, 100)) == pytest.approx(large[600:720, 600:700], abs=1e-3)


def test_close_zips_up_a_hole():
    vertices, faces = straight_tube(radius=20, length=60)
    torn = np.delete(faces, np.arange(200, 240), axis=0)
    closed = mesh.close(vertices, torn)
    sides = np.concatenate([closed[:, [0, 1]], closed[:, [1, 2]], closed[:, [2, 0]]])
    assert {tuple(s) for s in sides} == {tuple(s[::-1]) for s in sides}
    assert mesh.volume(vertices, closed) == pytest.approx(mesh.volume(vertices, faces), rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["humerus", "radius", "ulna", "clavicle", "scaphoid", "3proxph"])
def test_bones_are_closed_with_a_cortex_inside(name):
    bone = anatomy.bone(name)
    sides = np.concatenate([bone.faces[:, [0, 1]], bone.faces[:, [1, 2]], bone.faces[:, [2, 0]]])
    forth, back = (np.unique(s, axis=0, return_counts=True) for s in (sides, sides[:, ::-1]))
    assert (forth[0] == back[0]).all()
    assert (forth[1] == back[1]).all()
    outer, inner = (mesh.volume(bone.surfaces[:, k], bone.faces) for k in (0, 1))
    assert 0.2 * outer < inner < 0.95 * outer


# --- fractures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sites.FRACTURE_KINDS)
def test_cutting_keeps_the_bone_but_for_the_gap(kind):
    bone = anatomy.bone("humerus")
    site = next(s for s in sites.SITES if s.region == "humerus")
    placed = anatomy.pose(())["humerus"]
    broken = fractures.break_bone(
        bone, placed, site, kind, False, np.array([0, -1.0, 0]), np.random.default_rng(4)
    )
    assert len(broken.pieces) == (4 if kind == "comminuted" else 2)
    pieces = [mesh.volume(surfaces[:, 0], faces) for surfaces, faces in broken.pieces]
    whole = mesh.volume(bone.surfaces[:, 0], bone.faces)
    assert min(pieces) > 0
    lost = whole - sum(pieces)
    # A comminuted bone has no gap: its pieces lie apart.
    assert lost == pytest.approx(0, abs=0.001 * whole) if kind == "comminuted" else 0 < lost < 0.02 * whole
    assert broken.displacement < 2


@pytest.mark.slow
def test_a_displaced_fragment_takes_the_bones_beyond_along():
    intact = phantoms.render("humerus", seed=1, size=160, side="R")
    broken = phantoms.render("humerus", seed=1, size=160, side="R", fracture="transverse", displaced=True)
    (lesion,) = broken.lesions
    below = slice(int(lesion.box[3]) + 5, intact.image.shape[0] - 5)
    assert np.abs(intact.image[below].astype(float) - broken.image[below]).mean() > 500


# --- pictures ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("view", phantoms.VIEWS)
@pytest.mark.parametrize("region", phantoms.REGIONS)
def test_every_region_and_view_gives_a_radiograph(region, view):
    phantom = phantoms.render(region, view, seed=3, size=192)
    assert phantom.image.dtype == np.uint16
    assert max(phantom.image.shape) == 192
    assert phantom.lesions == ()
    assert (phantom.region, phantom.view) == (region, view)
    assert phantom.side in ("L", "R")
    dark, bright = np.percentile(phantom.image, (1, 99))
    assert dark < 0.2 * 65535
    assert bright > 0.35 * 65535


@pytest.mark.slow
@pytest.mark.parametrize(
    ("region", "bone", "kind", "label"),
    [
        pytest.param("elbow", "humerus", "transverse", "elbow positive", id="supracondylar"),
        pytest.param("elbow", "ulna", "oblique", "elbow positive", id="olecranon"),
        pytest.param("elbow", "radius", "hairline", "elbow positive", id="radial head"),
        pytest.param("fingers", "3proxph", "spiral", "fingers positive", id="proximal phalanx"),
        pytest.param("fingers", "thumbdistph", "transverse", "fingers positive", id="thumb"),
        pytest.param("forearm", "ulna", "comminuted", "forearm fracture", id="ulnar shaft"),
        pytest.param("humerus", "humerus", "oblique", "humerus", id="humeral shaft"),
        pytest.param("shoulder", "humerus", "comminuted", "shoulder fracture", id="surgical neck"),
        pytest.param("shoulder", "clavicle", "transverse", "shoulder fracture", id="clavicle"),
        pytest.param("wrist", "radius", "hairline", "wrist positive", id="distal radius"),
        pytest.param("wrist", "scaphoid", "transverse", "wrist positive", id="scaphoid waist"),
    ],
)
def test_a_fracture_has_the_class_of_its_site(region, bone, kind, label):
    phantom = phantoms.render(region, seed=5, size=192, fracture=kind, bone=bone)
    (lesion,) = phantom.lesions
    assert CLASSES[lesion.class_id] == label
    assert (lesion.bone, lesion.kind) == (bone, kind)
    assert lesion.difficulty in ("easy", "medium", "hard")
    assert not (kind == "hairline" and lesion.displaced)


@pytest.mark.parametrize("side", ["L", "R"])
def test_the_box_holds_what_the_fracture_changed(side):
    options = {"seed": 8, "size": 256, "side": side}
    intact = phantoms.render("wrist", **options).image.astype(float)
    phantom = phantoms.render("wrist", fracture="hairline", bone="radius", **options)
    (lesion,) = phantom.lesions
    x1, y1, x2, y2 = (round(edge) for edge in lesion.box)
    assert 0 <= x1 < x2 <= intact.shape[1]
    assert 0 <= y1 < y2 <= intact.shape[0]
    change = np.abs(phantom.image - intact)
    inside = np.zeros(change.shape, bool)
    inside[y1:y2, x1:x2] = True
    assert change[inside].max() > 4 * np.percentile(change[~inside], 99)
    assert (x2 - x1) * (y2 - y1) < 0.2 * change.size


def test_left_is_right_mirrored():
    right = phantoms.render("wrist", seed=2, size=160, side="R", fracture="transverse", bone="radius")
    left = phantoms.render("wrist", seed=2, size=160, side="L", fracture="transverse", bone="radius")
    x1, y1, x2, y2 = right.lesions[0].box
    width = right.image.shape[1]
    assert left.lesions[0].box == pytest.approx((width - x2, y1, width - x1, y2), abs=1.5)


def test_same_seed_same_bytes():
    arguments = ("elbow", "oblique", 11, 160, "random")
    first, again = phantoms.render(*arguments), phantoms.render(*arguments)
    assert first.image.tobytes() == again.image.tobytes()
    assert first.lesions == again.lesions
    other = phantoms.render("elbow", "oblique", 12, 160, "random")
    assert first.image.shape != other.image.shape or (first.image != other.image).any()


def test_plaster_surrounds_the_limb_and_a_plate_is_small():
    rng = np.random.default_rng(3)
    scene = scenes.build("forearm", "ap", None, rng)
    canvas = projection.Canvas(scene, 256, left=False)
    limb = projection.soft_path(canvas, scene.body.skin())
    plaster = projection.plaster_path(canvas, scene, rng)
    metal = projection.metal_path(canvas, scene, "radius", 0.5, rng)
    assert plaster[limb > 5].min() > 2
    assert (plaster[limb == 0] > 2).mean() > 0.03  # it stands out beside the limb
    assert 1 < metal.max() < 60
    assert 0.001 < (metal > 0).mean() < 0.05
    assert limb[metal > 0].min() > 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        pytest.param({"region": "knee"}, "region", id="not of the arm"),
        pytest.param({"region": "wrist", "view": "axial"}, "view", id="unknown view"),
        pytest.param({"region": "wrist", "fracture": "greenstick"}, "fracture", id="unknown kind"),
        pytest.param({"region": "wrist", "size": 64}, "128", id="too small"),
        pytest.param({"region": "wrist", "side": "left"}, "side", id="a word for a side"),
        pytest.param({"region": "wrist", "fracture": "spiral"}, "spiral", id="a kind that this site has not"),
        pytest.param({"region": "wrist", "fracture": "random", "bone": "humerus"}, "humerus", id="far bone"),
    ],
)
def test_wrong_arguments_are_named(arguments, word):
    with pytest.raises(ValueError, match=word):
        phantoms.render(**arguments)


def test_importing_does_not_load_the_meshes_package():
    code = "import sys, bonefx.phantoms; print('mujoco' in sys.modules or 'myo_sim' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- data set and examples -----------------------------------------------------------------------------


@pytest.mark.slow
def test_make_dataset_writes_yolo_files(tmp_path):
    config = phantoms.make_dataset(tmp_path / "a", 6, seed=1, size=128)
    phantoms.make_dataset(tmp_path / "b", 3, seed=1, size=128)
    for number, name in enumerate(DATASET_CLASSES):
        assert f"  {number}: {name}\n" in config.read_text()
    images = sorted((tmp_path / "a/train/images").iterdir())
    labels = sorted((tmp_path / "a/train/labels").iterdir())
    assert [i.stem for i in images] == [t.stem for t in labels]
    assert len(images) == 6
    rows = [row.split() for path in labels for row in path.read_text().splitlines()]
    assert rows
    for number, *place in rows:
        assert 0 <= int(number) < len(DATASET_CLASSES)
        x, y, w, h = map(float, place)
        assert w / 2 - 1e-6 <= x <= 1 - w / 2 + 1e-6
        assert h / 2 - 1e-6 <= y <= 1 - h / 2 + 1e-6
    for path in sorted((tmp_path / "b/train").rglob("phantom*")):
        assert path.read_bytes() == (tmp_path / "a/train" / path.parent.name / path.name).read_bytes()


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_examples", EXAMPLES / "make_examples.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_examples_are_the_same_bytes_again(script, tmp_path):
    some = [e for e in script.EXAMPLES if e.file in ("wrist-2.png", "forearm-1.png", "humerus-2.dcm")]
    for folder in ("once", "twice"):
        (tmp_path / folder).mkdir()
        script.write(tmp_path / folder, tuple(some))
    for path in (tmp_path / "once").iterdir():
        assert path.read_bytes() == (tmp_path / "twice" / path.name).read_bytes()


def test_the_examples_are_what_their_card_says(script):
    truth = json.loads((EXAMPLES / "annotations.json").read_text(encoding="utf-8"))
    files = {image["file_name"]: image for image in truth["images"]}
    assert set(files) == {e.file for e in script.EXAMPLES}
    assert len(files) >= 12
    assert sum(path.stat().st_size for path in EXAMPLES.iterdir()) < 6e6
    broken = {a["image_id"] for a in truth["annotations"]}
    assert sum(image["id"] not in broken for image in files.values()) >= 3
    assert sum(a["kind"] == "hairline" for a in truth["annotations"]) >= 2
    assert {a["category_id"] for a in truth["annotations"]} == set(range(1, 7))
    assert [c["name"] for c in truth["categories"]] == list(CLASSES)
    sixteen = 0
    for name, image in files.items():
        if name.endswith(".dcm"):
            data = pydicom.dcmread(EXAMPLES / name)
            assert data.PhotometricInterpretation == "MONOCHROME1"
            assert not data.PatientName
            shape = data.pixel_array.shape
        else:
            with Image.open(EXAMPLES / name) as opened:
                sixteen += opened.mode == "I;16"
                shape = opened.size[::-1]
        assert shape == (image["height"], image["width"])
    assert sixteen == 1
    for a in truth["annotations"]:
        x, y, w, h = a["bbox"]
        image = next(i for i in files.values() if i["id"] == a["image_id"])
        assert x >= 0
        assert y >= 0
        assert x + w <= image["width"]
        assert y + h <= image["height"]
        assert {"kind", "difficulty", "visibility"} <= set(a)
