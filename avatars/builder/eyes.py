"""Eyeballs with a cornea's bulge and a painted iris, and the eyelashes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from avatars.builder.anatomy import surface_from
from avatars.builder.basemesh import Floats, Ints
from avatars.builder.gltf import Image, Material
from avatars.builder.raster import blur, jpeg, png
from avatars.builder.rig import PosedBody, rotation
from avatars.builder.surface import Surface
from avatars.spec import Eyes, rgb

IRIS = np.radians(24.5)
_EDGE = np.radians(115.0)
_LOOK = {
    "eyeLookOut": (0.0, 1.0, 0.0),
    "eyeLookIn": (0.0, -1.0, 0.0),
    "eyeLookUp": (-1.0, 0.0, 0.0),
    "eyeLookDown": (1.0, 0.0, 0.0),
}


def eye_sphere(posed: PosedBody, side: str) -> tuple[Floats, float]:
    """Centre (3,) and radius of the `l` or `r` eyeball, fitted to the base mesh's eye."""
    points = posed.vertices[posed.mesh.group_vertices(f"helper-{side}-eye")]
    rows = np.c_[2 * points, np.ones(len(points))]
    fit = np.linalg.lstsq(rows, (points**2).sum(1), rcond=None)[0]
    return fit[:3], float(np.sqrt(fit[3] + fit[:3] @ fit[:3]))


def eyeballs(posed: PosedBody) -> Surface:
    """Both eyeballs as one surface; they follow the eye bones and carry the eight gaze morphs."""
    points, uvs, triangles, weights = [], [], [], []
    parts: list[dict[str, Floats]] = []
    shift = 0
    for side, word, sign in (("l", "Left", 1.0), ("r", "Right", -1.0)):
        centre, radius = eye_sphere(posed, side)
        local, uv, tri = _ball(radius)
        points.append(centre + local)
        uvs.append(uv)
        triangles.append(tri + shift)
        weights.append(posed.skeleton.rigid(len(local), f"{word}Eye"))
        morphs = {}
        for look, axis in _LOOK.items():
            turn = np.array(axis) * [1, sign, 1]
            angle = _look_angle(posed, f"{look}{word}", side, radius)
            morphs[f"{look}{word}"] = local @ rotation(turn, angle).T - local
        parts.append(morphs)
        shift += len(local)
    n = len(points[0])
    merged = {name: np.concatenate([o, np.zeros((n, 3))]) for name, o in parts[0].items()}
    merged |= {name: np.concatenate([np.zeros((n, 3)), o]) for name, o in parts[1].items()}
    return Surface(
        "Eyes",
        "Eyes",
        np.concatenate(points),
        np.concatenate(uvs),
        np.concatenate(weights),
        np.concatenate(triangles),
        dict(sorted(merged.items())),
    )


def _look_angle(posed: PosedBody, morph: str, side: str, radius: float) -> float:
    """Degrees the face unit turns the eye: the front vertices' travel over the radius."""
    rows = posed.mesh.group_vertices(f"helper-{side}-eye")
    front = rows[np.argsort(posed.vertices[rows, 2])[-8:]]
    travel = float(np.linalg.norm(posed.morphs[morph][front, :2].mean(0)))
    return float(np.degrees(np.arcsin(min(0.6, travel / radius))))


def _ball(radius: float, rings: int = 20, sectors: int = 32) -> tuple[Floats, Floats, Floats]:
    theta = np.concatenate([np.linspace(0, IRIS, 9), np.linspace(IRIS, _EDGE, rings - 8)[1:]])
    phi = np.linspace(0, 2 * np.pi, sectors, endpoint=False)
    bulge = 0.00055 * np.clip(1 - (theta / (IRIS * 1.1)) ** 2, 0, 1) ** 1.2
    r = radius - 0.00025 + bulge
    t, p = theta[:, None], phi[None]
    xyz = np.stack(
        [r[:, None] * np.sin(t) * np.cos(p), r[:, None] * np.sin(t) * np.sin(p), r[:, None] * np.cos(t) + 0 * p], -1
    )
    spread = _texture_radius(theta)[:, None] * 0.5
    uv = np.stack([0.5 + spread * np.cos(p), 0.5 - spread * np.sin(p)], -1)
    i, j = np.meshgrid(np.arange(len(theta) - 1), np.arange(sectors), indexing="ij")
    k = (j + 1) % sectors
    a, b, c, d = i * sectors + j, i * sectors + k, (i + 1) * sectors + j, (i + 1) * sectors + k
    tri = np.concatenate([np.stack([a, c, d], -1).reshape(-1, 3), np.stack([a, d, b], -1).reshape(-1, 3)])
    return xyz.reshape(-1, 3), uv.reshape(-1, 2), tri


def _texture_radius(theta: Floats) -> Floats:
    """Polar angle to distance from the texture's middle: the iris takes the inner half."""
    return np.asarray(np.interp(theta, [0, IRIS, _EDGE], [0, 0.5, 0.98]))


def eye_texture(look: Eyes, size: int = 512) -> Image:
    """Sclera with a soft lid shadow and faint veins; iris with fibres, collarette, limbal ring, pupil
    and a catchlight."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(axis, -axis)
    r = np.hypot(x, y)
    phi = np.arctan2(y, x)
    rng = np.random.default_rng(7)
    q = np.clip(r / 0.5, 0, 1)  # 0 at the pupil's middle, 1 at the limbus

    def fibres(count: int, wobble: float) -> Floats:
        ring = blur(rng.uniform(-1, 1, (1, count)).repeat(2, 0), 0.8)[0]
        ring /= np.abs(ring).max()
        turn = (phi / (2 * np.pi) + wobble * np.sin(q * 9 + phi * 3)) % 1
        return np.asarray(np.interp(turn * count, np.arange(count + 1), np.append(ring, ring[0])))

    fibre = 0.55 * fibres(90, 0.004) + 0.45 * fibres(210, 0.002) + 0.35 * fibres(24, 0.006)
    base = np.array(rgb(look.iris))
    inner = np.clip(base * 1.15 + [0.10, 0.06, 0.0], 0, 1)
    warm = np.exp(-(((q - 0.46) / 0.13) ** 2))
    iris = base + (inner - base) * warm[..., None]
    iris = iris * (0.92 + 0.34 * fibre * np.clip((q - 0.3) * 4, 0, 1))[..., None]
    iris *= (1 - 0.72 * np.clip((q - 0.78) / 0.2, 0, 1) ** 1.6)[..., None]
    iris *= (0.80 - 0.22 * y / 0.5)[..., None]  # lit from below through the cornea, shaded by the lid above
    pupil = np.clip((0.37 - q) / 0.035, 0, 1)[..., None]
    iris = iris * (1 - pupil) + np.array([0.015, 0.012, 0.012]) * pupil

    white = np.ones((size, size, 3)) * [0.86, 0.83, 0.805]
    veins = np.clip(fibres(160, 0.02), 0, 1) ** 3 * np.clip((r - 0.62) * 3.0, 0, 1)
    white -= veins[..., None] * [0.03, 0.13, 0.12]
    corner = np.clip((r - 0.55) / 0.3, 0, 1)[..., None]
    white = white * (1 - corner * [0.10, 0.20, 0.21])
    limbus = np.clip((0.56 - r) / 0.065, 0, 1) ** 1.3
    white = white * (1 - 0.35 * limbus[..., None])
    blend = np.clip((0.515 - r) / 0.035, 0, 1)
    blend = (blend * blend * (3 - 2 * blend))[..., None]
    pixels = iris * blend + white * (1 - blend)
    shade = 1 - 0.5 * np.clip((y - 0.16) / 0.42, 0, 1) ** 1.1 - 0.12 * np.clip((-y - 0.3) / 0.4, 0, 1)
    pixels = pixels * shade[..., None]
    glint = np.exp(-((((x - 0.13) / 0.055) ** 2 + ((y - 0.17) / 0.075) ** 2) ** 1.5))
    glint += 0.25 * np.exp(-((((x + 0.16) / 0.05) ** 2 + ((y + 0.17) / 0.05) ** 2) ** 1.5))
    pixels = pixels + (1 - pixels) * 0.75 * np.clip(glint, 0, 1)[..., None]
    return jpeg("eye", pixels, 90)


def eye_material(look: Eyes) -> Material:
    """A wet, glossy eye."""
    return Material(
        "Eyes", roughness=0.12, base=eye_texture(look), extensions={"KHR_materials_specular": {"specularFactor": 0.8}}
    )


def lashes(posed: PosedBody) -> Surface:
    """Upper and lower lash strips; u runs along the lid, v from tip (0) to root (1), upper strips in u < 0.5."""
    mesh = posed.mesh
    groups = sorted(g for g in mesh.faces if "eyelashes" in g)
    s = surface_from(posed, "Lashes", "Lashes", np.concatenate([mesh.faces[g] for g in groups]))
    assert s.source is not None
    uvs = np.zeros_like(s.uvs)
    morphs = {name: offsets.copy() for name, offsets in s.morphs.items()}
    for g in groups:
        side = "l" if "-l-" in g else "r"
        centre, radius = eye_sphere(posed, side)
        rows = np.flatnonzero(np.isin(s.source, mesh.group_vertices(g)))
        p = s.points[rows] - centre
        along = np.degrees(np.arctan2(p[:, 0] * (1 if side == "l" else -1), p[:, 2]))
        u = np.clip((along + 52) / 118, 0.0, 1.0)
        out = np.linalg.norm(p, axis=1) - radius
        reach = np.array([out[np.abs(u - x) < 0.07].max() for x in u])
        uvs[rows, 0] = (0.02 + 0.46 * u) + (0.0 if g.endswith("2") else 0.5)
        v = 1 - np.clip((out - 0.0004) / np.maximum(reach - 0.0004, 0.001), 0, 1)
        uvs[rows, 1] = v
        if g.endswith("2"):
            _droop(morphs[f"eyeBlink{'Left' if side == 'l' else 'Right'}"], s.points, rows, rows[v > 0.9])
    return replace(s, uvs=uvs, morphs=morphs)


def _droop(blink: Floats, points: Floats, rows: Ints, roots: Ints, degrees: float = 58.0) -> None:
    """Makes upper lashes follow their roots in a blink and turn down onto the cheek. Changes `blink` in place."""
    base = roots[np.argmin(((points[rows, None] - points[None, roots]) ** 2).sum(2), axis=1)]
    rel = points[rows] - points[base]
    blink[rows] = blink[base] + rel @ rotation(np.array([1.0, 0.0, 0.0]), degrees).T - rel


def lash_material(look: Eyes, size: int = 512) -> Material:
    """Tapered, slightly clumped lash hairs with an alpha texture."""
    rng = np.random.default_rng(11)
    height = size // 4
    alpha = np.zeros((height, size))
    y = np.linspace(0, 1, height)
    xs = np.arange(size)
    for half, count, strength, least in ((0, 74, 1.0, 0.55), (1, 44, 0.4, 0.25)):
        for k in range(count):
            u = (k + rng.uniform(0.15, 0.85)) / count
            length = rng.uniform(least, 1.0 if half == 0 else 0.6) * (0.75 + 0.25 * u)
            lean = (u - 0.35) * 0.05 + rng.normal(0, 0.012)
            root = half * 0.5 + 0.02 + 0.46 * u
            t = np.clip((1 - y) / length, 0, 1)
            centre = (root + lean * t**1.5) * size
            width = 1.7 * (1 - t) ** 0.7 + 0.25
            row = np.clip(width[:, None] - np.abs(xs[None] - centre[:, None]) + 0.5, 0, 1) * (t < 1)[:, None]
            alpha = np.maximum(alpha, row * strength)
        band = np.clip((y - 0.86) / 0.14, 0, 1)[:, None] * strength * 0.75
        side = slice(half * size // 2, (half + 1) * size // 2)
        alpha[:, side] = np.maximum(alpha[:, side], band)
    pixels = np.zeros((height, size, 4))
    pixels[..., :3] = [0.07, 0.05, 0.045]
    pixels[..., 3] = alpha * look.lashes
    return Material("Lashes", roughness=0.7, base=png("lashes", pixels), alpha="BLEND", double_sided=True)
