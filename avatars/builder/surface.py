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


def clip_surface(surface: Surface, value: Floats) -> Surface:
    """Keeps what lies where `value` (n,) is below zero, cutting triangles along the zero line."""
    tri = surface.triangles
    inside = value < 0
    count = inside[tri].sum(1)
    keep = [tri[count == 3]]
    cuts: dict[tuple[int, int], int] = {}
    ends: list[tuple[int, int]] = []
    base = len(surface.points)

    def cut(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in cuts:
            cuts[key] = base + len(ends)
            ends.append(key)
        return cuts[key]

    extra: list[list[int]] = []
    for row in tri[(count == 1) | (count == 2)]:
        lone = inside[row].sum() == 1
        k = int(np.flatnonzero(inside[row] == lone)[0])
        a, b, c = int(row[k]), int(row[(k + 1) % 3]), int(row[(k + 2) % 3])
        ab, ac = cut(a, b), cut(a, c)
        if lone:
            extra.append([a, ab, ac])
        else:
            extra += [[ab, b, c], [ab, c, ac]]
    if extra:
        keep.append(np.array(extra))
    pair = np.array(ends, np.int64).reshape(-1, 2)
    span = value[pair[:, 0]] - value[pair[:, 1]]
    t = np.clip(value[pair[:, 0]] / np.where(np.abs(span) < 1e-12, 1e-12, span), 0, 1)[:, None]

    def grow(array: Floats) -> Floats:
        return np.concatenate([array, array[pair[:, 0]] * (1 - t) + array[pair[:, 1]] * t])

    grown = replace(
        surface,
        points=grow(surface.points),
        uvs=grow(surface.uvs),
        weights=grow(surface.weights),
        triangles=np.concatenate(keep),
        morphs={name: grow(offsets) for name, offsets in surface.morphs.items()},
        normals=None if surface.normals is None else grow(surface.normals),
        source=None,
        coord=None,
        shade=None if surface.shade is None else grow(surface.shade[:, None])[:, 0],
    )
    return keep_triangles(grown, np.ones(len(grown.triangles), bool))


def join(parts: list[Surface]) -> Surface:
    """One surface of several that have no morphs; name and material are the first one's."""
    shift = np.cumsum([0, *[len(s.points) for s in parts[:-1]]])
    normals = [s.with_normals().normals for s in parts]
    shades = [s.shade for s in parts]
    return replace(
        parts[0],
        points=np.concatenate([s.points for s in parts]),
        uvs=np.concatenate([s.uvs for s in parts]),
        weights=np.concatenate([s.weights for s in parts]),
        triangles=np.concatenate([s.triangles + n for s, n in zip(parts, shift, strict=True)]),
        normals=np.concatenate([n for n in normals if n is not None]),
        shade=None if shades[0] is None else np.concatenate([x for x in shades if x is not None]),
        source=None,
        coord=None,
    )


def open_edges(triangles: Ints) -> Ints:
    """Directed edges (e, 2) that belong to one triangle only."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    known = {(int(a), int(b)) for a, b in edges}
    return np.array([e for e in known if (e[1], e[0]) not in known], np.int64).reshape(-1, 2)


def subdivide(surface: Surface) -> Surface:
    """Every triangle becomes four, and the points are smoothed a little; open edges stay where they are."""
    tri = surface.triangles
    edges = np.sort(np.concatenate([tri[:, [0, 1]], tri[:, [1, 2]], tri[:, [2, 0]]]), axis=1)
    pair, index = np.unique(edges, axis=0, return_inverse=True)
    n, t = len(surface.points), len(tri)
    ab, bc, ca = (n + index.ravel()[k * t : (k + 1) * t] for k in range(3))
    a, b, c = tri.T
    new = np.concatenate([np.stack(x, 1) for x in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])

    def grow(array: Floats) -> Floats:
        return np.concatenate([array, array[pair].mean(1)])

    finer = replace(
        surface,
        points=grow(surface.points),
        uvs=grow(surface.uvs),
        weights=grow(surface.weights),
        triangles=new,
        normals=None,
        source=None,
        coord=None,
    )
    return replace(finer, points=relax(finer.points, new, 2, 0.5))


def relax(points: Floats, triangles: Ints, rounds: int, amount: float) -> Floats:
    """Moves points towards the average of their neighbours; open edges stay."""
    fixed = np.unique(open_edges(triangles))
    for _ in range(rounds):
        total, weight = np.zeros_like(points), np.zeros(len(points))
        for k in range(3):
            for j in (1, 2):
                np.add.at(total, triangles[:, k], points[triangles[:, (k + j) % 3]])
                np.add.at(weight, triangles[:, k], 1.0)
        moved = points + amount * (total / np.maximum(weight, 1)[:, None] - points)
        moved[fixed] = points[fixed]
        points = moved
    return points
