"""The avatar manifest and recipe: what `avatar.toml` may say, checked on reading."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]
Signed = Annotated[float, Field(ge=-1.5, le=1.5)]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]


class AvatarError(ValueError):
    """An avatar folder that cannot be used; the message names the file and the field."""


class Part(BaseModel):
    """Base of every table of the manifest: immutable, and unknown keys are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Licence(Part):
    """Under which terms the avatar may be used and whom to credit."""

    id: str = Field(description="SPDX identifier, for example CC0-1.0")
    credit: str


class Ancestry(Part):
    """Shares of the three base faces; they are scaled to sum to one."""

    caucasian: Unit = 0.34
    asian: Unit = 0.33
    african: Unit = 0.33

    @model_validator(mode="after")
    def _some(self) -> Ancestry:
        if self.caucasian + self.asian + self.african <= 0:
            raise ValueError("at least one share must be above zero")
        return self


class Shape(Part):
    """Macro targets of the body and signed weights of single features.

    `features` maps a target path without its direction, such as `nose/nose-scale-horiz`, to a weight; the sign picks
    the direction (decr/incr, down/up, in/out, ...). `eyes/eye-scale` without side means both sides.
    """

    age: Unit = Field(0.0, description="0 is 25 years, 1 is old age")
    muscle: Signed = 0.0
    weight: Signed = 0.0
    ideal_proportions: Unit = 0.5
    ancestry: Ancestry = Ancestry()
    features: dict[str, Signed] = {}


class Skin(Part):
    """Skin colours, and how much of each small imperfection."""

    tone: Colour = "#e2b193"
    lips: Colour = "#b8605c"
    blush: Unit = 0.5
    freckles: Unit = 0.25
    lip_depth: Unit = Field(0.6, description="how much of the lip colour covers the skin")
    stubble: Unit = 0.0


class Eyes(Part):
    """Iris colour and how dark the lashes and lid line are."""

    iris: Colour = "#5b7f6a"
    lashes: Unit = 0.8
    liner: Unit = 0.35


class Brows(Part):
    """Eyebrows drawn as hairs. Lengths are shares of the eye's opening width."""

    colour: Colour = "#4a3223"
    thickness: Annotated[float, Field(ge=0.1, le=2.0)] = 1.0
    lift: Signed = 0.0
    arch: Unit = 0.5
    density: Unit = 0.7


class Hair(Part):
    """Hair style by name, its colours and length in centimetres."""

    style: Literal["bob", "short"] = "bob"
    colour: Colour = "#4b2f20"
    tips: Colour = "#6b4630"
    length: Annotated[float, Field(ge=1.0, le=40.0)] = 26.0
    parting: Signed = Field(0.35, description="where the hair parts: -1 right ear, 0 middle, 1 left ear")
    volume: Annotated[float, Field(ge=0.2, le=2.0)] = 1.0


class Garment(Part):
    """One piece of clothing by name, from the inside out."""

    kind: Literal["tee", "blazer"]
    colour: Colour


class Recipe(Part):
    """One avatar: its manifest and everything the builder needs to make it."""

    id: Annotated[str, StringConstraints(pattern=r"^avatar_[a-z]+_[0-9]{2}$")]
    name: Annotated[str, StringConstraints(min_length=1, max_length=60)]
    gender: Literal["female", "male"]
    style: Literal["realistic", "stylised"] = "realistic"
    rig: Literal["mixamo"] = "mixamo"
    voice: Annotated[str, StringConstraints(min_length=1)]
    animations: tuple[str, ...] = ("idle", "listen", "think", "talk")
    description: str = ""
    licence: Licence
    shape: Shape = Shape()
    skin: Skin = Skin()
    eyes: Eyes = Eyes()
    brows: Brows = Brows()
    hair: Hair = Hair()
    clothes: tuple[Garment, ...] = ()

    @field_validator("animations")
    @classmethod
    def _known_animations(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(value) - {"idle", "listen", "think", "talk", "greet"})
        if unknown:
            raise ValueError(f"unknown animations: {', '.join(unknown)}")
        return value


def read_recipe(folder: Path) -> Recipe:
    """The recipe in `folder/avatar.toml`. Raises AvatarError that says which field is wrong."""
    path = folder / "avatar.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        recipe = Recipe.model_validate(table)
    except FileNotFoundError:
        raise AvatarError(f"{path}: missing") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AvatarError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        lines = [f"{'.'.join(str(x) for x in e['loc']) or 'avatar'}: {e['msg']}" for e in error.errors()]
        raise AvatarError(f"{path}: " + "; ".join(lines)) from error
    if recipe.id != folder.name:
        raise AvatarError(f"{path}: id {recipe.id!r} differs from the folder's name {folder.name!r}")
    if not (folder / "LICENSE").is_file():
        raise AvatarError(f"{folder / 'LICENSE'}: missing")
    return recipe


def rgb(colour: str) -> tuple[float, float, float]:
    """sRGB channels in 0..1 of a `#rrggbb` colour."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
        raise ValueError(f"not a colour: {colour!r}")
    r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return r, g, b
