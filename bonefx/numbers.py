"""How figures are written for a person: `41 %`, `34 to 48 %`, `3 files`; a dash where nobody knows one."""

from __future__ import annotations

from collections.abc import Sequence

UNKNOWN = "–"


def percent(share: float | None) -> str:
    """Such as `41 %`."""
    return UNKNOWN if share is None else f"{100 * share:.0f} %"


def percents(interval: Sequence[float]) -> str:
    """Such as `34 to 48 %`."""
    low, high = interval
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def decimal(value: float | None) -> str:
    """Such as `0.412`."""
    return UNKNOWN if value is None else f"{value:.3f}"


def decimals(interval: Sequence[float]) -> str:
    """Such as `0.341 to 0.480`."""
    low, high = interval
    return f"{low:.3f} to {high:.3f}"


def whole(value: int | None) -> str:
    """Such as `12 345`."""
    return UNKNOWN if value is None else f"{value:,}".replace(",", " ")


def counted(number: int, thing: str) -> str:
    """Such as `1 file` and `3 files`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def listed(parts: Sequence[str]) -> str:
    """Such as `a, b and c`."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
