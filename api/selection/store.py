"""Which chatbot a member works on, and a site's rules: which chatbot answers which page."""

from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Column, Integer, String, Table, bindparam, select

from api._kit.store import Row, Transaction, metadata

current = Table(
    "selection_current",
    metadata,
    Column("user_id", String(64), primary_key=True),
    Column("organization_id", String(64), primary_key=True),
    Column("chatbot_id", String(64), nullable=False),
    Column("since", BigInteger, nullable=False),
)
sites = Table(
    "selection_sites",
    metadata,
    Column("organization_id", String(64), primary_key=True),
    Column("site_key", String(64), nullable=False, unique=True),
    Column("version", Integer, nullable=False),
    Column("rules", JSON, nullable=False),
    Column("default_chatbot_id", String(64)),
    Column("updated_at", BigInteger, nullable=False),
)
_BY_KEY: Final = select(sites).where(sites.c.site_key == bindparam("key"))


async def find_current(tx: Transaction, user_id: str) -> Row | None:
    return await tx.one(tx.select(current).where(current.c.user_id == user_id))


async def set_current(tx: Transaction, user_id: str, chatbot_id: str, *, now: int) -> None:
    await tx.run(tx.delete(current).where(current.c.user_id == user_id))
    await tx.run(tx.insert(current, user_id=user_id, chatbot_id=chatbot_id, since=now))


async def find_site(tx: Transaction) -> Row | None:
    return await tx.one(tx.select(sites))


async def site(tx: Transaction, *, key: str, now: int) -> Row:
    """The organisation's site, which nobody else changes until the transaction ends; made with this key if need be."""
    await tx.run(tx.update(sites).values(version=sites.c.version))
    found = await find_site(tx)
    if found is None:
        await tx.try_insert(tx.insert(sites, site_key=key, version=0, rules=[], updated_at=now))
        found = await find_site(tx)
    assert found is not None
    return found


async def set_rules(tx: Transaction, values: dict[str, Any]) -> None:
    await tx.run(tx.update(sites).values(**values))


async def site_of(tx: Transaction, key: str) -> Row | None:
    """The site with this key, whosever it is."""
    return await tx.one(_BY_KEY, key=key)
