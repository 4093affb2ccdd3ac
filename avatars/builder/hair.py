"""Hair as layers of strand cards: guides grow from the scalp, fall, and become textured ribbons."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from avatars.builder.basemesh import Bools, Floats
from avatars.builder.hull import Hull
from avatars.builder.landmarks import Landmarks
from avatars.builder.raster import noise3
from avatars.builder.rig import Skeleton
from avatars.builder.surface import Surface, clip_surface, smooth_normals
from avatars.spec import Hair

VARIANTS = 6
WISPS = 2


@dataclass(frozen=True, slots=True)
class Style:
    """How a named hair style grows. Lengths in metres."""

    cards: int
    step: float
    steps: int
    gravity: float
    lift: tuple[float, float]
    rise: float
    width: float
    curl: float
    segments: int
    columns: int
    hangs: bool
    cap: float
    hugs: bool = False


STYLES = {
    "bob": Style(215, 0.008, 46, 0.55, (0.007, 0.018), 0.05, 0.027, 0.9, 8, 3, True, 0.0085),
    "short": Style(640, 0.004, 14, 0.12, (0.002, 0.010), 0.30, 0.013, 0.0, 4, 2, False, 0.0028),
}
_WISPS = 220  # fine strands along the hairline


@dataclass(frozen=True, slots=True)
class Hairdo:
    """`cards` are the hair itself, `outer` (triangles,) marks its outermost cards, `wisps` are the hairline's."""

    cards: Surface
    outer: Bools
    wisps: Surface


def scalp_cover(position: Floats, marks: Landmarks) -> Floats:
    """How far inside the hairline points (..., 3) are: below 0 outside, above 1 well inside."""
    rel = position - marks.skull
    x, y, z = rel[..., 0], rel[..., 1], rel[..., 2]
    angle = np.arctan2(np.abs(x), z)  # 0 in front, pi at the back
    line = np.interp(
        np.degrees(angle),
        [0, 20, 38, 52, 64, 76, 86, 96, 110, 130, 180],
        [0.028, 0.028, 0.024, 0.013, -0.003, -0.022, -0.030, -0.002, -0.062, -0.078, -0.082],
    )
    return (y - line) / 0.012


def grow_hair(hair: Hair, marks: Landmarks, hull: Hull, skeleton: Skeleton, seed: int) -> Hairdo:
    """All cards of a hair style; they follow the head bone."""
    style = STYLES[hair.style]
    rng = np.random.default_rng(seed)
    roots = _roots(style.cards, marks, hull, rng)
    if style.hangs:
        roots = roots[
            ((_beside_parting(roots, hair, marks) > 0.012) | (roots[:, 2] < marks.skull[2] - 0.015))
            & (scalp_cover(roots, marks) > 0.9)
        ]
    layer = rng.permutation(len(roots)) / len(roots)
    paths = _grow(roots, 0.75, layer, hair, style, marks, hull, rng)
    if style.hangs:
        for sweep in (1.5, 3.0, 6.0):
            across = np.array([_crosses_face(path, marks) for path in paths])
            if not across.any():
                break
            again = iter(_grow(roots[across], sweep, layer[across], hair, style, marks, hull, rng))
            paths = [next(again) if wrong else path for path, wrong in zip(paths, across, strict=True)]
        beside = np.array([not (_crosses_face(path, marks) or _floats(path, marks, hull)) for path in paths])
        paths, layer = [p for p, ok in zip(paths, beside, strict=True) if ok], layer[beside]
    wispy = (layer > 0.92) & (rng.random(len(layer)) < 0.6)
    cards = _cards(paths, layer, wispy, style, hull, skeleton, rng)
    root = np.stack([path[0] for path in paths])
    ahead = (root[:, 2] > marks.skull[2] + 0.03) & (scalp_cover(root, marks) < 2.0)
    outer = ((layer > 0.78) | ahead)[np.argsort(layer)]
    return Hairdo(cards, np.repeat(outer, _per_card(style)), _wisps(hair, marks, hull, skeleton, rng))


def _wisps(hair: Hair, marks: Landmarks, hull: Hull, skeleton: Skeleton, rng: np.random.Generator) -> Surface:
    """Narrow cards of single hairs, rooted at the hairline from temple to temple and beside the parting."""
    style = STYLES[hair.style]
    fine = replace(
        style,
        lift=(0.0075, 0.0110) if style.hangs else (0.002, 0.008),
        rise=0.16,
        gravity=0.1,
        hugs=True,
        width=0.012 if style.hangs else 0.009,
        segments=5 if style.hangs else 4,
        columns=2,
        steps=14 if style.hangs else 7,
        step=0.006 if style.hangs else 0.004,
    )
    azimuth = np.radians(np.linspace(-98, 98, _WISPS) + rng.normal(0, 0.4, _WISPS))
    depth = 2.2 * rng.random(_WISPS) ** 1.8 - 0.1
    low, high = np.full(_WISPS, -0.9), np.full(_WISPS, 1.3)
    for _ in range(24):
        middle = (low + high) / 2
        ring = np.cos(middle)
        roots = hull.surface(np.stack([np.sin(azimuth) * ring, np.sin(middle), np.cos(azimuth) * ring], 1))
        above = scalp_cover(roots, marks) > depth
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    if style.hangs:
        scalp = _roots(900, marks, hull, rng)
        roots = np.concatenate([roots, scalp[_beside_parting(scalp, hair, marks) < 0.016]])
    layer = rng.random(len(roots))
    paths = _grow(roots, 1.7, layer, hair.model_copy(update={"length": 40.0}), fine, marks, hull, rng, bury=0.0004)
    return _cards(paths, 0.4 + 0.5 * layer, np.ones(len(roots), bool), fine, hull, skeleton, rng)


def _beside_parting(points: Floats, hair: Hair, marks: Landmarks) -> Floats:
    """Metres sideways from the parting; a large number behind the whorl."""
    rel = points - marks.skull
    along = np.clip((0.075 - rel[:, 2]) / 0.13, 0, 1)
    across = np.abs(rel[:, 0] - hair.parting * 0.075 * (1 - 0.65 * along))
    return np.asarray(np.where((rel[:, 2] > -0.045) & (rel[:, 1] > 0.02), across, 1.0))


def _roots(count: int, marks: Landmarks, hull: Hull, rng: np.random.Generator) -> Floats:
    """Evenly spread points on the scalp, in a fixed pseudo-random order."""
    total = int(count * 2.3)
    k = np.arange(total) + 0.5
    y = 1 - 2 * k / total
    angle = np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - y**2)
    unit = np.stack([ring * np.cos(angle), y, ring * np.sin(angle)], 1) + rng.normal(0, 0.012, (total, 3))
    points = hull.surface(unit, 0.0)
    return points[scalp_cover(points, marks) > 0.12]


def _grow(
    roots: Floats,
    sweep: float,
    layer: Floats,
    hair: Hair,
    style: Style,
    marks: Landmarks,
    hull: Hull,
    rng: np.random.Generator,
    bury: float = 0.005,
) -> list[Floats]:
    """Strand paths from roots. `sweep` is how strongly hair near the forehead is combed back."""
    part_x = hair.parting * 0.075
    front = hull.surface(np.array([part_x, 0.062, 0.075]))
    whorl = hull.surface(np.array([part_x * 0.35, 0.075, -0.055]))
    t = np.clip((front[2] - roots[:, 2]) / (front[2] - whorl[2]), 0, 1)[:, None]
    on_part = hull.surface(front + (whorl - front) * t - hull.centre)
    normal = hull.normal(roots)
    away = roots - on_part
    away -= normal * (away * normal).sum(1, keepdims=True)
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    ahead = np.clip((roots[:, 2] - marks.skull[2] - 0.02) / 0.06, 0, 1)[:, None]
    flow = away + ahead * np.array([0.0, 0.15, -1.0]) * sweep
    if not style.hangs:
        flow = away * [0.8, 0.2, 0.3] + np.array([0.0, 0.1, 0.5]) * np.clip(1.2 - ahead, 0, 1)
    flow -= normal * (flow * normal).sum(1, keepdims=True)
    flow /= np.maximum(np.linalg.norm(flow, axis=1, keepdims=True), 1e-6)
    velocity = flow + normal * style.rise
    velocity /= np.linalg.norm(velocity, axis=1, keepdims=True)

    offset = (style.lift[0] + (style.lift[1] - style.lift[0]) * layer) * hair.volume
    cut = marks.crown[1] - hair.length / 100 + rng.normal(0, 0.0022, len(roots)) + 0.004 * (layer - 1)
    point = roots - normal * bury
    track = [point]
    for n in range(style.steps):
        s = n * style.step
        fade = np.exp(-s / 0.055)
        rel = point - marks.skull
        inward = -rel * [1, 0, 1]
        inward /= np.maximum(np.linalg.norm(inward, axis=1, keepdims=True), 1e-6)
        low = np.clip((marks.nose[1] - point[:, 1]) / 0.06, 0, 1)[:, None] * style.curl
        sway = np.stack([noise3(point * [1, 0.4, 1], 0.03, 40 + a) for a in range(3)], 1) * 0.05
        pull = (
            flow * fade * 0.30
            + np.array([0.0, -1.0, 0.0]) * style.gravity * (1 - 0.75 * fade)
            + inward * low * 0.42
            + sway
        )
        velocity = velocity * 0.72 + pull * 0.5
        velocity /= np.linalg.norm(velocity, axis=1, keepdims=True)
        point = point + velocity * style.step
        grown = np.clip(s / 0.03, 0, 1) ** 0.7
        height = offset * grown + 0.001
        point = hull.surface(point - hull.centre, height) if style.hugs else hull.outside(point, height)
        if style.hangs:
            over = hull.surface(point - hull.centre, height + 0.002)
            loose = (point[:, 1] > marks.eye[1] + 0.03) & (((point - over) * (over - hull.centre)).sum(1) > 0)
            point = np.where(loose[:, None], over, point)
            point = _clear_face(point, marks)
        velocity = point - track[-1]
        velocity /= np.maximum(np.linalg.norm(velocity, axis=1, keepdims=True), 1e-9)
        track.append(point)
    paths = np.stack(track, 1)
    out = []
    for path, limit in zip(paths, cut, strict=True):
        if style.hangs:
            below = np.flatnonzero(path[:, 1] < limit)
            end = max(4, int(below[0]) + 1 if len(below) else len(path))
            if len(below) and end == below[0] + 1:
                over = (limit - path[end - 1, 1]) / max(1e-6, path[end - 2, 1] - path[end - 1, 1])
                path[end - 1] += (path[end - 2] - path[end - 1]) * np.clip(over, 0, 0.95)
        else:
            high = np.clip((path[0, 1] - marks.eye[1] + 0.01) / 0.07, 0, 1)
            end = max(4, int(len(path) * hair.length / 6.0 * rng.uniform(0.8, 1.0) * (0.35 + 0.65 * high)))
        out.append(_resample(_smooth(path[:end], 5), style.segments))
    return out


def _clear_face(point: Floats, marks: Landmarks) -> Floats:
    """Keeps strands beside the face: out of a window that narrows towards the chin."""
    half = np.interp(
        point[:, 1],
        [marks.chin[1] - 0.03, marks.mouth[1], marks.nose[1], marks.eye[1], marks.eye[1] + 0.035, marks.eye[1] + 0.065],
        [0.052, 0.058, 0.064, 0.066, 0.056, 0.0],
    )
    inside = (point[:, 2] > marks.skull[2] + 0.02) & (np.abs(point[:, 0]) < half)
    out = point.copy()
    side = np.where(point[:, 0] >= 0, 1.0, -1.0)
    out[inside, 0] += (side * half - point[:, 0])[inside] * 0.5
    return out


def _crosses_face(path: Floats, marks: Landmarks) -> bool:
    """Whether a strand hangs over forehead, eyes or mouth."""
    half = np.interp(
        path[:, 1],
        [marks.chin[1], marks.eye[1] - 0.02, marks.eye[1] + 0.03, marks.eye[1] + 0.062],
        [0.048, 0.058, 0.058, 0.022],
    )
    low = path[:, 1] < marks.eye[1] + 0.062
    before = (path[:, 1] < marks.eye[1] + 0.03) & (path[:, 2] > marks.eye[2] - 0.004)
    if before.any():
        return True
    return bool((low & (path[:, 2] > marks.skull[2] + 0.042) & (np.abs(path[:, 0]) < half)).any())


def _floats(path: Floats, marks: Landmarks, hull: Hull) -> bool:
    """Whether a strand loops up off the head instead of lying on it."""
    above = path[path[:, 1] > marks.eye[1] + 0.02]
    height = np.linalg.norm(above - hull.centre, axis=1) - hull.at(above)
    return bool((height > 0.0175).any())


def _smooth(path: Floats, rounds: int) -> Floats:
    for _ in range(rounds):
        path = path.copy()
        path[1:-1] = path[1:-1] * 0.5 + (path[:-2] + path[2:]) * 0.25
    return path


def _resample(path: Floats, segments: int) -> Floats:
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = length[-1] * np.linspace(0, 1, segments + 1) ** 1.5
    return np.stack([np.interp(at, length, path[:, k]) for k in range(3)], 1)


def _cards(
    paths: list[Floats],
    layer: Floats,
    wispy: Bools,
    style: Style,
    hull: Hull,
    skeleton: Skeleton,
    rng: np.random.Generator,
) -> Surface:
    m = style.segments + 1
    centre = np.stack(paths)
    count = len(centre)
    tangent = np.gradient(centre, axis=1)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=2, keepdims=True), 1e-9)
    out = hull.normal(centre.reshape(-1, 3)).reshape(centre.shape)
    fall = np.clip((hull.centre[1] + 0.05 - centre[..., 1:2]) / 0.10, 0, 1)
    fall = fall * fall * (3 - 2 * fall)
    flat = centre - hull.centre
    flat = flat * [1, 0, 1]
    flat /= np.maximum(np.linalg.norm(flat, axis=2, keepdims=True), 1e-6)
    out = out * (1 - fall) + flat * fall
    side = np.cross(tangent, out)
    side /= np.maximum(np.linalg.norm(side, axis=2, keepdims=True), 1e-9)
    front = np.cross(side, tangent)
    twist = rng.normal(0, 0.14, (count, 1, 1))
    side = side * np.cos(twist) + front * np.sin(twist)
    v = np.linspace(0, 1, m) ** 1.5
    profile = np.interp(v, [0, 0.1, 0.25, 0.7, 1.0], [0.3, 0.65, 1.0, 1.0, 0.8])
    width = style.width * rng.uniform(0.75, 1.2, (count, 1)) * profile[None]
    k = style.columns
    columns = np.linspace(-0.5, 0.5, k)
    sink = 0.10 * np.abs(columns) * 2
    points = (
        centre[:, :, None]
        + side[:, :, None] * (width[..., None] * columns)[..., None]
        - front[:, :, None] * (width[..., None] * sink)[..., None]
    )
    normals = out[:, :, None] * 0.8 + front[:, :, None] * 0.35 + side[:, :, None] * (columns * 0.7)[:, None]
    normals /= np.linalg.norm(normals, axis=3, keepdims=True)
    variant = np.where(
        wispy, VARIANTS - WISPS + rng.integers(0, WISPS, count), rng.integers(0, VARIANTS - WISPS, count)
    )
    u = (variant[:, None] + 0.5 + np.where(rng.random(count) < 0.5, -1, 1)[:, None] * columns * 0.94) / VARIANTS
    uvs = np.stack(np.broadcast_arrays(u[:, None, :], v[None, :, None]), -1)
    i, j = np.meshgrid(np.arange(m - 1), np.arange(k - 1), indexing="ij")
    a = (i * k + j).ravel()
    quad = np.concatenate([np.stack([a, a + 1, a + k], 1), np.stack([a + 1, a + k + 1, a + k], 1)])
    order = np.argsort(layer)
    triangles = np.concatenate([quad + n * m * k for n in order])
    locks = 1 + rng.uniform(-0.10, 0.10, count)
    flat_points = points.reshape(-1, 3)
    return Surface(
        "Hair",
        "Hair",
        flat_points,
        uvs.reshape(-1, 2),
        skeleton.rigid(len(flat_points), "Head"),
        triangles,
        normals=normals.reshape(-1, 3),
        shade=np.broadcast_to(((0.68 + 0.32 * layer) * locks)[:, None, None], (count, m, k)).ravel(),
    )


def _per_card(style: Style) -> int:
    return style.segments * (style.columns - 1) * 2


def scalp_cap(face: Surface, hair: Hair, marks: Landmarks) -> Surface:
    """The scalp once more, a little lifted and combed away from the parting, so that no gap between cards is bald."""
    inside = scalp_cover(face.points, marks)
    s = clip_surface(replace(face, morphs={}, shade=inside), (0.9 if STYLES[hair.style].hangs else 0.2) - inside)
    assert s.shade is not None
    normals = smooth_normals(s.points, s.triangles)
    rel = s.points - marks.skull
    across = np.abs(rel[:, 0] - hair.parting * 0.075)
    u = (0.02 + 0.62 * np.clip((rel[:, 2] + 0.10) / 0.19, 0, 1)) * (VARIANTS - WISPS) / VARIANTS * 1.5
    uvs = np.stack([np.clip(u, 0, 1), 0.12 + 0.5 * np.clip(across / 0.16, 0, 1)], 1)
    groove = np.exp(-((across / 0.010) ** 2)) * np.clip((rel[:, 2] + 0.03) / 0.03, 0, 1)
    deep = np.clip((s.shade - 0.9) / 3.0, 0, 1)
    lift = 0.0004 + STYLES[hair.style].cap * deep * (2 - deep) * (1 - 0.5 * groove)
    return replace(
        s,
        name="Hair",
        material="Hair",
        points=s.points + normals * lift[:, None],
        normals=normals,
        uvs=uvs,
        shade=0.70 - 0.30 * groove,
        source=None,
        coord=None,
    )
