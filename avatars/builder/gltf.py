"""Writes surfaces, materials and a skeleton as one compact glTF binary.

Morph offsets are sparse and quantised to 1/32767 m, weights and normals to bytes (KHR_mesh_quantization).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatars.builder.basemesh import Floats
from avatars.builder.rig import Skeleton, strongest
from avatars.builder.surface import Surface

_TYPES = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
_WIDTHS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
_LEAST_OFFSET = 4e-5  # metres; smaller morph offsets cannot be seen


@dataclass(frozen=True, slots=True)
class Image:
    """An encoded texture."""

    name: str
    mime: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Material:
    """A metallic-roughness material; `colour` is linear RGBA, `extensions` are written as they stand."""

    name: str
    colour: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    roughness: float = 0.6
    base: Image | None = None
    normal: Image | None = None
    normal_scale: float = 1.0
    roughness_map: Image | None = None
    alpha: str = "OPAQUE"
    cutoff: float = 0.5
    double_sided: bool = False
    extensions: dict[str, Any] = field(default_factory=dict)


class _Buffer:
    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, raw: bytes, **more: Any) -> int:
        self.data.extend(b"\0" * (-len(self.data) % 4))
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(raw), **more})
        self.data.extend(raw)
        return len(self.views) - 1

    def accessor(
        self, array: NDArray[Any], target: int | None = None, bounds: bool = False, normalized: bool = False
    ) -> int:
        array = np.atleast_2d(array.T).T
        width = array.shape[1]
        more: dict[str, Any] = {"target": target} if target else {}
        size = width * array.itemsize
        raw = array
        if target == 34962 and size % 4:
            raw = np.zeros((len(array), width + (-size % 4) // array.itemsize), array.dtype)
            raw[:, :width] = array
            more["byteStride"] = raw.shape[1] * array.itemsize
        entry: dict[str, Any] = {
            "bufferView": self.view(np.ascontiguousarray(raw).tobytes(), **more),
            "componentType": _TYPES[array.dtype.name],
            "count": len(array),
            "type": _WIDTHS[width],
        }
        if normalized:
            entry["normalized"] = True
        if bounds:
            entry["min"], entry["max"] = array.min(0).tolist(), array.max(0).tolist()
        self.accessors.append(entry)
        return len(self.accessors) - 1

    def sparse(self, offsets: Floats) -> int:
        """A quantised sparse morph accessor of (n, 3) metre offsets."""
        rows = np.flatnonzero(np.abs(offsets).max(1) > _LEAST_OFFSET)
        if not len(rows):
            rows = np.array([0])
        values = np.clip(np.round(offsets[rows] * 32767), -32767, 32767).astype(np.int16)
        index = rows.astype(np.uint16 if len(offsets) < 65536 else np.uint32)
        self.accessors.append(
            {
                "componentType": _TYPES["int16"],
                "normalized": True,
                "count": len(offsets),
                "type": "VEC3",
                "min": np.minimum(values.min(0), 0).tolist(),
                "max": np.maximum(values.max(0), 0).tolist(),
                "sparse": {
                    "count": len(rows),
                    "indices": {"bufferView": self.view(index.tobytes()), "componentType": _TYPES[index.dtype.name]},
                    "values": {"bufferView": self.view(values.tobytes())},
                },
            }
        )
        return len(self.accessors) - 1


def write_glb(
    surfaces: list[Surface],
    materials: list[Material],
    skeleton: Skeleton,
    copyright_line: str,
    extras: dict[str, Any],
) -> bytes:
    """One GLB: a node for each surface, all bound to one skin whose root bone is the second scene root."""
    buffer = _Buffer()
    images: list[dict[str, Any]] = []
    textures: list[dict[str, Any]] = []
    used: set[str] = {"KHR_mesh_quantization"}
    places: dict[str, int] = {}

    def texture(image: Image) -> dict[str, int]:
        if image.name not in places:
            view = buffer.view(image.data)
            images.append({"name": image.name, "mimeType": image.mime, "bufferView": view})
            entry: dict[str, Any] = {"sampler": 0}
            if image.mime == "image/webp":
                entry["extensions"] = {"EXT_texture_webp": {"source": len(images) - 1}}
                used.add("EXT_texture_webp")
            else:
                entry["source"] = len(images) - 1
            textures.append(entry)
            places[image.name] = len(textures) - 1
        return {"index": places[image.name]}

    table = []
    for m in materials:
        pbr: dict[str, Any] = {"baseColorFactor": list(m.colour), "metallicFactor": 0, "roughnessFactor": m.roughness}
        entry: dict[str, Any] = {"name": m.name, "pbrMetallicRoughness": pbr}
        if m.base:
            pbr["baseColorTexture"] = texture(m.base)
        if m.roughness_map:
            pbr["metallicRoughnessTexture"] = texture(m.roughness_map)
        if m.normal:
            entry["normalTexture"] = {**texture(m.normal), "scale": m.normal_scale}
        if m.alpha != "OPAQUE":
            entry["alphaMode"] = m.alpha
            if m.alpha == "MASK":
                entry["alphaCutoff"] = m.cutoff
        if m.double_sided:
            entry["doubleSided"] = True
        if m.extensions:
            entry["extensions"] = m.extensions
            used.update(m.extensions)
        table.append(entry)

    by_name = {m.name: i for i, m in enumerate(materials)}
    nodes: list[dict[str, Any]] = []
    meshes = []
    for s in surfaces:
        primitive = _primitive(buffer, s)
        primitive["material"] = by_name[s.material]
        mesh: dict[str, Any] = {"name": s.name, "primitives": [primitive]}
        if s.morphs:
            mesh["weights"] = [0] * len(s.morphs)
            mesh["extras"] = {"targetNames": list(s.morphs)}
        meshes.append(mesh)
        nodes.append({"name": s.name, "mesh": len(meshes) - 1, "skin": 0})

    first = len(nodes)
    inverse = np.tile(np.eye(4), (len(skeleton.names), 1, 1))
    inverse[:, :3, 3] = -skeleton.heads
    for i, (name, parent) in enumerate(zip(skeleton.names, skeleton.parents, strict=True)):
        place = skeleton.heads[i] - (skeleton.heads[parent] if parent >= 0 else 0)
        bone: dict[str, Any] = {"name": name, "translation": [round(float(x), 6) for x in place]}
        children = [first + c for c, p in enumerate(skeleton.parents) if p == i]
        if children:
            bone["children"] = children
        nodes.append(bone)
    matrices = buffer.accessor(inverse.transpose(0, 2, 1).reshape(-1, 16).astype(np.float32))
    gltf: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "machineavatars", "copyright": copyright_line, "extras": extras},
        "extensionsUsed": sorted(used),
        "extensionsRequired": sorted(used & {"KHR_mesh_quantization", "EXT_texture_webp"}),
        "scene": 0,
        "scenes": [{"nodes": [*range(first), first]}],
        "nodes": nodes,
        "meshes": meshes,
        "materials": table,
        "skins": [
            {
                "joints": [first + i for i in range(len(skeleton.names))],
                "skeleton": first,
                "inverseBindMatrices": matrices,
            }
        ],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    if textures:
        gltf |= {"images": images, "textures": textures}
        gltf["samplers"] = [{"magFilter": 9729, "minFilter": 9987, "wrapS": 10497, "wrapT": 10497}]
    return _pack(gltf, bytes(buffer.data))


def _primitive(buffer: _Buffer, s: Surface) -> dict[str, Any]:
    s = s.with_normals()
    assert s.normals is not None
    n = len(s.points)
    index, weight = strongest(s.weights)
    bytes_ = np.round(weight * 255).astype(np.int64)
    bytes_[:, 0] += 255 - bytes_.sum(1)
    index = np.where(bytes_ > 0, index, 0)
    attributes = {
        "POSITION": buffer.accessor(s.points.astype(np.float32), 34962, bounds=True),
        "NORMAL": buffer.accessor(np.round(s.normals * 127).astype(np.int8), 34962, normalized=True),
        "TEXCOORD_0": _uv(buffer, s.uvs),
        "JOINTS_0": buffer.accessor(index.astype(np.uint8), 34962),
        "WEIGHTS_0": buffer.accessor(bytes_.astype(np.uint8), 34962, normalized=True),
    }
    if s.shade is not None:
        grey = np.round(np.clip(s.shade, 0, 1)[:, None] * [255, 255, 255]).astype(np.uint8)
        attributes["COLOR_0"] = buffer.accessor(
            np.concatenate([grey, np.full((n, 1), 255, np.uint8)], 1), 34962, normalized=True
        )
    flat = s.triangles.ravel().astype(np.uint16 if n < 65536 else np.uint32)
    primitive: dict[str, Any] = {"attributes": attributes, "indices": buffer.accessor(flat, 34963)}
    if s.morphs:
        primitive["targets"] = [{"POSITION": buffer.sparse(offsets)} for offsets in s.morphs.values()]
    return primitive


def _uv(buffer: _Buffer, uvs: Floats) -> int:
    if uvs.min() < 0 or uvs.max() > 1:
        return buffer.accessor(uvs.astype(np.float32), 34962)
    return buffer.accessor(np.round(uvs * 65535).astype(np.uint16), 34962, normalized=True)


def _pack(gltf: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(gltf, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(binary))
    return head + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
