"""Every migration goes up and down again, on both databases, and leaves nothing behind."""

from typing import Any

from sqlalchemy import Connection, inspect

from server.infra import db


async def tables(url: str) -> dict[str, Any]:
    """What the database says of its tables."""
    engine = db.engine(url)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_described)
    finally:
        await engine.dispose()


def _described(connection: Connection) -> dict[str, Any]:
    look = inspect(connection)
    names = set(look.get_table_names()) - {"alembic_version"}
    of = (look.get_columns, look.get_foreign_keys, look.get_indexes, look.get_unique_constraints)
    return {
        name: [look.get_pk_constraint(name), *(sorted(map(_text, describe(name))) for describe in of)]
        for name in sorted(names)
    }


def _text(value: Any) -> str:
    """The same for the same, whatever is in it."""
    return str({key: _text(part) for key, part in sorted(value.items())}) if isinstance(value, dict) else str(value)


async def test_migrations_go_down_to_nothing_and_up_to_the_same_again(url: str) -> None:
    await db.migrate(url)
    first = await tables(url)
    assert "users" in first
    await db.migrate(url, "base", down=True)
    assert await tables(url) == {}
    await db.migrate(url)
    assert await tables(url) == first
