"""The import rules of .importlinter bite: every forbidden import, planted in a copy of the sources, is found."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RULES = ConfigParser()
RULES.read(ROOT / ".importlinter")
CONTRACTS = [name for name in RULES.sections() if name.startswith("importlinter:contract:")]
PACKAGES = RULES["importlinter"]["root_packages"].split()

Plant = tuple[str, str]
"""A module (or package) of ours, and what it may not import."""


def plants(contract: str) -> Iterator[Plant]:
    """Every import that the contract forbids, once."""
    rule = RULES[contract]
    match rule["type"]:
        case "layers":
            layers = rule["layers"].split()
            yield from ((low, high) for n, high in enumerate(layers) for low in layers[n + 1 :])
        case "independence":
            modules = rule["modules"].split()
            yield from pairwise([*modules, modules[0]])
        case "forbidden":
            for source in rule["source_modules"].split():
                yield from ((source, target) for target in rule["forbidden_modules"].split())
        case kind:
            raise AssertionError(f"a contract of the kind {kind!r} is not known here")


def plant(sources: Path, source: str, target: str) -> str:
    """Write the import; returns the module in which it is."""
    place = sources / source.replace(".", "/")
    if place.is_dir():
        place, source = place / "planted.py", f"{source}.planted"
    else:
        place = place.with_suffix(".py")
    with place.open("a") as file:
        file.write(f"\nimport {target}\n")
    return source


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[Plant, str]]:
    """What the linter says of each contract, by name; and where each plant is."""
    folder = tmp_path_factory.mktemp("planted")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=_not_python)
    planted = {pair: plant(folder, *pair) for contract in CONTRACTS for pair in dict.fromkeys(plants(contract))}
    shutil.copy(ROOT / ".importlinter", folder)
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "400"}
    found = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 1, found.stdout + found.stderr
    names = [RULES[contract]["name"] for contract in CONTRACTS]
    details = found.stdout.partition("Broken contracts")[2]
    parts = re.split("|".join(rf"^({re.escape(name)})\n-+\n" for name in names), details, flags=re.MULTILINE)
    sections = [part for part in parts if part is not None][1:]
    return dict(zip(sections[::2], sections[1::2], strict=True)), planted


def _not_python(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not (name.endswith(".py") or Path(folder, name).is_dir()) or name == "dist"]


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_import_that_a_contract_forbids_is_found(
    contract: str, report: tuple[dict[str, str], dict[Plant, str]]
) -> None:
    sections, planted = report
    said = sections.get(RULES[contract]["name"], "")
    missed = [pair for pair in plants(contract) if not re.search(rf"\b{re.escape(planted[pair])} -> {pair[1]}\b", said)]
    assert not missed


def services() -> set[str]:
    return {path.parent.name for path in (ROOT / "api").glob("*/service.py")}


@pytest.mark.parametrize("contract", ["services", "http"])
def test_a_contract_about_services_names_them_all(contract: str) -> None:
    rule = RULES[f"importlinter:contract:{contract}"]
    named = rule.get("modules", rule.get("source_modules", "")).split()
    assert services() <= {name.removeprefix("api.") for name in named}
