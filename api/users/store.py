"""People, organisations, who belongs to which, and who is invited."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Select,
    String,
    Table,
    UniqueConstraint,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from api._kit.errors import Conflict, DuplicateResource
from api._kit.passwords import fingerprint
from api._kit.plans import LEAST
from api._kit.ports import Account, Clock, Ids, Invitation
from api._kit.store import PLATFORM, Database, Row, Transaction, Write, metadata
from api._kit.values import milliseconds
from api.users.models import KeyQuery, MemberQuery

organizations = Table(
    "organizations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(120), nullable=False),
    Column("tier", String(20), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
users = Table(
    "users",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("email", String(254), nullable=False, unique=True),
    Column("name", String(120), nullable=False),
    Column("phone", String(20)),
    Column("locale", String(35), nullable=False),
    Column("timezone", String(64), nullable=False),
    Column("password_hash", String(255)),
    Column("email_verified", Boolean, nullable=False),
    Column("notification_prefs", JSON, nullable=False, server_default="{}"),
    Column("deleted_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)
memberships = Table(
    "memberships",
    metadata,
    Column("user_id", String(64), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("organization_id", String(64), ForeignKey("organizations.id", ondelete="CASCADE"), primary_key=True),
    Column("role", String(10), nullable=False),
    Column("capabilities", JSON, nullable=False),
    Column("status", String(10), nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
invitations = Table(
    "invitations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False),
    Column("email", String(254), nullable=False),
    Column("role", String(10), nullable=False),
    Column("capabilities", JSON, nullable=False),
    Column("token", String(64), unique=True),
    Column("invited_by", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    UniqueConstraint("organization_id", "email"),
)
"""Of the token, which only the mail holds, a digest. An invitation that was accepted is gone."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organization_id", String(64), nullable=False, index=True),
    Column("user_id", String(64), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("name", String(120), nullable=False),
    Column("prefix", String(20), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("allowed_ips", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("last_used_at", BigInteger),
)
KEPT_MS: Final = 30 * 24 * 3_600_000
"""How long a person who has left can come back."""
_TAKEN: Final = "There is already an account with this e-mail address."
OPEN: Final = ("active", "suspended")
"""States of a membership that counts."""
_MAKER: Final = and_(
    memberships.c.user_id == api_keys.c.user_id, memberships.c.organization_id == api_keys.c.organization_id
)
_KEY: Final = (
    select(api_keys)
    .join(memberships, _MAKER)
    .where(
        api_keys.c.digest == bindparam("digest"),
        memberships.c.status == "active",
        memberships.c.role.in_(("admin", "owner")),
    )
)


async def profile(tx: Transaction, user_id: str) -> Row | None:
    """The member with this id in the transaction's organisation, with the organisation's name and tier."""
    return await tx.one(
        tx.select(
            memberships,
            *users.c,
            memberships.c.role,
            organizations.c.id.label("organization_id"),
            organizations.c.name.label("organization_name"),
            organizations.c.tier,
        )
        .join(users, users.c.id == memberships.c.user_id)
        .join(organizations, organizations.c.id == memberships.c.organization_id)
        .where(memberships.c.user_id == user_id, memberships.c.status == "active")
    )


async def change(tx: Transaction, user_id: str, now: int, values: dict[str, Any]) -> None:
    await tx.run(update(users).where(users.c.id == user_id).values(**values, updated_at=now))


def members(tx: Transaction) -> Select[Any]:
    """Members of the transaction's organisation, removed ones left out."""
    shown = (users.c[name] for name in ("id", "email", "name", "email_verified", "created_at"))
    return (
        tx.select(
            memberships,
            *shown,
            *(memberships.c[name] for name in ("role", "capabilities", "status")),
            memberships.c.created_at.label("joined_at"),
        )
        .join(users, users.c.id == memberships.c.user_id)
        .where(memberships.c.status.in_(OPEN))
    )


async def page(tx: Transaction, query: MemberQuery) -> tuple[list[Row], int]:
    statement = members(tx)
    if query.role is not None:
        statement = statement.where(memberships.c.role.in_(query.role))
    if query.status is not None:
        statement = statement.where(memberships.c.status.in_(query.status))
    return await tx.page(statement, query, table=users, search=(users.c.name, users.c.email))


async def member(tx: Transaction, user_id: str) -> Row | None:
    return await tx.one(members(tx).where(memberships.c.user_id == user_id))


async def change_member(tx: Transaction, user_id: str, values: Mapping[str, Any]) -> None:
    await tx.run(tx.update(memberships).where(memberships.c.user_id == user_id).values(**values))


async def other_owners(tx: Transaction, user_id: str) -> int:
    """How many active owners there are besides this one, until the transaction ends."""
    await tx.alone()
    owners = tx.select(memberships, memberships.c.user_id).where(
        memberships.c.role == "owner", memberships.c.status == "active"
    )
    return len([row for row in await tx.all(owners) if row["user_id"] != user_id])


async def seats(tx: Transaction, *, now: int) -> int:
    """Members and open invitations, until the transaction ends."""
    await tx.alone()
    return await seats_taken(tx, now=now)


async def seats_taken(tx: Transaction, *, now: int) -> int:
    taken = tx.select(memberships, func.count()).where(memberships.c.status.in_(OPEN))
    offered = tx.select(invitations, func.count()).where(invitations.c.expires_at > now)
    return int(await tx.scalar(taken)) + int(await tx.scalar(offered))


async def invite(tx: Transaction, row: Mapping[str, Any], token: str) -> None:
    """The token opens the invitation. Raises DuplicateResource for a member and for someone whose invitation is still
    open."""
    email, now = row["email"], row["created_at"]
    if await tx.one(members(tx).where(users.c.email == email)):
        raise DuplicateResource("This person is a member already.")
    await tx.run(tx.delete(invitations).where(invitations.c.email == email, invitations.c.expires_at <= now))
    if not await tx.try_insert(tx.insert(invitations, token=fingerprint(token), **row)):
        raise DuplicateResource("This person has an open invitation already.")


async def letter(tx: Transaction, invitation_id: str) -> Row | None:
    """What the mail of an invitation says."""
    return await tx.one(
        tx.select(
            invitations, invitations.c.email, users.c.name.label("by"), organizations.c.name.label("organization")
        )
        .join(users, users.c.id == invitations.c.invited_by)
        .join(organizations, organizations.c.id == invitations.c.organization_id)
        .where(invitations.c.id == invitation_id)
    )


async def keep_key(tx: Transaction, key: str, row: Mapping[str, Any]) -> None:
    await tx.run(tx.insert(api_keys, digest=fingerprint(key), **row))


async def key_page(tx: Transaction, query: KeyQuery) -> tuple[list[Row], int]:
    return await tx.page(tx.select(api_keys), query, table=api_keys, search=(api_keys.c.name,))


async def revoke_key(tx: Transaction, key_id: str) -> bool:
    return bool(await tx.run(tx.delete(api_keys).where(api_keys.c.id == key_id)))


async def find_key(tx: Transaction, key: str) -> Row | None:
    """The key, as long as the member who made it may make keys."""
    return await tx.one(_KEY, digest=fingerprint(key))


def note_key(write: Write, key_id: str, *, now: int) -> None:
    write.run(update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=now))


async def leave_all(tx: Transaction, user_id: str, *, now: int) -> None:
    """Out of every organisation, and without keys."""
    await tx.run(update(memberships).where(memberships.c.user_id == user_id).values(status="removed"))
    await tx.run(delete(api_keys).where(api_keys.c.user_id == user_id))
    await change(tx, user_id, now, {"deleted_at": now})


async def owns_alone(tx: Transaction, user_id: str) -> bool:
    """Whether an organisation would be without an owner if this person left, until the transaction ends."""
    mine = select(memberships.c.organization_id).where(
        memberships.c.user_id == user_id, memberships.c.role == "owner", memberships.c.status == "active"
    )
    theirs = select(memberships.c.organization_id).where(
        memberships.c.organization_id.in_(mine),
        memberships.c.user_id != user_id,
        memberships.c.role == "owner",
        memberships.c.status == "active",
    )
    owned = select(organizations.c.id).where(organizations.c.id.in_(mine)).order_by(organizations.c.id)
    await tx.all(owned.with_for_update(key_share=True))
    covered = {row["organization_id"] for row in await tx.all(theirs)}
    return any(row["organization_id"] not in covered for row in await tx.all(mine))


async def purge(tx: Transaction, user_id: str, *, now: int) -> bool:
    """Forget a person who has left for good. False if they came back, or left again since."""
    return bool(await tx.run(delete(users).where(users.c.id == user_id, users.c.deleted_at <= now - KEPT_MS)))


def _accounts() -> Select[Any]:
    return (
        select(users, *(memberships.c[name] for name in ("organization_id", "role", "capabilities", "status")))
        .join(memberships, memberships.c.user_id == users.c.id)
        .order_by(memberships.c.status, memberships.c.created_at)
    )


class Accounts:
    """People and their memberships, as signing in needs them."""

    def __init__(self, database: Database, *, clock: Clock, ids: Ids) -> None:
        self._database, self._clock, self._ids = database, clock, ids

    async def create(
        self, tx: Transaction, *, email: str, name: str, password_hash: str, organization_name: str
    ) -> Account:
        user_id = self._ids.new("user")
        if not await tx.try_insert(insert(users).values(self._person(user_id, email, name, password_hash))):
            raise DuplicateResource(_TAKEN)
        organization = {"id": tx.organization_id, "name": organization_name, "tier": LEAST, "created_at": self._now()}
        await tx.run(insert(organizations).values(organization))
        await self._admit(tx, user_id, "owner", ())
        tx.record("user.registered", {"user_id": user_id})
        return Account(user_id, email.lower(), name, password_hash, tx.organization_id, "owner", (), True)

    async def invitation(self, token: str) -> Invitation | None:
        opens = (invitations.c.token == fingerprint(token), invitations.c.expires_at > self._now())
        async with self._database.view(PLATFORM) as tx:
            row = await tx.one(select(invitations).where(*opens))
        if row is None:
            return None
        return Invitation(row["id"], row["organization_id"], row["email"], row["role"], tuple(row["capabilities"]))

    async def join(self, tx: Transaction, invitation: Invitation, *, name: str, password_hash: str) -> Account:
        email, role, capabilities = invitation.email, invitation.role, invitation.capabilities
        if not await tx.run(tx.delete(invitations).where(invitations.c.id == invitation.id)):
            raise Conflict("This invitation has been used.")
        user_id = self._ids.new("user")
        if not await tx.try_insert(insert(users).values(self._person(user_id, email, name, password_hash, True))):
            user_id = await self._back(tx, email, name, password_hash)
        await self._admit(tx, user_id, role, capabilities)
        tx.record("user.registered", {"user_id": user_id, "invitation_id": invitation.id})
        return Account(user_id, email, name, password_hash, tx.organization_id, role, capabilities, True, True)

    async def _back(self, tx: Transaction, email: str, name: str, password_hash: str) -> str:
        """The id of someone who had left every organisation. Raises DuplicateResource for anyone else."""
        user_id = str(await tx.scalar(select(users.c.id).where(users.c.email == email).with_for_update()))
        elsewhere = select(memberships.c.user_id).where(
            memberships.c.user_id == user_id, memberships.c.status.in_(OPEN)
        )
        if await tx.one(elsewhere):
            raise DuplicateResource(_TAKEN)
        values = {"name": name, "password_hash": password_hash, "email_verified": True, "deleted_at": None}
        await change(tx, user_id, self._now(), values)
        return user_id

    async def _admit(self, tx: Transaction, user_id: str, role: str, capabilities: Sequence[str]) -> None:
        await tx.run(tx.delete(memberships).where(memberships.c.user_id == user_id))
        values = {"role": role, "capabilities": list(capabilities), "status": "active", "created_at": self._now()}
        await tx.run(tx.insert(memberships, user_id=user_id, **values))

    def _person(self, user_id: str, email: str, name: str, password_hash: str, verified: bool = False) -> Row:
        now = self._now()
        return {
            "id": user_id,
            "email": email.lower(),
            "name": name,
            "locale": "en-US",
            "timezone": "UTC",
            "password_hash": password_hash,
            "email_verified": verified,
            "notification_prefs": {},
            "created_at": now,
            "updated_at": now,
        }

    def _now(self) -> int:
        return milliseconds(self._clock.now())

    async def by_email(self, email: str) -> Account | None:
        async with self._database.view(PLATFORM) as tx:
            return _account(await tx.one(_accounts().where(users.c.email == email.lower())))

    async def membership(self, user_id: str) -> Account | None:
        async with self._database.view(PLATFORM) as tx:
            return _account(await tx.one(_accounts().where(users.c.id == user_id)))

    async def by_id(self, user_id: str, organization_id: str) -> Account | None:
        async with self._database.view(PLATFORM) as tx:
            return _account(
                await tx.one(_accounts().where(users.c.id == user_id, memberships.c.organization_id == organization_id))
            )

    async def set_password(
        self, tx: Transaction, user_id: str, password_hash: str, *, instead_of: str | None = None
    ) -> None:
        mine = update(users).where(users.c.id == user_id)
        if instead_of is not None:
            mine = mine.where(users.c.password_hash == instead_of)
        await tx.run(mine.values(password_hash=password_hash, updated_at=self._now()))

    async def set_verified(self, tx: Transaction, user_id: str) -> None:
        await change(tx, user_id, self._now(), {"email_verified": True})

    async def tier(self, organization_id: str) -> str:
        """The organisation's tier; the least one if there is no such organisation."""
        async with self._database.view(PLATFORM) as tx:
            found = await tx.scalar(select(organizations.c.tier).where(organizations.c.id == organization_id))
        return str(found or LEAST)

    async def ensure_organization(self, organization_id: str, name: str) -> None:
        """An organisation with this id, made if it is not there."""
        async with self._database.uow(PLATFORM) as tx:
            row = insert(organizations).values(
                id=organization_id, name=name, tier="free_trial", created_at=milliseconds(self._clock.now())
            )
            await tx.try_insert(row)
            await tx.commit()


def _account(row: Row | None) -> Account | None:
    if row is None:
        return None
    return Account(
        user_id=row["id"],
        email=row["email"],
        name=row["name"],
        password_hash=row["password_hash"],
        organization_id=row["organization_id"],
        role=row["role"],
        capabilities=tuple(row["capabilities"]),
        active=row["status"] == "active",
        email_verified=row["email_verified"],
    )
