"""What a database and Redis say of themselves, for whoever looks after them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from asyncpg import PostgresError
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import Connection, make_url
from sqlalchemy.exc import SQLAlchemyError

from api._kit.errors import ApiError
from server.infra.db import NotDurable, check_durable, connect, ping


class Unreachable(Exception):
    """It does not answer; the message is its driver's, in one line."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """`doubt` is why a commit might not last, empty when it does; the revisions are of the schema: the database's (None
    before the first migration) and this program's."""

    doubt: str
    revision: str | None
    head: str
    known: bool
    """Whether this program knows the database's revision."""

    @property
    def current(self) -> bool:
        return self.revision == self.head


def shown(url: str) -> str:
    """The address without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "the address"


def file_of(url: str) -> str | None:
    """The path of a SQLite database; None for others. Raises Unreachable for what is no address of a database."""
    with _answering():
        parsed = make_url(url)
    return parsed.database if parsed.get_backend_name() == "sqlite" else None


async def inspect(url: str) -> Inspection:
    """Opens the database as the server does. Raises Unreachable."""
    doubt = ""
    with _answering():
        database = connect(url)
        try:
            await ping(database)
            try:
                await check_durable(database)
            except NotDurable as error:
                doubt = str(error)
            async with database.engine.connect() as connection:
                await connection.execution_options(writes=False)
                revision = await connection.run_sync(_revision)
        finally:
            await database.close()
    head, known = await asyncio.to_thread(_script, revision)
    return Inspection(doubt, revision, head, known)


async def ping_redis(url: str, *, patience: float = 3.0) -> str:
    """The version of the Redis at `url`. Raises Unreachable, also for a cluster: `limits` counts in one Redis."""
    with _answering():
        client: Redis = Redis.from_url(url, socket_timeout=patience, socket_connect_timeout=patience)
        try:
            told = await client.info("server")
            if told.get("redis_mode") == "cluster":
                raise Unreachable("it is a cluster, and requests are counted in one Redis")
            return str(told.get("redis_version", "unknown"))
        finally:
            await client.aclose()


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, PostgresError, RedisError, ApiError, OSError, ValueError) as error:
        said = str(error.__cause__ or error).strip().splitlines()
        raise Unreachable(said[0] if said else type(error).__name__) from error


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _script(revision: str | None) -> tuple[str, bool]:
    config = Config()
    config.set_main_option("script_location", str(files("server.migrations")))
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    return str(scripts.get_current_head()), revision is None or revision in known
