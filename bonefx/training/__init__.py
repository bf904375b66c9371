"""Training, offline: what both trainers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bonefx.detectors.base import Detector

CHECKPOINT = "last.pth"
"""The file in a run's folder that `--resume` continues."""

OnStep = Callable[[int, int, Mapping[str, float]], None]
"""Told the step (from 1), the number of steps, and the losses."""

OnEpoch = Callable[[int, Detector], bool]
"""Told the epoch (from 1) and the detector as it is; answers whether it is the best so far."""
