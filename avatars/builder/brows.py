"""Eyebrows drawn hair by hair on a front view of the face, then looked up by each texel's position."""

from __future__ import annotations

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from avatars.builder.basemesh import Floats
from avatars.builder.landmarks import Landmarks
from avatars.builder.raster import blur, sample
from avatars.spec import Recipe, rgb

_WIDTH, _HEIGHT = 0.064, 0.032  # metres of the drawn patch
_SCALE = 24  # texels a millimetre, before smoothing


def brow_layer(position: Floats, normal: Floats, marks: Landmarks, recipe: Recipe) -> tuple[Floats, Floats, Floats]:
    """Opacity (h, w), hair colour (h, w, 3) and a soft shadow (h, w) of both brows on the face's texels."""
    hairs, shadow, shift = _draw(recipe)
    x = np.abs(position[..., 0]) - (marks.eye[0] - 0.024)
    y = position[..., 1] - (marks.eye[1] + 0.009 + 0.006 * recipe.brows.lift)
    i = x * 1000 * _SCALE / 4
    j = (_HEIGHT - y) * 1000 * _SCALE / 4
    h, w = hairs.shape
    inside = (i > 0) & (i < w - 1) & (j > 0) & (j < h - 1) & (normal[..., 2] > 0.05)
    stack = sample(np.stack([hairs, shadow, shift], -1), i, j) * inside[..., None]
    base = np.array(rgb(recipe.brows.colour))
    colour = base * (1 + 0.35 * stack[..., 2:3])
    return stack[..., 0], colour, stack[..., 1]


def _draw(recipe: Recipe) -> tuple[Floats, Floats, Floats]:
    brows = recipe.brows
    rng = np.random.default_rng(17)
    w, h = int(_WIDTH * 1000 * _SCALE), int(_HEIGHT * 1000 * _SCALE)
    ink = Pillow.new("L", (w, h), 0)
    tint = Pillow.new("L", (w, h), 128)
    pen, dye = ImageDraw.Draw(ink), ImageDraw.Draw(tint)
    length = 0.046

    def spine(t: float) -> tuple[float, float]:
        x = 0.007 + length * t
        rise = 0.0068 * np.sin(np.pi * min(1.0, t / 1.25) ** 1.15) * (0.55 + 0.9 * brows.arch)
        return x, 0.0085 + rise - 0.0052 * max(0.0, t - 0.62) ** 1.4 * 2.2

    count = int(820 * brows.density)
    for k in range(count):
        t = (k + rng.uniform(0, 1)) / count
        x, y = spine(t)
        thick = 0.0048 * brows.thickness * (0.62 + 0.5 * np.sin(np.pi * min(1, t * 1.1 + 0.12)) - 0.62 * t**2)
        across = rng.uniform(-1, 1)
        angle = np.radians(78 - 66 * min(1.0, t * 1.7) - 14 * t - across * (22 if t > 0.18 else -4) + rng.normal(0, 6))
        reach = (0.0055 if t < 0.12 else 0.0078) * rng.uniform(0.6, 1.05) * (1 - 0.45 * t)
        x0, y0 = x, y + across * thick * 0.5
        points = []
        for s in np.linspace(0, 1, 7):
            bend = angle - s * 0.35
            points.append((x0 + reach * s * np.cos(bend), y0 + reach * s * np.sin(bend) * 0.72))
        fade = rng.uniform(0.55, 1.0) * (0.30 + 0.70 * min(1.0, t * 4))
        pixels = [(px * 1000 * _SCALE, (_HEIGHT - py) * 1000 * _SCALE) for px, py in points]
        shade = int(128 + 110 * rng.uniform(-0.8, 0.8))
        for s in range(len(pixels) - 1):
            wide = max(1, int(_SCALE * 0.22 * (1 - 0.75 * s / 6)))
            pen.line([pixels[s], pixels[s + 1]], fill=int(255 * fade), width=wide)
            dye.line([pixels[s], pixels[s + 1]], fill=shade, width=wide)
    small = (w // 4, h // 4)
    hairs = np.asarray(ink.resize(small, Pillow.Resampling.BOX), np.float64) / 255
    tone = np.asarray(tint.resize(small, Pillow.Resampling.BOX), np.float64) / 128 - 1
    shadow = np.clip(blur(hairs, 7.0) * 2.2, 0, 1)
    powder = np.clip(blur(hairs, 2.6) * 1.05, 0, 0.62)
    return np.maximum(np.clip(hairs * 1.15, 0, 0.92), powder), shadow, tone
