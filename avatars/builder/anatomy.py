"""Cuts the posed base mesh into the parts that are seen: face, body, mouth."""

from __future__ import annotations

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
    """Quads of head, neck and the inside of the mouth: the UV islands right of the torso's."""
    quads = posed.mesh.faces["body"]
    uv = posed.mesh.uvs[quads[:, :, 1]].mean(1)
    head = (uv[:, 0] > 0.635) & (uv[:, 1] > 0.14) & (uv[:, 1] < 0.83)
    mouth = _mouth_island(uv)
    ears = (uv[:, 0] < 0.16) & (uv[:, 1] > 0.53) & (uv[:, 1] < 0.65)
    return np.asarray(quads[head | mouth | ears])


def body_quads(posed: PosedBody) -> Ints:
    """Quads of chest, arms and hands; legs and feet are never framed."""
    quads = posed.mesh.faces["body"]
    uv = posed.mesh.uvs[quads[:, :, 1]].mean(1)
    rest = ~((uv[:, 0] > 0.635) & (uv[:, 1] > 0.14) & (uv[:, 1] < 0.83))
    rest &= ~_mouth_island(uv) & ~((uv[:, 0] < 0.16) & (uv[:, 1] > 0.53) & (uv[:, 1] < 0.65))
    legs = [posed.skeleton.index(s + b) for s in ("Left", "Right") for b in ("UpLeg", "Leg", "Foot", "ToeBase")]
    leg = posed.skeleton.weights[quads[:, :, 0]][:, :, legs].sum(2).min(1) > 0.5
    return np.asarray(quads[rest & ~leg])


def _mouth_island(uv: Floats) -> Bools:
    """The inside of the mouth; its UV island nearly touches a fingertip's."""
    return (uv[:, 0] > 0.757) & (uv[:, 1] < 0.14) & ~((uv[:, 0] < 0.770) & (uv[:, 1] > 0.10))
