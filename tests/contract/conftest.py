"""Fixtures of the contract tests: a house of REST, every answer of which is held against the OpenAPI document."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from server.infra import db
from tests.contract.conformity import Conformity
from tests.contract.house import House, build, copy_of, migrated
from tests.contract.shapes import ALL, shapes_of
from tests.support import postgres


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a house in each shape that their file is for."""
    if "shape" in metafunc.fixturenames:
        metafunc.parametrize("shape", shapes_of(metafunc.module.__name__))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated(tmp_path_factory.mktemp("database"))


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[str | None]:
    """The address of a database with all tables; None where there is no server."""
    name, url = f"machineavatars_contract_{os.getpid()}", None
    with contextlib.suppress(*postgres.GONE):
        url = asyncio.run(postgres.make(name, tables=True))
    assert url or ALL != "postgresql", postgres.MISSING
    yield url
    if url:
        asyncio.run(postgres.drop(name))


@pytest.fixture(scope="session")
def conformity() -> Conformity:
    return Conformity()


@pytest.fixture
def address(shape: str, template: Path, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Of the database for this shape."""
    if shape != "postgresql":
        return copy_of(template, tmp_path)
    return request.getfixturevalue("shared_postgres") or pytest.skip(postgres.MISSING)


@pytest.fixture
async def house(address: str, tmp_path: Path, conformity: Conformity, shape: str) -> AsyncIterator[House]:
    if shape == "postgresql":
        database = db.connect(address)
        await postgres.empty(database)
        await database.close()
    async for built in build(tmp_path, address, check=conformity.check, split=shape == "split"):
        yield built
