"""Ultralytics, imported without what it does to the rest of the process.

Import Ultralytics through this module. It reads and changes the environment when it is imported, and it puts
functions of its own in other libraries' places.
"""

from __future__ import annotations

import os
import tempfile

import PIL.Image

# No settings file in the home folder, no words on standard output, no package installation, no question to
# another host, and no code run from a weight file.
os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.gettempdir())
os.environ.setdefault("YOLO_VERBOSE", "false")
os.environ.update(YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true", ULTRALYTICS_SAFE_LOAD="1")

_open_image = PIL.Image.open
_threads = os.environ.get("OMP_NUM_THREADS")

import ultralytics  # noqa: E402
from ultralytics.data.augment import LetterBox  # noqa: E402, F401
from ultralytics.nn import tasks  # noqa: E402
from ultralytics.nn.autobackend import AutoBackend  # noqa: E402, F401

from bonefx.detectors import torchvision_guard  # noqa: E402, F401  (`predict` imports torchvision)

# Its own function tries to import a decoder that is not there when a file is no image.
PIL.Image.open = _open_image
# It sets this to 1, for everything that starts from here on.
if _threads is None:
    os.environ.pop("OMP_NUM_THREADS", None)
# A program that imported Ultralytics before us did so without the variable above.
tasks.SAFE_LOAD = True

YOLO = ultralytics.YOLO
Detect, DetectionModel = tasks.Detect, tasks.DetectionModel
VERSION: str = ultralytics.__version__
THREADS: int = ultralytics.utils.NUM_THREADS
"""What `predict` has torch compute with: all cores but one."""
