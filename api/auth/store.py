"""Tokens that are refused before they expire: single ones by id, all of a person's by version."""

from typing import Final

from sqlalchemy import BigInteger, Column, Integer, String, Table, delete, insert, select, update

from api._kit.ports import Clock
from api._kit.store import PLATFORM, Database, Transaction, metadata
from api._kit.values import milliseconds

revoked_tokens = Table(
    "revoked_tokens",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("refused_from", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)
token_versions = Table(
    "token_versions",
    metadata,
    Column("user_id", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
)
KEPT_MS: Final = 3_600_000
"""How long a revoked token is remembered after it expired."""


async def refuse(tx: Transaction, token_id: str, *, now: int, refused_from: int, expires_at: int) -> None:
    """Refuse this token from a time on; the earliest time said counts."""
    await tx.run(delete(revoked_tokens).where(revoked_tokens.c.expires_at < now - KEPT_MS))
    row = insert(revoked_tokens).values(id=token_id, refused_from=refused_from, expires_at=expires_at)
    if not await tx.try_insert(row):
        earlier = (revoked_tokens.c.id == token_id, revoked_tokens.c.refused_from > refused_from)
        await tx.run(update(revoked_tokens).where(*earlier).values(refused_from=refused_from))


class Revocations:
    """Which tokens are refused although they have not expired."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def revoked(self, token_id: str, user_id: str, version: int) -> bool:
        refused_from = select(revoked_tokens.c.refused_from).where(revoked_tokens.c.id == token_id)
        current = select(token_versions.c.version).where(token_versions.c.user_id == user_id)
        async with self._database.view(PLATFORM) as tx:
            row = await tx.one(
                select(
                    refused_from.scalar_subquery().label("refused_from"),
                    current.scalar_subquery().label("version"),
                )
            )
        if row is None:
            return True
        if row["refused_from"] is not None and row["refused_from"] <= milliseconds(self._clock.now()):
            return True
        return version < (row["version"] or 0)

    async def version(self, user_id: str) -> int:
        async with self._database.view(PLATFORM) as tx:
            found = await tx.scalar(select(token_versions.c.version).where(token_versions.c.user_id == user_id))
        return int(found or 0)

    async def revoke_all(self, user_id: str, organization_id: str) -> None:
        mine = token_versions.c.user_id == user_id
        async with self._database.uow(organization_id) as tx:
            if not await tx.run(update(token_versions).where(mine).values(version=token_versions.c.version + 1)):
                first = insert(token_versions).values(user_id=user_id, version=1)
                if not await tx.try_insert(first):
                    await tx.run(update(token_versions).where(mine).values(version=token_versions.c.version + 1))
            tx.record("user.tokens_revoked", {"user_id": user_id})
            await tx.commit()
