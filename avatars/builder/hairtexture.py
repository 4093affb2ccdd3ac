"""The strand texture that all hair cards share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from avatars.builder.basemesh import Floats
from avatars.builder.gltf import Material
from avatars.builder.hair import VARIANTS, WISPS
from avatars.builder.raster import blur, jpeg, webp
from avatars.spec import Hair, rgb


def hair_material(hair: Hair, width: int = 768, height: int = 512) -> Material:
    """Alpha-tested strands, `VARIANTS` columns side by side: full at the roots, frayed at the tips."""
    rng = np.random.default_rng(23)
    alpha = np.zeros((height, width))
    tone = np.zeros((height, width))
    relief = np.zeros((height, width))
    v = np.linspace(0, 1, height)
    column = width // VARIANTS
    xs = np.arange(column, dtype=np.float64)
    for n in range(VARIANTS):
        place = slice(n * column, (n + 1) * column)
        a, t, b = _variant(rng, xs, v, column, n < VARIANTS - WISPS)
        alpha[:, place], tone[:, place], relief[:, place] = a, t, b
    root, tip = np.array(rgb(hair.colour)), np.array(rgb(hair.tips))
    along = np.clip((v - 0.15) / 0.8, 0, 1)[:, None, None]
    colour = root * (1 - along) + tip * along
    colour = colour * (1 + 0.60 * tone[..., None]) * (0.88 + 0.12 * np.clip(v / 0.2, 0, 1))[:, None, None]
    pixels = np.concatenate([np.clip(colour, 0, 1), alpha[..., None]], 2)
    slope = np.clip(np.gradient(blur(relief, 0.7), axis=1) * 2.0, -0.4, 0.4)
    normal = np.stack([-slope, np.zeros_like(slope), np.ones_like(slope)], -1)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    return Material(
        "Hair",
        roughness=0.6,
        base=webp("hair-colour", pixels, 82),
        normal=jpeg("hair-normal", normal * 0.5 + 0.5, 80),
        normal_scale=0.45,
        alpha="MASK",
        cutoff=0.4,
        double_sided=True,
        extensions={"KHR_materials_specular": {"specularFactor": 0.4, "specularColorFactor": [1.0, 0.8, 0.62]}},
    )


def fringe_material(hair: Hair) -> Material:
    """The same strands blended: they soften the edges that the alpha test leaves, and fade in at the hairline."""
    return replace(hair_material(hair), name="HairFringe", alpha="BLEND")


def _variant(
    rng: np.random.Generator, xs: Floats, v: Floats, column: int, solid: bool
) -> tuple[Floats, Floats, Floats]:
    alpha = np.zeros((len(v), column))
    tone = np.zeros_like(alpha)
    relief = np.full_like(alpha, 0.75)
    clumps = blur(rng.normal(0, 1, (1, 64)).repeat(2, 0), 1.5)[0]
    clumps /= np.abs(clumps).max()
    for _ in range(150 if solid else 34):
        home = rng.uniform(0.05, 0.95) if solid else np.clip(rng.normal(0.5, 0.25), 0.04, 0.96)
        drift = (0.5 - home) * rng.uniform(0.0, 0.35) + rng.normal(0, 0.02)
        wave = rng.normal(0, 0.010)
        phase = rng.uniform(0, 6.3)
        x = (home + drift * v**1.5 + wave * np.sin(v * 9 + phase)) * column
        edge = abs(home - 0.5) * 2
        start = abs(rng.normal(0, 0.022)) + 0.03 * edge**2
        frayed = 0.10 if solid else 0.40
        end = np.clip(1.02 - frayed * edge**2 * rng.uniform(0.3, 1.3) - abs(rng.normal(0, 0.6 * frayed)), 0.45, 1.0)
        width = rng.uniform(1.2, 2.6) * np.clip((end - v) / 0.25, 0, 1) ** 0.6
        near = np.abs(xs[None] - x[:, None])
        body = np.clip(width[:, None] + 0.6 - near, 0, 1) * ((v < end) & (v > start))[:, None]
        shade = rng.normal(0, 0.17) + 0.22 * clumps[int(home * 63)]
        hit = body > 0.3
        tone[hit] = shade + 0.05 * np.sin(v * 5 + phase)[:, None].repeat(column, 1)[hit]
        relief = np.where(hit, 0.5 + 0.5 * np.clip(1 - near / 3.0, 0, 1) + 0.3 * shade, relief)
        alpha = np.maximum(alpha, body if solid else body * np.clip(v / 0.16, 0, 1)[:, None] ** 0.7)
    return alpha * (v < 0.985)[:, None], tone, relief
