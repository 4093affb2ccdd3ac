"""Recipe in, GLB out: runs the builder's steps in order and stamps the result with what it was made from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from avatars.builder.anatomy import body_quads, face_quads, original_uvs, surface_from
from avatars.builder.basemesh import BodyData
from avatars.builder.clothes import cloth_material, dress, hide_body
from avatars.builder.eyes import eye_material, eyeballs, lash_material, lashes
from avatars.builder.gltf import write_glb
from avatars.builder.hair import grow_hair, scalp_cap
from avatars.builder.hairtexture import fringe_material, hair_material
from avatars.builder.hull import head_hull
from avatars.builder.landmarks import find_landmarks
from avatars.builder.mouth import teeth, teeth_material, tongue, tongue_material
from avatars.builder.occlusion import sky_visibility
from avatars.builder.rig import pose_body
from avatars.builder.shape import shape_body
from avatars.builder.skin import canvas, head_uvs, skin_material
from avatars.builder.surface import join, keep_triangles
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


def seed_of(recipe: Recipe) -> int:
    """A seed that depends on the avatar's id alone."""
    return int.from_bytes(hashlib.sha256(recipe.id.encode()).digest()[:4])


def make_glb(recipe: Recipe, data: BodyData) -> tuple[bytes, int]:
    """The GLB's bytes and its number of triangles."""
    posed = pose_body(data, shape_body(data, recipe))
    marks = find_landmarks(posed)
    face = surface_from(posed, "Face", "Face", face_quads(posed), head_uvs(posed))
    body = surface_from(posed, "Body", "Body", body_quads(posed))
    garments = dress(posed, marks, recipe.clothes)
    body = keep_triangles(replace(body, morphs={}), hide_body(body, posed, marks, recipe.clothes))
    lash = lashes(posed)
    hull = head_hull(marks.skull, face.points, face.triangles, marks.ear[0] - 0.009)
    hairdo = grow_hair(recipe.hair, marks, hull, posed.skeleton, seed_of(recipe))
    cap = scalp_cap(face, recipe.hair, marks)
    hair = join([cap, hairdo.cards])
    skin = [face, body]
    bare = sky_visibility(skin, skin, 0.0045)
    covered = sky_visibility([*skin, hair, *garments], [*skin, hair, *garments], 0.0075)
    seen = [0.6 * a + 0.4 * b for a, b in zip(bare, covered, strict=False)]
    assert hair.shade is not None
    hair = replace(hair, shade=hair.shade * (0.66 + 0.44 * covered[2]))
    outer = np.concatenate([np.zeros(len(cap.triangles), bool), hairdo.outer])
    fringe = replace(join([keep_triangles(hair, outer), hairdo.wisps]), name="HairFringe", material="HairFringe")
    garments = [replace(g, shade=0.35 + 0.7 * v) for g, v in zip(garments, covered[3:], strict=True)]
    lid = lash.points[lash.uvs[:, 1] > 0.9]
    face_canvas = canvas(face, seen[0], original_uvs(posed, face), 1024)
    body_canvas = canvas(body, seen[1], original_uvs(posed, body), 512)
    surfaces = [face, body, eyeballs(posed), teeth(posed), tongue(posed), lash, *garments, hair, fringe]
    materials = [
        skin_material("Face", face_canvas, recipe, marks, data, lid, True),
        skin_material("Body", body_canvas, recipe, marks, data, lid, False),
        eye_material(recipe.eyes),
        teeth_material(),
        tongue_material(),
        lash_material(recipe.eyes),
        hair_material(recipe.hair),
        fringe_material(recipe.hair),
        *[cloth_material(s.material, g) for s, g in zip(garments, recipe.clothes, strict=True)],
    ]
    content = write_glb(surfaces, materials, posed.skeleton, recipe.licence.credit, {"id": recipe.id})
    return content, sum(len(s.triangles) for s in surfaces)
