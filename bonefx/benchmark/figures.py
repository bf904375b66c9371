"""Medians, quartiles and ratios of what was measured, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median, quantiles
from typing import Any

Spread = dict[str, float]
"""`median`, `low` and `high` (the quartiles) and `n`, how many values they are of."""


def spread(values: Iterable[float]) -> Spread:
    """Median and quartiles of at least one value."""
    values = list(values)
    low, middle, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"median": round(middle, 4), "low": round(low, 4), "high": round(high, 4), "n": len(values)}


def summaries(rows: Sequence[dict[str, float]]) -> dict[str, Spread]:
    """The spread of each column of rows that have the same keys."""
    return {name: spread(row[name] for row in rows) for name in rows[0]}


def ratio(ours: Sequence[Sequence[float]], reference: Sequence[Sequence[float]]) -> Spread:
    """Our time as a share of the reference's.

    Args:
        ours, reference: by round, the times of one turn each.

    Returns:
        The spread of the rounds' ratios, each the median of our turn over that of the reference's, which
        was measured right before it.
    """
    return spread(median(mine) / median(other) for mine, other in zip(ours, reference, strict=True))


def distinct(values: Iterable[Any]) -> list[Any]:
    """Each value once, in the order of their first places."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found
