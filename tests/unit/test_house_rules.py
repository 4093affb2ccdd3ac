"""Rules of the house that no linter knows: who may read the environment, the clock and the dice, and start tasks."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("server", "api", "pipelines", "avatars")
LONGEST = 400
LONG_FILES = {"server/wire.py"}
"""Files over the limit, each with its reason in docs/adr/0003-one-long-file.md."""

CLOCKS = {"datetime.now", "datetime.utcnow", "uuid.uuid4", "time.time", "random.random", "random.uniform"}
TASKS = {"asyncio.create_task", "asyncio.ensure_future"}


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def calls(code: str) -> Iterator[str]:
    """Dotted names that the code calls or reads, such as `asyncio.create_task`."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)


def uses(code: str, names: set[str]) -> set[str]:
    return {name for call in calls(code) for name in names if call == name or call.endswith(f".{name}")}


def violations(name: str, code: str) -> list[str]:
    """What a module does that the house forbids."""
    found = []
    if code.strip() and not ast.get_docstring(ast.parse(code)):
        found.append("does not say what it is")
    if name != "server/settings.py" and name not in MAY_READ_ENVIRONMENT and uses(code, {"os.environ", "os.getenv"}):
        found.append("reads the environment")
    if name != "server/infra/clock.py" and uses(code, CLOCKS):
        found.append("reads a clock or rolls dice")
    head = re.sub(r"\.(create_task|ensure_future)\b", "", "\n".join(code.splitlines()[:45]))
    if uses(code, TASKS) and "task" not in head.lower():
        found.append("starts tasks and its first lines do not say why")
    return found + too_long(name, code)


def too_long(name: str, code: str) -> list[str]:
    return ["longer than one head"] if len(code.splitlines()) > LONGEST and name not in LONG_FILES else []


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_keeps_the_rules_of_the_house(path: Path) -> None:
    assert violations(str(path.relative_to(ROOT)), path.read_text()) == []


@pytest.mark.parametrize("path", sorted((ROOT / "static/embed/src").rglob("*.ts")), ids=lambda path: path.name)
def test_a_file_of_the_widget_fits_in_one_head(path: Path) -> None:
    if "generated" not in path.parts:
        assert too_long(str(path.relative_to(ROOT)), path.read_text()) == []


def test_files_that_may_be_long_are_long_and_have_a_reason() -> None:
    decision = (ROOT / "docs/adr/0003-one-long-file.md").read_text()
    for name in LONG_FILES:
        assert name in decision
        assert len((ROOT / name).read_text().splitlines()) > LONGEST


MAY_READ_ENVIRONMENT = {
    "pipelines/workers/child.py",
    "pipelines/models/fetch.py",
}
"""A worker limits the threads of its libraries before it imports them; package clients need the user's environment."""


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("import os\nx = os.environ['A']", "reads the environment"),
        ("import os\nx = os.getenv('A')", "reads the environment"),
        ("import datetime\nx = datetime.datetime.now()", "reads a clock or rolls dice"),
        ("import uuid\nx = uuid.uuid4()", "reads a clock or rolls dice"),
        ("import random\nx = random.random()", "reads a clock or rolls dice"),
        ("import asyncio\nasyncio.create_task(f())", "starts tasks and its first lines do not say why"),
        ("x = 1\n" * 401, "longer than one head"),
        ("x = 1", "does not say what it is"),
    ],
)
def test_a_planted_violation_is_seen(code: str, seen: str) -> None:
    told = "" if seen == "does not say what it is" else '"""A module."""\n'
    assert violations("server/planted.py", told + code) == [seen]
