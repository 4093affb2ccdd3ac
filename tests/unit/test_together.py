"""What is counted before something is added, by many at once, on both databases."""

import asyncio

from sqlalchemy import select, update

from api._kit.store import PLATFORM, Database
from api.users import store
from api.users.store import Accounts, invitations, memberships, organizations
from server.infra.clock import Ids, SystemClock

ORGANIZATION = "org_1"


async def founded(database: Database) -> list[str]:
    """The ids of two owners of an organisation."""
    accounts, ids = Accounts(database, clock=SystemClock(), ids=Ids()), []
    for name in ("ada", "grace"):
        async with database.uow(ORGANIZATION if name == "ada" else "org_2") as tx:
            made = await accounts.create(
                tx, email=f"{name}@example.com", name=name, password_hash="", organization_name=name
            )
            await tx.commit()
        ids.append(made.user_id)
    async with database.uow(PLATFORM) as tx:
        await tx.run(update(memberships).values(organization_id=ORGANIZATION))
        await tx.commit()
    return ids


async def test_of_two_owners_who_leave_at_once_one_stays(database: Database) -> None:
    owners = await founded(database)

    async def leave(user_id: str) -> bool:
        async with database.uow(ORGANIZATION) as tx:
            if await store.owns_alone(tx, user_id):
                return False
            await asyncio.sleep(0.05)
            await store.leave_all(tx, user_id, now=1)
            await tx.commit()
            return True

    assert sorted(await asyncio.gather(*map(leave, owners))) == [False, True]


async def test_the_last_seat_is_taken_once(database: Database) -> None:
    await founded(database)

    async def invite(number: int) -> bool:
        row = {"email": f"{number}@example.com", "role": "viewer", "capabilities": [], "invited_by": "user_1"}
        times = {"id": f"inv_{number}", "created_at": 1, "expires_at": 10}
        async with database.uow(ORGANIZATION) as tx:
            if await store.seats(tx, now=1) >= 3:
                return False
            await asyncio.sleep(0.05)
            await store.invite(tx, {**row, **times}, token=str(number))
            await tx.commit()
            return True

    assert sum(await asyncio.gather(*map(invite, range(4)))) == 1
    async with database.view(PLATFORM) as tx:
        assert len(await tx.all(select(invitations))) == 1
        assert len(await tx.all(select(organizations))) == 2
