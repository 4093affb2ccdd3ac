"""The skin's textures: colour, roughness and fine relief, painted by where each texel lies on the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avatars.builder.anatomy import face_islands
from avatars.builder.basemesh import BodyData, Floats
from avatars.builder.brows import brow_layer
from avatars.builder.gltf import Material
from avatars.builder.hair import scalp_cover
from avatars.builder.landmarks import Landmarks
from avatars.builder.raster import jpeg, load_mask, noise3, normal_map, rasterise, sample
from avatars.builder.rig import PosedBody
from avatars.builder.surface import Surface
from avatars.spec import Recipe, rgb


def head_uvs(posed: PosedBody) -> Floats:
    """Repacks the base mesh's UV table for the face: more texels for eyes, nose and mouth, fewer for the scalp.

    The head's island fills the square; the inside of the mouth and the eye sockets go into its empty corners.
    """
    out = posed.mesh.uvs.copy()
    islands = face_islands(posed)
    u, v = _fit(out[islands["head"]]).T
    out[islands["head"]] = np.stack([_stretch(u, 0.66, 0.17), _stretch(v, 0.5, 0.16)], 1)
    for name, corner, side in (
        ("mouth", (0.0, 0.0), 0.10),
        ("left socket", (0.0, 0.93), 0.07),
        ("right socket", (0.08, 0.93), 0.07),
    ):
        out[islands[name]] = _fit(out[islands[name]]) * (side - 0.008) + corner + 0.004
    return out


def _fit(uvs: Floats) -> Floats:
    low, high = uvs.min(0), uvs.max(0)
    return np.asarray((uvs - low) / (high - low))


def _stretch(t: Floats, middle: float, width: float, gain: float = 2.2) -> Floats:
    """A rising map of 0..1 onto itself that is steep around `middle`."""
    x = np.linspace(-0.05, 1.05, 1101)
    density = 1 + gain * np.exp(-(((x - middle) / width) ** 2))
    total = np.cumsum(density)
    y = (total - np.interp(0, x, total)) / (np.interp(1, x, total) - np.interp(0, x, total))
    return np.interp(t, x, 0.006 + 0.988 * y)


@dataclass(frozen=True, slots=True)
class Canvas:
    """Per-texel position, normal, visibility, and base mesh UV of one surface's texture."""

    position: Floats
    normal: Floats
    visibility: Floats
    original: Floats


def canvas(surface: Surface, visibility: Floats, original: Floats, size: int) -> Canvas:
    """Rasterises a surface into its UV space. `original` (n, 2) are the base mesh's UVs."""
    normals = surface.with_normals().normals
    assert normals is not None
    values = np.concatenate([surface.points, normals, visibility[:, None], original], 1)
    image, _ = rasterise(surface.uvs, surface.triangles, values, size)
    return Canvas(image[..., :3], image[..., 3:6], image[..., 6], image[..., 7:9])


def _spot(p: Floats, at: Floats, reach: tuple[float, float, float]) -> Floats:
    """A soft blob around `at`, mirrored to the other side."""
    d = np.stack([np.abs(p[..., 0]) - abs(at[0]), p[..., 1] - at[1], p[..., 2] - at[2]], -1) / reach
    return np.asarray(np.exp(-(d**2).sum(-1)))


def _at(point: Floats, right: float, up: float, ahead: float) -> Floats:
    return np.asarray(point + np.array([right, up, ahead]))


def _mix(base: Floats, colour: Floats | tuple[float, float, float], amount: Floats) -> Floats:
    return np.asarray(base + (np.asarray(colour) - base) * amount[..., None])


def paint(
    c: Canvas, recipe: Recipe, marks: Landmarks, data: BodyData, lid: Floats, face: bool
) -> tuple[Floats, Floats, Floats]:
    """Colour (h, w, 3), roughness (h, w) and height in metres (h, w). `lid` are points on the lash lines."""
    p, skin = c.position, recipe.skin
    tone = np.array(rgb(skin.tone))
    low = noise3(p, 0.035, 1) * 0.6 + noise3(p, 0.014, 2) * 0.4
    mottle = noise3(p, 0.0055, 3) * 0.6 + noise3(p, 0.0024, 4) * 0.5
    fine = noise3(p, 0.0009, 5)
    colour = tone * (1 + 0.018 * low + 0.012 * mottle)[..., None]
    colour = colour * (1 + np.stack([0.010 * low, -0.022 * mottle - 0.012 * low, -0.016 * mottle], -1))
    colour *= (1 + 0.016 * fine)[..., None]

    red = tone * [0.98, 0.74, 0.70]
    patches = 0.50 * skin.blush * _spot(p, _at(marks.eye, 0.014, -0.040, -0.004), (0.023, 0.018, 0.03))
    patches += 0.20 * skin.blush * _spot(p, _at(marks.nose, 0, 0.0, -0.004), (0.013, 0.012, 0.016))
    patches += 0.16 * skin.blush * _spot(p, _at(marks.chin, 0, 0.005, 0.010), (0.018, 0.013, 0.02))
    patches += 0.38 * _spot(p, marks.ear, (0.02, 0.035, 0.03))
    hands = np.clip((marks.neck[1] - 0.42 - p[..., 1]) / 0.2, 0, 1)
    patches += 0.22 * hands * (0.6 + 0.4 * low)
    colour = _mix(colour, red, np.clip(patches * (1 + 0.25 * mottle), 0, 1))
    pale = 0.22 * _spot(p, np.array([0, marks.eye[1] + 0.055, marks.eye[2] + 0.02]), (0.04, 0.022, 0.05))
    pale += 0.18 * _spot(p, _at(marks.nose, 0, 0.022, -0.01), (0.006, 0.02, 0.02))
    colour = _mix(colour, np.clip(tone * [1.03, 1.04, 1.03], 0, 1), pale)
    if face:
        socket = 0.30 * _spot(p, _at(marks.eye, 0.0, 0.006, 0.014), (0.021, 0.010, 0.02))
        socket += 0.22 * _spot(p, _at(marks.eye, -0.004, -0.016, 0.012), (0.015, 0.006, 0.02))
        colour = _mix(colour, tone * [0.80, 0.66, 0.64], socket)
        colour = _stubble(colour, p, recipe, marks, fine)
        colour = _freckles(colour, c, marks, skin.freckles, tone)
    throat = np.clip((marks.chin[1] - 0.015 - p[..., 1]) / 0.03, 0, 1) * np.clip(
        (p[..., 1] - marks.neck[1]) / 0.05 + 1, 0, 1
    )
    colour = colour * (1 - 0.035 * throat)[..., None]

    rough = 0.56 + 0.05 * low + 0.05 * fine
    rough -= 0.09 * _spot(p, np.array([0, marks.eye[1] + 0.04, marks.eye[2] + 0.03]), (0.04, 0.03, 0.05))
    rough -= 0.10 * _spot(p, marks.nose, (0.012, 0.02, 0.02))
    height = 3.0e-5 * fine + 2.2e-5 * noise3(p, 0.0016, 6) + 3.0e-5 * noise3(p, 0.004, 7)

    if face:
        colour, rough, height = _lips(colour, rough, height, c, recipe, marks, data, mottle)
        inside = sample(load_mask(str(data.mask("mpfb_inside-mouth"))), *_mask_xy(c))[..., 0]
        colour = _mix(colour, (0.36, 0.10, 0.095), inside)
        rough = np.maximum(rough, 0.9 * inside)
        d = _distance(p, lid)
        upper = np.clip((p[..., 1] - marks.eye[1] + 0.004) / 0.004, 0, 1)
        veil = np.exp(-((d / 0.0075) ** 2)) * upper * recipe.eyes.liner
        colour = _mix(colour, tone * [0.62, 0.46, 0.42], veil * 0.45)
        near = np.exp(-((d / (0.0013 + 0.0007 * upper)) ** 2)) * recipe.eyes.liner * (0.35 + 0.65 * upper)
        colour = _mix(colour, (0.17, 0.09, 0.075), near * 0.9)
        pink = np.exp(-((d / 0.004) ** 2)) * 0.22
        colour = _mix(colour, tone * [0.92, 0.66, 0.62], pink)
        alpha, hair, ridge = brow_layer(c.position, c.normal, marks, recipe)
        colour = _mix(colour, tone * [0.80, 0.70, 0.66], 0.30 * ridge)
        colour = colour * (1 - alpha[..., None]) + hair * alpha[..., None]
        rough = rough + 0.15 * alpha
        height = height + 6e-5 * alpha
        colour = _scalp(colour, c, recipe, marks)
    dark = np.clip(c.visibility, 0, 1)[..., None]
    shade = np.clip(0.30 + 0.78 * dark, 0, 1)
    colour = colour * shade ** np.array([0.75, 1.05, 1.12])
    return np.clip(colour, 0, 1), np.clip(rough, 0.2, 0.95), height


def _mask_xy(c: Canvas) -> tuple[Floats, Floats]:
    return c.original[..., 0] * 2048 - 0.5, (1 - c.original[..., 1]) * 2048 - 0.5


def _lips(
    colour: Floats,
    rough: Floats,
    height: Floats,
    c: Canvas,
    recipe: Recipe,
    marks: Landmarks,
    data: BodyData,
    mottle: Floats,
) -> tuple[Floats, Floats, Floats]:
    mask = sample(load_mask(str(data.mask("mpfb_lips")), 3.2), *_mask_xy(c))[..., 0]
    mask = np.clip((mask - 0.18) / 0.62, 0, 1)
    mask = mask * mask * (3 - 2 * mask)
    p = c.position
    lip = np.array(rgb(recipe.skin.lips))
    x = p[..., 0] + 0.0006 * noise3(p, 0.004, 21)
    crease = noise3(np.stack([x / 0.0011, p[..., 1] / 0.012, 0 * x], -1), 1.0, 22)
    inner = np.exp(-(((p[..., 1] - marks.mouth[1]) / 0.0032) ** 2))
    shade = lip * (1 + 0.05 * crease[..., None] + 0.03 * mottle[..., None])
    shade = shade * (1 - 0.30 * inner[..., None])
    light = _spot(p, _at(marks.mouth, 0.0, -0.0085, 0.0), (0.012, 0.003, 0.02))
    shade = shade * (1 + 0.10 * light[..., None])
    colour = _mix(colour, np.clip(shade, 0, 1), mask * (0.35 + 0.65 * recipe.skin.lip_depth))
    rough = rough - 0.17 * mask + 0.04 * mask * crease
    return colour, rough, height + mask * 7e-5 * crease


def _stubble(colour: Floats, p: Floats, recipe: Recipe, marks: Landmarks, fine: Floats) -> Floats:
    """A shaved beard's grey shadow on jaw, chin and upper lip."""
    if recipe.skin.stubble <= 0:
        return colour
    x = np.abs(p[..., 0])
    top = marks.mouth[1] + np.interp(x, [0, 0.018, 0.032, 0.05, 0.07], [0.018, 0.016, -0.002, 0.010, 0.045])
    edge = np.clip((top - p[..., 1]) / 0.012, 0, 1) * np.clip((p[..., 1] - marks.chin[1] + 0.055) / 0.03, 0, 1)
    edge = edge * np.clip((p[..., 2] - marks.ear[2] + 0.005) / 0.02, 0, 1)
    hair = np.array(rgb(recipe.brows.colour)) * 0.8 + np.array([0.10, 0.11, 0.12])
    return _mix(colour, hair, edge * recipe.skin.stubble * np.clip(0.42 + 0.30 * fine, 0, 1))


def _freckles(colour: Floats, c: Canvas, marks: Landmarks, amount: float, tone: Floats) -> Floats:
    rng = np.random.default_rng(31)
    size = 700
    picture = np.zeros((size, size))
    for _ in range(int(260 * amount)):
        i, j = (int((rng.normal(0, spread) / 0.12 + 0.5) * size) for spread in (0.030, 0.010))
        if 8 < i < size - 8 and 8 < j < size - 8:
            r = rng.uniform(1.2, 3.4)
            yy, xx = np.mgrid[-7:8, -7:8]
            dot = np.exp(-((np.hypot(xx, yy) / r) ** 2)) * rng.uniform(0.25, 0.8)
            picture[j - 7 : j + 8, i - 7 : i + 8] = np.maximum(picture[j - 7 : j + 8, i - 7 : i + 8], dot)
    x = (c.position[..., 0] / 0.12 + 0.5) * size
    y = ((c.position[..., 1] - (marks.nose[1] + 0.012)) / 0.12 + 0.5) * size
    inside = (x > 1) & (x < size - 2) & (y > 1) & (y < size - 2)
    strength = sample(picture[..., None], x, y)[..., 0] * np.clip(c.normal[..., 2] * 2, 0, 1) * inside
    return _mix(colour, tone * [0.80, 0.62, 0.50], strength * 0.55)


def _scalp(colour: Floats, c: Canvas, recipe: Recipe, marks: Landmarks) -> Floats:
    """Tints the skin under the hair so that no bright scalp shows between strands."""
    cover = scalp_cover(c.position, marks)
    hair = np.array(rgb(recipe.hair.colour)) * 0.6
    return _mix(colour, hair, np.clip(cover, 0, 1) * 0.9)


def _distance(p: Floats, points: Floats) -> Floats:
    """Distance of every texel to the nearest of a few hundred points, computed only near them."""
    out = np.full(p.shape[:2], 1.0)
    near = (p[..., 1] > points[:, 1].min() - 0.012) & (p[..., 1] < points[:, 1].max() + 0.012)
    near &= p[..., 2] > points[:, 2].min() - 0.012
    rows = p[near]
    best = np.full(len(rows), 1.0)
    for q in points:
        best = np.minimum(best, ((rows - q) ** 2).sum(1))
    out[near] = np.sqrt(best)
    return out


def skin_material(
    name: str, c: Canvas, recipe: Recipe, marks: Landmarks, data: BodyData, lid: Floats, face: bool
) -> Material:
    """Encodes the three textures of one skin surface."""
    colour, rough, height = paint(c, recipe, marks, data, lid, face)
    orm = np.stack([np.ones_like(rough), rough, np.zeros_like(rough)], -1)
    if face:
        orm = orm[::2, ::2]
    key = name.lower()
    normal = None
    if face:
        relief = normal_map(height, c.position)
        normal = jpeg(f"{key}-normal", relief, 80)
    return Material(
        name,
        roughness=1.0,
        base=jpeg(f"{key}-colour", colour, 91),
        normal=normal,
        normal_scale=0.9,
        roughness_map=jpeg(f"{key}-roughness", orm, 75),
        extensions={"KHR_materials_specular": {"specularFactor": 0.55}},
    )
