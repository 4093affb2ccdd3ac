"""Recipe in, GLB out: runs the builder's steps in order and stamps the result with what it was made from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avatars.builder.anatomy import body_quads, face_quads, surface_from
from avatars.builder.basemesh import BodyData
from avatars.builder.gltf import Material, write_glb
from avatars.builder.rig import pose_body
from avatars.builder.shape import shape_body
from avatars.spec import Recipe


@dataclass(frozen=True, slots=True)
class BuiltAvatar:
    """Where the GLB is, its size in bytes, triangles, and whether it was already up to date."""

    id: str
    glb: Path
    size: int
    triangles: int
    fresh: bool


def stamp_of(recipe: Recipe, data: BodyData) -> str:
    """Hash of everything the GLB depends on: recipe, the builder's sources and the base mesh."""
    digest = hashlib.sha256(recipe.model_dump_json().encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    digest.update(data.base_obj.read_bytes())
    return digest.hexdigest()


def build(recipe: Recipe, data: Path, out: Path, force: bool = False) -> BuiltAvatar:
    """Writes `out/<id>.glb` and its stamp `out/<id>.json`; does nothing when the stamp already matches."""
    source = BodyData(data)
    stamp = stamp_of(recipe, source)
    glb, note = out / f"{recipe.id}.glb", out / f"{recipe.id}.json"
    if not force and glb.is_file() and note.is_file():
        known = json.loads(note.read_text())
        if known.get("stamp") == stamp and known.get("size") == glb.stat().st_size:
            return BuiltAvatar(recipe.id, glb, known["size"], known["triangles"], False)
    content, triangles = make_glb(recipe, source)
    out.mkdir(parents=True, exist_ok=True)
    part = glb.with_suffix(".part")
    part.write_bytes(content)
    part.replace(glb)
    note.write_text(json.dumps({"stamp": stamp, "size": len(content), "triangles": triangles}))
    return BuiltAvatar(recipe.id, glb, len(content), triangles, True)


def make_glb(recipe: Recipe, data: BodyData) -> tuple[bytes, int]:
    """The GLB's bytes and its number of triangles."""
    posed = pose_body(data, shape_body(data, recipe))
    mesh = posed.mesh
    face = surface_from(posed, "Face", "Skin", face_quads(posed))
    body = surface_from(posed, "Body", "Skin", body_quads(posed))
    eyes = surface_from(posed, "Eyes", "Eyes", np.concatenate([mesh.faces["helper-l-eye"], mesh.faces["helper-r-eye"]]))
    teeth = surface_from(
        posed, "Teeth", "Teeth", np.concatenate([mesh.faces["helper-upper-teeth"], mesh.faces["helper-lower-teeth"]])
    )
    tongue = surface_from(posed, "Tongue", "Tongue", mesh.faces["helper-tongue"])
    lashes = surface_from(
        posed, "Lashes", "Lashes", np.concatenate([f for g, f in sorted(mesh.faces.items()) if "eyelashes" in g])
    )
    top = surface_from(posed, "Top", "Top", mesh.faces["helper-tights"])
    surfaces = [face, body, eyes, teeth, tongue, lashes, top]
    materials = [
        Material("Skin", (0.72, 0.45, 0.36, 1)),
        Material("Eyes", (0.95, 0.95, 0.95, 1), 0.3),
        Material("Teeth", (0.93, 0.9, 0.85, 1), 0.3),
        Material("Tongue", (0.75, 0.35, 0.36, 1)),
        Material("Lashes", (0.08, 0.05, 0.05, 1), double_sided=True),
        Material("Top", (0.12, 0.2, 0.4, 1), double_sided=True),
    ]
    content = write_glb(surfaces, materials, posed.skeleton, recipe.licence.credit, {"id": recipe.id})
    return content, sum(len(s.triangles) for s in surfaces)
