"""Every migration goes up and down again, on both databases, and leaves nothing behind."""

from typing import Any

import pytest
from sqlalchemy import Connection, inspect, text

from api.history.store.search import matching
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


SAID = {"msg_1": "Ça marche! Öffnungszeiten", "msg_2": "東京タワー", "msg_3": "?!", "msg_4": "marche marche"}


@pytest.mark.parametrize(
    ("asked", "found"), [("offnungs", {"msg_1"}), ("京", {"msg_2"}), ("MARCHÉ", {"msg_1", "msg_4"})]
)
async def test_messages_that_were_there_before_the_index_are_found(url: str, asked: str, found: set[str]) -> None:
    await db.migrate(url, "0005")
    database = db.connect(url)
    try:
        async with database.engine.begin() as connection:
            await connection.run_sync(_talk)
        await db.migrate(url)
        async with database.view("org_1") as tx:
            query = matching(tx, database.dialect, asked, "message_id")
            assert query is not None
            assert {row["message_id"] for row in await tx.all(query)} == found
    finally:
        await database.close()


def _talk(connection: Connection) -> None:
    """One of everything that messages stand on, filled with what its columns need."""
    look = inspect(connection)

    def add(table: str, **values: Any) -> None:
        for column in look.get_columns(table):
            if not column["nullable"] and column["default"] is None and column["name"] not in values:
                kind = column["type"].python_type
                values[column["name"]] = {str: "x", int: 1, bool: False}.get(kind, "{}")
        names = ", ".join(values)
        connection.execute(
            text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(':' + name for name in values)})"), values
        )

    add("organizations", id="org_1")
    add("chatbots", id="cb_1", organization_id="org_1")
    add("conversations", id="conv_1", organization_id="org_1", chatbot_id="cb_1")
    for position, (id, said) in enumerate(SAID.items()):
        add("messages", id=id, organization_id="org_1", conversation_id="conv_1", content=said, position=position)
