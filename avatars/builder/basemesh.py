"""Reads the CC0 base mesh: vertices, UVs, named face groups, sparse targets, rig joints and skin weights.

The data folder holds `mpfb2/` (base mesh, shape targets, rigs, masks) and `faceunits01/` (the 52 ARKit shapes).
Lengths are decimetres, y is up, the face looks along +z and the left hand is at +x.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class DataError(Exception):
    """The data folder lacks a file, or a recipe names a target that does not exist."""


@dataclass(frozen=True, slots=True)
class BaseMesh:
    """The neutral mesh. `faces[group]` is (f, 4, 2): for each quad corner a vertex index and a UV index."""

    vertices: Floats
    uvs: Floats
    faces: dict[str, Ints]

    def group_vertices(self, *groups: str) -> Ints:
        """Sorted indices of the vertices that the named groups use."""
        return np.unique(np.concatenate([self.faces[g][:, :, 0].ravel() for g in groups]))


@dataclass(frozen=True, slots=True)
class Target:
    """A sparse shape: `offsets` (k, 3) for the vertices `indices` (k,)."""

    indices: Ints
    offsets: Floats


@dataclass(frozen=True, slots=True)
class BodyData:
    """A data folder and the readers for what is in it."""

    root: Path

    def __post_init__(self) -> None:
        for need in ("mpfb2/3dobjs/base.obj", "faceunits01/targets/faceunits"):
            if not (self.root / need).exists():
                raise DataError(f"{self.root} is not an avatar data folder: {need} is missing")

    @property
    def base_obj(self) -> Path:
        return self.root / "mpfb2/3dobjs/base.obj"

    def mesh(self) -> BaseMesh:
        """The base mesh with every helper group."""
        vertices: list[list[float]] = []
        uvs: list[list[float]] = []
        faces: dict[str, list[list[tuple[int, int]]]] = {}
        group = "body"
        for line in self.base_obj.read_text().splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                vertices.append([float(x) for x in rest.split()[:3]])
            elif kind == "vt":
                uvs.append([float(x) for x in rest.split()[:2]])
            elif kind == "g":
                group = rest.strip()
            elif kind == "f":
                corners = [tuple(int(x) - 1 for x in corner.split("/")[:2]) for corner in rest.split()]
                faces.setdefault(group, []).append([(c[0], c[1]) for c in corners])
        return BaseMesh(np.array(vertices), np.array(uvs), {g: np.array(f, np.int64) for g, f in faces.items()})

    def target(self, name: str) -> Target:
        """A shape target by its path below `mpfb2/targets`, without suffix, for example `nose/nose-point-up`."""
        return _read_target(self._target_path(name))

    def has_target(self, name: str) -> bool:
        return (self.root / "mpfb2/targets" / f"{name}.target.gz").is_file()

    def _target_path(self, name: str) -> Path:
        path = self.root / "mpfb2/targets" / f"{name}.target.gz"
        if not path.is_file():
            raise DataError(f"unknown shape target {name!r}")
        return path

    def face_units(self) -> Iterator[tuple[str, Target]]:
        """The 52 ARKit shapes in alphabetical order."""
        for path in sorted((self.root / "faceunits01/targets/faceunits").glob("*.target")):
            yield path.stem, _read_target(path)

    def rig(self, name: str) -> dict[str, dict[str, Any]]:
        """Bones of a rig: name to parent, head and tail placement."""
        rig = json.loads((self.root / f"mpfb2/rigs/standard/rig.{name}.json").read_text())
        bones: dict[str, dict[str, Any]] = rig.get("bones", rig)
        return bones

    def weights(self, name: str, count: int) -> dict[str, Floats]:
        """Skin weights of a rig: bone name to one weight for each of `count` vertices."""
        table = json.loads((self.root / f"mpfb2/rigs/standard/weights.{name}.json").read_text())["weights"]
        out: dict[str, Floats] = {}
        for bone, pairs in table.items():
            column = np.zeros(count)
            if pairs:
                index, value = np.array(pairs).T
                column[index.astype(np.int64)] = value
            out[bone] = column
        return out

    def mask(self, name: str) -> Path:
        """Path of one of the painted masks, for example `mpfb_lips`."""
        return self.root / f"mpfb2/textures/{name}.jpg"


def _read_target(path: Path) -> Target:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    numbers = " ".join(line for line in text.splitlines() if line and line[0] not in '#"').split()
    table = np.array(numbers, np.float64).reshape(-1, 4)
    return Target(table[:, 0].astype(np.int64), table[:, 1:])
