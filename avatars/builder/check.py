"""Validates a built GLB against the budgets and names that the renderer relies on."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from avatars.rigs import ARKIT, OCULUS

MAX_BYTES = 3_000_000
MAX_TRIANGLES = 60_000
MAX_TEXTURE = 1024
BONES = (
    *("Hips", "Spine", "Spine1", "Spine2", "Neck", "Head", "Jaw", "LeftEye", "RightEye"),
    *(f"{side}{bone}" for side in ("Left", "Right") for bone in ("Shoulder", "Arm", "ForeArm", "Hand")),
)
#: The morphs each mesh cannot talk without.
NEEDS = {
    "Face": frozenset((*ARKIT, *OCULUS)),
    "Teeth": frozenset({"jawOpen", "viseme_aa"}),
    "Tongue": frozenset({"jawOpen", "tongueOut"}),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One way in which a GLB falls short."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def check(glb: Path) -> list[Problem]:
    """All problems of a GLB file; an empty list means that it can be served."""
    raw = glb.read_bytes()
    try:
        gltf, binary = read_glb(raw)
    except ValueError as error:
        return [Problem("file", str(error))]
    problems = []
    if len(raw) > MAX_BYTES:
        problems.append(Problem("file", f"{len(raw)} bytes, more than {MAX_BYTES}"))
    if not gltf["asset"].get("copyright"):
        problems.append(Problem("asset", "no licence line"))
    return problems + _meshes(gltf) + _skeleton(gltf) + _textures(gltf, binary)


def read_glb(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """JSON and binary chunk of a GLB. Raises ValueError for anything else."""
    if len(raw) < 28 or raw[:4] != b"glTF" or struct.unpack_from("<I", raw, 4)[0] != 2:
        raise ValueError("not a glTF 2.0 binary")
    if struct.unpack_from("<I", raw, 8)[0] != len(raw):
        raise ValueError("length in the header differs from the file's")
    size = struct.unpack_from("<I", raw, 12)[0]
    if raw[16:20] != b"JSON" or 20 + size + 8 > len(raw):
        raise ValueError("damaged chunks")
    try:
        gltf = json.loads(raw[20 : 20 + size])
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"damaged JSON chunk: {error}") from error
    return gltf, raw[28 + size :]


def triangles_of(gltf: dict[str, Any]) -> int:
    """Triangles of all indexed primitives."""
    indices = [p["indices"] for m in gltf.get("meshes", []) for p in m["primitives"] if "indices" in p]
    return sum(int(gltf["accessors"][i]["count"]) for i in indices) // 3


def _meshes(gltf: dict[str, Any]) -> list[Problem]:
    problems = []
    count = triangles_of(gltf)
    if count > MAX_TRIANGLES:
        problems.append(Problem("meshes", f"{count} triangles, more than {MAX_TRIANGLES}"))
    names = {m["name"]: set(m.get("extras", {}).get("targetNames", ())) for m in gltf.get("meshes", [])}
    for mesh, needed in NEEDS.items():
        if mesh not in names:
            problems.append(Problem("meshes", f"{mesh} is missing"))
        elif missing := sorted(needed - names[mesh]):
            problems.append(Problem(mesh, f"lacks the morph targets {', '.join(missing)}"))
    for m in gltf.get("meshes", []):
        for p in m["primitives"]:
            if len(p.get("targets", ())) != len(m.get("extras", {}).get("targetNames", ())):
                problems.append(Problem(m["name"], "morph targets and their names differ in number"))
    return problems


def _skeleton(gltf: dict[str, Any]) -> list[Problem]:
    if not gltf.get("skins"):
        return [Problem("skeleton", "no skin")]
    joints = {gltf["nodes"][i]["name"] for i in gltf["skins"][0]["joints"]}
    missing = [bone for bone in BONES if bone not in joints]
    return [Problem("skeleton", f"lacks the bones {', '.join(missing)}")] if missing else []


def _textures(gltf: dict[str, Any], binary: bytes) -> list[Problem]:
    problems = []
    for image in gltf.get("images", []):
        view = gltf["bufferViews"][image["bufferView"]]
        start = view.get("byteOffset", 0)
        with Pillow.open(io.BytesIO(binary[start : start + view["byteLength"]])) as picture:
            if max(picture.size) > MAX_TEXTURE:
                problems.append(
                    Problem(image["name"], f"{picture.size[0]} x {picture.size[1]}, more than {MAX_TEXTURE}")
                )
    return problems
