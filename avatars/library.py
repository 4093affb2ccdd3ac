"""Finds the avatars on disk: validates their folders and says where their built files are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avatars.spec import AvatarError, Recipe, read_recipe

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Avatar:
    """One avatar of the library: its recipe, its folder, and where its build products are or will be."""

    recipe: Recipe
    folder: Path
    glb: Path
    thumbnail: Path
    licence: Path

    @property
    def id(self) -> str:
        return self.recipe.id

    @property
    def built(self) -> bool:
        """Whether the GLB exists."""
        return self.glb.is_file()


@dataclass(frozen=True, slots=True)
class AvatarLibrary:
    """All avatars by id. Built once with `scan`; build products are looked up when asked for."""

    avatars: dict[str, Avatar]

    @classmethod
    def scan(cls, root: Path = HERE, dist: Path | None = None) -> AvatarLibrary:
        """Reads every `root/*/avatar.toml`. Raises AvatarError for the first folder that is wrong."""
        dist = dist or root / "dist"
        found: dict[str, Avatar] = {}
        for manifest in sorted(root.glob("*/avatar.toml")):
            folder = manifest.parent
            recipe = read_recipe(folder)
            found[recipe.id] = Avatar(
                recipe, folder, dist / f"{recipe.id}.glb", dist / f"{recipe.id}.png", folder / "LICENSE"
            )
        return cls(found)

    def list(self) -> tuple[Avatar, ...]:
        """Every avatar, ordered by id."""
        return tuple(self.avatars.values())

    def get(self, avatar_id: str) -> Avatar:
        """One avatar. Raises AvatarError for an unknown id."""
        try:
            return self.avatars[avatar_id]
        except KeyError:
            known = ", ".join(self.avatars) or "none"
            raise AvatarError(f"unknown avatar {avatar_id!r}; known: {known}") from None
