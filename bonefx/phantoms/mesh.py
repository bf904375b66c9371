"""Triangle meshes as plain arrays: vertices float64 (n, 3) in millimetres, faces int64 (m, 3)."""

from __future__ import annotations

import numpy as np

from bonefx.phantoms.raster import thickness


def normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normal of every vertex, its faces weighted by area."""
    corners = vertices[faces]
    weighted = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.stack(
        [np.bincount(faces.ravel(), np.repeat(weighted[:, k], 3), len(vertices)) for k in range(3)], axis=1
    )
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Enclosed volume, positive where the faces look outwards."""
    corners = vertices[faces]
    return float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)


def merge_close(vertices: np.ndarray, faces: np.ndarray, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """Thin out a dense mesh: one vertex, the mean, for each cube of side `cell` that holds any."""
    keys = np.floor(vertices / cell).astype(np.int64)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.ravel()
    counts = np.bincount(group)
    merged = np.stack([np.bincount(group, vertices[:, k]) / counts for k in range(3)], axis=1)
    faces = group[faces]
    a, b, c = faces.T
    return merged, faces[(a != b) & (b != c) & (c != a)]


def parts(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """For each face the number of the connected part that it belongs to."""
    label = np.arange(len(vertices))
    while True:
        lowest = label[faces].min(axis=1).repeat(3)
        if (label[faces.ravel()] == lowest).all():
            return np.unique(label[faces[:, 0]], return_inverse=True)[1].ravel()
        np.minimum.at(label, faces.ravel(), lowest)


def close(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The faces and those that close every hole: each edge is then passed as often each way.

    The hole's rim is zipped up: of all neighbouring pairs of rim edges, the pair whose ends are closest
    becomes a triangle, until none is left.
    """
    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges, edge_of = np.unique(np.sort(sides, axis=1), axis=0, return_inverse=True)
    surplus = np.bincount(edge_of.ravel(), np.where(sides[:, 0] < sides[:, 1], -1, 1)).astype(np.int64)
    rim = np.where(surplus[:, None] > 0, edges, edges[:, ::-1]).repeat(np.abs(surplus), axis=0)
    new = []
    while len(rim):
        i, j = np.nonzero(rim[:, 1:] == rim[:, 0])
        gap = np.linalg.norm(vertices[rim[i, 0]] - vertices[rim[j, 1]], axis=1)
        pair = [i[gap.argmin()], j[gap.argmin()]]
        a, b, c = rim[pair[0], 0], rim[pair[0], 1], rim[pair[1], 1]
        rim = np.delete(rim, pair, axis=0)
        if a != c:
            new.append([a, b, c])
            rim = np.concatenate([rim, [[a, c]]])
    return np.concatenate([faces, np.array(new, np.int64).reshape(-1, 3)])


def _smooth(field: np.ndarray, rounds: int) -> np.ndarray:
    for _ in range(rounds):
        for axis in range(3):
            moved = np.moveaxis(field, axis, 0)
            inner = 0.25 * moved[:-2] + 0.5 * moved[1:-1] + 0.25 * moved[2:]
            field = np.moveaxis(np.concatenate([moved[:1], inner, moved[-1:]]), 0, axis)
    return field


def _surface(field: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Surface nets (Gibson, 1998): one vertex in each cell that the level passes, one quad an edge."""
    inside = field > level
    cells = np.array(field.shape) - 1
    count = int(np.prod(cells))
    sums, hits, quads = np.zeros((count, 3)), np.zeros(count), []
    for axis in range(3):
        others = [k for k in range(3) if k != axis]
        ahead = np.moveaxis(inside, axis, 0)
        where = np.argwhere(np.moveaxis(ahead[:-1] != ahead[1:], 0, axis))
        where = where[np.all((where[:, others] > 0) & (where[:, others] < cells[others]), axis=1)]
        step = np.eye(3, dtype=np.int64)
        here, there = field[tuple(where.T)], field[tuple((where + step[axis]).T)]
        point = where + step[axis] * ((level - here) / (there - here))[:, None]
        ring = [
            where - i * step[others[0]] - j * step[others[1]] for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))
        ]
        ids = np.stack([np.ravel_multi_index(tuple(r.T), tuple(cells)) for r in ring], axis=1)
        for corner in ids.T:
            hits += np.bincount(corner, minlength=count)
            for k in range(3):
                sums[:, k] += np.bincount(corner, point[:, k], count)
        outwards = inside[tuple(where.T)] != (axis == 1)
        quads.append(np.where(outwards[:, None], ids, ids[:, ::-1]))
    quad = np.concatenate(quads)
    used, faces = np.unique(quad, return_inverse=True)
    faces = faces.reshape(quad.shape)
    return sums[used] / hits[used, None], np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])


def remesh(
    vertices: np.ndarray, faces: np.ndarray, step: float, rounds: int = 3, level: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """A rounded, evenly fine surface from a coarse or damaged one: holes are closed, facets disappear.

    The share of each cell of a grid that lies inside is found by cutting the mesh into slices, smoothed
    over about `step` millimetres `rounds` times, and the surface taken where it passes `level`.
    """
    faces = close(vertices, faces)
    order = np.argsort(-np.ptp(vertices, axis=0))
    low = vertices.min(axis=0) - 4 * step
    size = np.ceil((np.ptp(vertices, axis=0) + 8 * step) / step).astype(np.int64)
    columns, rows, slices = size[order]
    x, y, z = ((vertices - low) / step)[:, order].T
    finer = 3  # several rays a cell, or a slanting shaft gets steps
    plane = finer * np.column_stack([x, y]) - 0.5
    below = [
        thickness(np.column_stack([plane, np.minimum(z, top)]), faces, (finer * rows, finer * columns))
        .reshape(rows, finer, columns, finer)
        .mean(axis=(1, 3))
        for top in range(slices + 1)
    ]
    # The sign depends on whether the axes were swapped once or twice.
    share = np.clip(np.abs(np.diff(below, axis=0)), 0, 1).transpose(2, 1, 0)
    share = share.transpose(np.argsort(order))
    net, quads = _surface(_smooth(share, rounds), level)
    return low + step * (net + 0.5), quads


def inner_radius(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Radius of the largest ball that touches each vertex from inside, from at most 600 other vertices."""
    inwards = -normals(vertices, faces)
    others = vertices[:: max(1, len(vertices) // 600)]
    radius = np.empty(len(vertices))
    for begin in range(0, len(vertices), 1000):
        part = slice(begin, begin + 1000)
        apart = others[None] - vertices[part, None]
        ahead = np.einsum("ijk,ik->ij", apart, inwards[part])
        distance = np.einsum("ijk,ijk->ij", apart, apart)
        # Next neighbours say more about the grid than about the shape.
        open_to = (ahead > 0.3 * np.sqrt(distance)) & (distance > 1e-6)
        ball = distance / (2 * np.where(open_to, ahead, 1))
        radius[part] = np.where(open_to, ball, np.inf).min(axis=1)
    return np.minimum(radius, 30)


def refine(points: np.ndarray, faces: np.ndarray, wanted) -> tuple[np.ndarray, np.ndarray]:
    """Halve edges, without leaving cracks, until `wanted` asks for none (at most six rounds).

    Args:
        points: float (n, ...), anything that is to be interpolated along.
        faces: int (m, 3).
        wanted: takes the points at the two ends of k edges, each (k, ...), gives bool (k,).
    """
    finished = []
    for _ in range(6):
        ends = points[faces]
        busy = np.any([wanted(ends[:, k], ends[:, (k + 1) % 3]) for k in range(3)], axis=0)
        finished.append(faces[~busy])
        faces = faces[busy]
        if len(faces) == 0:
            break
        sides = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        _, first, edge_of = np.unique(
            sides[:, 0] * len(points) + sides[:, 1], return_index=True, return_inverse=True
        )
        edges, edge_of = sides[first], edge_of.reshape(3, -1).T
        split = wanted(points[edges[:, 0]], points[edges[:, 1]])
        middle = np.where(split, len(points) + np.cumsum(split) - 1, -1)[edge_of]
        points = np.concatenate([points, points[edges[split]].mean(axis=1)])
        parts = []
        for turn in range(3):
            a, b, c = np.roll(faces, -turn, axis=1).T
            ab, bc, ca = np.roll(middle, -turn, axis=1).T
            one = (ab >= 0) & (bc < 0) & (ca < 0)
            two = (ab >= 0) & (bc >= 0) & (ca < 0)
            parts += [np.stack(t, axis=1)[one] for t in ((a, ab, c), (ab, b, c))]
            parts += [np.stack(t, axis=1)[two] for t in ((ab, b, bc), (a, ab, bc), (a, bc, c))]
        a, b, c = faces.T
        ab, bc, ca = middle.T
        all_three = (middle >= 0).all(axis=1)
        pieces = ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))
        parts += [np.stack(t, axis=1)[all_three] for t in pieces]
        faces = np.concatenate(parts)
    return points, np.concatenate([*finished, faces])


def relax(vertices: np.ndarray, faces: np.ndarray, rounds: int) -> np.ndarray:
    """Smooth without shrinking: each round moves towards the neighbours' mean and back (Taubin, 1995)."""
    start = faces.ravel()
    end = np.roll(faces, -1, axis=1).ravel()
    count = np.maximum(np.bincount(start, minlength=len(vertices)), 1)
    for step in (0.5, -0.53) * rounds:
        mean = np.stack(
            [np.bincount(start, vertices[end, k], len(vertices)) / count for k in range(3)], axis=1
        )
        vertices = vertices + step * (mean - vertices)
    return vertices


def tube(
    centres: np.ndarray, across: np.ndarray, radii: np.ndarray, sides: int = 40
) -> tuple[np.ndarray, np.ndarray]:
    """A closed tube of elliptic sections through stations along a line, with domes at its ends.

    Args:
        centres: float (n, 3), the stations; a smooth curve runs through them.
        across: float (n, 3), the direction of each section's first radius (made perpendicular here).
        radii: float (n, 2), half width along `across` and half depth.
        sides: corners of a section.
    """
    at = np.linspace(0, len(centres) - 1, 6 * len(centres))
    stations = _spline(np.hstack([centres, across, radii]), at)
    middle, across, radii = stations[:, :3], stations[:, 3:6], stations[:, 6:]
    rise = np.linspace(1, 0, 8)[:-1, None]
    ends = []
    for end, inner in ((0, 1), (-1, -2)):
        out = middle[end] - middle[inner]
        out *= radii[end].min() / np.linalg.norm(out)
        ends.append((middle[end] + out * rise, radii[end] * np.sqrt(1 - rise**2)))
    middle = np.concatenate([ends[0][0], middle, ends[1][0][::-1]])
    radii = np.concatenate([ends[0][1], radii, ends[1][1][::-1]])
    across = np.concatenate([across[:1].repeat(7, 0), across, across[-1:].repeat(7, 0)])
    along = np.gradient(middle, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = across - np.einsum("ij,ij->i", across, along)[:, None] * along
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    up = np.cross(along, across)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = (
        middle[:, None]
        + (radii[:, :1] * np.cos(turn))[..., None] * across[:, None]
        + (radii[:, 1:] * np.sin(turn))[..., None] * up[:, None]
    )
    count = len(middle)
    vertices = np.concatenate([ring.reshape(-1, 3), middle[:1], middle[-1:]])
    here = np.arange(sides)
    after = np.roll(here, -1)
    base = sides * np.arange(count - 1)[:, None]
    first = np.stack([base + here, base + after, base + sides + after], axis=-1).reshape(-1, 3)
    second = np.stack([base + here, base + sides + after, base + sides + here], axis=-1).reshape(-1, 3)
    lid = np.stack([after, here, np.full(sides, count * sides)], axis=1)
    last = (count - 1) * sides
    cap = np.stack([last + here, last + after, np.full(sides, count * sides + 1)], axis=1)
    return vertices, np.concatenate([first, second, lid, cap])


def _spline(points: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Catmull-Rom curve through `points` at the parameters `at` (0 is the first point)."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    index = np.minimum(at.astype(np.int64), len(points) - 2)
    t = (at - index)[:, None]
    a, b, c, d = (padded[index + k] for k in range(4))
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
