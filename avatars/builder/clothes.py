"""Garments cut from the base mesh's tights helper: a top with a round neck, and a blazer with lapels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from avatars.builder.basemesh import Bools, Floats
from avatars.builder.gltf import Material
from avatars.builder.landmarks import Landmarks
from avatars.builder.raster import blur, jpeg, noise3, normal_map
from avatars.builder.rig import PosedBody
from avatars.builder.surface import (
    Surface,
    clip_surface,
    join,
    open_edges,
    relax,
    split_corners,
    subdivide,
    triangulate,
    vertex_normals,
)
from avatars.spec import Garment, rgb

_ARM = {side: (f"{side}Arm", f"{side}ForeArm", f"{side}Hand") for side in ("Left", "Right")}
_TILE = 0.06  # metres of cloth a texture covers


def _cloth(posed: PosedBody) -> Surface:
    """The tights' upper half, welded, a little smoothed so that it bridges hollows as cloth does."""
    quads = posed.mesh.faces["helper-tights"]
    corners = triangulate(quads).copy()
    corners[:, :, 1] = 0
    vertex, _, triangles = split_corners(corners)
    points = posed.vertices[vertex]
    weights = posed.skeleton.weights[vertex]
    normals = vertex_normals(points, triangles)
    smooth = relax(points, triangles, 14, 0.5)
    bridge = np.clip(((smooth - points) * normals).sum(1), 0, 0.014)
    points = points + normals * bridge[:, None]
    return Surface("Cloth", "Cloth", points, np.zeros((len(points), 2)), weights, triangles)


def _tailored(p: Floats, normals: Floats, weights: Floats, posed: PosedBody) -> Floats:
    """Points of a blazer: sleeves drawn in towards the arm, and shoulders squared as by a thin pad."""
    rig = posed.skeleton
    arm = _arm_reach(p, weights, posed)
    out = p.copy()
    slim = 0.17 * np.interp(arm, [-1, 0.0, 0.25, 0.9, 1.5, 1.95], [0, 0, 0.8, 1.0, 0.7, 0])
    for side, sign in (("Left", 1), ("Right", -1)):
        at, elbow, hand = (rig.heads[rig.index(side + b)] for b in ("Arm", "ForeArm", "Hand"))
        on = (arm >= 0) & (p[:, 0] * sign > 0)
        upper, lower = at + (elbow - at) * arm[:, None], elbow + (hand - elbow) * (arm[:, None] - 1)
        axis = np.where(arm[:, None] < 1, upper, lower)
        out[on] += ((axis - p) * slim[:, None])[on]
    joint = abs(rig.heads[rig.index("LeftArm"), 0])
    pad = np.exp(-(((np.abs(p[:, 0]) - joint) / 0.026) ** 2)) * np.clip(normals[:, 1], 0, 1)
    out[:, 1] += 0.0055 * pad
    return out


def _neckline(p: Floats, marks: Landmarks, low: float, scoop: float, reach: float) -> Floats:
    """Above zero inside the neck opening: above a plane that falls to the front, and near the neck's axis."""
    dip = scoop * np.exp(-((p[:, 0] / 0.07) ** 2)) * np.clip((p[:, 2] - 0.0) / 0.05, 0, 1)
    plane = p[:, 1] - (marks.neck[1] + 0.006 - low - 0.42 * p[:, 2] - dip)
    axis = np.hypot(p[:, 0], (p[:, 2] - marks.neck[2] - 0.012) * np.where(p[:, 2] > 0.03, 0.6, 1.0))
    return np.asarray(np.minimum(plane, (reach - axis) * 0.8))


def _arm_reach(p: Floats, weights: Floats, posed: PosedBody) -> Floats:
    """How far down the arm each point lies: 0 at the shoulder, 1 at the elbow, 2 at the wrist, -1 off the arms."""
    rig = posed.skeleton
    out = np.full(len(p), -1.0)
    for side in ("Left", "Right"):
        arm, fore, hand = (rig.heads[rig.index(side + b)] for b in ("Arm", "ForeArm", "Hand"))
        columns = [n for n, bone in enumerate(rig.names) if bone.startswith(_ARM[side])]
        on_arm = weights[:, columns].sum(1) > 0.5
        upper = ((p - arm) @ (fore - arm)) / ((fore - arm) @ (fore - arm))
        lower = ((p - fore) @ (hand - fore)) / ((hand - fore) @ (hand - fore))
        reach = np.where(lower > 0, 1 + lower, np.clip(upper, 0, 1))
        out = np.where(on_arm, reach, out)
    return out


def _front_opening(p: Floats, marks: Landmarks) -> Floats:
    """Half the width of a blazer's opening at each height; it closes at the button."""
    button = marks.neck[1] - 0.30
    up = np.clip((p[:, 1] - button) / 0.29, 0, 1)
    down = np.clip((button - 0.03 - p[:, 1]) / 0.25, 0, 1)
    return np.asarray(-0.004 + 0.070 * up**0.9 + 0.05 * down**1.6)


def covered(kind: str, p: Floats, weights: Floats, posed: PosedBody, marks: Landmarks) -> Floats:
    """Below zero where the garment covers the point: the cut lines of each kind, in metres."""
    hips = posed.skeleton.heads[posed.skeleton.index("Hips"), 1] - 0.04
    hem = hips - p[:, 1]
    arm = _arm_reach(p, weights, posed)
    hem = np.where(arm > -1, -1.0, hem)
    if kind == "tee":
        return np.asarray(np.maximum.reduce([_neckline(p, marks, 0.010, 0.012, 0.098), hem, (arm - 0.55) * 0.25]))
    front = np.where((p[:, 2] > 0.0) & (arm < 0), _front_opening(p, marks) - np.abs(p[:, 0]), -1.0)
    return np.asarray(np.maximum.reduce([_neckline(p, marks, 0.004, 0.0, 0.083), hem, (arm - 1.97) * 0.25, front]))


def dress(posed: PosedBody, marks: Landmarks, garments: tuple[Garment, ...]) -> list[Surface]:
    """The garments from the inside out; each is cut, lifted off what is below, hemmed and laid out for its weave."""
    cloth = _cloth(posed)
    out: list[Surface] = []
    kinds = [g.kind for g in garments]
    for number, garment in enumerate(garments):
        lift = 0.003 + 0.0045 * number
        shaped = subdivide(cloth)
        normals = vertex_normals(shaped.points, shaped.triangles)
        folds = 0.0022 * noise3(shaped.points * [1, 0.45, 1], 0.05, 61 + number) * (0.4 + 0.6 * number)
        shaped = replace(shaped, points=shaped.points + normals * (lift + folds)[:, None])
        if garment.kind == "blazer":
            shaped = replace(shaped, points=_tailored(shaped.points, normals, shaped.weights, posed))
        shaped = replace(shaped, normals=vertex_normals(shaped.points, shaped.triangles))
        cut = clip_surface(shaped, covered(garment.kind, shaped.points, shaped.weights, posed, marks))
        name = "Top" if garment.kind == "tee" else "Jacket"
        cut = replace(cut, name=name, material=name)
        if garment.kind == "tee" and "blazer" in kinds[number + 1 :]:
            hidden = _under_blazer(cut, posed, marks)
            cut = clip_surface(cut, np.where(hidden, 1.0, -1.0))
        parts = [_hem(cut)]
        if garment.kind == "blazer":
            parts += _lapels(cut, marks)
        out.append(_lay_out(join(parts)))
    return out


def _under_blazer(s: Surface, posed: PosedBody, marks: Landmarks) -> Bools:
    p = s.points
    away = np.abs(p[:, 0]) > _front_opening(p, marks) + 0.035
    deep = _neckline(p, marks, 0.004, 0.0, 0.083) < -0.04
    behind = p[:, 2] < 0.0
    return np.asarray(deep & (away | behind))


def _hem(s: Surface, depth: float = 0.012, thick: float = 0.0035) -> Surface:
    """Turns open edges inwards, so that the cloth shows a thickness."""
    assert s.normals is not None
    edges = open_edges(s.triangles)
    rim = np.unique(edges)
    inward = np.zeros_like(s.points)
    along = s.points[edges[:, 1]] - s.points[edges[:, 0]]
    for k in range(2):
        np.add.at(inward, edges[:, k], np.cross(s.normals[edges[:, k]], along))
    inward /= np.maximum(np.linalg.norm(inward, axis=1, keepdims=True), 1e-9)
    edge, up, into = s.points[rim], s.normals[rim], inward[rim]
    rings = [edge, edge - up * thick * 0.5 - into * 0.0012, edge - up * thick, edge - up * thick * 1.3 + into * depth]
    place = np.zeros(len(s.points), np.int64)
    place[rim] = np.arange(len(rim))
    base, n = len(s.points), len(rim)
    triangles = [s.triangles]
    for ring in range(len(rings) - 1):
        a, b = (base + ring * n + place[edges[:, k]] for k in range(2))
        triangles += [np.stack([a, a + n, b], 1), np.stack([b, a + n, b + n], 1)]
    points = np.concatenate([s.points, *rings])
    all_triangles = np.concatenate(triangles)
    lip = vertex_normals(points, all_triangles)[base:]
    return replace(
        s,
        points=points,
        weights=np.concatenate([s.weights, *[s.weights[rim]] * len(rings)]),
        triangles=all_triangles,
        uvs=np.zeros((len(points), 2)),
        normals=np.concatenate([s.normals, lip]),
    )


def _lapels(s: Surface, marks: Landmarks) -> list[Surface]:
    """Lapels and collar: the blazer's edge strip once more, lifted, with a notch at the collar."""
    p = s.points
    button = marks.neck[1] - 0.30
    up = np.clip((p[:, 1] - button) / 0.27, 0, 1)
    width = 0.072 * np.sin(np.pi * 0.5 * up**0.8)
    notch = 0.030 * np.exp(-(((p[:, 1] - (marks.neck[1] - 0.055)) / 0.009) ** 2))
    front = np.where((p[:, 2] > 0.01) & (up > 0), np.abs(p[:, 0]) - _front_opening(p, marks) - width + notch, 1.0)
    collar = -_neckline(p, marks, 0.004, 0.0, 0.083) - 0.034
    collar = np.where(p[:, 2] > 0.03, np.maximum(collar, 0.008), collar)
    strip = clip_surface(s, np.minimum(front, collar))
    assert strip.normals is not None
    strip = replace(strip, points=strip.points + strip.normals * 0.0055)
    return [_hem(strip, 0.004, 0.005)]


def _lay_out(s: Surface) -> Surface:
    """UVs in tiles of cloth: the front view, unrolled around the sides."""
    p = s.points
    u = p[:, 0] - p[:, 2] * np.tanh(p[:, 0] / 0.06)
    uvs = np.stack([u, -p[:, 1]], 1) / _TILE
    return replace(s, uvs=uvs)


def cloth_material(name: str, garment: Garment) -> Material:
    """A woven tile: twill for the blazer, fine knit for the top."""
    size = 128
    y, x = np.mgrid[0:size, 0:size] / size
    rng = np.random.default_rng(71)
    if garment.kind == "blazer":
        weave = np.sin(2 * np.pi * (x * 24 + y * 24)) * 0.7 + 0.3 * np.sin(2 * np.pi * y * 32)
        strength, rough = 0.00016, 0.86
    else:
        weave = np.sin(2 * np.pi * x * 26) * (0.6 + 0.4 * np.sin(2 * np.pi * y * 32))
        strength, rough = 0.00012, 0.92
    weave = weave + 0.5 * blur(rng.normal(0, 1, (size, size)), 1.2) * 2
    position = np.stack([x * _TILE, -y * _TILE, 0 * x], -1)
    colour = np.array(rgb(garment.colour)) * (1 + 0.05 * weave[..., None])
    return Material(
        name,
        roughness=rough,
        base=jpeg(f"{name.lower()}-colour", colour, 85),
        normal=jpeg(f"{name.lower()}-normal", normal_map(strength * weave, position), 80),
        normal_scale=0.7,
        double_sided=True,
        extensions={"KHR_materials_specular": {"specularFactor": 0.35}},
    )


def hide_body(body: Surface, posed: PosedBody, marks: Landmarks, garments: tuple[Garment, ...]) -> Bools:
    """Which triangles of the body stay: those that no garment covers with a margin."""
    hidden = np.zeros(len(body.points), bool)
    for garment in garments:
        hidden |= covered(garment.kind, body.points, body.weights, posed, marks) < -0.014
    low = body.points[:, 1] < posed.skeleton.heads[posed.skeleton.index("Hips"), 1] - 0.02
    low &= _arm_reach(body.points, body.weights, posed) < 0
    return np.asarray(~(hidden | low)[body.triangles].all(1))
