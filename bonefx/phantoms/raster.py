"""How much of a closed surface lies behind each pixel, along parallel rays."""

from __future__ import annotations

import numpy as np


def thickness(vertices: np.ndarray, faces: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Path length inside a closed triangle mesh for every pixel.

    Each triangle adds its depth where it covers a pixel's centre: positive where it faces the viewer,
    negative where it faces away, so that over a closed surface only the enclosed length remains. A scanline
    difference buffer holds the planes (depth = a * column + b * row + c): every edge starts or ends its
    triangle's plane at one column of each row that it crosses, and one running sum per row does the rest.
    The cost grows with the edges' height, not with the picture. An open surface leaves wrong values over
    its holes only.

    Args:
        vertices: float (n, 3), column, row (pixel centres at whole numbers) and depth. Seen with columns to
            the right and rows downwards, depth grows towards the viewer; the length has depth's unit.
        faces: int (m, 3), counter-clockwise seen from outside in a right-handed frame (column, -row, depth).
        shape: height and width of the picture.

    Returns:
        float32 (h, w), not clipped: a mesh that overlaps itself counts twice.
    """
    height, width = shape
    p, q, r = vertices[faces[:, 0]], vertices[faces[:, 1]], vertices[faces[:, 2]]
    low, high = np.minimum(np.minimum(p, q), r), np.maximum(np.maximum(p, q), r)
    seen = (high[:, 1] > 0) & (low[:, 1] < height) & (high[:, 0] > 0) & (low[:, 0] < width)
    first, second = q - p, r - p
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    seen &= np.abs(area) > 1e-7
    p, q, r, first, second, area = (part[seen] for part in (p, q, r, first, second, area))
    slope_x = (first[:, 2] * second[:, 1] - second[:, 2] * first[:, 1]) / area
    slope_y = (second[:, 2] * first[:, 0] - first[:, 2] * second[:, 0]) / area
    offset = p[:, 2] - slope_x * p[:, 0] - slope_y * p[:, 1]

    start = np.concatenate([p, q, r])[:, :2]
    end = np.concatenate([q, r, p])[:, :2]
    downwards = end[:, 1] > start[:, 1]
    # Two triangles share an edge in opposite directions: both must compute the very same crossings.
    top = np.where(downwards[:, None], start, end)
    bottom = np.where(downwards[:, None], end, start)
    first_row = np.clip(np.ceil(top[:, 1]), 0, height).astype(np.int64)
    last_row = np.clip(np.ceil(bottom[:, 1]), 0, height).astype(np.int64)
    rows = last_row - first_row
    crossing = np.flatnonzero(rows)
    rows, first_row = rows[crossing], first_row[crossing]
    edge = np.repeat(crossing, rows)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(rows) - rows - first_row, rows)
    ahead = (row - top[edge, 1]) / (bottom[edge, 1] - top[edge, 1])
    x = top[edge, 0] + ahead * (bottom[edge, 0] - top[edge, 0])
    column = np.clip(np.ceil(x), 0, width).astype(np.int64)
    triangle = edge % len(area)
    sign = np.where(downwards[edge], 1.0, -1.0)
    place = row * (width + 1) + column
    count = height * (width + 1)
    slope = np.bincount(place, sign * slope_x[triangle], count).reshape(height, -1)[:, :width]
    level = np.bincount(place, sign * (slope_y[triangle] * row + offset[triangle]), count)
    level = level.reshape(height, -1)[:, :width]
    total = np.cumsum(slope, axis=1) * np.arange(width) + np.cumsum(level, axis=1)
    return total.astype(np.float32)
