"""Views: as many as wait get their turn, who gives up gives everything back, and no reader waits for a writer."""

import asyncio

from sqlalchemy import text

from api._kit.store import PLATFORM, Database
from api._kit.store.views import VIEWS


async def ask(database: Database, statement: str = "SELECT 1") -> int:
    async with database.view(PLATFORM) as tx:
        return int(await tx.scalar(text(statement)))


async def test_more_views_than_may_be_open_get_their_turn(database: Database) -> None:
    assert await asyncio.gather(*(ask(database) for _ in range(3 * VIEWS))) == [1] * 3 * VIEWS


async def test_cancelled_views_give_back_what_they_had(database: Database) -> None:
    count = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 20000) SELECT count(*) FROM n"
    for turns in range(3 * VIEWS):
        asking = asyncio.create_task(ask(database, count))
        for _ in range(turns % 8):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
    assert await asyncio.gather(*(ask(database) for _ in range(2 * VIEWS))) == [1] * 2 * VIEWS


async def test_a_view_reads_while_somebody_writes(database: Database) -> None:
    async with database.uow(PLATFORM) as tx:
        await tx.scalar(text("SELECT 1"))
        assert await ask(database) == 1
