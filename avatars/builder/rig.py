"""The skeleton: 52 humanoid bones plus jaw and eyes, baked into a rest pose with relaxed arms.

Every bone's rest rotation is identity, so its local axes are the world's: x nods, y turns, z tilts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avatars.builder.basemesh import BaseMesh, BodyData, Floats, Ints
from avatars.builder.shape import Body

METRES = 0.1
_EXTRA = {"Jaw": "Head", "LeftEye": "Head", "RightEye": "Head"}


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Bones in parent-first order: `heads` (b, 3) in metres, `parents` (b,) with -1 for the root, `weights` (v, b)."""

    names: tuple[str, ...]
    parents: tuple[int, ...]
    heads: Floats
    weights: Floats

    def index(self, name: str) -> int:
        return self.names.index(name)

    def rigid(self, count: int, bone: str) -> Floats:
        """Weights (count, b) that follow one bone only."""
        out = np.zeros((count, len(self.names)))
        out[:, self.index(bone)] = 1
        return out


@dataclass(frozen=True, slots=True)
class PosedBody:
    """The body in its rest pose, in metres, feet at y = 0; morph offsets are in metres too."""

    mesh: BaseMesh
    vertices: Floats
    morphs: dict[str, Floats]
    skeleton: Skeleton


def pose_body(data: BodyData, body: Body) -> PosedBody:
    """Binds the body to the skeleton, lets the arms hang, and bakes that as the rest pose."""
    mesh, v = body.mesh, body.vertices
    ground = v[mesh.group_vertices("body"), 1].min()
    points = (v - [0, ground, 0]) * METRES
    bones = data.rig("mixamo")
    raw = data.weights("mixamo", len(v))
    jaw = data.weights("default", len(v))["jaw"]

    parent = {_plain(b): _plain(x["parent"]) if x["parent"] else "" for b, x in bones.items()} | _EXTRA
    names = _parent_first(parent)
    heads = {_plain(b): _place(mesh, points, x["head"]) for b, x in bones.items()}
    for bone, cube in (("Jaw", "joint-jaw"), ("LeftEye", "joint-l-eye"), ("RightEye", "joint-r-eye")):
        heads[bone] = points[mesh.group_vertices(cube)].mean(0)

    weights = np.zeros((len(v), len(names)))
    for bone, column in raw.items():
        weights[:, names.index(_plain(bone))] = column
    _dress(mesh, points, weights)
    head, jaw_bone = names.index("Head"), names.index("Jaw")
    weights[weights.sum(1) == 0, head] = 1
    weights /= weights.sum(1, keepdims=True)
    weights[:, jaw_bone] = weights[:, head] * jaw
    weights[:, head] -= weights[:, jaw_bone]
    for group, bone in (
        ("helper-lower-teeth", "Jaw"),
        ("helper-tongue", "Jaw"),
        ("helper-upper-teeth", "Head"),
        ("helper-l-eye", "LeftEye"),
        ("helper-r-eye", "RightEye"),
    ):
        rows = mesh.group_vertices(group)
        weights[rows] = 0
        weights[rows, names.index(bone)] = 1

    parents = tuple(names.index(parent[n]) if parent[n] else -1 for n in names)
    skeleton = Skeleton(tuple(names), parents, np.array([heads[n] for n in names]), weights)
    vertices, posed = _relax_arms(points, skeleton)
    morphs = {name: offsets * METRES for name, offsets in body.morphs.items()}
    return PosedBody(mesh, vertices, morphs, posed)


def _dress(mesh: BaseMesh, points: Floats, weights: Floats) -> None:
    """Gives the tights helper, from which garments are cut, the weights of the body below it."""
    skin, cloth = mesh.group_vertices("body"), mesh.group_vertices("helper-tights")
    for rows in np.array_split(cloth, 16):
        apart = (points[rows] ** 2).sum(1)[:, None] + (points[skin] ** 2).sum(1) - 2 * points[rows] @ points[skin].T
        weights[rows] = weights[skin[apart.argmin(1)]]


def _plain(bone: str) -> str:
    return bone.removeprefix("mixamorig:")


def _parent_first(parent: dict[str, str]) -> list[str]:
    order: list[str] = []

    def visit(bone: str) -> None:
        order.append(bone)
        for child in parent:
            if parent[child] == bone:
                visit(child)

    for bone in parent:
        if not parent[bone]:
            visit(bone)
    return order


def _place(mesh: BaseMesh, points: Floats, rule: dict[str, object]) -> Floats:
    match rule["strategy"]:
        case "CUBE":
            return np.asarray(points[mesh.group_vertices(str(rule["cube_name"]))].mean(0))
        case "MEAN":
            return np.asarray(points[np.array(rule["vertex_indices"])].mean(0))
        case "VERTEX":
            return np.asarray(points[int(str(rule["vertex_index"]))])
        case other:
            raise ValueError(f"unknown joint placement {other!r}")


def rotation(axis: Floats, degrees: float) -> Floats:
    """Rotation matrix about a unit axis (Rodrigues)."""
    x, y, z = axis / np.linalg.norm(axis)
    a = np.radians(degrees)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(a) * k + (1 - np.cos(a)) * k @ k)


def between(a: Floats, b: Floats) -> Floats:
    """The smallest rotation that turns direction `a` into direction `b`."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis = np.cross(a, b)
    if np.linalg.norm(axis) < 1e-9:
        return np.eye(3)
    return rotation(axis, float(np.degrees(np.arccos(np.clip(a @ b, -1, 1)))))


def _relax_arms(points: Floats, rig: Skeleton) -> tuple[Floats, Skeleton]:
    """Linear blend skinning of collar bones, upper arms and forearms into a hanging pose."""
    count = len(rig.names)
    turn = np.tile(np.eye(3), (count, 1, 1))
    for side, s in (("Left", 1.0), ("Right", -1.0)):
        shoulder, arm, fore, hand = (rig.index(side + b) for b in ("Shoulder", "Arm", "ForeArm", "Hand"))
        turn[shoulder] = rotation(np.array([0.0, 0.0, 1.0]), -4.0 * s)
        upper = turn[shoulder] @ (rig.heads[fore] - rig.heads[arm])
        turn[arm] = between(upper, np.array([0.17 * s, -1.0, -0.04])) @ turn[shoulder]
        lower = turn[arm] @ (rig.heads[hand] - rig.heads[fore])
        turn[fore] = between(lower, np.array([0.06 * s, -1.0, 0.2])) @ turn[arm]
    moved = np.zeros((count, 3))
    for i, p in enumerate(rig.parents):
        if p < 0:
            moved[i] = rig.heads[i]
            continue
        if np.allclose(turn[i], np.eye(3)) and not np.allclose(turn[p], np.eye(3)):
            turn[i] = turn[p]
        moved[i] = moved[p] + turn[p] @ (rig.heads[i] - rig.heads[p])
    shift = moved - np.einsum("bij,bj->bi", turn, rig.heads)
    out = np.zeros_like(points)
    for b in range(count):
        out += rig.weights[:, b : b + 1] * (points @ turn[b].T + shift[b])
    return out, Skeleton(rig.names, rig.parents, moved, rig.weights)


def strongest(weights: Floats) -> tuple[Ints, Floats]:
    """The four strongest bones of each vertex, (n, 4), and their weights scaled to sum to one."""
    index = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    value = np.take_along_axis(weights, index, 1)
    total = value.sum(1, keepdims=True)
    return index, value / np.where(total > 0, total, 1)
