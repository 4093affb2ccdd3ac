"""Model providers that organisations bring keys for, and what their chatbots' models have used, by day."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
)

from api._kit.paging import PageQuery
from api._kit.store import Row, Transaction, Write, metadata
from api.llm.meter import Spent, SpentBy

providers = Table(
    "llm_providers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("name", String(32), nullable=False),
    Column("base_url", String(2048), nullable=False),
    Column("key_sealed", Text, nullable=False),
    Column("key_last4", String(4), nullable=False),
    Column("region", String(64)),
    Column("models", JSON, nullable=False),
    Column("status", String(10), nullable=False),
    Column("last_error", String(100)),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("organization_id", "name"),
)
usage = Table(
    "llm_usage",
    metadata,
    Column("organization_id", String(64), nullable=False),
    Column("day", String(10), nullable=False),
    Column("chatbot_id", String(64), nullable=False),
    Column("model_id", String(160), nullable=False),
    Column("user_id", String(128), nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("requests", Integer, nullable=False),
    Column("errors", Integer, nullable=False),
    Column("cost", BigInteger, nullable=False),
    PrimaryKeyConstraint("organization_id", "day", "chatbot_id", "model_id", "user_id"),
    Index("ix_llm_usage_organization_id_chatbot_id", "organization_id", "chatbot_id"),
)
"""`cost` is in millionths of a US dollar; `day` is a date in UTC."""
GROUPS: Final[Mapping[str, str]] = {
    "chatbot": "chatbot_id",
    "model": "model_id",
    "user": "user_id",
    "day": "day",
}
_SUMS: Final = ("input_tokens", "output_tokens", "requests", "errors", "cost")


async def find(tx: Transaction, name: str) -> Row | None:
    return await tx.one(tx.select(providers).where(providers.c.name == name))


async def every(tx: Transaction) -> list[Row]:
    """All of the organisation's providers, by name."""
    return await tx.all(tx.select(providers).order_by(providers.c.name))


async def page(tx: Transaction, query: PageQuery) -> tuple[list[Row], int]:
    return await tx.page(tx.select(providers), query, table=providers, search=(providers.c.name,))


async def keep(tx: Transaction, row: Row) -> bool:
    """Put the provider in the place of one of its name; False when somebody has just made it."""
    values = {name: value for name, value in row.items() if name not in ("id", "created_at", "name")}
    if await tx.run(tx.update(providers).where(providers.c.name == row["name"]).values(**values)):
        return True
    return await tx.try_insert(tx.insert(providers, **row))


async def remove(tx: Transaction, name: str) -> bool:
    return await tx.run(tx.delete(providers).where(providers.c.name == name)) > 0


def note(write: Write, name: str, error: str | None) -> None:
    """How the provider has done last."""
    values = {"status": "error" if error else "ok", "last_error": error}
    write.run(write.update(providers).where(providers.c.name == name).values(**values))


def spend(write: Write, by: SpentBy, spent: Spent) -> None:
    """Add to the day's row, which is made when it is the first."""
    row = (
        usage.c.day == by.day,
        usage.c.chatbot_id == by.chatbot_id,
        usage.c.model_id == by.model_id,
        usage.c.user_id == by.user_id,
    )
    sums = {name: getattr(spent, name) for name in _SUMS}
    more = (
        write.update(usage).where(*row).values({usage.c[name]: usage.c[name] + value for name, value in sums.items()})
    )
    if write.run(more):
        return
    values = {name: getattr(by, name) for name in ("day", "chatbot_id", "model_id", "user_id")}
    if not write.try_insert(write.insert(usage, **values, **sums)):
        write.run(more)


async def spent(
    tx: Transaction, group: str, *, since: str, until: str, chatbot_id: str | None, most: int
) -> Sequence[Row]:
    """Sums by group, the largest cost first; of the days from `since` to `until`, both included."""
    column = usage.c[GROUPS[group]]
    sums: list[Any] = [func.sum(usage.c[name]).label(name) for name in _SUMS]
    wanted = tx.select(usage, column.label("group"), *sums).where(usage.c.day >= since, usage.c.day <= until)
    if chatbot_id is not None:
        wanted = wanted.where(usage.c.chatbot_id == chatbot_id)
    order = (column.asc(),) if group == "day" else (func.sum(usage.c.cost).desc(), column.asc())
    return await tx.all(wanted.group_by(column).order_by(*order).limit(most))
