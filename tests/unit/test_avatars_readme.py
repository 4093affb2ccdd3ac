"""avatars/README.md is true: every field of a recipe is there with its default, and nothing else is."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from avatars.builder import check
from avatars.spec import Brows, Eyes, Garment, Hair, Licence, Recipe, Shape, Skin

README = (Path(__file__).parents[2] / "avatars" / "README.md").read_text()
TABLES: dict[str, type[BaseModel]] = {
    "At the top": Recipe,
    "`[licence]`": Licence,
    "`[shape]`": Shape,
    "`[skin]`": Skin,
    "`[eyes]`": Eyes,
    "`[brows]`": Brows,
    "`[hair]`": Hair,
    "`[[clothes]]`": Garment,
}
SAID = {"animations": "the first four", "ancestry": "0.34, 0.33, 0.33", "features": "none", "description": "empty"}
"""Defaults that are not one value."""


def rows(title: str) -> dict[str, str]:
    """The defaults of a table, as it writes them."""
    table = README.split(f"**{title}**", 1)[1].split("\n\n|", 1)[1].split("\n\n", 1)[0]
    return dict(re.findall(r"^\| `(\w+)` \| .*? \| (.*?) \|", table, re.MULTILINE))


def written(name: str, field: Any) -> str:
    if name in SAID:
        return SAID[name]
    if field.is_required():
        return "required"
    return f"{field.default:g}" if isinstance(field.default, float) else f"`{field.default}`"


@pytest.mark.parametrize("title", TABLES)
def test_every_field_of_a_recipe_is_documented_with_its_default(title: str) -> None:
    fields = {
        name: written(name, field)
        for name, field in TABLES[title].model_fields.items()
        if name not in ("licence", "shape", "skin", "eyes", "brows", "hair", "clothes")
    }
    assert rows(title) == fields


def test_the_budgets_are_those_that_are_checked() -> None:
    assert f"{check.MAX_BYTES // 1_000_000} MB at most" in README
    assert f"{check.MAX_TRIANGLES:,} at most" in README
    assert f"{check.MAX_TEXTURE} pixels" in README
