"""Rules of the house that no linter knows: who may read the environment, the clock and the dice, and start tasks."""

import ast
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


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_keeps_the_rules_of_the_house(path: Path) -> None:
    code, name = path.read_text(), str(path.relative_to(ROOT))
    tree = ast.parse(code)
    if code.strip():
        assert ast.get_docstring(tree), f"{name} does not say what it is"
    if name != "server/settings.py":
        assert not uses(code, {"os.environ", "os.getenv"}) or name in MAY_READ_ENVIRONMENT, "reads the environment"
    if name != "server/infra/clock.py":
        assert not uses(code, CLOCKS), "reads a clock or rolls dice"
    if uses(code, TASKS):
        head = "\n".join(code.splitlines()[:45]).lower()
        assert "task" in head, f"{name} starts tasks and its first lines do not say why"
    assert len(code.splitlines()) <= LONGEST or name in LONG_FILES, "longer than one head"


MAY_READ_ENVIRONMENT = {
    "pipelines/workers/child.py",
    "pipelines/models/fetch.py",
}
"""A worker limits the threads of its libraries before it imports them; package clients need the user's environment."""


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import os\nx = os.environ['A']", {"os.environ"}),
        ("import datetime\nx = datetime.datetime.now()", CLOCKS),
        ("import asyncio\nasyncio.create_task(f())", TASKS),
    ],
)
def test_a_planted_violation_is_seen(code: str, names: set[str]) -> None:
    assert uses(code, names)
