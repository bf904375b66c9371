"""What every file that is made here tells of its making: when, and with which versions."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Iterable
from datetime import datetime, timezone


def now() -> str:
    """The time in UTC to the second, such as `2026-01-31T12:00:00Z`."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Versions of these distributions, by name, as far as they are installed."""
    found = {}
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
