"""The head as distances from its middle: a smooth shell that hair and collars keep outside of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avatars.builder.basemesh import Floats, Ints
from avatars.builder.occlusion import spread_points
from avatars.builder.raster import blur, fill_gaps

_ROWS, _COLUMNS = 64, 128


@dataclass(frozen=True, slots=True)
class Hull:
    """`radius` (64, 128) by polar angle from +y and by azimuth from +z, around `centre`."""

    centre: Floats
    radius: Floats

    def at(self, points: Floats) -> Floats:
        """The shell's radius in the direction of each point (n, 3)."""
        rel = points - self.centre
        length = np.maximum(np.linalg.norm(rel, axis=-1), 1e-9)
        row = np.arccos(np.clip(rel[..., 1] / length, -1, 1)) / np.pi * _ROWS - 0.5
        column = (np.arctan2(rel[..., 0], rel[..., 2]) / (2 * np.pi) + 0.5) * _COLUMNS - 0.5
        row = np.clip(row, 0, _ROWS - 1.001)
        i, j = np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)
        fy, fx = row - i, column - j
        j0, j1 = j % _COLUMNS, (j + 1) % _COLUMNS
        r = self.radius
        return np.asarray(
            (r[i, j0] * (1 - fx) + r[i, j1] * fx) * (1 - fy) + (r[i + 1, j0] * (1 - fx) + r[i + 1, j1] * fx) * fy
        )

    def surface(self, directions: Floats, offset: Floats | float = 0.0) -> Floats:
        """Points on the shell, lifted by `offset` metres."""
        unit = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
        return np.asarray(self.centre + unit * (self.at(self.centre + unit) + offset)[..., None])

    def outside(self, points: Floats, offset: Floats | float) -> Floats:
        """The points, moved outwards where they lie less than `offset` above the shell."""
        rel = points - self.centre
        length = np.linalg.norm(rel, axis=-1)
        least = self.at(points) + offset
        return np.asarray(self.centre + rel * np.maximum(1, least / np.maximum(length, 1e-9))[..., None])

    def normal(self, points: Floats) -> Floats:
        """Outward unit normals, from differences of the shell's radius."""
        rel = points - self.centre
        unit = rel / np.linalg.norm(rel, axis=-1, keepdims=True)
        steep = np.abs(unit[..., 1:2]) > 0.8
        side = np.cross(unit, np.where(steep, [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]))
        side /= np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-6)
        up = np.cross(side, unit)
        step = 0.09
        a = self.surface(unit + step * side) - self.surface(unit - step * side)
        b = self.surface(unit + step * up) - self.surface(unit - step * up)
        n = np.cross(a, b)
        n = n * np.sign((n * unit).sum(-1, keepdims=True))
        return np.asarray(n / np.maximum(np.linalg.norm(n, axis=-1, keepdims=True), 1e-12))


def head_hull(centre: Floats, points: Floats, triangles: Ints, pressed: float) -> Hull:
    """Measures the shell of a head surface; ears count only as far as hair presses them to the head."""
    cloud = spread_points(points, triangles, 0.003) - centre
    cloud[:, 0] = np.clip(cloud[:, 0], -pressed, pressed)
    length = np.linalg.norm(cloud, axis=1)
    row = np.clip(np.arccos(cloud[:, 1] / length) / np.pi * _ROWS, 0, _ROWS - 1).astype(np.int64)
    column = ((np.arctan2(cloud[:, 0], cloud[:, 2]) / (2 * np.pi) + 0.5) * _COLUMNS).astype(np.int64) % _COLUMNS
    radius = np.zeros(_ROWS * _COLUMNS)
    np.maximum.at(radius, row * _COLUMNS + column, length)
    grid = np.zeros((_COLUMNS, _COLUMNS))
    grid[:_ROWS] = radius.reshape(_ROWS, _COLUMNS)
    filled = fill_gaps(grid[..., None], grid > 0)[..., 0]
    filled[_ROWS:] = filled[_ROWS - 1 :: -1]
    return Hull(centre, blur(filled, 1.6)[:_ROWS])
