"""Triangle surfaces: the value every part of the avatar becomes, and the geometry done on it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from avatars.builder.basemesh import Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class Surface:
    """A named piece of the avatar, ready to be written.

    `points` (n, 3) metres, `normals` (n, 3), `uvs` (n, 2) with v down, `weights` (n, bones), `triangles` (t, 3),
    `morphs` name to (n, 3), `source` (n,) the base mesh vertex of
    each point, `coord` (n,) its base mesh UV, `shade` (n,) linear light 0..1.
    """

    name: str
    material: str
    points: Floats
    uvs: Floats
    weights: Floats
    triangles: Ints
    morphs: dict[str, Floats] = field(default_factory=dict)
    normals: Floats | None = None
    source: Ints | None = None
    coord: Ints | None = None
    shade: Floats | None = None

    def with_normals(self) -> Surface:
        return self if self.normals is not None else replace(self, normals=smooth_normals(self.points, self.triangles))


def vertex_normals(points: Floats, triangles: Ints) -> Floats:
    """Area-weighted unit normals (n, 3)."""
    a, b, c = points[triangles].transpose(1, 0, 2)
    face = np.cross(b - a, c - a)
    normals = np.zeros_like(points)
    for k in range(3):
        np.add.at(normals, triangles[:, k], face)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.asarray(normals / np.where(length > 0, length, 1))


def smooth_normals(points: Floats, triangles: Ints) -> Floats:
    """Unit normals that are equal for points at the same place, so that UV seams do not show."""
    _, welded = np.unique(np.round(points, 6), axis=0, return_inverse=True)
    welded = welded.ravel()
    shared = np.zeros((welded.max() + 1, 3))
    shared[welded] = points
    return vertex_normals(shared, welded[triangles])[welded]


def triangulate(quads: Ints) -> Ints:
    """Two triangles for each quad: (f, 4, ...) to (2f, 3, ...)."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def split_corners(corners: Ints) -> tuple[Ints, Ints, Ints]:
    """Joins vertex and UV indices: (t, 3, 2) to vertex index (n,), UV index (n,) and triangles (t, 3)."""
    pairs, index = np.unique(corners.reshape(-1, 2), axis=0, return_inverse=True)
    return pairs[:, 0], pairs[:, 1], index.ravel().reshape(-1, 3)


def keep_triangles(surface: Surface, keep: Bools) -> Surface:
    """The surface with only the chosen triangles and the points they use."""
    used, index = np.unique(surface.triangles[keep], return_inverse=True)
    return replace(
        surface,
        points=surface.points[used],
        uvs=surface.uvs[used],
        weights=surface.weights[used],
        triangles=index.ravel().reshape(-1, 3),
        morphs={name: offsets[used] for name, offsets in surface.morphs.items()},
        normals=None if surface.normals is None else surface.normals[used],
        source=None if surface.source is None else surface.source[used],
        coord=None if surface.coord is None else surface.coord[used],
        shade=None if surface.shade is None else surface.shade[used],
    )
