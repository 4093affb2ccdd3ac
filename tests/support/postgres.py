"""PostgreSQL for tests, where a server on this machine lets us in: databases that are made and dropped by name."""

import asyncpg
from sqlalchemy import delete

from api._kit.store import Database, metadata
from server.infra import db

MISSING = "no PostgreSQL at 127.0.0.1:5432 that lets postgres in"
GONE = (OSError, asyncpg.PostgresError)
_SERVER = "postgresql://postgres@127.0.0.1:5432/test"


async def make(name: str, *, tables: bool) -> str:
    """Makes an empty database, or one with all tables, and returns its address. Raises what is in GONE."""
    server = await asyncpg.connect(_SERVER, timeout=2)
    await server.execute(f"CREATE DATABASE {name}")
    await server.close()
    url = f"postgresql+asyncpg://postgres@127.0.0.1:5432/{name}"
    if tables:
        await db.migrate(url)
    return url


async def drop(name: str) -> None:
    server = await asyncpg.connect(_SERVER, timeout=2)
    await server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await server.close()


async def empty(database: Database) -> None:
    """Take the rows out of every table."""
    async with database.engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):  # TRUNCATE would write each file of each of them
            await connection.execute(delete(table))
