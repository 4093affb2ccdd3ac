"""Databases for unit tests: a fresh SQLite file and, where a server lets us in, PostgreSQL."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text

from api._kit.store import Database, metadata
from server.infra import db
from tests.contract.house import copy_of, migrated

NO_POSTGRES = "no PostgreSQL at 127.0.0.1:5432 that lets postgres in"
POSTGRES = "postgresql://postgres@127.0.0.1:5432/test"


async def _serve_postgres(name: str, *, tables: bool) -> str:
    """Makes an empty database, or one with all tables, and returns its address."""
    server = await asyncpg.connect(POSTGRES, timeout=2)
    await server.execute(f"CREATE DATABASE {name}")
    await server.close()
    url = f"postgresql+asyncpg://postgres@127.0.0.1:5432/{name}"
    if tables:
        await db.migrate(url)
    return url


async def _drop_postgres(name: str) -> None:
    server = await asyncpg.connect(POSTGRES, timeout=2)
    await server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await server.close()


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A database with all tables of each kind; no `postgresql` where there is no server."""
    name = f"machineavatars_test_{os.getpid()}"
    found = {"sqlite": str(migrated(tmp_path_factory.mktemp("template")))}
    with contextlib.suppress(OSError, asyncpg.PostgresError):
        found["postgresql"] = asyncio.run(_serve_postgres(name, tables=True))
    yield found
    if "postgresql" in found:
        asyncio.run(_drop_postgres(name))


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(
    request: pytest.FixtureRequest, templates: dict[str, str], tmp_path: Path
) -> AsyncIterator[Database]:
    """An open database without rows."""
    if request.param not in templates:
        pytest.skip(NO_POSTGRES)
    if request.param == "sqlite":
        opened = db.connect(copy_of(Path(templates["sqlite"]), tmp_path))
    else:
        opened = db.connect(templates["postgresql"])
        async with opened.engine.begin() as connection:
            names = ", ".join(table.name for table in metadata.sorted_tables)
            await connection.execute(text(f"TRUNCATE {names}"))
    yield opened
    await opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, templates: dict[str, str], tmp_path: Path) -> AsyncIterator[str]:
    """The address of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}"
        return
    if request.param not in templates:
        pytest.skip(NO_POSTGRES)
    name = f"machineavatars_empty_{os.getpid()}"
    yield await _serve_postgres(name, tables=False)
    await _drop_postgres(name)
