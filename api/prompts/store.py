"""Prompts: a row for each, and one for each of its versions, which never change."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from api._kit.paging import PageQuery
from api._kit.store import Row, Transaction, metadata

prompts = Table(
    "prompts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("chatbot_id", String(64), ForeignKey("chatbots.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(120), nullable=False),
    Column("purpose", String(120)),
    Column("language", String(35), nullable=False),
    Column("version", Integer, nullable=False),
    Column("published_version", Integer),
    Column("published_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("chatbot_id", "name"),
    Index("ix_prompts_organization_id_created_at", "organization_id", "created_at"),
)
versions = Table(
    "prompt_versions",
    metadata,
    Column("prompt_id", String(64), ForeignKey("prompts.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("content", Text, nullable=False),
    Column("variables", JSON, nullable=False),
    Column("note", String(500)),
    Column("author", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
"""`variables` are objects of name, value and description, in the order they were given."""


def _with_newest(tx: Transaction) -> Select[Any]:
    newest = (versions.c.prompt_id == prompts.c.id) & (versions.c.version == prompts.c.version)
    return tx.select(prompts, *prompts.c, versions.c.content, versions.c.variables).join(versions, newest)


async def find(tx: Transaction, prompt_id: str) -> Row | None:
    """The prompt with the content of its newest version."""
    return await tx.one(_with_newest(tx).where(prompts.c.id == prompt_id))


async def page(
    tx: Transaction, query: PageQuery, *, chatbots: Sequence[str] | None, purposes: Sequence[str] | None
) -> tuple[list[Row], int]:
    statement = _with_newest(tx)
    for column, wanted in ((prompts.c.chatbot_id, chatbots), (prompts.c.purpose, purposes)):
        if wanted is not None:
            statement = statement.where(column.in_(wanted))
    return await tx.page(statement, query, table=prompts, search=(prompts.c.name,))


async def create(tx: Transaction, row: Mapping[str, Any], version: Mapping[str, Any]) -> bool:
    """False when the chatbot has a prompt of this name."""
    if not await tx.try_insert(tx.insert(prompts, **row)):
        return False
    await tx.run(tx.insert(versions, prompt_id=row["id"], version=row["version"], **version))
    return True


async def lock(tx: Transaction, prompt_id: str) -> None:
    """Keep others from changing the prompt until the transaction ends."""
    await tx.run(tx.update(prompts).where(prompts.c.id == prompt_id).values(updated_at=prompts.c.updated_at))


async def add_version(tx: Transaction, prompt_id: str, number: int, version: Mapping[str, Any]) -> None:
    await tx.run(tx.insert(versions, prompt_id=prompt_id, version=number, **version))


async def change(tx: Transaction, prompt_id: str, values: Mapping[str, Any]) -> None:
    await tx.run(tx.update(prompts).where(prompts.c.id == prompt_id).values(**values))


async def name_taken(tx: Transaction, chatbot_id: str, name: str, *, besides: str) -> bool:
    same = tx.select(prompts, prompts.c.id).where(
        prompts.c.chatbot_id == chatbot_id, prompts.c.name == name, prompts.c.id != besides
    )
    return await tx.one(same) is not None


async def remove(tx: Transaction, prompt_id: str) -> None:
    await tx.run(tx.delete(versions).where(versions.c.prompt_id == prompt_id))
    await tx.run(tx.delete(prompts).where(prompts.c.id == prompt_id))


async def version(tx: Transaction, prompt_id: str, number: int) -> Row | None:
    return await tx.one(tx.select(versions).where(versions.c.prompt_id == prompt_id, versions.c.version == number))


async def page_of_versions(
    tx: Transaction, query: PageQuery, prompt_id: str, numbers: Sequence[int] | None
) -> tuple[list[Row], int]:
    statement = tx.select(versions).where(versions.c.prompt_id == prompt_id)
    if numbers is not None:
        statement = statement.where(versions.c.version.in_(numbers))
    return await tx.page(statement, query, table=versions, tie=versions.c.version)


async def unpublish_others(tx: Transaction, chatbot_id: str, prompt_id: str) -> None:
    """One prompt a chatbot is published."""
    others = (prompts.c.chatbot_id == chatbot_id, prompts.c.id != prompt_id)
    await tx.run(tx.update(prompts).where(*others).values(published_version=None, published_at=None))
