"""Cuts the posed base mesh into the parts that are seen: face, body, mouth."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from avatars.builder.basemesh import Bools, Floats, Ints
from avatars.builder.rig import PosedBody
from avatars.builder.surface import Surface, split_corners, triangulate


def surface_from(posed: PosedBody, name: str, material: str, quads: Ints, uv: Floats | None = None) -> Surface:
    """A surface of base mesh quads (f, 4, 2), with the morphs that move it. `uv` replaces the mesh's UV table."""
    vertex, coord, triangles = split_corners(triangulate(quads))
    table = posed.mesh.uvs if uv is None else uv
    uvs = np.stack([table[coord, 0], 1 - table[coord, 1]], 1)
    morphs = {}
    for key, offsets in posed.morphs.items():
        if name == "Face" or np.abs(offsets[vertex]).max() > 1e-5:
            morphs[key] = offsets[vertex]
    return Surface(
        name,
        material,
        posed.vertices[vertex],
        uvs,
        posed.skeleton.weights[vertex],
        triangles,
        morphs,
        source=vertex,
        coord=coord,
    )


def original_uvs(posed: PosedBody, surface: Surface) -> Floats:
    """The base mesh's own UVs (n, 2) of a surface made with `surface_from`."""
    assert surface.coord is not None
    return posed.mesh.uvs[surface.coord]


def face_quads(posed: PosedBody) -> Ints:
    """Quads of head, neck, eye sockets and the inside of the mouth."""
    quads = posed.mesh.faces["body"]
    return np.asarray(quads[_on_islands(posed, quads, _FACE_ISLANDS)])


def body_quads(posed: PosedBody) -> Ints:
    """Quads of chest, arms and hands; legs and feet are never framed."""
    quads = posed.mesh.faces["body"]
    legs = [posed.skeleton.index(s + b) for s in ("Left", "Right") for b in ("UpLeg", "Leg", "Foot", "ToeBase")]
    leg = posed.skeleton.weights[quads[:, :, 0]][:, :, legs].sum(2).min(1) > 0.5
    return np.asarray(quads[~_on_islands(posed, quads, _FACE_ISLANDS) & ~leg])


def uv_islands(quads: Ints, count: int) -> Ints:
    """A label (count,) for each UV: equal for UVs joined by faces."""
    parent = list(range(count))

    def root(n: int) -> int:
        while parent[n] != n:
            parent[n] = parent[parent[n]]
            n = parent[n]
        return n

    for a, b, c, d in quads[:, :, 1].tolist():
        first = root(a)
        for other in (b, c, d):
            parent[root(other)] = first
    return np.array([root(n) for n in range(count)])


def face_islands(posed: PosedBody) -> dict[str, Bools]:
    """For each island of the face, which UVs (uvs,) belong to it."""
    labels = uv_islands(posed.mesh.faces["body"], len(posed.mesh.uvs))
    used = np.unique(posed.mesh.faces["body"][:, :, 1])
    out = {}
    for name, seed in _FACE_ISLANDS.items():
        nearest = used[np.argmin(((posed.mesh.uvs[used] - seed) ** 2).sum(1))]
        out[name] = labels == labels[nearest]
    return out


_FACE_ISLANDS = {
    "head": (0.88, 0.40),
    "mouth": (0.84, 0.08),
    "left socket": (0.045, 0.59),
    "right socket": (0.12, 0.59),
}


def _on_islands(posed: PosedBody, quads: Ints, names: Iterable[str]) -> Bools:
    islands = face_islands(posed)
    chosen = np.any([islands[n] for n in names], axis=0)
    return np.asarray(chosen[quads[:, 0, 1]])
