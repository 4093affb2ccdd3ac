"""Tokens that are refused before they expire, second factors, tokens that mails carry, and what websites sign with.

A row of `revoked_tokens` is about one token that was exchanged for another, or about a whole session (`sid`). All of a
person's tokens are refused by version.
"""

import secrets
from collections.abc import Sequence
from typing import Final, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Integer,
    String,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from api._kit.passwords import fingerprint
from api._kit.ports import Clock, Standing, Vault
from api._kit.store import PLATFORM, Database, Row, Transaction, metadata
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
mail_tokens = Table(
    "mail_tokens",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("user_id", String(64), ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("purpose", String(10), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)
second_factors = Table(
    "second_factors",
    metadata,
    Column("user_id", String(64), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("sealed", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("user_id", String(64), ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
)
identity_secrets = Table(
    "identity_secrets",
    metadata,
    Column("chatbot_id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("sealed", Text, nullable=False),
    Column("previous", Text),
    Column("previous_until", BigInteger),
    Column("created_at", BigInteger, nullable=False),
)
Purpose = Literal["verify", "reset"]
OVERLAP_MS: Final = 24 * 3_600_000
"""How long an identity secret that was replaced still counts."""
_STANDING: Final = select(
    select(revoked_tokens.c.refused_from)
    .where(revoked_tokens.c.id == bindparam("token"))
    .scalar_subquery()
    .label("refused_from"),
    select(revoked_tokens.c.refused_from)
    .where(revoked_tokens.c.id == bindparam("session"))
    .scalar_subquery()
    .label("ended"),
    select(token_versions.c.version)
    .where(token_versions.c.user_id == bindparam("user"))
    .scalar_subquery()
    .label("version"),
)
KEPT_MS: Final = 3_600_000
"""How long a revoked token is remembered after it expired."""


async def refuse(tx: Transaction, token_id: str, *, now: int, refused_from: int, expires_at: int) -> None:
    """Refuse this token or session from a time on; the earliest time said counts."""
    await tx.run(delete(revoked_tokens).where(revoked_tokens.c.expires_at < now - KEPT_MS))
    row = insert(revoked_tokens).values(id=token_id, refused_from=refused_from, expires_at=expires_at)
    if not await tx.try_insert(row):
        earlier = (revoked_tokens.c.id == token_id, revoked_tokens.c.refused_from > refused_from)
        await tx.run(update(revoked_tokens).where(*earlier).values(refused_from=refused_from))


class Revocations:
    """Which tokens are refused although they have not expired."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def standing(self, token_id: str, session: str, user_id: str, version: int) -> Standing:
        async with self._database.view(PLATFORM) as tx:
            row = await tx.one(_STANDING, token=token_id, session=session, user=user_id)
        if row is None or row["ended"] is not None or version < (row["version"] or 0):
            return "revoked"
        refused_from = row["refused_from"]
        return "exchanged" if refused_from is not None and refused_from <= milliseconds(self._clock.now()) else "good"

    async def version(self, user_id: str) -> int:
        async with self._database.view(PLATFORM) as tx:
            found = await tx.scalar(select(token_versions.c.version).where(token_versions.c.user_id == user_id))
        return int(found or 0)

    async def revoke_all(self, tx: Transaction, user_id: str) -> None:
        mine = token_versions.c.user_id == user_id
        more = update(token_versions).where(mine).values(version=token_versions.c.version + 1)
        if not await tx.run(more) and not await tx.try_insert(
            insert(token_versions).values(user_id=user_id, version=1)
        ):
            await tx.run(more)
        tx.record("user.tokens_revoked", {"user_id": user_id})


async def keep_token(tx: Transaction, token: str, user_id: str, purpose: Purpose, *, now: int, expires_at: int) -> None:
    """A token that a mail carries. Of the token itself only a digest is kept."""
    row = insert(mail_tokens).values(
        id=fingerprint(token), user_id=user_id, purpose=purpose, created_at=now, expires_at=expires_at
    )
    await tx.run(row)


async def owner_of(tx: Transaction, token: str, purpose: Purpose, *, now: int) -> str | None:
    """Whose token this is, if it can still be used."""
    right = (mail_tokens.c.id == fingerprint(token), mail_tokens.c.purpose == purpose, mail_tokens.c.expires_at > now)
    found: str | None = await tx.scalar(select(mail_tokens.c.user_id).where(*right))
    return found


async def use_token(tx: Transaction, token: str, user_id: str, purpose: Purpose) -> bool:
    """Spend the token, and with it all others of this person for the same purpose. False when it is gone already."""
    if not await tx.run(delete(mail_tokens).where(mail_tokens.c.id == fingerprint(token))):
        return False
    await tx.run(delete(mail_tokens).where(mail_tokens.c.user_id == user_id, mail_tokens.c.purpose == purpose))
    return True


class Factors:
    """Who signs in with a second factor."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def enabled(self, user_id: str) -> bool:
        async with self._database.view(PLATFORM) as tx:
            found = await factor(tx, user_id)
        return found is not None and bool(found["active"])


async def factor(tx: Transaction, user_id: str) -> Row | None:
    return await tx.one(select(second_factors).where(second_factors.c.user_id == user_id))


async def set_factor(tx: Transaction, user_id: str, sealed: str, codes: Sequence[str], *, now: int) -> None:
    """A factor that counts once it has been shown, in place of one that never was."""
    for table in (second_factors, recovery_codes):
        await tx.run(delete(table).where(table.c.user_id == user_id))
    row = insert(second_factors).values(user_id=user_id, sealed=sealed, active=False, last_step=0, created_at=now)
    await tx.run(row)
    await tx.run(
        insert(recovery_codes).values([{"id": _recovery(user_id, code), "user_id": user_id} for code in codes])
    )


async def use_step(tx: Transaction, user_id: str, step: int) -> bool:
    """Take note that the code of this 30-second step was shown; False if it or a later one was before."""
    unused = (second_factors.c.user_id == user_id, second_factors.c.last_step < step)
    return bool(await tx.run(update(second_factors).where(*unused).values(last_step=step, active=True)))


async def use_recovery_code(tx: Transaction, user_id: str, code: str) -> bool:
    """Spend the code; False if it is none, or was spent."""
    return bool(await tx.run(delete(recovery_codes).where(recovery_codes.c.id == _recovery(user_id, code))))


def _recovery(user_id: str, code: str) -> str:
    return fingerprint(f"{user_id}:{code.replace('-', '').replace(' ', '').lower()}")


class IdentitySecrets:
    """What a website signs its visitors' identities with: sealed, one a chatbot, two for a day while it is changed."""

    def __init__(self, database: Database, vault: Vault, *, clock: Clock) -> None:
        self._database, self._vault, self._clock = database, vault, clock

    async def secret(self, organization_id: str, chatbot_id: str) -> str:
        found = await self.accepted(organization_id, chatbot_id)
        if not found:
            fresh = self._new(chatbot_id)
            async with self._database.uow(organization_id) as tx:
                if await tx.try_insert(tx.insert(identity_secrets, **fresh)):
                    await tx.commit()
            found = await self.accepted(organization_id, chatbot_id)
        return found[0]

    async def accepted(self, organization_id: str, chatbot_id: str) -> list[str]:
        """The current secret, then the one before as long as it counts; none if nobody has asked for one."""
        async with self._database.view(organization_id) as tx:
            row = await tx.one(tx.select(identity_secrets).where(identity_secrets.c.chatbot_id == chatbot_id))
        if row is None:
            return []
        sealed = [row["sealed"]]
        if row["previous"] is not None and row["previous_until"] > milliseconds(self._clock.now()):
            sealed.append(row["previous"])
        return [self._vault.open(one, _context(chatbot_id)).decode() for one in sealed]

    async def rotate(self, organization_id: str, chatbot_id: str) -> tuple[str, int]:
        """A new secret, and until when the old one counts too (milliseconds since the epoch)."""
        await self.secret(organization_id, chatbot_id)
        fresh = self._new(chatbot_id)
        until = fresh["created_at"] + OVERLAP_MS
        async with self._database.uow(organization_id) as tx:
            change = tx.update(identity_secrets).where(identity_secrets.c.chatbot_id == chatbot_id)
            await tx.run(change.values(**fresh, previous=identity_secrets.c.sealed, previous_until=until))
            tx.record("identity_secret.rotated", {"chatbot_id": chatbot_id})
            await tx.commit()
        return self._vault.open(fresh["sealed"], _context(chatbot_id)).decode(), until

    def _new(self, chatbot_id: str) -> Row:
        sealed = self._vault.seal(f"ids_{secrets.token_urlsafe(32)}".encode(), _context(chatbot_id))
        return {"chatbot_id": chatbot_id, "sealed": sealed, "created_at": milliseconds(self._clock.now())}


def _context(chatbot_id: str) -> str:
    return f"identity:{chatbot_id}"
