"""README.md is true: its settings are the server's, and its links lead somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from server.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()

MADE = {
    "MA_PUBLIC_URL": "`http://localhost:<port>`",
    "MA_SECRET_KEY": "made in the data directory",
    "MA_DATABASE_URL": "SQLite in the data directory",
    "MA_LLM__BASE_URL": "embedded server",
    "MA_LLM__MODEL": "`smollm2-135m-instruct-q4`",
    "MA_TTS__VOICE": "by avatar",
}
"""What the table says of settings that are empty and mean something else."""


def fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
    """Each variable with its default."""
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from fields(type(field.default), f"{prefix}{name.upper()}__")
        else:
            yield prefix + name.upper(), field.default


def documented() -> dict[str, str]:
    """The table: the default of each variable, as it is written."""
    rows = re.findall(r"^\| (`MA_.*?) \| (.*?) \|", README, re.MULTILINE)
    pairs = [(names.split(", "), defaults.split(", ")) for names, defaults in rows]
    return {
        name.strip("`"): default for names, defaults in pairs for name, default in zip(names, defaults, strict=True)
    }


def written(default: Any) -> str:
    """A default as the table writes it."""
    value = default.get_secret_value() if isinstance(default, SecretStr) else default
    text = f"{value:g}" if isinstance(value, int | float) else str(value or "")
    return f"`{text}`" if text else "none"


def test_every_setting_is_documented_with_its_default_and_nothing_else_is() -> None:
    settings = {name: MADE.get(name) or written(default) for name, default in fields(Settings, "MA_")}
    assert documented() == settings


def test_the_settings_that_the_table_explains_are_empty() -> None:
    assert {name for name, default in fields(Settings, "MA_") if name in MADE and written(default) == "none"} == set(
        MADE
    )


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))))
def test_a_link_leads_to_a_file(target: str) -> None:
    assert (ROOT / target).exists()
