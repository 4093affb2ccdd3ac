"""How much open sky each point of the avatar sees: soft shadows for textures and vertex colours."""

from __future__ import annotations

import numpy as np

from avatars.builder.basemesh import Floats, Ints
from avatars.builder.surface import Surface


def sky_visibility(
    surfaces: list[Surface], blockers: list[Surface], cell: float = 0.005, directions: int = 64
) -> list[Floats]:
    """For each surface, the share (n,) of a hemisphere of sky (and some ground) that no blocker hides.

    Depth buffers of points sampled on the blockers' triangles, seen from evenly spread directions.
    """
    bias = 0.003 + cell
    cloud = np.concatenate([spread_points(s.points, s.triangles, cell) for s in blockers])
    cloud = np.unique(np.round(cloud / (cell * 0.7)).astype(np.int32), axis=0) * (cell * 0.7)
    k = np.arange(directions) + 0.5
    y = 1 - 1.35 * k / directions
    angle = np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - y**2)
    rays = np.stack([ring * np.cos(angle), y, ring * np.sin(angle)], 1)
    normals = [s.with_normals().normals for s in surfaces]
    seen = [np.zeros(len(s.points)) for s in surfaces]
    total = [np.full(len(s.points), 1e-9) for s in surfaces]
    low = cloud.min(0) - 0.05
    for ray in rays:
        side = np.cross(ray, [0.0, 0.0, 1.0] if abs(ray[2]) < 0.9 else [1.0, 0.0, 0.0])
        side /= np.linalg.norm(side)
        frame = np.stack([side, np.cross(ray, side), ray], 1)
        flat = (cloud - low) @ frame
        floor = flat[:, :2].min(0)
        grid = ((flat[:, :2] - floor) / cell).astype(np.int64) + 1
        shape = grid.max(0) + 2
        depth = np.full(shape[0] * shape[1], -1e9)
        np.maximum.at(depth, grid[:, 0] * shape[1] + grid[:, 1], flat[:, 2])
        for n, s in enumerate(surfaces):
            normal = normals[n]
            assert normal is not None
            facing = np.clip(normal @ ray, 0, 1)
            here = (s.points + normal * 0.002 - low) @ frame
            at = ((here[:, :2] - floor) / cell).astype(np.int64) + 1
            at = np.clip(at, 0, shape - 1)
            open_ = depth[at[:, 0] * shape[1] + at[:, 1]] < here[:, 2] + bias
            weight = facing * (1.0 if ray[1] > 0 else 0.7)
            seen[n] += weight * open_
            total[n] += weight
    return [_relax(a / b, s) for a, b, s in zip(seen, total, surfaces, strict=True)]


def spread_points(points: Floats, triangles: Ints, spacing: float) -> Floats:
    """Points spread over the triangles about `spacing` apart."""
    a, b, c = points[triangles].transpose(1, 0, 2)
    longest = np.maximum(
        np.linalg.norm(b - a, axis=1), np.maximum(np.linalg.norm(c - b, axis=1), np.linalg.norm(a - c, axis=1))
    )
    steps = np.clip(np.ceil(longest / spacing), 1, 4).astype(np.int64)
    out = []
    for n in np.unique(steps):
        rows = steps == n
        for i in range(n + 1):
            for j in range(n + 1 - i):
                u, v = i / n, j / n
                out.append(a[rows] * (1 - u - v) + b[rows] * u + c[rows] * v)
    return np.concatenate(out)


def _relax(value: Floats, s: Surface) -> Floats:
    """Two rounds of averaging with the neighbours, across UV seams."""
    _, weld = np.unique(np.round(s.points, 6), axis=0, return_inverse=True)
    weld = weld.ravel()
    tri = weld[s.triangles]
    count = weld.max() + 1
    shared = np.zeros(count)
    shared[weld] = value
    for _ in range(2):
        total, weight = shared * 1.0, np.ones(count)
        for i in range(3):
            np.add.at(total, tri[:, i], shared[tri[:, (i + 1) % 3]] + shared[tri[:, (i + 2) % 3]])
            np.add.at(weight, tri[:, i], 2.0)
        shared = total / weight
    return np.asarray(shared[weld])
