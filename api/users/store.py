"""People, organisations and who belongs to which."""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Select,
    String,
    Table,
    insert,
    select,
    update,
)

from api._kit.errors import DuplicateResource
from api._kit.plans import LEAST
from api._kit.ports import Account, Clock, Ids
from api._kit.store import PLATFORM, Database, Row, Transaction, metadata
from api._kit.values import milliseconds

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

    async def create(self, *, email: str, name: str, password_hash: str, organization_name: str) -> Account:
        now = milliseconds(self._clock.now())
        user_id, organization_id = self._ids.new("user"), self._ids.new("org")
        async with self._database.uow(organization_id) as tx:
            person = insert(users).values(
                id=user_id,
                email=email.lower(),
                name=name,
                locale="en-US",
                timezone="UTC",
                password_hash=password_hash,
                email_verified=False,
                created_at=now,
                updated_at=now,
            )
            if not await tx.try_insert(person):
                raise DuplicateResource("There is already an account with this e-mail address.")
            await tx.run(
                insert(organizations).values(
                    id=organization_id, name=organization_name, tier="free_trial", created_at=now
                )
            )
            await tx.run(
                tx.insert(memberships, user_id=user_id, role="owner", capabilities=[], status="active", created_at=now)
            )
            tx.record("user.registered", {"user_id": user_id})
            await tx.commit()
        return Account(user_id, email.lower(), name, password_hash, organization_id, "owner", (), True)

    async def by_email(self, email: str) -> Account | None:
        async with self._database.view(PLATFORM) as tx:
            return _account(await tx.one(_accounts().where(users.c.email == email.lower())))

    async def by_id(self, user_id: str, organization_id: str) -> Account | None:
        async with self._database.view(PLATFORM) as tx:
            return _account(
                await tx.one(_accounts().where(users.c.id == user_id, memberships.c.organization_id == organization_id))
            )

    async def set_password(self, user_id: str, password_hash: str) -> None:
        async with self._database.uow(PLATFORM) as tx:
            await change(tx, user_id, milliseconds(self._clock.now()), {"password_hash": password_hash})
            await tx.commit()

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
    )
