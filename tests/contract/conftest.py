"""Fixtures of the contract tests: a house of REST, every answer of which is held against the OpenAPI document."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.conformity import Conformity
from tests.contract.house import House, build, copy_of, migrated


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated(tmp_path_factory.mktemp("database"))


@pytest.fixture(scope="session")
def conformity() -> Conformity:
    return Conformity()


@pytest.fixture
async def house(template: Path, tmp_path: Path, conformity: Conformity) -> AsyncIterator[House]:
    async for built in build(tmp_path, copy_of(template, tmp_path), check=conformity.check):
        yield built
