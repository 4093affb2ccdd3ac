"""The body of one recipe: macro targets, face features, and the shapes that make it speak."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from avatars.builder.basemesh import BaseMesh, BodyData, DataError, Floats
from avatars.builder.visemes import VISEMES
from avatars.spec import Recipe, Shape

_OPPOSITES = (
    ("-decr", "-incr"),
    ("-down", "-up"),
    ("-in", "-out"),
    ("-backward", "-forward"),
    ("-concave", "-convex"),
    ("-compress", "-uncompress"),
)


#: Share of `mouthClose` in the rest shape: the base mesh's lips stand a little apart at their corners.
_REST_SEAL = 0.05
_MOUTH_CORNER = 7189  # the base mesh vertex where the lips meet on the left


@dataclass(frozen=True, slots=True)
class Body:
    """Vertices of the shaped base mesh (v, 3) and its morph offsets: name to (v, 3). Decimetres."""

    mesh: BaseMesh
    vertices: Floats
    morphs: dict[str, Floats]


def shape_body(data: BodyData, recipe: Recipe) -> Body:
    """Applies the recipe's targets to the base mesh and gathers the 52 ARKit shapes and 15 visemes."""
    mesh = data.mesh()
    vertices = mesh.vertices.copy()
    for name, weight in macro_targets(data, recipe.gender, recipe.shape):
        target = data.target(name)
        vertices[target.indices] += weight * target.offsets
    for name, weight in feature_targets(data, recipe.shape):
        target = data.target(name)
        vertices[target.indices] += weight * target.offsets
    units: dict[str, Floats] = {}
    for name, target in data.face_units():
        offsets = np.zeros_like(vertices)
        offsets[target.indices] = target.offsets
        units[name] = offsets
    vertices += _REST_SEAL * units["mouthClose"]
    units["cornerSeal"] = _corner_seal(mesh, vertices, units["jawOpen"])
    vertices += units["cornerSeal"]
    tongue = mesh.group_vertices("helper-tongue")
    floor = vertices[tongue, 1].min()
    vertices[tongue, 1] = floor + (vertices[tongue, 1] - floor) * 0.55 - 0.02
    units["jawOpen"][tongue] += [0.0, -0.08, -0.05]
    units["tongueUp"] = _tongue_up(mesh, vertices)
    visemes = {
        name: np.sum([w * units[unit] for unit, w in parts.items()], axis=0) if parts else np.zeros_like(vertices)
        for name, parts in VISEMES.items()
    }
    del units["tongueUp"], units["cornerSeal"]
    return Body(mesh, vertices, units | visemes)


def macro_targets(data: BodyData, gender: str, shape: Shape) -> Iterator[tuple[str, float]]:
    """Names and weights of the macro targets: ancestry by age, and muscle by weight by age, bilinear."""
    share = shape.ancestry.caucasian + shape.ancestry.asian + shape.ancestry.african
    ages = [("young", 1 - shape.age), ("old", shape.age)]
    muscles = _levels(shape.muscle, "muscle")
    weights = _levels(shape.weight, "weight")
    for age, a in ages:
        for origin in ("caucasian", "asian", "african"):
            part = a * getattr(shape.ancestry, origin) / share
            if part > 0:
                yield f"macrodetails/{origin}-{gender}-{age}", part
        for muscle, m in muscles:
            for weight, w in weights:
                part = a * m * w
                if part <= 0:
                    continue
                build = f"{gender}-{age}-{muscle}-{weight}"
                yield f"macrodetails/universal-{build}", part
                optional = {f"macrodetails/proportions/{build}-idealproportions": part * shape.ideal_proportions}
                if gender == "female":
                    optional[f"breast/{build}-averagecup-averagefirmness"] = part
                yield from ((name, p) for name, p in optional.items() if data.has_target(name))


def _levels(value: float, noun: str) -> list[tuple[str, float]]:
    value = max(-1.0, min(1.0, value))
    extreme = f"max{noun}" if value > 0 else f"min{noun}"
    return [(f"average{noun}", 1 - abs(value)), (extreme, abs(value))]


def feature_targets(data: BodyData, shape: Shape) -> Iterator[tuple[str, float]]:
    """Resolves signed features to targets and absolute weights. Raises DataError for unknown names."""
    for name, value in shape.features.items():
        folder, _, leaf = name.partition("/")
        for stem in (name, f"{folder}/l-{leaf}", f"{folder}/r-{leaf}"):
            if data.has_target(stem):
                yield stem, value
            else:
                for low, high in _OPPOSITES:
                    if data.has_target(stem + high):
                        yield stem + (high if value > 0 else low), abs(value)
                        break
                else:
                    continue
            if stem == name:
                break
        else:
            if not any(data.has_target(f"{folder}/l-{leaf}{end}") for pair in _OPPOSITES for end in (*pair, "")):
                raise DataError(f"unknown feature {name!r}")


def _corner_seal(mesh: BaseMesh, vertices: Floats, jaw: Floats) -> Floats:
    """Offsets that bring the lips' inner halves together near the mouth's corners; what the jaw moves goes up."""
    corner = vertices[_MOUTH_CORNER]
    lips = mesh.group_vertices("body")
    rel = vertices[lips] - corner
    where = np.interp(
        np.abs(vertices[lips, 0]) / corner[0], [0.35, 0.55, 0.92, 1.0, 1.08], [0.0, 1.0, 1.0, 0.5, 0.0], right=0.0
    )
    near = np.exp(-((rel[:, 1] / 0.05) ** 2)) * (np.abs(rel[:, 1]) < 0.15) * (rel[:, 2] > -0.03)
    lower = np.clip((-jaw[lips, 1] - 0.115) / 0.03, 0, 1)
    offsets = np.zeros_like(vertices)
    offsets[lips, 1] = (0.012 * lower - 0.005 * (1 - lower)) * where * near
    return offsets


def _tongue_up(mesh: BaseMesh, vertices: Floats) -> Floats:
    """Offsets that bend the tongue's front third up to the ridge behind the upper teeth."""
    tongue = mesh.group_vertices("helper-tongue")
    z = vertices[tongue, 2]
    along = np.clip((z - z.min()) / np.ptp(z), 0, 1)
    bend = np.clip((along - 0.35) / 0.65, 0, 1) ** 1.5
    offsets = np.zeros_like(vertices)
    offsets[tongue, 1] = 0.17 * bend
    offsets[tongue, 2] = 0.02 * bend
    return offsets
