"""The database engine: SQLite for one machine, PostgreSQL for many, and the migrations that both share."""

import asyncio
from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final

from alembic import command
from alembic.config import Config
from asyncpg import PostgresError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from api._kit.events import Event
from api._kit.store import PLATFORM, Database, Write
from api._kit.store.views import READERS, VIEWS
from pipelines.ports import Clock, Ids
from server.infra.clock import Ids as SystemIds
from server.infra.clock import SystemClock

BUSY_MS: Final = 1_000
STATEMENT_SECONDS: Final = 10
MIGRATION_SECONDS: Final = 60
_DURABLE: Final = {"2", "3", "on", "local", "remote_write", "remote_apply"}
"""SQLite's FULL and EXTRA; for PostgreSQL everything but `off` waits for its own disk."""
_MIGRATION_LOCK: Final = 0x4D41  # any constant number: the advisory lock that concurrent migrations queue for


def connect(
    url: str,
    *,
    announce: Callable[[Event], None] = lambda event: None,
    clock: Clock | None = None,
    ids: Ids | None = None,
) -> Database:
    """The database at `url` (sqlite+aiosqlite or postgresql+asyncpg). Nothing is opened before the first use.

    `clock` and `ids` are those of events and jobs; the system's if absent.
    """
    direct = _direct(make_url(url))
    return Database(engine(url), clock=clock or SystemClock(), ids=ids or SystemIds(), direct=direct, announce=announce)


class NotDurable(Exception):
    """A commit may return before it is on the disk, so that nothing may be acknowledged."""


async def check_durable(database: Database) -> None:
    """Asks the very connection that messages are written on. Raises NotDurable and StoreUnavailable."""
    setting = "PRAGMA synchronous" if database.dialect == "sqlite" else "SHOW synchronous_commit"

    def ask(write: Write) -> str:
        return str(write.scalar(text(setting)))

    found = await database.write(PLATFORM, ask)
    if found not in _DURABLE:
        raise NotDurable(f"The database does not keep what it says it keeps: {setting} is {found}.")


def engine(url: str, *, patience: float | None = None) -> AsyncEngine:
    """`patience` is how many seconds SQLite waits for another writer. Raises ValueError for a database that is neither
    SQLite nor PostgreSQL."""
    parsed = make_url(url)
    match parsed.get_backend_name():
        case "sqlite":
            made = create_async_engine(parsed, connect_args={"timeout": patience or BUSY_MS / 1000})
            _prepare(made.sync_engine)
            return made
        case "postgresql":
            parsed = parsed.set(drivername="postgresql+asyncpg")
            return create_async_engine(
                parsed,
                pool_size=10,
                max_overflow=10,
                pool_timeout=5,
                pool_pre_ping=True,
                connect_args={"timeout": 5, "command_timeout": STATEMENT_SECONDS},
            )
        case other:
            raise ValueError(f"the database is SQLite or PostgreSQL, not {other}")


def _direct(url: URL) -> Engine | None:
    """The same SQLite file for threads: one that writes, some that read. Nothing for a database over the network."""
    if url.get_backend_name() != "sqlite":
        return None
    made = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        pool_size=1 + READERS,
        max_overflow=VIEWS,
        connect_args={"timeout": BUSY_MS / 1000},
    )
    _prepare(made)
    return made


def _prepare(made: Engine) -> None:
    event.listen(made, "connect", _prepare_sqlite)
    event.listen(made, "begin", _begin_sqlite)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """Readers never wait for the writer; a commit is on the disk when it returns; what is deleted is overwritten."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """A transaction that may write takes the write lock at once, so that it cannot fail half-way for want of it."""
    writes = connection.get_execution_options().get("writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class Unreachable(Exception):
    """No database answers, or it does not let us in."""


async def migrate(url: str, revision: str = "head", *, down: bool = False) -> None:
    """Bring the database up to `revision`, or back `down` to it. Safe to run from several processes at once.

    Raises Unreachable.
    """
    made = engine(url, patience=MIGRATION_SECONDS)
    try:
        if made.dialect.name == "postgresql":
            await _reach(made)
        async with made.begin() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            await connection.run_sync(_down if down else _up, revision)
    finally:
        await made.dispose()


async def _reach(made: AsyncEngine) -> None:
    try:
        async with made.connect():
            pass
    except (OSError, PostgresError, SQLAlchemyError) as error:
        place = made.url.render_as_string(hide_password=True)
        raise Unreachable(
            f"The database at {place} does not let us in: {error}. `machineavatars doctor` says more."
        ) from error


def _up(connection: Connection, revision: str) -> None:
    command.upgrade(_config(connection), revision)


def _down(connection: Connection, revision: str) -> None:
    command.downgrade(_config(connection), revision)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("server.migrations")))
    config.attributes["connection"] = connection
    return config


async def ping(database: Database) -> None:
    """Raises what the database raises; waits a second at most."""
    async with asyncio.timeout(1), database.engine.connect() as connection:
        await connection.execution_options(writes=False)
        await connection.execute(text("SELECT 1"))
