"""Teeth, gums and tongue."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from avatars.builder.anatomy import surface_from
from avatars.builder.basemesh import Floats, Ints
from avatars.builder.gltf import Material
from avatars.builder.raster import jpeg
from avatars.builder.rig import PosedBody
from avatars.builder.surface import Surface

# Widths of half an arch in millimetres from the middle outwards: two incisors, canine, two premolars, a molar.
_UPPER = ((8.6, 10.2), (6.8, 9.4), (7.6, 9.9), (7.0, 8.4), (6.8, 7.8), (9.6, 7.2))
_LOWER = ((5.6, 8.6), (6.2, 8.7), (6.9, 9.3), (7.0, 8.2), (7.1, 7.6), (10.0, 7.0))


def teeth(posed: PosedBody) -> Surface:
    """Two arches of single teeth with gums. UVs pick enamel (u < 0.5) or gum (u > 0.5); `shade` darkens the back."""
    points, uvs, triangles, weights, shade = [], [], [], [], []
    morphs: dict[str, list[Floats]] = {name: [] for name in posed.morphs}
    shift = 0
    for group, sizes, up, bone in (
        ("helper-upper-teeth", _UPPER, 1.0, "Head"),
        ("helper-lower-teeth", _LOWER, -1.0, "Jaw"),
    ):
        rows = posed.mesh.group_vertices(group)
        p, uv, tri = _arch(posed.vertices[rows], sizes, up)
        points.append(p)
        uvs.append(uv)
        triangles.append(tri + shift)
        weights.append(posed.skeleton.rigid(len(p), bone))
        depth = np.clip((p[:, 2] - p[:, 2].min()) / np.ptp(p[:, 2]), 0, 1)
        aside = np.clip((np.abs(p[:, 0]) - 0.011) / 0.012, 0, 1)
        shade.append((0.05 + 0.95 * np.clip((depth - 0.6) / 0.34, 0, 1) ** 1.5) * (1 - 0.93 * aside))
        helper = np.c_[posed.vertices[rows], np.ones(len(rows))]
        for name, offsets in posed.morphs.items():
            fit = np.linalg.lstsq(helper, offsets[rows], rcond=None)[0]
            rigid = up < 0 and np.abs(offsets[rows]).max() > 1e-4
            morphs[name].append(np.c_[p, np.ones(len(p))] @ fit if rigid else np.zeros_like(p))
        shift += len(p)
    moved = {name: np.concatenate(parts) for name, parts in morphs.items()}
    return Surface(
        "Teeth",
        "Teeth",
        np.concatenate(points),
        np.concatenate(uvs),
        np.concatenate(weights),
        np.concatenate(triangles),
        {name: o for name, o in moved.items() if np.abs(o).max() > 1e-4},
        shade=np.concatenate(shade),
    )


def _arch(helper: Floats, sizes: tuple[tuple[float, float], ...], up: float) -> tuple[Floats, Floats, Ints]:
    """One dental arch fitted to the helper strip: a superellipse in the horizontal plane."""
    half, back = np.abs(helper[:, 0]).max(), helper[:, 2].min()
    front = helper[:, 2].max() - (0.0010 if up > 0 else 0.0030)
    bite = helper[np.abs(helper[:, 0]) < 0.004, 1]
    edge = (bite.min() - 0.0016) if up > 0 else (bite.max() - 0.0022)
    phi = np.linspace(0, np.pi / 2, 200)
    cx = half * np.sin(phi) ** (2 / 2.15)
    cz = back + (front - back) * np.cos(phi) ** (2 / 2.15)
    arc = np.concatenate([[0], np.cumsum(np.hypot(np.diff(cx), np.diff(cz)))])
    scale = 0.74 * arc[-1] / sum(w for w, _ in sizes)
    points, uvs, triangles = [], [], []
    shift = 0
    place = 0.0
    for width, height in sizes:
        w = width * scale
        middle = place + w / 2
        place += w
        for side in (1.0, -1.0):
            x, z = np.interp(middle, arc, cx), np.interp(middle, arc, cz)
            ahead = np.array([np.interp(middle + 1e-4, arc, cx) - x, 0, np.interp(middle + 1e-4, arc, cz) - z])
            along = ahead / np.linalg.norm(ahead)
            out = np.array([-along[2], 0, along[0]])
            local, uv, tri = _tooth(w * 0.985, height * 1e-3, min(0.0065, 0.004 + 0.15 * w), up)
            drop = 0.0006 * (place / arc[-1]) * up
            p = np.array([x, edge + drop, z]) + local[:, :1] * along + local[:, 1:2] * [0, up, 0] + local[:, 2:] * out
            points.append(p * [side, 1, 1])
            uvs.append(uv)
            flip = (side > 0) == (up > 0)
            triangles.append((tri if flip else tri[:, ::-1]) + shift)
            shift += len(p)
    gum, guv, gtri = _gum(arc, cx, cz, edge, up, scale)
    points.append(gum)
    uvs.append(guv)
    triangles.append(gtri + shift)
    return np.concatenate(points), np.concatenate(uvs), np.concatenate(triangles)


def _tooth(width: float, height: float, depth: float, up: float) -> tuple[Floats, Floats, Ints]:
    """A rounded crown standing on y = 0 (the biting edge), as rings from edge to root; axes: along, up, out."""
    rings = np.array([0.0, 0.03, 0.12, 0.4, 0.75, 1.0])
    wide = np.array([0.74, 0.90, 0.98, 1.0, 0.92, 0.80])
    thick = np.array([0.22, 0.36, 0.50, 0.8, 1.0, 0.95])
    lean = np.array([-0.02, 0.0, 0.02, 0.04, 0.0, -0.05])
    angle = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    sx = np.sign(cos) * np.abs(cos) ** 0.6 * width / 2
    sz = np.sign(sin) * np.abs(sin) ** 0.75 * depth / 2
    rows = []
    for y, a, b, c in zip(rings, wide, thick, lean, strict=True):
        rows.append(np.stack([sx * a, np.full(10, y * height), sz * b + c * depth + depth * 0.5 * (b - 1)], 1))
    rows.append(np.stack([np.zeros(1), np.zeros(1), np.array([rows[0][:, 2].mean()])], 1))
    p = np.concatenate(rows)
    ring = np.arange(10)
    i, j = np.meshgrid(np.arange(len(rings) - 1), ring, indexing="ij")
    k = (j + 1) % 10
    a, b, c, d = i * 10 + j, i * 10 + k, (i + 1) * 10 + j, (i + 1) * 10 + k
    tri = [np.stack([a, b, d], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)]
    tri.append(np.stack([np.full(10, len(rings) * 10), (ring + 1) % 10, ring], -1))
    uv = np.stack([np.full(len(p), 0.25), 1 - np.clip(p[:, 1] / height, 0.02, 0.98)], 1)
    return p, uv, np.concatenate(tri)


def _gum(arc: Floats, cx: Floats, cz: Floats, edge: float, up: float, scale: float) -> tuple[Floats, Floats, Ints]:
    """A band along the arch that covers the roots and closes the mouth behind the lips."""
    reach = 0.9 * arc[-1]
    s = np.linspace(-reach, reach, 57)
    x = np.sign(s) * np.interp(np.abs(s), arc, cx)
    z = np.interp(np.abs(s), arc, cz)
    tangent = np.stack([np.gradient(x), np.gradient(z)], 1)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    out = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
    profile = np.array(
        [
            (-0.0005, 0.0074),
            (0.0010, 0.0082),
            (0.0016, 0.0105),
            (0.0010, 0.0150),
            (-0.0110, 0.0165),
            (-0.0085, 0.0085),
            (-0.0050, 0.0072),
        ]
    )
    ripple = 0.0008 * np.cos(np.abs(s) / (7.4e-3 * scale) * 2 * np.pi)
    points = np.zeros((len(s), len(profile), 3))
    for n, (away, height) in enumerate(profile):
        wave = ripple if n < 2 else 0 * ripple
        points[:, n] = np.stack([x + out[:, 0] * away, edge + up * (height + wave), z + out[:, 1] * away], 1)
    m = len(profile)
    i, j = np.meshgrid(np.arange(len(s) - 1), np.arange(m - 1), indexing="ij")
    a, b, c, d = i * m + j, i * m + j + 1, (i + 1) * m + j, (i + 1) * m + j + 1
    tri = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    if up < 0:
        tri = tri[:, ::-1]
    uv = np.tile(np.stack([np.full(m, 0.75), np.linspace(0.05, 0.95, m)], 1), (len(s), 1))
    return points.reshape(-1, 3), uv, tri


def teeth_material() -> Material:
    """Off-white enamel that warms towards the root, and pink gum, chosen by u."""
    size = 64
    v = np.linspace(0, 1, size)[:, None, None]
    enamel = np.array([0.93, 0.905, 0.85]) * (1 - v) + np.array([0.95, 0.93, 0.885]) * v
    enamel = enamel * np.where(v < 0.2, 0.93, 1.0)
    gum = np.array([0.78, 0.45, 0.43]) * (1 - v) + np.array([0.66, 0.33, 0.33]) * v
    pixels = np.concatenate([np.repeat(enamel, size // 2, 1), np.repeat(gum, size // 2, 1)], 1)
    return Material(
        "Teeth",
        roughness=0.4,
        base=jpeg("teeth", pixels, 92),
        extensions={"KHR_materials_specular": {"specularFactor": 0.3}},
    )


def tongue(posed: PosedBody) -> Surface:
    """The base mesh's tongue; `shade` darkens it towards the throat."""
    s = surface_from(posed, "Tongue", "Tongue", posed.mesh.faces["helper-tongue"])
    z = s.points[:, 2]
    return replace(s, shade=0.04 + 0.96 * np.clip((z - z.min()) / np.ptp(z), 0, 1) ** 2.2)


def tongue_material() -> Material:
    """Moist and dark red."""
    return Material(
        "Tongue", (0.36, 0.085, 0.08, 1), 0.6, extensions={"KHR_materials_specular": {"specularFactor": 0.4}}
    )
