"""OpenCV, imported without what it does to the environment: it leads other programs to its own libraries."""

from __future__ import annotations

import os

_environment = dict(os.environ)
try:
    import cv2
finally:
    for _name in set(os.environ) - set(_environment):
        del os.environ[_name]
    os.environ.update(_environment)

__all__ = ["cv2"]
