"""Phantom radiographs: rendered from anatomical meshes, with fractures whose place is known exactly.

For examples, tests and training; they are synthetic and say so in the picture. Rendering needs the extra
`phantoms` (`myo-sim`, `mujoco`), which is imported only when the first phantom is rendered.
"""

from bonefx.phantoms.dataset import make_dataset
from bonefx.phantoms.radiograph import Lesion, Phantom, render
from bonefx.phantoms.scenes import REGIONS, VIEWS
from bonefx.phantoms.sites import FRACTURE_KINDS

__all__ = ["FRACTURE_KINDS", "REGIONS", "VIEWS", "Lesion", "Phantom", "make_dataset", "render"]
