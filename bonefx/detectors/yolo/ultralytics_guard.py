"""Ultralytics, imported without what it does to the rest of the process.

Import Ultralytics through this module. It reads and changes the environment when it is imported, puts
functions of its own in other libraries' places, and sets how they print and how many threads they use.
"""

from __future__ import annotations

import os
import tempfile
import warnings

import numpy as np
import PIL.Image
import torch

from bonefx.detectors.yolo.opencv_import import cv2

_before = {
    "environment": dict(os.environ),
    "open": PIL.Image.open,
    "save": torch.save,
    "pictures": (cv2.imread, cv2.imwrite, cv2.imshow) if hasattr(cv2, "imshow") else (),
    "threads": cv2.getNumThreads(),
    "print": np.get_printoptions(),
}

# No settings file in the home folder, no words on standard output, no package installation, no question to
# another host, and no code run from a weight file.
os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.gettempdir())
os.environ.setdefault("YOLO_VERBOSE", "false")
os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true", ULTRALYTICS_SAFE_LOAD="1")

try:
    with warnings.catch_warnings():  # it adds filters of its own
        import ultralytics
        from ultralytics.nn import tasks
        from ultralytics.utils import NUM_THREADS
finally:  # all of it was read by now
    os.environ.clear()
    os.environ.update(_before["environment"])
    PIL.Image.open, torch.save = _before["open"], _before["save"]
    if _before["pictures"]:
        cv2.imread, cv2.imwrite, cv2.imshow = _before["pictures"]
    cv2.setNumThreads(_before["threads"])
    np.set_printoptions(**_before["print"])
    torch.set_printoptions(profile="default")

# A program that imported Ultralytics before us did so without the variable above.
tasks.SAFE_LOAD = True

YOLO = ultralytics.YOLO
Detect, DetectionModel = tasks.Detect, tasks.DetectionModel
Detect, DetectionModel = tasks.Detect, tasks.DetectionModel
VERSION: str = ultralytics.__version__
THREADS: int = NUM_THREADS
"""What `predict` has torch compute with: all cores but one."""
