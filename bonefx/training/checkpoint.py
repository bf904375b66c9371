"""Checkpoints that are written whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from bonefx.files import whole


def save(content: Any, path: Path) -> None:
    """`torch.save`, in memory first: a run that dies half-way, or a full disk, leaves the old file whole.

    Raises:
        OSError: it cannot be written; `filename` is `path`. (torch itself says only "unexpected pos".)
    """
    file = io.BytesIO()
    torch.save(content, file)
    with whole(path) as there:
        there.write(file.getbuffer())
