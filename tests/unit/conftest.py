"""Databases for unit tests: a fresh SQLite file and, where a server lets us in, PostgreSQL."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from api._kit.store import Database
from server.infra import db
from tests.contract.house import copy_of, migrated
from tests.support import postgres


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A database with all tables of each kind; no `postgresql` where there is no server."""
    name = f"machineavatars_test_{os.getpid()}"
    found = {"sqlite": str(migrated(tmp_path_factory.mktemp("template")))}
    with contextlib.suppress(*postgres.GONE):
        found["postgresql"] = asyncio.run(postgres.make(name, tables=True))
    yield found
    if "postgresql" in found:
        asyncio.run(postgres.drop(name))


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(
    request: pytest.FixtureRequest, templates: dict[str, str], tmp_path: Path
) -> AsyncIterator[Database]:
    """An open database without rows."""
    if request.param not in templates:
        pytest.skip(postgres.MISSING)
    if request.param == "sqlite":
        opened = db.connect(copy_of(Path(templates["sqlite"]), tmp_path))
    else:
        opened = db.connect(templates["postgresql"])
        await postgres.empty(opened)
    yield opened
    await opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, templates: dict[str, str], tmp_path: Path) -> AsyncIterator[str]:
    """The address of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}"
        return
    if request.param not in templates:
        pytest.skip(postgres.MISSING)
    name = f"machineavatars_empty_{os.getpid()}"
    yield await postgres.make(name, tables=False)
    await postgres.drop(name)
