"""Painting on UV space: rasterising vertex values, filling gaps, blurring, noise, encoding."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Pillow

from avatars.builder.basemesh import Bools, Floats, Ints
from avatars.builder.gltf import Image

_PRIMES = (73856093, 19349663, 83492791)


def rasterise(uvs: Floats, triangles: Ints, values: Floats, size: int) -> tuple[Floats, Bools]:
    """Interpolates `values` (n, k) over UV triangles onto a (size, size, k) image, and says which texels are covered.

    `uvs` have v down, as in glTF. Gaps are filled from their surroundings.
    """
    corners = uvs[triangles] * size - 0.5
    low = np.floor(corners.min(1)).astype(np.int64)
    span = (np.ceil(corners.max(1)).astype(np.int64) - low).max(1) + 1
    image = np.zeros((size * size, values.shape[1]))
    covered = np.zeros(size * size, bool)
    edge = 2
    done = 0
    while done < span.max():
        rows = np.flatnonzero((span > done) & (span <= edge))
        grid = np.stack(np.meshgrid(np.arange(edge), np.arange(edge)), -1).reshape(-1, 2)
        for part in np.array_split(rows, max(1, len(rows) * edge * edge // 2_000_000 + 1)):
            if len(part):
                _fill(image, covered, corners[part], low[part], grid, triangles[part], values, size)
        done, edge = edge, edge * 2
    return fill_gaps(image.reshape(size, size, -1), covered.reshape(size, size)), covered.reshape(size, size)


def _fill(
    image: Floats, covered: Bools, corners: Floats, low: Ints, grid: Ints, triangles: Ints, values: Floats, size: int
) -> None:
    pixel = low[:, None, :] + grid
    a, b, c = corners[:, 0, None], corners[:, 1, None], corners[:, 2, None]
    area = _cross(b - a, c - a)
    area = np.where(np.abs(area) < 1e-12, 1e-12, area)
    u = _cross(c - b, pixel - b) / area
    v = _cross(a - c, pixel - c) / area
    w = 1 - u - v
    slack = -1e-3
    inside = (u >= slack) & (v >= slack) & (w >= slack)
    inside &= ((pixel >= 0) & (pixel < size)).all(2)
    t, k = np.nonzero(inside)
    where = pixel[t, k, 1] * size + pixel[t, k, 0]
    weights = np.stack([u[t, k], v[t, k], w[t, k]], 1)
    image[where] = np.einsum("nk,nkd->nd", weights, values[triangles[t]])
    covered[where] = True


def _cross(p: Floats, q: Floats) -> Floats:
    return np.asarray(p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0])


def fill_gaps(image: Floats, known: Bools) -> Floats:
    """Fills unknown texels by pulling ever coarser averages of the known ones (push-pull)."""
    levels = [(image * known[..., None], known.astype(float))]
    while levels[-1][0].shape[0] > 1:
        colour, weight = levels[-1]
        n = colour.shape[0] // 2
        total = weight.reshape(n, 2, n, 2).sum((1, 3))
        mean = (colour * weight[..., None]).reshape(n, 2, n, 2, -1).sum((1, 3)) / np.maximum(total, 1e-9)[..., None]
        levels.append((mean, np.minimum(total, 1)))
    filled = levels[-1][0]
    for colour, weight in reversed(levels[:-1]):
        up = filled.repeat(2, 0).repeat(2, 1)
        filled = colour * weight[..., None] + up * (1 - weight[..., None])
    return filled


def blur(image: Floats, sigma: float) -> Floats:
    """Gaussian blur of a (h, w) or (h, w, k) image that wraps around its edges. `sigma` in texels."""
    flat = image if image.ndim == 3 else image[..., None]
    fy = np.fft.fftfreq(flat.shape[0])[:, None, None]
    fx = np.fft.rfftfreq(flat.shape[1])[None, :, None]
    gain = np.exp(-2 * (np.pi * sigma) ** 2 * (fx**2 + fy**2))
    out = np.fft.irfft2(np.fft.rfft2(flat, axes=(0, 1)) * gain, s=flat.shape[:2], axes=(0, 1))
    return np.asarray(out if image.ndim == 3 else out[..., 0])


def noise3(points: Floats, scale: float, seed: int) -> Floats:
    """Smooth value noise in [-1, 1] at `points` (..., 3), with features about `scale` metres wide."""
    table = np.random.default_rng(seed).uniform(-1, 1, 4096)
    cell = points / scale
    base = np.floor(cell).astype(np.int64)
    f = (cell - base).astype(np.float32)
    f = f * f * (3 - 2 * f)
    table = table.astype(np.float32)
    keys = [[(base[..., axis] + d) * prime for d in (0, 1)] for axis, prime in enumerate(_PRIMES)]
    sides = [[1 - f[..., axis], f[..., axis]] for axis in range(3)]
    out = np.zeros(points.shape[:-1], np.float32)
    for dx in (0, 1):
        for dy in (0, 1):
            for dz in (0, 1):
                key = keys[0][dx] ^ keys[1][dy] ^ keys[2][dz]
                out += sides[0][dx] * sides[1][dy] * sides[2][dz] * table[(key ^ (key >> 13)) & 4095]
    return out.astype(np.float64)


def sample(image: Floats, x: Floats, y: Floats) -> Floats:
    """Bilinear samples of a (h, w, k) image at texel coordinates; outside it clamps to the edge."""
    h, w = image.shape[:2]
    x = np.clip(x, 0, w - 1.001)
    y = np.clip(y, 0, h - 1.001)
    i, j = x.astype(np.int64), y.astype(np.int64)
    fx, fy = (x - i)[..., None], (y - j)[..., None]
    top = image[j, i] * (1 - fx) + image[j, i + 1] * fx
    bottom = image[j + 1, i] * (1 - fx) + image[j + 1, i + 1] * fx
    return np.asarray(top * (1 - fy) + bottom * fy)


def load_mask(path: str, blur_sigma: float = 0.0) -> Floats:
    """A grey picture as (h, w, 1) in 0..1."""
    with Pillow.open(path) as picture:
        mask = np.asarray(picture.convert("L"), np.float64)[..., None] / 255
    return blur(mask, blur_sigma) if blur_sigma else mask


def normal_map(height: Floats, position: Floats, strength: float = 1.0) -> Floats:
    """Tangent-space normals in 0..1 from a height image in metres and the (h, w, 3) position of each texel."""
    dx = np.linalg.norm(np.gradient(position, axis=1), axis=2)
    dy = np.linalg.norm(np.gradient(position, axis=0), axis=2)
    sx = -strength * np.gradient(height, axis=1) / np.maximum(dx, 1e-5)
    sy = strength * np.gradient(height, axis=0) / np.maximum(dy, 1e-5)
    n = np.stack([np.clip(sx, -2, 2), np.clip(sy, -2, 2), np.ones_like(sx)], -1)
    n /= np.linalg.norm(n, axis=2, keepdims=True)
    return np.asarray(n * 0.5 + 0.5)


def jpeg(name: str, pixels: Floats, quality: int = 88) -> Image:
    """An (h, w, 3) image in 0..1 as JPEG without chroma subsampling."""
    out = io.BytesIO()
    data = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    Pillow.fromarray(data, "RGB").save(out, "JPEG", quality=quality, subsampling=0, optimize=True)
    return Image(name, "image/jpeg", out.getvalue())


def png(name: str, pixels: Floats) -> Image:
    """An (h, w, 4) image in 0..1 as PNG."""
    out = io.BytesIO()
    data = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    Pillow.fromarray(data, "RGBA").save(out, "PNG", optimize=True)
    return Image(name, "image/png", out.getvalue())


def webp(name: str, pixels: Floats, quality: int = 85) -> Image:
    """An (h, w, 4) image in 0..1 as WebP."""
    out = io.BytesIO()
    data = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    Pillow.fromarray(data, "RGBA").save(out, "WEBP", quality=quality, alpha_quality=90, method=4, exact=True)
    return Image(name, "image/webp", out.getvalue())
